"""Methods without a model of this package that a segmenter is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import feature, morphology
from skimage.filters import threshold_otsu

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet

_SMOOTHED = 2.0  # px, of the picture before its edges are looked for
_CLOSED = 2  # px, radius of the disc that closes gaps of an edge and wipes off its loose ends


def canny_edges(image: Image) -> MaskSet:
    """Return closed Canny edges, filled: particles as a script without a model would find them.

    Edges after a Gaussian of 2 px, their strong threshold by Otsu's method and the weak one at
    half of it; gaps closed, holes filled and loose ends opened away with discs of 2 px. It cannot
    close a particle that the frame cuts, nor part two that touch.

    References
    ----------
    Canny 1986, doi:10.1109/TPAMI.1986.4767851; Otsu 1979, doi:10.1109/TSMC.1979.4310076.

    Examples
    --------
    >>> y, x = np.mgrid[:80, :80]
    >>> disc = np.where((x - 40) ** 2 + (y - 40) ** 2 < 20**2, 200, 60).astype(np.uint8)
    >>> len(canny_edges(Image(disc)))
    1
    """
    grey = image.grey.astype(float)
    smooth = ndimage.gaussian_filter(grey, _SMOOTHED)
    steps = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    strong = float(threshold_otsu(steps))
    lines = feature.canny(grey, _SMOOTHED, low_threshold=strong / 2, high_threshold=strong)
    filled = ndimage.binary_fill_holes(morphology.closing(lines, morphology.disk(_CLOSED)))
    found, _ = ndimage.label(morphology.opening(filled, morphology.disk(_CLOSED)))
    return MaskSet.from_labels(found)


def cellpose_method(fetch: bool = False) -> tuple[Callable[[Image], MaskSet] | None, str]:
    """Return Cellpose as a method, or None, and a sentence on what was done.

    Parameters
    ----------
    fetch : bool
        False leaves Cellpose out where it or its weights are not on this machine; True lets it
        fetch its weights, and raises where it is not installed.

    Returns
    -------
    method : Image -> MaskSet, or None
        Its default model and settings, on the CPU.
    said : str

    Raises
    ------
    ModelError
        If `fetch` is True and Cellpose cannot be imported.

    References
    ----------
    Stringer et al. 2021, doi:10.1038/s41592-020-01018-x.

    Examples
    --------
    >>> method, said = cellpose_method()
    >>> said.startswith("Cellpose")
    True
    """
    try:
        from cellpose import models
    except ImportError as error:
        if fetch:
            raise ModelError(
                f"Cellpose cannot be imported ({error}); pip install cellpose."
            ) from None
        return None, "Cellpose is not installed and was left out."
    home = Path.home() / ".cellpose" / "models"
    folder = Path(os.environ.get("CELLPOSE_LOCAL_MODELS_PATH", home))
    if not fetch and not (folder.is_dir() and any(folder.iterdir())):
        return None, (
            f"Cellpose is installed, but there are no weights in {folder}; cellpose=True lets it "
            "fetch them."
        )
    model = models.CellposeModel(gpu=False)

    def method(image: Image) -> MaskSet:
        found = np.asarray(model.eval(image.grey)[0])  # masks, flows, styles
        return MaskSet.from_labels(found.astype(np.int32))

    return method, "Cellpose runs with its default model and settings, untrained on these images."
