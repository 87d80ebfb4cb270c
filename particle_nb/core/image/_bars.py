"""Candidates for a scale bar: drawn rectangles and rulers of dots, with ends in sub-pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

_STEP = 22  # grey levels of 255 that a bar stands out by
_EVEN = 16  # neighbours along a bar differ by less (JPEG, resampling)
_NOISE = 45  # levels by which JPEG moves the tone of a thin bar at most
_MOST = 24  # candidates that are looked at more closely
_CONTRAST = 30  # levels of a colour in which ends are measured
_OUTSIDE = (4, 10)  # columns beyond an end that are its ground
_BEYOND = 28  # columns beyond an end in which the bar does not go on
_SHARP = (3.0, 4.0)  # pixels in which the tone of a sharp, a clear end falls from 0.8 to 0.2
_MOVED = (2.0, 0.8)  # pixels by which two measurements of such an end differ at most
_TONE = (0.88, 0.92)  # share of its contrast that a bar has before its ends, least and median
_LAST = 2  # last columns beside a bar that are not all of its tone
_RAGGED = 1.25  # pixels by which the rows of a bar end elsewhere at most


@dataclass(frozen=True)
class Bar:
    """A drawn bar; pixel centres are integers, so that a bar of columns 10 to 19 is 9.5 to 19.5."""

    x0: float
    x1: float
    top: int
    bottom: int  # last row
    level: float  # its grey value
    ground: float  # grey value around it
    score: float  # 0 to 1: how much it looks drawn
    kind: str = "bar"  # "bar", "ticks", "dots", "split"
    reach: tuple[int, int] = (0, 0)  # rows that ticks add above and below

    @property
    def length(self) -> float:
        """Pixels from end to end."""
        return self.x1 - self.x0

    @property
    def rows(self) -> tuple[int, int]:
        """First and last row with its ticks."""
        return self.top - self.reach[0], self.bottom + self.reach[1]


def bars(grey: np.ndarray, soft: bool = False) -> list[Bar]:
    """Return candidates in a picture of grey levels 0 to 255, (H, W) float32, best first.

    `soft` is for colours, which JPEG keeps at half the pixels: an end then takes four.
    """
    skip = 4 if soft else 2
    made = (_rectangle(grey, *start, skip) for start in _starts(grey))
    found = [bar for bar in made if bar is not None]
    found = _distinct(_without_frames(found))
    found += _split(found) + _rulers(grey)
    return sorted(found, key=lambda bar: -bar.score)[:_MOST]


def _shifted(grey: np.ndarray, rows: int) -> np.ndarray:
    """The picture moved down by a number of rows; the edge row repeats."""
    at = np.clip(np.arange(len(grey)) - rows, 0, len(grey) - 1)
    return grey[at]


def _starts(grey: np.ndarray) -> list[tuple[int, int, int]]:
    """(row, first column, end column) of even runs that stand out from what is above them."""
    height, width = grey.shape
    least = max(12, round(0.02 * width))
    broken = np.ones((height, width + 1), bool)
    broken[:, 1:-1] = np.abs(np.diff(grey, axis=1)) > _EVEN
    at = np.flatnonzero(broken)
    first, last = at[:-1], at[1:]
    keep = (last - first >= least) & (last - first <= 0.92 * width)
    first, last = first[keep], last[keep]
    row, a = np.divmod(first, width + 1)
    b = a + last - first
    sums = np.zeros((height, width + 1), np.int32)
    np.cumsum(np.abs(grey - _shifted(grey, 2)) >= _STEP, axis=1, out=sums[:, 1:])
    share = (sums[row, b] - sums[row, a]) / (b - a)
    good = (share >= 0.75) & (row >= 2) & (a > 0) & (b < width)
    order = np.argsort(-share[good] * np.log(b[good] - a[good]))[:400]
    return [(int(row[good][k]), int(a[good][k]), int(b[good][k])) for k in order]


def _rectangle(grey: np.ndarray, row: int, a: int, b: int, skip: int = 2) -> Bar | None:
    """The rectangle of one tone that begins with this run, if it ends like a drawn one.

    JPEG breaks the run of a thin bar: it goes on where the tone does.
    """
    wide = _whole_run(grey, row, a, b)
    bar = _of_run(grey, row, *wide, skip) if wide != (a, b) else None
    return bar or _of_run(grey, row, a, b, skip)


def _whole_run(grey: np.ndarray, row: int, a: int, b: int) -> tuple[int, int]:
    """First and end column of what has a run's tone, and not its ground's, on both sides of it."""
    level = float(np.median(grey[row, a:b]))
    ground = float(np.median(grey[max(row - 2, 0), a:b]))
    near = np.abs(grey[row] - level) <= min(_NOISE, abs(level - ground) / 3)
    left, right = np.flatnonzero(~near[:a]), np.flatnonzero(~near[b:])
    a = int(left[-1]) + 1 if len(left) else a
    return a, b + int(right[0]) if len(right) else b


def _of_run(grey: np.ndarray, row: int, a: int, b: int, skip: int) -> Bar | None:
    """The rectangle of one tone that a run begins."""
    height = len(grey)
    middle = grey[:, a + 1 : b - 1]
    level = float(np.median(middle[row]))
    top = row
    bottom = row
    while bottom + 1 < height and _same(middle[bottom + 1], level):
        bottom += 1
        if bottom - top > 0.6 * (b - a):
            return None
    above = middle[max(top - 2, 0)]
    sides = [np.abs(above - level)]
    if bottom + 2 < height:
        sides.append(np.abs(middle[bottom + 2] - level))
    elif bottom + 1 < height:
        sides.append(np.abs(middle[bottom + 1] - level))
    else:
        return None  # what is below the picture's last row is not known
    shares = [float((side >= _STEP).mean()) for side in sides]
    if min(shares) < 0.7:
        return None
    core = grey[top : bottom + 1]
    profile = core.mean(axis=0)
    ends = _end(profile, a, -1, level, skip), _end(profile, b - 1, 1, level, skip)
    if ends[0] is None or ends[1] is None or ends[1] - ends[0] < 0.8 * (b - a):
        return None
    # one tone: what is drawn has no noise of its own
    spread = float(np.abs(core[:, a + 1 : b - 1] - level).mean())
    # and it is brighter, or darker, than the ground everywhere
    one_side = abs(float(np.sign(above - level).mean()))
    ground = float(np.median(np.concatenate([above, middle[min(bottom + 2, height - 1)]])))
    extreme = max(level, 255 - level) / 255
    steep = min(1.0, abs(level - ground) / 90)
    score = min(shares) * one_side * max(0.0, 1 - spread / 25) * (0.3 + 0.7 * extreme**3) * steep
    thick, length = bottom - top + 1, ends[1] - ends[0]
    score *= min(1.0, length / thick / 4) ** 0.5
    reach = _ticks(grey, top, bottom, a, b, level, ground)
    kind = "ticks" if any(reach) else "bar"
    return Bar(ends[0], ends[1], top, bottom, level, ground, float(score), kind, reach)


def _same(row: np.ndarray, level: float) -> bool:
    return bool((np.abs(row - level) <= 20).mean() >= 0.9)


def _end(profile: np.ndarray, at: int, way: int, level: float, skip: int) -> float | None:
    """Where the tone has gone half the way to the ground beyond an end; None where it does not.

    The ground begins `skip` pixels beyond.
    """
    beyond = np.arange(at + skip * way, at + (skip + 4) * way, way)
    beyond = beyond[(beyond >= 0) & (beyond < len(profile))]
    if not len(beyond):
        return None
    outside = float(np.median(profile[beyond[:3]]))
    if abs(outside - level) < _STEP:
        return None
    half = (outside + level) / 2
    sign = np.sign(outside - level)
    x = at - way  # one step inside, where the tone is the bar's
    while 0 <= x + way < len(profile):
        here, there = profile[x], profile[x + way]
        if sign * (there - half) >= 0:
            part = (half - here) / (there - here) if there != here else 0.5
            return float(x + way * part)
        x += way
        if abs(x - at) > 6:
            break
    return None


def _ticks(
    grey: np.ndarray, top: int, bottom: int, a: int, b: int, level: float, ground: float
) -> tuple[int, int]:
    """Rows by which strokes at both ends go beyond the bar, above and below."""
    reach = []
    most = max(3, round(0.3 * (b - a)))
    for row, way in ((top, -1), (bottom, 1)):
        ends = []
        for near in (slice(a, a + 3), slice(b - 3, b)):
            n = 0
            while n < most and 0 <= row + way * (n + 1) < len(grey):
                values = grey[row + way * (n + 1), near]
                if np.abs(values - level).min() > 0.35 * abs(level - ground):
                    break
                n += 1
            ends.append(n)
        reach.append(min(ends) if min(ends) >= 2 and max(ends) - min(ends) <= 2 else 0)
    return reach[0], reach[1]


def _without_frames(found: list[Bar]) -> list[Bar]:
    """Leave out lines that are top and bottom of one frame."""
    kept = []
    for bar in found:
        twin = any(
            other is not bar
            and abs(other.x0 - bar.x0) < 2
            and abs(other.x1 - bar.x1) < 2
            and 4 < abs(other.top - bar.top) <= 0.9 * bar.length
            and abs((other.bottom - other.top) - (bar.bottom - bar.top)) <= 1
            and abs(other.level - bar.level) < 30
            for other in found
        )
        if not twin:
            kept.append(bar)
    return kept


def _distinct(found: list[Bar]) -> list[Bar]:
    """The best of candidates that lie on each other."""
    kept: list[Bar] = []
    for bar in sorted(found, key=lambda bar: -bar.score):
        if not any(
            min(bar.x1, o.x1) - max(bar.x0, o.x0) > 0.5 * min(bar.length, o.length)
            and bar.top <= o.bottom + 2
            and o.top <= bar.bottom + 2
            for o in kept
        ):
            kept.append(bar)
    return kept


def _split(found: list[Bar]) -> list[Bar]:
    """Two equal strokes on one line, with room for a text between them: one bar."""
    pairs = []
    for left in found:
        for right in found:
            gap = right.x0 - left.x1
            alike = abs(left.length - right.length) <= 0.12 * left.length + 2
            level = abs(left.top - right.top) <= 1 and abs(left.bottom - right.bottom) <= 1
            if (
                alike
                and level
                and 8 < gap <= 6 * left.length
                and abs(left.level - right.level) < 25
            ):
                score = 0.9 * min(left.score, right.score)
                pairs.append(replace(left, x1=right.x1, score=score, kind="split"))
    return pairs


def _rulers(grey: np.ndarray) -> list[Bar]:
    """Rows of equal marks at equal distances: the ruler of eleven dots."""
    found = []
    above = grey - ndimage.median_filter(grey, (1, 9), mode="nearest")
    for sign in (1, -1):
        stands = sign * above > 30
        labels, count = ndimage.label(stands, np.ones((3, 3), int))
        if not 9 <= count <= 200_000:
            continue
        marks = [
            (box[0].start, box[0].stop, (box[1].start + box[1].stop - 1) / 2)
            for box in ndimage.find_objects(labels)
            if box[1].stop - box[1].start <= 7 and box[0].stop - box[0].start <= 24
        ]
        for run in _equal_runs(marks):
            found.append(_ruler(grey, run, sign))
    return found


def _equal_runs(marks: list[tuple[int, int, float]]) -> list[list[tuple[int, int, float]]]:
    """Runs of 9 to 13 marks on one line whose distances are equal."""
    rows: dict[int, list[tuple[int, int, float]]] = {}
    for mark in marks:
        for band in {mark[1] // 3, (mark[1] + 1) // 3}:
            rows.setdefault(band, []).append(mark)
    runs: list[list[tuple[int, int, float]]] = []
    for line_marks in rows.values():
        line = sorted(line_marks, key=lambda mark: mark[2])
        if len(line) < 9:
            continue
        at = np.array([mark[2] for mark in line])
        steps = np.diff(at)
        k = 0
        while k < len(steps):
            j = k
            while j + 1 < len(steps) and abs(steps[j + 1] - steps[k]) <= max(1.01, 0.06 * steps[k]):
                j += 1
            if 8 <= j - k + 1 <= 12 and steps[k] >= 4:
                runs.append(line[k : j + 2])
            k = j + 1
    return runs


def _ruler(grey: np.ndarray, run: list[tuple[int, int, float]], sign: int) -> Bar:
    """The ruler's ends are the middles of its first and last mark."""
    top, bottom = min(m[0] for m in run), max(m[1] for m in run) - 1
    centres = []
    for _, _, x in (run[0], run[-1]):
        columns = np.arange(max(round(x) - 4, 0), min(round(x) + 5, grey.shape[1]))
        profile = grey[top : bottom + 1, columns].mean(axis=0)
        weight = np.clip(sign * (profile - np.median(profile)), 0, None)
        centres.append(float((weight * columns).sum() / max(weight.sum(), 1e-9)))
    inside = grey[top : bottom + 1, round(run[0][2]) : round(run[-1][2]) + 1]
    ground = float(np.median(inside))
    level = float(np.percentile(inside, 97 if sign > 0 else 3))
    score = 0.95 if len(run) == 11 else 0.6
    return Bar(centres[0], centres[1], top, bottom, level, ground, score, "dots")


