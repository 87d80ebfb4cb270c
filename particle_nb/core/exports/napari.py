"""Image and masks as layers of napari; napari itself is not needed to make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet

Layer = tuple[np.ndarray, dict[str, Any], str]


def napari_layers(
    image: Image, masks: MaskSet | None = None, table: pd.DataFrame | None = None
) -> list[Layer]:
    """Return layers as napari takes them: an image, and labels with the table as features.

    In napari: ``for layer in layers: viewer.add_layer(napari.layers.Layer.create(*layer))``.

    Parameters
    ----------
    image : Image
        Its scale becomes the scale of both layers.
    masks : MaskSet or None
        Label n is the n-th mask; where masks overlap, labels show one of them.
    table : DataFrame or None
        From `measure` of these masks: one row a mask.

    Returns
    -------
    list of (array (H, W) or (H, W, C), dict, str)
        Data, properties and kind of each layer.

    Raises
    ------
    ImageError, DataError
        If the image is none, the masks are of another frame, or the table of other masks.

    Examples
    --------
    >>> from particle_nb.core.image import Calibration
    >>> image = Image(np.zeros((4, 6), np.uint8), Calibration(5, "nm"), "a")
    >>> [(kind, about["scale"]) for _, about, kind in napari_layers(image)]
    [('image', (5.0, 5.0))]
    """
    if not isinstance(image, Image):
        raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")
    pixel = image.calibration
    scale = (1.0, 1.0) if pixel is None else (pixel.pixel_size, pixel.pixel_size)
    unit = "pixel" if pixel is None else pixel.unit
    shared: dict[str, Any] = {"scale": scale, "units": (unit, unit)}
    name = image.name or "micrograph"
    colours = image.pixels.ndim == 3 and image.pixels.shape[2] in (3, 4)
    shown = image.pixels if colours or image.pixels.ndim == 2 else np.moveaxis(image.pixels, -1, 0)
    about = {"name": name, "rgb": colours, **shared}
    if not colours and image.pixels.ndim == 3:
        about |= {"scale": (1.0, *scale), "units": ("pixel", unit, unit)}
    layers: list[Layer] = [(shown, about, "image")]
    if masks is None:
        if table is not None:
            raise DataError("a table belongs to masks; pass those that were measured.")
        return layers
    if not isinstance(masks, MaskSet) or masks.shape != image.shape:
        raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
    labels: dict[str, Any] = {"name": f"{name} particles", **shared}
    if table is not None:
        if not isinstance(table, pd.DataFrame) or len(table) != len(masks):
            raise DataError(
                f"the table must be measure's of these {len(masks)} masks: one row a mask."
            )
        index = pd.Series(np.arange(len(masks) + 1), name="index")
        rows = table.reset_index(drop=True).set_axis(np.arange(1, len(table) + 1))
        # row 0 is the ground, of which nothing was measured
        labels["features"] = pd.concat([index, rows.reindex(index)], axis=1)
    return [*layers, (masks.to_labels(), labels, "labels")]
