"""NumPy's array files, and the pickled dictionaries of Cellpose, read without running anything."""

from __future__ import annotations

import io
import pickle
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from skimage.segmentation import find_boundaries

from particle_nb.core.errors import ImageError

_MAGIC = b"\x93NUMPY"
_LARGEST = 2**31
_REBUILDERS = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_DAMAGE = (
    tokenize.TokenError,  # of a header that is no Python
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OSError,
    ImportError,
    OverflowError,
    SyntaxError,
    UnicodeError,
    RecursionError,
    MemoryError,
    pickle.UnpicklingError,
)


def is_npy(file: Path) -> bool:
    """Whether a file begins as NumPy's array files do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", np.zeros(3))
    ...     is_npy(Path(f"{folder}/a.npy"))
    True
    """
    with open(file, "rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def read_npy(file: Path) -> np.ndarray:
    """Return the numbers in a ``.npy`` file, or the masks (H, W) in a ``_seg.npy`` of Cellpose.

    A plain array keeps its own shape and dtype.

    Raises
    ------
    ImageError
        If it is damaged, far too large, or holds something else.
    """
    try:
        size = file.stat().st_size
        if size > _LARGEST:
            raise ImageError(f"{file.name} is larger than 2 GB; save the label image as TIFF.")
        with open(file, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0}
            header = read.get(version, np.lib.format.read_array_header_2_0)
            shape, _, dtype = header(stream)
            count = int(np.prod(shape, dtype=object)) if shape else 1
            if not dtype.hasobject:
                if dtype.kind not in "biuf" or count < 1:
                    raise ImageError(
                        f"{file.name} holds {dtype} of shape {shape}, and labels are numbers."
                    )
                if count * dtype.itemsize > size:
                    raise ImageError(f"{file.name} is cut short; save it anew.")
                stream.seek(0)
                return np.load(stream, allow_pickle=False)
            rest = stream.read()
        return _masks(_Arrays(io.BytesIO(rest)).load(), file)
    except ImageError:
        raise
    except _DAMAGE as error:
        raise ImageError(
            f"{file.name} is no TIFF and no array of numbers ({type(error).__name__}: "
            f"{str(error)[:200]}); save the labels with numpy.save or as TIFF."
        ) from None


def write_seg(stream: BinaryIO, labels: np.ndarray, name: str) -> None:
    """Write a label image (H, W) as Cellpose's own files are: a dictionary in an array of one.

    Parameters
    ----------
    stream : binary file
    labels : unsigned int array (H, W)
        0 is background.
    name : str
        Of the file, ``<picture>_seg.npy``; Cellpose looks for the picture of that name beside it.

    Examples
    --------
    >>> stream = io.BytesIO()
    >>> write_seg(stream, np.array([[0, 1, 1], [2, 2, 2]], np.uint16), "a_seg.npy")
    >>> stream.getvalue()[:6] == _MAGIC
    True
    """
    count = int(labels.max(initial=0))
    found: dict[str, Any] = {
        "masks": labels,
        "outlines": np.where(find_boundaries(labels, mode="inner"), labels, 0).astype(labels.dtype),
        "filename": name[: -len("_seg.npy")],
        "chan_choose": [0, 0],
        "ismanual": np.zeros(count, bool),
        "manual_changes": [],
        "flows": [],
        "est_diam": float(np.sqrt(4 / np.pi * np.bincount(labels.ravel())[1:].mean()))
        if count
        else 0.0,
    }
    np.save(stream, np.array(found, dtype=object), allow_pickle=True)


class _Arrays(pickle.Unpickler):
    """Unpickles arrays, numbers, text and containers; whatever else would be called is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _REBUILDERS and name == "_reconstruct":
            return _empty
        if module in _REBUILDERS and name == "scalar":
            return _scalar
        if module in _NUMERIC and name == "_frombuffer":
            return _from_buffer
        found = {
            ("numpy", "dtype"): np.dtype,
            # only named, as the kind of array to be made: it cannot be called with a size
            ("numpy", "ndarray"): "ndarray",
            ("_codecs", "encode"): _encoded,
        }.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it would call {module}.{name}; nothing of it was run")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to another file")


def _empty(*_: Any) -> np.ndarray:
    """What a pickled array fills afterwards with its shape, type and bytes."""
    return np.zeros(0, np.int8)


def _scalar(dtype: np.dtype, data: Any = b"") -> Any:
    return np.frombuffer(bytes(data), dtype, 1)[0]


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Any:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _encoded(text: str, *_: Any) -> bytes:
    return str(text).encode("latin1")


def _masks(found: Any, file: Path) -> np.ndarray:
    """The label image in what was unpickled: an object array around Cellpose's dictionary."""
    if isinstance(found, np.ndarray) and found.dtype == object and found.size == 1:
        found = found.item()
    masks = found.get("masks") if isinstance(found, dict) else found
    if not isinstance(masks, np.ndarray) or masks.dtype.kind not in "biuf":
        raise ImageError(
            f"{file.name} is no TIFF and no label image: a pickled {type(found).__name__} without "
            "an array 'masks' of numbers."
        )
    return masks
