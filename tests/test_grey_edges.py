"""Outlines at the steepest slope of grey, against spheres of known size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.grey_edges import to_grey_edges
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.session import Session


def sphere(size: float, blur: float, sign: int = 1) -> tuple[Image, np.ndarray]:
    """A ball with a bright rim, drawn 8 times as finely; and the distance from its middle."""
    side = int(size) + 40
    fine = 8
    at = (np.arange(side * fine) + 0.5) / fine - 0.5
    far = np.hypot(at[:, None] - side / 2, at[None] - side / 2)
    depth = np.sqrt(np.clip(1 - (2 * far / size) ** 2, 0.05, 1))
    grey = np.where(far < size / 2, sign * (40 + 20 / depth), 0.0) + 128
    grey = grey.reshape(side, fine, side, fine).mean((1, 3))
    grey = ndimage.gaussian_filter(grey, blur) + 2 * np.random.default_rng(0).normal(
        size=(side,) * 2
    )
    rows, columns = np.mgrid[:side, :side]
    return Image(grey.clip(0, 255).astype(np.uint8)), np.hypot(rows - side / 2, columns - side / 2)


@pytest.mark.parametrize("drawn", [-1.0, 0.4, 0.9, 1.5])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("size", "blur"), [(40.0, 0.6), (81.0, 0.6), (81.0, 0.9), (160.0, 0.9)])
def test_the_diameter_of_a_sphere_is_right_wherever_it_was_drawn(
    size: float, sign: int, blur: float, drawn: float
) -> None:
    image, far = sphere(size, blur, sign)
    mask = Mask.from_full(far < size / 2 + drawn, label="ball", confidence=0.75)
    moved = to_grey_edges(MaskSet((mask,)), image)[0]
    assert np.sqrt(4 * moved.area / np.pi) == pytest.approx(size, rel=0.01)
    assert (moved.label, moved.confidence) == ("ball", 0.75)


def test_what_has_no_edge_of_its_own_stays() -> None:
    """No contrast; or other particles all around."""
    plain = Image(np.full((80, 80), 90, np.uint8))
    rows, columns = np.mgrid[:80, :80]
    far = np.hypot(rows - 40, columns - 40)
    disc = MaskSet((Mask.from_full(far < 20),))
    assert to_grey_edges(disc, plain).digest == disc.digest
    ring = Mask.from_full((far >= 20) & (far < 36))
    image, _ = sphere(42.0, 0.6)
    enclosed = MaskSet((disc[0], ring))
    cut = Image(np.asarray(image.grey)[:80, :80])
    assert to_grey_edges(enclosed, cut)[0].digest == disc[0].digest


def test_other_frames_and_things_are_refused() -> None:
    disc = MaskSet((Mask.from_full(np.eye(9, dtype=bool)),))
    with pytest.raises(ImageError, match="frame"):
        to_grey_edges(disc, Image(np.zeros((8, 8), np.uint8)))
    with pytest.raises(DataError, match="MaskSet"):
        to_grey_edges([disc[0]], Image(np.zeros((9, 9), np.uint8)))  # type: ignore[arg-type]


def test_a_session_gives_either_outline() -> None:
    """The classical segmenter cuts at Otsu's threshold; at the grey edge the ball has its size."""
    image, _ = sphere(81.0, 0.6)
    session = Session("classical")
    plain = session.propose(image, progress=False)
    edge = session.propose(image, progress=False, outline="edge")
    assert len(plain) == len(edge) == 1
    assert np.sqrt(4 * edge[0].area / np.pi) == pytest.approx(81.0, rel=0.01)
    clicked = session.predict(image, Prompt(points=((60.0, 60.0),)), outline="edge")
    assert np.sqrt(4 * clicked[0].area / np.pi) == pytest.approx(81.0, rel=0.01)
    with pytest.raises(DataError, match="annotators"):
        session.propose(image, outline="true")