def clear_ends(picture: np.ndarray, bar: Bar) -> tuple[float, float] | None:
    """Return both ends of a bar as its sharpest colour shows them; None where one is not clear.

    Parameters
    ----------
    picture : array (H, W, C)
        Levels 0 to 255 of each colour, as the bar lies.
    """
    if bar.kind == "dots":
        return bar.x0, bar.x1
    mirrored = replace(bar, x0=picture.shape[1] - 1 - bar.x1, x1=picture.shape[1] - 1 - bar.x0)
    left, right = _clear_end(picture[:, ::-1], mirrored), _clear_end(picture, bar)
    if left is None or right is None:
        return None
    return picture.shape[1] - 1 - left, right


def _clear_end(picture: np.ndarray, bar: Bar) -> float | None:
    """Where a bar ends on the right, None where its tone fades, or goes on in something else."""
    end, last = bar.x1, picture.shape[1]
    depth = int(min(12, bar.length / 4))
    at = round(end - 0.5)  # last column
    if at + _OUTSIDE[0] + 2 >= last:
        return None
    rows = picture[bar.top : bar.bottom + 1]
    inner = np.median(rows[:, at - depth : at - 2], axis=(0, 1))
    outer = np.median(rows[:, at + _OUTSIDE[0] : at + _OUTSIDE[1]], axis=(0, 1))
    apart = np.abs(inner - outer)
    best: tuple[float, float, int] | None = None
    for k in np.flatnonzero(apart >= max(_CONTRAST, 0.4 * float(apart.max()))):
        share = (rows[..., k].mean(axis=0) - outer[k]) / (inner[k] - outer[k])
        fall = _fall(share, at)
        if fall is not None and (best is None or fall[1] < best[1]):
            best = (*fall, int(k))
    if best is None or best[1] > _SHARP[1] or abs(best[0] - end) > _MOVED[best[1] > _SHARP[0]]:
        return None
    where, _, best_one = best
    share = (picture[..., best_one] - outer[best_one]) / (inner[best_one] - outer[best_one])
    core = slice(bar.top + 1, bar.bottom) if bar.bottom - bar.top >= 2 else None
    for line in share[core] if core else ():
        fall = _fall(line, at)
        if fall is None or abs(fall[0] - where) > _RAGGED:
            return None
    tone = share[bar.top : bar.bottom + 1].mean(axis=0)[max(at - 5, 0) : at - 1]
    # what goes on at the end is not quite as the bar
    if tone.min() < _TONE[0] or np.median(tone[1:]) < _TONE[1]:
        return None
    alike = np.abs(picture - inner).max(axis=2) < 0.4 * float(apart.max())
    stroke = max(4, round(1.5 * (bar.bottom - bar.top + 1)) + 1) if bar.kind == "ticks" else 1
    beyond = alike[bar.top : bar.bottom + 1, at + 3 : at + _BEYOND].mean(axis=0) > 0.9
    for edge, way in ((bar.top, -1), (bar.bottom, 1)):
        outside = _beside(alike, edge, way, bar)
        if outside is None:
            continue
        same = alike[outside, at - depth : at + 1 - stroke]
        # at the end, what is beside the bar goes on with it
        if len(same) and (same.sum() > 0.4 * same.size or same[-_LAST:].all()):
            return None
        beyond &= ~alike[outside, at + 3 : at + _BEYOND]
    on = ndimage.uniform_filter1d(beyond.astype(float), 5, mode="constant")
    if len(on) and on.max() > 0.99:  # the bar goes on behind what crosses it
        return None
    return where


def _fall(share: np.ndarray, at: int) -> tuple[float, float] | None:
    """Where a profile from 1 to 0 passes the half near a column, and pixels from 0.8 to 0.2."""
    first = max(at - 6, 0)
    near = share[first : at + 8]
    places = []
    for level in (0.8, 0.5, 0.2):
        under = np.flatnonzero(near < level)
        if not len(under) or not under[0]:
            return None
        k = int(under[0])
        places.append(first + k - 1 + float((near[k - 1] - level) / (near[k - 1] - near[k])))
    return places[1], places[2] - places[0]


def _beside(alike: np.ndarray, edge: int, way: int, bar: Bar) -> int | None:
    """The nearest row beyond a bar's long side that is not the bar's in the middle."""
    third = bar.length / 3
    middle = slice(int(bar.x0 + third), int(bar.x1 - third) + 1)
    for step in range(2, 7):
        row = edge + way * step
        if not 0 <= row < len(alike):
            return None
        if bar.kind == "split" or alike[row, middle].mean() < 0.3:
            return row
    return None
