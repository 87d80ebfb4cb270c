"""The points of a cloud, put together from pixels and heights."""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


def assembled(
    index: np.ndarray,
    z: np.ndarray,
    least: float,
    width: int,
    origin: tuple[int, int],
    pixel: float,
) -> np.ndarray:
    """Return x, y and z of the pixels whose height is `least` or more, float32 (M, 3).

    Parameters
    ----------
    index : int32 (N,)
        Flat indices of the pixels in a window, rising.
    z : float array (N,)
        Their heights, nm.
    least : float
        Cut-off, nm.
    width : int
        Of the window.
    origin : (int, int)
        Row and column of the window in the image.
    pixel : float
        Pixel size, nm.

    Examples
    --------
    >>> assembled(np.array([1, 2]), np.array([5.0, 7.0]), 6.0, 2, (10, 20), 0.5).tolist()
    [[10.0, 5.5, 7.0]]
    """
    return _in_one_pass(index, z, least, width, *origin, pixel)


@compiled
def _in_one_pass(index, z, least, width, row0, col0, pixel):
    """`assembled` in one pass and without temporaries."""
    count = 0
    for i in range(z.size):
        count += z[i] >= least
    xyz = np.empty((count, 3), np.float32)
    k = row = 0
    for i in range(z.size):
        if z[i] >= least:
            while index[i] >= (row + 1) * width:  # the pixels come row by row
                row += 1
            xyz[k, 0] = (index[i] - row * width + col0) * pixel
            xyz[k, 1] = (row + row0) * pixel
            xyz[k, 2] = z[i]
            k += 1
    return xyz
