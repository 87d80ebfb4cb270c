"""Numbers of one outline: symmetry, corners, flat and hollow parts, bodies that it fills."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from particle_nb.core.masks import Mask
from particle_nb.core.shape.contour import outline

SYMMETRIES = (2, 3, 4, 5, 6)
#: Names of `outline_numbers`, in this order.
NAMES = (
    *(f"symmetry_{n}" for n in SYMMETRIES),
    "outline_detail",
    "inscribed",
    "hole_share",
    "corner_turn",
    "three_corners",
    "four_corners",
    "more_corners",
    "deepest_notch",
    "flat_share",
    "concave_share",
    "turn_sd",
    "turn_sd_wide",
    "radius_sd",
    "rectangle_fill",
    "ellipse_misfit",
    "moment_ratio",
)
#: Points of the resampled outline.
_POINTS = 128
#: A turn is that of the two chords over so many points before and after; a wide one over twice.
_REACH = 6
#: Chords that turn by less than this, in full turns, are of a flat part; a circle's by 0.047.
_FLAT = 0.02
#: Corners are looked for so many points apart.
_APART = 8
_ANGLES = np.arange(0, 90, 2) * math.pi / 180


def outline_numbers(mask: Mask) -> list[float]:
    """Return the numbers called `NAMES` of one mask; none knows its size or its turn."""
    points = _resampled(mask.crop)
    parts = np.abs(np.fft.fft(points))
    first = max(float(parts[1]), 1e-12)
    others = np.delete(parts, [0, 1, *(1 - n for n in SYMMETRIES)])
    filled = int(np.count_nonzero(ndimage.binary_fill_holes(mask.crop)))
    deepest = float(ndimage.distance_transform_edt(np.pad(mask.crop, 1)).max()) - 0.5
    return [
        *(float(parts[1 - n]) / first for n in SYMMETRIES),
        float(np.sqrt((others**2).sum())) / first,
        2 * deepest / math.sqrt(4 * mask.area / math.pi),
        1 - mask.area / filled,
        *_turns(points),
        *_fillings(points, mask.crop),
    ]


def _resampled(crop: np.ndarray) -> np.ndarray:
    """The outline at equal steps, complex (128,), counter-clockwise."""
    points = outline(crop)
    steps = np.hypot(*(np.roll(points, -1, 0) - points).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    closed = np.concatenate([points, points[:1]])
    wanted = np.arange(_POINTS) * along[-1] / _POINTS
    x, y = (np.interp(wanted, along, closed[:, axis]) for axis in (0, 1))
    found = x + 1j * y
    return found if _area(found) > 0 else found[::-1]


def _area(points: np.ndarray) -> float:
    return 0.5 * float((np.conj(points) * np.roll(points, -1)).imag.sum())


def _turn(points: np.ndarray, reach: int) -> np.ndarray:
    """By how many full turns the outline turns at each point, from chord to chord."""
    ahead, behind = np.roll(points, -reach) - points, points - np.roll(points, reach)
    return np.angle(ahead * np.conj(behind)) / (2 * math.pi)


def _turns(points: np.ndarray) -> list[float]:
    turn = _turn(points, _REACH)
    left, corners = turn.copy(), []
    for _ in range(6):
        place = int(left.argmax())
        corners.append(float(left[place]))
        left[(place + np.arange(-_APART, _APART + 1)) % _POINTS] = -math.inf
    return [
        float(np.sort(turn)[-4:].mean()),
        sum(corners[:3]) - corners[3],
        sum(corners[:4]),
        sum(corners[4:]),
        max(-float(turn.min()), 0.0),
        float(np.mean(np.abs(turn) < _FLAT)),
        float(np.mean(turn < -_FLAT)),
        float(turn.std()),
        float(_turn(points, 2 * _REACH).std()),
    ]


def _fillings(points: np.ndarray, crop: np.ndarray) -> list[float]:
    """How evenly far the outline is from its middle, and how well simple bodies agree with it."""
    radius = np.abs(points - points.mean())
    turned = points[None] * np.exp(-1j * _ANGLES)[:, None]
    boxes = np.ptp(turned.real, axis=1) * np.ptp(turned.imag, axis=1)
    rows, cols = np.nonzero(crop)
    middle = rows.mean(), cols.mean()
    # a pixel is a square, not a point: it has a moment of its own
    spread = np.cov(np.stack([cols, rows]), bias=True) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(spread)
    # the ellipse reaches two standard deviations along each axis, beyond the crop at corners
    reach = 2 * np.sqrt(np.diag(spread))[::-1]
    beyond = [
        max(r - m, r - (s - 1 - m)) for r, m, s in zip(reach, middle, crop.shape, strict=True)
    ]
    border = max(math.ceil(max(beyond)), 0) + 1
    y, x = np.mgrid[-border : crop.shape[0] + border, -border : crop.shape[1] + border]
    away = np.stack([x - middle[1], y - middle[0]])
    inside = (away * np.tensordot(np.linalg.inv(spread), away, 1)).sum(axis=0) <= 4
    apart = np.count_nonzero(inside ^ np.pad(crop, border))
    return [
        float(radius.std() / radius.mean()),
        _area(points) / max(float(boxes.min()), 1e-12),
        apart / len(rows),
        math.sqrt(max(small, 0.0) / large),
    ]
