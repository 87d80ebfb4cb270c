"""Draw the kinds of pictures that the renderer lacks: dense fields, heaps, dots, nets, nothing.

Plain drawings, milliseconds each: what training is fed with, and what a tuned network must not
forget. What is no particle carries no label: the holes and the threads of a net, a support, print,
scratches, a rough film.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont
from scipy import ndimage, spatial

from particle_nb.core.synthetic import random_settings, scene

EDGE = 448
Drawn = tuple[np.ndarray, np.ndarray]
#: By name how often one is drawn and what draws it.
Families = dict[str, tuple[float, Callable[[np.random.Generator], Drawn]]]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two others, evenly over its logarithm."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def grain(rng: np.random.Generator, sigma: float, edge: int = EDGE) -> np.ndarray:
    """Smooth noise (edge, edge) with a standard deviation of 1."""
    if sigma > 6:  # drawn coarser, then enlarged
        cells = max(4, int(edge / sigma * 2.5))
        field = ndimage.zoom(rng.standard_normal((cells, cells)), edge / cells + 0.01, order=3)
        field = field[:edge, :edge]
    else:
        field = ndimage.gaussian_filter(rng.standard_normal((edge, edge)), sigma)
    return np.asarray(field / max(float(field.std()), 1e-9))


def fractal(rng: np.random.Generator, power: float, edge: int = EDGE) -> np.ndarray:
    """Self-affine noise (edge, edge) with a standard deviation of 1."""
    f = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)[None])
    f[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((edge, edge)))
    field = np.fft.irfft2(white * f ** (-power), (edge, edge))
    return np.asarray(field / field.std())


@dataclass(frozen=True)
class GreyTones:
    """Grey of ground and particles (0 to 1, ground may be the brighter) and how they differ."""

    ground: float
    step: float
    spread: float

    @classmethod
    def draw(cls, rng: np.random.Generator, least: float = 0.12) -> GreyTones:
        """Random tones with a step of at least `least`."""
        ground = rng.uniform(0.05, 0.85)
        size = log_uniform(rng, least, 0.7)
        sign = 1.0 if ground + size < 0.97 and (rng.random() < 0.65 or ground < size) else -1.0
        return cls(ground, sign * size, rng.uniform(0, 0.25) if rng.random() < 0.5 else 0.0)


def ground_of(rng: np.random.Generator, tones: GreyTones) -> np.ndarray:
    """A background (EDGE, EDGE): plain, sloping, grainy or rough."""
    image = np.full((EDGE, EDGE), tones.ground)
    kind = rng.random()
    strength = abs(tones.step) * rng.uniform(0.03, 0.25)
    if kind < 0.3:
        image += strength * grain(rng, log_uniform(rng, 0.8, 40))
    elif kind < 0.5:
        image += strength * fractal(rng, rng.uniform(0.8, 2.0))
    elif kind < 0.65:
        slope = rng.uniform(-0.5, 0.5, 2) * abs(tones.step)
        axis = np.linspace(-0.5, 0.5, EDGE)
        image += slope[0] * axis[:, None] + slope[1] * axis[None]
    return image


def paint(
    rng: np.random.Generator, labels: np.ndarray, depth: np.ndarray, tones: GreyTones
) -> np.ndarray:
    """Grey values (H, W) of labelled particles; `depth` is 1 in their middle, 0 at the edge."""
    image = ground_of(rng, tones)
    count = int(labels.max())
    own = 1.0 + tones.spread * rng.standard_normal(count + 1)
    look = rng.integers(5)
    edge = 1.0 - depth
    if look == 0:
        shade = np.ones_like(depth)
    elif look == 1:  # bright rim
        shade = rng.uniform(0.4, 0.8) + (1.0 - rng.uniform(0.4, 0.8)) * edge ** rng.uniform(2, 6)
    elif look == 2:  # lit ball
        shade = rng.uniform(0.3, 0.7) + 0.6 * np.sqrt(np.clip(depth * (2 - depth), 0, 1))
    elif look == 3:  # thin bright rim of a secondary-electron image
        shade = rng.uniform(0.5, 0.9) + rng.uniform(0.3, 1.0) * np.exp(
            -depth / rng.uniform(0.05, 0.25)
        )
    else:  # dark rim
        shade = 1.0 - rng.uniform(0.2, 0.6) * np.exp(-depth / rng.uniform(0.05, 0.3))
    inside = labels > 0
    value = image + tones.step * shade * own[labels]
    if rng.random() < 0.35:
        value += abs(tones.step) * rng.uniform(0.05, 0.3) * grain(rng, log_uniform(rng, 0.8, 6))
    return np.asarray(np.where(inside, value, image))


def stamp(
    spots: np.ndarray, sizes: np.ndarray, form: str, angles: np.ndarray, edge: int = EDGE
) -> Drawn:
    """Labels and depth (H, W) of discs or squares; where they overlap the nearer middle wins."""
    labels = np.zeros((edge, edge), np.int32)
    depth = np.zeros((edge, edge))
    for number, ((x, y), size, angle) in enumerate(zip(spots, sizes, angles, strict=True), 1):
        half = 0.5 * size
        reach = half * (1.5 if form == "square" else 1.0) + 1
        x0, x1 = max(int(x - reach), 0), min(int(x + reach) + 2, edge)
        y0, y1 = max(int(y - reach), 0), min(int(y + reach) + 2, edge)
        if x1 <= x0 or y1 <= y0:
            continue
        u, v = np.arange(x0, x1)[None] - x, np.arange(y0, y1)[:, None] - y
        if form == "square":
            c, s = math.cos(angle), math.sin(angle)
            far = np.maximum(np.abs(c * u + s * v), np.abs(c * v - s * u)) / half
        else:
            far = np.hypot(u, v) / half
        here = 1.0 - far
        better = (here > 0) & (here > depth[y0:y1, x0:x1])
        labels[y0:y1, x0:x1][better] = number
        depth[y0:y1, x0:x1][better] = here[better]
    return labels, np.clip(depth, 0, 1)


def _lattice(rng: np.random.Generator, pitch: float, jitter: float) -> np.ndarray:
    """Places (N, 2) of a square or hexagonal lattice, turned."""
    reach = int(EDGE / pitch) + 3
    i, j = (a.ravel().astype(float) for a in np.mgrid[-reach:reach, -reach:reach])
    places = (
        np.stack([i + 0.5 * (j % 2), j * math.sqrt(0.75)], 1)
        if rng.random() < 0.4
        else np.stack([i, j], 1)
    )
    angle = 0.0 if rng.random() < 0.5 else rng.uniform(0, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places = places @ turn * pitch + EDGE / 2 + rng.uniform(-0.5, 0.5, 2) * pitch
    places += rng.uniform(-jitter, jitter, places.shape)
    return places[((places > -0.3 * pitch) & (places < EDGE + 0.3 * pitch)).all(1)]


def _some(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """All places, or those of a part of the picture, or all but some vacancies."""
    draw = rng.random()
    if draw < 0.25:
        field = grain(rng, rng.uniform(40, 120)) > rng.uniform(-0.8, 0.8)
        at = places.clip(0, EDGE - 1).astype(int)
        return places[field[at[:, 1], at[:, 0]]]
    if draw < 0.5:
        return places[rng.random(len(places)) > rng.uniform(0, 0.3)]
    return places


def field(rng: np.random.Generator, form: str = "disc") -> Drawn:
    """Equal discs or squares of 6 to 60 px at a pitch of 1.0 to 3 diameters."""
    size = log_uniform(rng, 6, 64)
    pitch = 1.0 + (rng.uniform(0, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 2.0))
    loose = rng.uniform(0, max(0.5 * (pitch - 1.0) * size, 0.02 * size))
    places = _some(rng, _lattice(rng, pitch * size, loose))
    sizes = size * np.exp(rng.normal(0, rng.uniform(0, 0.05), len(places)))
    if form == "square" and rng.random() < 0.6:
        angles = np.full(len(places), rng.uniform(0, math.pi))
    else:
        angles = rng.uniform(0, math.pi, len(places))
    labels, depth = stamp(places, sizes, form, angles)
    return paint(rng, labels, depth, GreyTones.draw(rng)), labels


def squares(rng: np.random.Generator) -> Drawn:
    """Cubes seen from above, many touching."""
    return field(rng, "square")


def primaries(rng: np.random.Generator) -> Drawn:
    """Touching primaries: cells of scattered middles within discs, in clusters or all over."""
    size = log_uniform(rng, 9, 70)
    count = int(EDGE * EDGE / (0.8 * size * size) * rng.uniform(0.4, 1.4))
    spots = rng.uniform(0, EDGE, (count, 2))
    if rng.random() < 0.6:
        spots = _some(rng, spots)
    kept: list[np.ndarray] = []
    tree_size = rng.uniform(0.55, 0.9) * size
    for spot in spots:
        if not kept or np.hypot(*(np.array(kept) - spot).T).min() > tree_size:
            kept.append(spot)
    places = np.array(kept)
    sizes = size * np.exp(rng.normal(0, rng.uniform(0.03, 0.2), len(places)))
    yy, xx = np.mgrid[:EDGE, :EDGE]
    warp = rng.uniform(0, 0.08) * size
    points = np.stack([xx + warp * grain(rng, 0.3 * size), yy + warp * grain(rng, 0.3 * size)], -1)
    near, index = spatial.cKDTree(places).query(points.reshape(-1, 2), k=min(2, len(places)))
    near, index = near.reshape(EDGE, EDGE, -1), index.reshape(EDGE, EDGE, -1)
    inside = near[..., 0] < 0.5 * sizes[index[..., 0]]
    labels = np.where(inside, index[..., 0] + 1, 0).astype(np.int32)
    gap = near[..., -1] - near[..., 0]
    depth = np.minimum(1 - near[..., 0] / (0.5 * sizes[index[..., 0]]), gap / (0.5 * size) + 0.02)
    image = paint(rng, labels, np.clip(depth, 0, 1), GreyTones.draw(rng, 0.15))
    sign = float(rng.choice([-1, -1, 1]))
    # Wide bright grooves would be the walls of a foam, see `net`.
    groove = np.exp(-gap / log_uniform(rng, 0.6, 2.5 if sign < 0 else 1.2)) * inside
    image += groove * sign * rng.uniform(0.1, 0.35)
    return image, labels


def heap(rng: np.random.Generator) -> Drawn:
    """Particles lying over one another, the lower ones in shadow; those mostly covered unmarked."""
    size = log_uniform(rng, 12, 90)
    count = int(np.clip(EDGE * EDGE / size**2 * rng.uniform(0.4, 3.5), 4, 1500))
    spots = _some(rng, rng.uniform(-0.3 * size, EDGE + 0.3 * size, (count, 2)))
    spread, power = rng.uniform(0.05, 0.35), float(rng.choice([2, 2, 2.5, 4]))
    order = np.zeros((EDGE, EDGE), np.int32)
    depth = np.zeros((EDGE, EDGE))
    whole = np.zeros(len(spots) + 1)
    for number, (x, y) in enumerate(spots, 1):
        long = 0.5 * size * math.exp(rng.normal(0, spread))
        short, angle = long * rng.uniform(0.6, 1.0), rng.uniform(0, math.pi)
        reach = 1.25 * long + 1
        x0, x1 = max(int(x - reach), 0), min(int(x + reach) + 2, EDGE)
        y0, y1 = max(int(y - reach), 0), min(int(y + reach) + 2, EDGE)
        if x1 <= x0 or y1 <= y0:
            continue
        u, v = np.arange(x0, x1)[None] - x, np.arange(y0, y1)[:, None] - y
        c, s = math.cos(angle), math.sin(angle)
        far = np.abs((c * u + s * v) / long) ** power + np.abs((c * v - s * u) / short) ** power
        here = far < 1
        order[y0:y1, x0:x1][here] = number
        depth[y0:y1, x0:x1][here] = 1 - far[here] ** (1 / power)
        whole[number] = np.count_nonzero(here)
    image = paint(rng, order, depth, GreyTones.draw(rng, 0.15))
    reach = max(1.0, size * rng.uniform(0.04, 0.15))
    above = ndimage.gaussian_filter(order.astype(float), reach) - order
    shadow = np.clip(above / max(order.max(), 1) * 4, 0, 1) * rng.uniform(0.2, 0.9)
    image *= 1 - shadow * (order > 0)
    image *= 1 - rng.uniform(0, 0.5) * (order > 0) * (1 - order / max(order.max(), 1))
    seen = np.bincount(order.ravel(), minlength=len(whole)) / np.maximum(whole, 1)
    return image, np.where(seen[order] > 0.4, order, 0).astype(np.int32)


def dots(rng: np.random.Generator) -> Drawn:
    """Scattered dots of 5 to 14 px, some on a support that is no particle."""
    size = log_uniform(rng, 4.5, 14)
    spots = rng.uniform(0, EDGE, (int(log_uniform(rng, 15, 900)), 2))
    tree = spatial.cKDTree(spots)
    drop = {j for i, j in tree.query_pairs(size * rng.uniform(1.05, 1.6)) if j > i}
    spots = spots[[k for k in range(len(spots)) if k not in drop]]
    sizes = size * np.exp(rng.normal(0, rng.uniform(0, 0.25), len(spots)))
    labels, depth = stamp(spots, sizes, "disc", np.zeros(len(spots)))
    tones = GreyTones.draw(rng, 0.2)
    image = paint(rng, labels, depth, tones)
    if rng.random() < 0.5:
        support = grain(rng, rng.uniform(20, 90)) > rng.uniform(-0.5, 1.0)
        soft = ndimage.gaussian_filter(support.astype(float), rng.uniform(0.6, 3))
        image += soft * tones.step * rng.uniform(0.2, 0.6)
        image += soft * abs(tones.step) * 0.1 * grain(rng, log_uniform(rng, 1, 12))
        if rng.random() < 0.4:
            keep = np.concatenate(
                [[False], support[spots[:, 1].astype(int), spots[:, 0].astype(int)]]
            )
            gone = ~keep[labels] & (labels > 0)
            image[gone] = np.median(image[~support & (labels == 0)]) if (~support).any() else 0.5
            labels = np.where(keep[labels], labels, 0)
    return image, labels


def boulders(rng: np.random.Generator) -> Drawn:
    """One to eight large particles with a grain or relief of their own."""
    count = int(rng.integers(1, 9))
    labels = np.zeros((EDGE, EDGE), np.int32)
    yy, xx = np.mgrid[:EDGE, :EDGE]
    depth = np.zeros((EDGE, EDGE))
    for number in range(1, count + 1):
        radius = log_uniform(rng, 30, 210 / math.sqrt(count) + 40)
        x, y = rng.uniform(0, EDGE, 2)
        theta = np.arctan2(yy - y, xx - x)
        waves = rng.normal(0, 1, (5, 2)) * (rng.uniform(0, 0.12) / np.arange(1, 6)[:, None])
        reach = radius * (
            1
            + sum(
                a * np.cos((k + 2) * theta) + b * np.sin((k + 2) * theta)
                for k, (a, b) in enumerate(waves)
            )
        )
        far = np.hypot((xx - x) * rng.uniform(0.75, 1.0), yy - y) / np.maximum(reach, 8)
        here = far < 1
        if rng.random() < 0.6 and (labels[here] > 0).mean() > 0.02:
            continue
        labels[here] = number
        depth[here] = (1 - far)[here]
    tones = GreyTones.draw(rng, 0.08)
    image = ground_of(rng, tones)
    texture = rng.uniform(0.2, 1.0) * grain(rng, log_uniform(rng, 0.8, 10))
    if rng.random() < 0.5:
        texture += rng.uniform(0.2, 0.8) * fractal(rng, rng.uniform(1.0, 2.0))
    if rng.random() < 0.3:  # facets
        seeds = rng.uniform(0, EDGE, (int(rng.integers(8, 60)), 2))
        cell = spatial.cKDTree(seeds).query(np.stack([xx, yy], -1).reshape(-1, 2))[1]
        texture += rng.normal(0, 1, len(seeds))[cell].reshape(EDGE, EDGE)
    strength = log_uniform(rng, 0.05, 0.2)
    rim = np.exp(-depth * rng.uniform(8, 30)) * rng.uniform(0, 0.25)
    inside = labels > 0
    own = 1 + 0.1 * rng.standard_normal(count + 1)
    return np.where(
        inside, image + tones.step * own[labels] + strength * texture + rim, image
    ), labels


def sticks(rng: np.random.Generator) -> Drawn:
    """A few long rods, tubes or fibres of 1:3 to 1:30, mostly apart."""
    labels = np.zeros((EDGE, EDGE), np.int32)
    across = np.zeros((EDGE, EDGE))
    yy, xx = np.mgrid[:EDGE, :EDGE].astype(float)
    wide = log_uniform(rng, 5, 60)
    for number in range(1, int(rng.integers(1, 9)) + 1):
        width = wide * math.exp(rng.normal(0, 0.15))
        length = width * log_uniform(rng, 3, 30)
        length = min(length, rng.uniform(0.5, 1.3) * EDGE)
        x, y, angle = rng.uniform(0, EDGE), rng.uniform(0, EDGE), rng.uniform(0, math.pi)
        u = (xx - x) * math.cos(angle) + (yy - y) * math.sin(angle)
        v = (yy - y) * math.cos(angle) - (xx - x) * math.sin(angle)
        v = v + rng.normal(0, 0.05) * u * u / EDGE  # bent
        if rng.random() < 0.5:
            here = (np.abs(u) < length / 2) & (np.abs(v) < width / 2)
        else:
            here = np.hypot(np.maximum(np.abs(u) - (length - width) / 2, 0), v) < width / 2
        if (labels[here] > 0).any() and rng.random() < 0.6:
            continue
        labels[here] = number
        across[here] = (1 - np.abs(v) / (width / 2))[here]
    return paint(rng, labels, np.clip(across, 0, 1), GreyTones.draw(rng)), labels


def net(rng: np.random.Generator) -> Drawn:
    """A net, foam or lacey support: neither its threads nor its holes are particles."""
    yy, xx = np.mgrid[:EDGE, :EDGE]
    tones = GreyTones.draw(rng)
    kind = rng.random()
    if kind < 0.4:
        thread = np.zeros((EDGE, EDGE))
        width = log_uniform(rng, 2, 14)
        for _ in range(int(rng.integers(8, 60))):
            x, y, angle = rng.uniform(0, EDGE), rng.uniform(0, EDGE), rng.uniform(0, math.pi)
            u = (xx - x) * math.cos(angle) + (yy - y) * math.sin(angle)
            v = (yy - y) * math.cos(angle) - (xx - x) * math.sin(angle)
            v = np.abs(v + rng.normal(0, 0.2) * u * u / EDGE) / (width * rng.uniform(0.5, 1.2))
            thread = np.maximum(thread, np.sqrt(np.clip(1 - v * v, 0, 1)) * rng.uniform(0.6, 1.0))
    elif kind < 0.75:
        seeds = rng.uniform(0, EDGE, (int(log_uniform(rng, 10, 250)), 2))
        near = spatial.cKDTree(seeds).query(np.stack([xx, yy], -1).reshape(-1, 2), k=2)[0]
        wall = (near[:, 1] - near[:, 0]).reshape(EDGE, EDGE) / log_uniform(rng, 5, 18)
        thread = ndimage.gaussian_filter(np.exp(-(wall**2)), rng.uniform(1, 4))
        # Holes are flat and darker than their walls: touching primaries are neither.
        return ground_of(rng, tones) + abs(tones.step) * thread, np.zeros((EDGE, EDGE), np.int32)
    else:
        hole = grain(rng, log_uniform(rng, 6, 40))
        thread = 1 / (1 + np.exp((hole - rng.uniform(-0.3, 0.8)) * rng.uniform(3, 20)))
    image = ground_of(rng, tones) + tones.step * thread
    return image, np.zeros((EDGE, EDGE), np.int32)


def nothing(rng: np.random.Generator) -> Drawn:
    """Rough films, scratches, brushed or grainy ground: no particle at all."""
    image = np.full((EDGE, EDGE), rng.uniform(0.2, 0.8))
    image += rng.uniform(0.02, 0.2) * fractal(rng, rng.uniform(0.6, 2.0))
    if rng.random() < 0.5:
        image += rng.uniform(0.01, 0.15) * grain(rng, log_uniform(rng, 0.8, 20))
    if rng.random() < 0.3:
        image += (
            rng.uniform(0.02, 0.15)
            * ndimage.gaussian_filter1d(
                grain(rng, 1.0), rng.uniform(10, 60), axis=int(rng.integers(2))
            )
            / 0.2
        )
    yy, xx = np.mgrid[:EDGE, :EDGE]
    for _ in range(int(rng.integers(0, 8))):
        angle, place = rng.uniform(0, math.pi), rng.uniform(-0.2 * EDGE, 1.2 * EDGE)
        v = xx * math.cos(angle) + yy * math.sin(angle) - place
        image += rng.normal(0, 0.15) * np.exp(-((v / log_uniform(rng, 0.7, 4)) ** 2))
    return image, np.zeros((EDGE, EDGE), np.int32)


def letters(rng: np.random.Generator, image: np.ndarray, labels: np.ndarray) -> Drawn:
    """The picture (H, W) with print on it, in the open or on a bar; print is no particle."""
    plain = np.clip(image * 255, 0, 255).astype(np.uint8)
    picture = PilImage.fromarray(plain)
    pen = ImageDraw.Draw(picture)
    cover = PilImage.new("L", picture.size, 0)
    marks = ImageDraw.Draw(cover)
    size = int(log_uniform(rng, 9, 34))
    font = ImageFont.load_default(size)
    symbols = list("0123456789.: kVxmunWDEHTSignalAMagDet-")
    if rng.random() < 0.4:
        top, fill = EDGE - int(1.6 * size), int(rng.choice([0, 0, 10, 255]))
        box = (0, top, EDGE, EDGE)
        pen.rectangle(box, fill=fill)
        marks.rectangle(box, fill=255)
        ink, places = 255 - fill, [(6.0, top + 0.2 * size)]
    else:
        ink = int(rng.choice([0, 255, 255]))
        places = [tuple(rng.uniform(0, EDGE - 60, 2)) for _ in range(int(rng.integers(1, 5)))]
    for place in places:
        text = "".join(rng.choice(symbols, int(rng.integers(4, 36))))
        pen.text(place, text, fill=ink, font=font)
        marks.text(place, text, fill=255, font=font)
        if rng.random() < 0.6:
            x, y = rng.uniform(0, EDGE - 80), place[1] + 1.2 * size
            line = (x, y, x + rng.uniform(30, 160), y + rng.uniform(2, 8))
            pen.rectangle(line, fill=ink)
            marks.rectangle(line, fill=255)
    hidden = np.asarray(cover) > 60
    return np.asarray(picture) / 255.0, np.where(hidden, 0, labels)


FAMILIES: Families = {
    "field": (0.22, field),
    "squares": (0.08, squares),
    "primaries": (0.14, primaries),
    "heap": (0.17, heap),
    "dots": (0.12, dots),
    "boulders": (0.10, boulders),
    "sticks": (0.07, sticks),
    "net": (0.06, net),
    "nothing": (0.05, nothing),
}


def rendered(rng: np.random.Generator, side: int = 320) -> Drawn:
    """A rendered scene as one of its detectors sees it: more like a micrograph than a drawing."""
    made = scene(random_settings(rng, (side, side)), rng)
    return next(iter(made.detectors.values())), made.primaries.astype(np.int32)


def draw_field(rng: np.random.Generator, family: str | None = None) -> tuple[str, Drawn]:
    """Name of the family, image uint8 and labels int32 of one drawing.

    >>> name, (image, labels) = draw_field(np.random.default_rng(0), "field")
    >>> name, image.shape, bool(labels.max() > 3)
    ('field', (448, 448), True)
    """
    return drawn(FAMILIES, rng, family)


def drawn(
    families: Families,
    rng: np.random.Generator,
    family: str | None = None,
    print_share: float = 0.15,
) -> tuple[str, Drawn]:
    """Name, image uint8 and labels int32 of one drawing of a family, or of one by their shares.

    It comes out of focus, with noise and, as often as `print_share` says, with print on it.
    """
    names = list(families)
    shares = np.array([families[name][0] for name in names])
    name = family or str(rng.choice(names, p=shares / shares.sum()))
    image, labels = families[name][1](rng)
    image = ndimage.gaussian_filter(
        image, log_uniform(rng, 0.4, 2.2 if rng.random() < 0.25 else 1.0)
    )
    if rng.random() < 0.7:
        image = image + log_uniform(rng, 0.005, 0.07) * rng.standard_normal(image.shape)
    if rng.random() < print_share:
        image, labels = letters(rng, image, labels)
    sizes = np.bincount(labels.ravel())
    labels = np.where(sizes[labels] < 9, 0, labels)  # slivers that nobody would mark
    return name, (np.clip(image * 255, 0, 255).astype(np.uint8), labels.astype(np.int32))
