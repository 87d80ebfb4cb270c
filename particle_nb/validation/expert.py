"""A simulated expert who segments particles by clicks and boxes and knows the true outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from particle_nb.core.annotation import Annotation
from particle_nb.core.annotation.history import Draft
from particle_nb.core.errors import DataError, PromptError, check_number
from particle_nb.core.masks import Mask

_CORNERS = 60  # of a polygon drawn around a whole
_SECTOR = 0.05  # radians on both sides of a corner's direction


@dataclass(frozen=True)
class ExpertSettings:
    """How careful the expert is.

    Parameters
    ----------
    wanted : int
        Particles after which it stops.
    least_px : int
        Visible area from which on a particle is tried, px^2.
    good : float
        IoU with the truth below which it corrects, 0 to 1.
    bad : float
        IoU below which it gives a particle up, 0 to 1.

    Raises
    ------
    DataError
        If a value is out of range.
    """

    wanted: int = 150
    least_px: int = 400
    good: float = 0.8
    bad: float = 0.7

    def __post_init__(self) -> None:
        check_number("wanted", self.wanted, 1, 1e6)
        check_number("least_px", self.least_px, 1, 1e9)
        check_number("good", self.good, 0, 1)
        check_number("bad", self.bad, 0, 1)


class Expert:
    """Segments as a careful person would, looking at each outline before keeping it.

    Parameters
    ----------
    annotation : Annotation
        With a session that answers prompts.
    rng : numpy Generator
        Shakes the hand and chooses the order of the particles.
    settings : ExpertSettings

    Examples
    --------
    >>> from particle_nb.core.image import Image
    >>> from particle_nb.session import Session
    >>> labels = np.zeros((64, 96), int)
    >>> labels[10:50, 8:40], labels[12:56, 52:90] = 1, 2
    >>> picture = Image(np.where(labels, 200, 40).astype(np.uint8))
    >>> annotation = Annotation(Session("classical"), picture, autosave=False)
    >>> Expert(annotation, np.random.default_rng(0)).segment(labels, "primary")
    2
    """

    def __init__(
        self,
        annotation: Annotation,
        rng: np.random.Generator,
        settings: ExpertSettings | None = None,
    ) -> None:
        self.annotation = annotation
        self.rng = rng
        self.settings = settings or ExpertSettings()

    def segment(self, labels: np.ndarray, label: str) -> int:
        """Commit up to `wanted` particles in random order and return how many.

        It clicks near the middle of what is seen of a particle, takes the best of the candidates,
        corrects once where the outline is most wrong, tries a box where that did not help, and
        gives a particle up whose outline still shares less than `bad` with the truth.

        Parameters
        ----------
        labels : int (H, W)
            Visible parts of the true particles, 0 elsewhere.
        label : str
            Class that the committed particles get.

        Raises
        ------
        DataError
            If the labels are of another frame than the image.
        """
        labels = np.asarray(labels)
        if labels.shape != self.annotation.image.shape:
            raise DataError(
                f"labels of {labels.shape} on an image of {self.annotation.image.shape}."
            )
        seen = np.bincount(labels.ravel())[1:]
        kept = 0
        for number in self.rng.permutation(np.flatnonzero(seen >= self.settings.least_px)) + 1:
            try:
                iou = self._point_at(Mask.from_full(labels == number))
            except PromptError:
                iou = 0.0
            if iou >= self.settings.bad:
                self.annotation.do("commit", label=label)
                kept += 1
            elif self.annotation.state.draft is not None:
                self.annotation.do("cancel")
            if kept == self.settings.wanted:
                break
        return kept

    def outline(self, whole: np.ndarray, label: str) -> None:
        """Commit one body by a box or, where that is not right, as a polygon drawn by hand.

        Parameters
        ----------
        whole : bool (H, W)
        label : str
            Class that it gets.
        """
        mask = Mask.from_full(whole)
        top, left, bottom, right = mask.bbox
        self.annotation.do("box", box=[left - 2.0, top - 2.0, right + 1.0, bottom + 1.0])
        if self._choose(mask) < 0.9:
            self.annotation.do("cancel")
            self.annotation.do("polygon", path=polygon_around(mask.full()), label=label)
        else:
            self.annotation.do("commit", label=label)

    def _point_at(self, truth: Mask) -> float:
        """Prompts for one particle, from a click to a box; the IoU of the draft that is left."""
        x, y, _ = self._middle(truth.full())
        self.annotation.do("point", x=round(x, 1), y=round(y, 1))
        iou = self._choose(truth)
        if iou < self.settings.good:
            x, y, depth = self._middle(self._shown().full() ^ truth.full())
            if depth >= 2:  # else the wrong part is a rim too thin to point at
                inside = bool(truth.full()[round(y), round(x)])
                self.annotation.do("point", x=round(x, 1), y=round(y, 1), label=int(inside))
                iou = self._choose(truth)
        if iou < self.settings.good:
            before, clicks = iou, self.annotation.history.position
            self.annotation.do("cancel")
            top, left, bottom, right = truth.bbox
            edge = np.array([left, top, right - 1, bottom - 1]) + self.rng.normal(0, 1.0, 4)
            self.annotation.do("box", box=[round(float(v), 1) for v in edge])
            iou = self._choose(truth)
            if before > iou:
                self.annotation.jump(clicks)
                iou = before
        return iou

    def _draft(self) -> Draft:
        draft = self.annotation.state.draft
        if draft is None or not draft.candidates:
            raise PromptError("the segmenter gave no outline for the expert's prompt.")
        return draft

    def _shown(self) -> Mask:
        draft = self._draft()
        return draft.candidates[draft.choice]

    def _choose(self, truth: Mask) -> float:
        """Take the candidate that shares most with the truth; its IoU."""
        draft = self._draft()
        found = [mask.iou(truth) for mask in draft.candidates]
        best = int(np.argmax(found))
        if best != draft.choice:
            self.annotation.do("candidate", choice=best)
        return found[best]

    def _middle(self, inside: np.ndarray) -> tuple[float, float, float]:
        """A point near the deepest place of a region, and how deep that is, all px."""
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        shake = self.rng.normal(0, 0.2 * depth.max(), 2)
        return float(x + shake[0]), float(y + shake[1]), float(depth.max())


def polygon_around(inside: np.ndarray) -> list[list[float]]:
    """Return up to 60 corners (x, y) in px around a body, each the farthest in its direction.

    Parameters
    ----------
    inside : bool (H, W)

    Examples
    --------
    >>> y, x = np.mgrid[:101, :101] - 50
    >>> corners = np.array(polygon_around(x**2 + y**2 <= 40**2)) - 50
    >>> len(corners), bool((np.hypot(*corners.T) > 38.5).all())
    (60, True)
    """
    rows, cols = np.nonzero(ndimage.binary_fill_holes(inside))
    x, y = cols - cols.mean(), rows - rows.mean()
    turn = np.arctan2(y, x)
    corners = []
    for angle in np.linspace(-np.pi, np.pi, _CORNERS, endpoint=False):
        near = np.flatnonzero(np.abs(np.angle(np.exp(1j * (turn - angle)))) < _SECTOR)
        if not near.size:  # no pixel lies in that direction of a very small body
            continue
        far = near[np.hypot(x, y)[near].argmax()]
        corners.append([float(cols[far]), float(rows[far])])
    return corners
