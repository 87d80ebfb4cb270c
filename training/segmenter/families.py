"""Kinds of pictures that `pnb-small-3` fails on, drawn for the training of what follows it.

Fibres that cross, plates over one another, primaries seen through each other, islands, fines
beside coarse ones, foams, small dots side by side. `training.segmenter.fields --more` writes them;
a tuned network does not rehearse them.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, spatial

from particle_nb.models.tuning.drawings import (
    EDGE,
    Drawn,
    Families,
    GreyTones,
    drawn,
    fractal,
    grain,
    ground_of,
    log_uniform,
    paint,
    stamp,
)

#: Of a body that lies under others this share must be seen for it to be marked.
SEEN = 0.35


def _grid() -> tuple[np.ndarray, np.ndarray]:
    yy, xx = np.mgrid[:EDGE, :EDGE].astype(float)
    return yy, xx


def _turned(x: float, y: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (EDGE, EDGE) along an axis through a place, and across it."""
    yy, xx = _grid()
    u = (xx - x) * math.cos(angle) + (yy - y) * math.sin(angle)
    v = (yy - y) * math.cos(angle) - (xx - x) * math.sin(angle)
    return u, v


def _marked(labels: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Labels without the bodies of which too little is seen; `whole` are their full areas."""
    seen = np.bincount(labels.ravel(), minlength=len(whole)) / np.maximum(whole, 1)
    return np.where(seen[labels] > SEEN, labels, 0).astype(np.int32)


def fibres(rng: np.random.Generator) -> Drawn:
    """Long bent fibres or wires, whole across what lies on them."""
    labels, across = np.zeros((EDGE, EDGE), np.int32), np.zeros((EDGE, EDGE))
    own = np.ones((EDGE, EDGE))
    wide, count = log_uniform(rng, 4, 30), int(log_uniform(rng, 4, 26))
    count = max(3, min(count, int(420 / wide)))
    whole = np.zeros(count + 1)
    spread = rng.uniform(0, 0.2)
    for number in range(1, count + 1):
        width = wide * math.exp(rng.normal(0, spread))
        x, y = rng.uniform(0, EDGE, 2)
        u, v = _turned(x, y, rng.uniform(0, math.pi))
        v = v + rng.normal(0, 0.15) * u * u / EDGE + rng.normal(0, 3) * np.sin(u / 60)
        here = (np.abs(u) < rng.uniform(0.15, 0.9) * EDGE) & (np.abs(v) < width / 2)
        labels[here] = number
        across[here] = np.sqrt((1 - (2 * v / width) ** 2).clip(0))[here]
        own[here] = 1 + rng.normal(0, 0.15)
        whole[number] = np.count_nonzero(here)
    tones = GreyTones.draw(rng, 0.12)
    flat = rng.uniform(0, 0.8)
    image = ground_of(rng, tones) + (labels > 0) * tones.step * own * (
        1 - flat * (across if rng.random() < 0.6 else 1 - across)
    )
    return image, _marked(labels, whole)


def plates(rng: np.random.Generator) -> Drawn:
    """Overlapping plates of three to eight corners, told apart by rims or by shining through."""
    count = int(log_uniform(rng, 8, 90))
    size = log_uniform(rng, 0.6, 1.5) * EDGE / math.sqrt(count)
    labels, depth = np.zeros((EDGE, EDGE), np.int32), np.zeros((EDGE, EDGE))
    layers = np.zeros((EDGE, EDGE))
    whole = np.zeros(count + 1)
    squash_least = rng.uniform(0.2, 0.9)
    corners_of = int(rng.integers(3, 9)) if rng.random() < 0.5 else 0
    for number in range(1, count + 1):
        corners = corners_of or int(rng.integers(3, 9))
        x, y = rng.uniform(0, EDGE, 2)
        u, v = _turned(x, y, rng.uniform(0, math.pi))
        squash = rng.uniform(squash_least, 1)
        reach = 0.5 * size * math.exp(rng.normal(0, 0.15))
        faces = 2 * math.pi * np.arange(corners) / corners + rng.normal(0, 0.08, corners)
        far = np.max([u * math.cos(f) + v / squash * math.sin(f) for f in faces], 0)
        here = far < reach
        labels[here] = number
        depth[here] = ((reach - far) * squash)[here]
        layers += here
        whole[number] = np.count_nonzero(here)
    tones = GreyTones.draw(rng, 0.08)
    inside = labels > 0
    body = (
        np.minimum(layers, 6) / 2.5
        if rng.random() < 0.35
        else 1 + rng.normal(0, 0.12, count + 1)[labels]
    )
    rim = log_uniform(rng, 0.05, 0.4) * np.exp(-depth / log_uniform(rng, 0.8, 3.0))
    rim = rim * (1.0 if rng.random() < 0.75 else -1.0)
    image = ground_of(rng, tones) + inside * (0.6 * tones.step * body + rim)
    if rng.random() < 0.4:
        image = image + inside * 0.3 * abs(tones.step) * grain(rng, log_uniform(rng, 1, 8))
    return image, _marked(labels, whole)


def seen_through(rng: np.random.Generator) -> Drawn:
    """Balls in transmission: what overlaps is darker; chains, clusters or strewn."""
    size = log_uniform(rng, 9, 70)
    count = int(np.clip(EDGE * EDGE / size**2 * rng.uniform(0.1, 0.8), 4, 400))
    spots: list[np.ndarray] = []
    near = size * rng.uniform(0.55, 1.0)
    branch = rng.random() < 0.75
    for _ in range(count):
        if not spots or not branch or rng.random() < 0.06:
            spots.append(rng.uniform(0, EDGE, 2))
            continue
        angle = rng.uniform(0, 2 * math.pi)
        spots.append(
            spots[rng.integers(len(spots))] + near * np.array([math.cos(angle), math.sin(angle)])
        )
    yy, xx = _grid()
    thick, order = np.zeros((EDGE, EDGE)), np.zeros((EDGE, EDGE), np.int32)
    spread, whole = rng.uniform(0, 0.2), np.zeros(count + 1)
    ball = rng.uniform(0, 1)
    for number, (x, y) in enumerate(spots, 1):
        radius = 0.5 * size * math.exp(rng.normal(0, spread))
        far = np.hypot(xx - x, yy - y) / radius
        here = far < 1
        thick[here] += ball + (1 - ball) * np.sqrt(1 - far[here] ** 2)
        order[here] = number
        whole[number] = np.count_nonzero(here)
    ground, one = rng.uniform(0.6, 0.95), rng.uniform(0.08, 0.35)
    tones = GreyTones(ground, -0.3, 0.0)
    image = ground_of(rng, tones) * np.exp(-one * thick)
    if rng.random() < 0.3:
        image = 1 - image
    layers = thick / (ball + (1 - ball) * math.pi / 4)
    crowd = np.bincount(order.ravel(), layers.ravel()) / np.bincount(order.ravel()).clip(1)
    return image, np.where(crowd[order] < 3.5, _marked(order, whole), 0).astype(np.int32)


def islands(rng: np.random.Generator) -> Drawn:
    """Irregular islands of one phase in another, each one a particle."""
    sigma = log_uniform(rng, 4, 30)
    field = grain(rng, sigma) if rng.random() < 0.7 else fractal(rng, rng.uniform(1.6, 2.2))
    field = ndimage.gaussian_filter(field, 1.0)
    labels, _ = ndimage.label(field > np.quantile(field, rng.uniform(0.72, 0.9)))
    sizes = np.bincount(labels.ravel())
    labels = np.where(sizes[labels] < 25, 0, labels).astype(np.int32)
    inner = ndimage.distance_transform_edt(labels > 0)
    depth = (inner / max(float(inner.max()), 1.0)).clip(0, 1)
    return paint(rng, labels, depth, GreyTones.draw(rng, 0.08)), labels


def bimodal(rng: np.random.Generator) -> Drawn:
    """Coarse bodies with fines in the gaps between them, often with bright or dark seams."""
    labels, depth = np.zeros((EDGE, EDGE), np.int32), np.zeros((EDGE, EDGE))
    size = log_uniform(rng, 40, 140)
    yy, xx = _grid()
    number = 0
    power = float(rng.choice([2, 2, 3, 5]))
    turn = rng.uniform(0, math.pi)
    for _ in range(int(3 * (EDGE / size) ** 2)):
        x, y = rng.uniform(0, EDGE, 2)
        angle = turn if rng.random() < 0.5 else rng.uniform(0, math.pi)
        u, v = _turned(x, y, angle)
        theta = np.arctan2(v, u)
        reach = 0.5 * size * math.exp(rng.normal(0, 0.3))
        lobes = rng.uniform(0, 0.16)
        wave = sum(
            rng.normal(0, lobes / k) * np.cos(k * theta + rng.uniform(0, 2 * math.pi))
            for k in range(2, 6)
        )
        squash = rng.uniform(0.55, 1)
        far = (np.abs(u) ** power + np.abs(v / squash) ** power) ** (1 / power) / np.maximum(
            reach * (1 + wave), 4
        )
        here = far < 1
        if not here.any() or (labels[far < 1.12] > 0).any():
            continue
        number += 1
        labels[here] = number
        depth[here] = (1 - far)[here]
    coarse = labels > 0
    if rng.random() < 0.85:
        fine = log_uniform(rng, 5, 0.25 * size)
        free = ndimage.distance_transform_edt(~coarse)
        spots = rng.uniform(0, EDGE, (int((EDGE / fine) ** 2 * rng.uniform(0.05, 0.5)), 2))
        tree = spatial.cKDTree(spots)
        gone = {j for _, j in tree.query_pairs(1.25 * fine)}
        for k, (x, y) in enumerate(spots):
            at = min(int(y), EDGE - 1), min(int(x), EDGE - 1)
            radius = 0.5 * fine * math.exp(rng.normal(0, 0.15))
            if k in gone or free[at] < radius + 1.5:
                continue
            number += 1
            far = np.hypot(xx - x, yy - y) / radius
            labels[far < 1] = number
            depth[far < 1] = (1 - far)[far < 1]
    tones = GreyTones.draw(rng, 0.06)
    image = paint(rng, labels, depth.clip(0, 1), tones)
    if rng.random() < 0.6:
        outer = ndimage.distance_transform_edt(~coarse) * ~coarse
        seam = np.exp(-(((outer - 2) / log_uniform(rng, 1.5, 6)) ** 2)) * (outer > 0)
        image = image + rng.choice([-1, 1, 1]) * log_uniform(rng, 0.03, 0.2) * seam * (labels == 0)
    if rng.random() < 0.3:
        image = image + 0.5 * abs(tones.step) * grain(rng, log_uniform(rng, 20, 90))
    return image, labels


def foam(rng: np.random.Generator) -> Drawn:
    """Walls around holes, often with walls of a second layer behind: none is a particle."""
    yy, xx = _grid()
    tones = GreyTones.draw(rng)
    image = ground_of(rng, tones)
    cells = log_uniform(rng, 10, 300)
    layers = 2 if rng.random() < 0.6 else 1
    for layer in range(layers, 0, -1):
        seeds = rng.uniform(-30, EDGE + 30, (int(cells * rng.uniform(0.7, 1.3)) + 4, 2))
        size = EDGE / math.sqrt(cells)
        points = np.stack(
            [
                xx + rng.uniform(0, 0.1) * size * grain(rng, 0.3 * size),
                yy + rng.uniform(0, 0.1) * size * grain(rng, 0.3 * size),
            ],
            -1,
        )
        near, _ = spatial.cKDTree(seeds).query(points.reshape(-1, 2), k=3)
        wall = (near[:, 1] - near[:, 0]).reshape(EDGE, EDGE)
        node = (near[:, 2] - near[:, 0]).reshape(EDGE, EDGE)
        width = size * rng.uniform(0.05, 0.3)
        struts = np.exp(-((np.minimum(wall, 0.6 * node) / width) ** 2))
        share = 1.0 if layer == 1 else rng.uniform(0.25, 0.7)
        value = share * abs(tones.step) * struts
        value = value if layer == 1 else ndimage.gaussian_filter(value, 1.5)
        image = np.maximum(image, image.mean() + value) if layer == 1 else image + value
    depth = ndimage.gaussian_filter(image, log_uniform(rng, 3, 30))
    return image + rng.uniform(-0.3, 0.3) * (depth - depth.mean()), np.zeros((EDGE, EDGE), np.int32)


def specks(rng: np.random.Generator) -> Drawn:
    """Dots of 4.5 to 11 px close to each other, on a grainy film."""
    size = log_uniform(rng, 4.5, 11)
    pitch = size * rng.uniform(1.1, 2.2)
    side = np.arange(0, EDGE, pitch)
    places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    places = places + rng.uniform(-0.3, 0.3, places.shape) * (pitch - 0.8 * size)
    if rng.random() < 0.5:
        places = places[rng.random(len(places)) > rng.uniform(0, 0.5)]
    else:
        patch = grain(rng, rng.uniform(30, 100)) > rng.uniform(-0.8, 0.6)
        at = places.clip(0, EDGE - 1).astype(int)
        places = places[patch[at[:, 1], at[:, 0]]]
    sizes = size * np.exp(rng.normal(0, rng.uniform(0, 0.15), len(places)))
    labels, depth = stamp(places, sizes, "disc", np.zeros(len(places)))
    tones = GreyTones.draw(rng, 0.15)
    image = paint(rng, labels, depth, tones)
    film = rng.uniform(0, 0.25) * abs(tones.step) * grain(rng, log_uniform(rng, 1, 4))
    return image + film, labels


KINDS: Families = {
    "fibres": (0.2, fibres),
    "plates": (0.2, plates),
    "through": (0.15, seen_through),
    "islands": (0.08, islands),
    "bimodal": (0.25, bimodal),
    "foam": (0.12, foam),
    "specks": (0.0, specks),
}


def draw_kind(rng: np.random.Generator, kind: str | None = None) -> tuple[str, Drawn]:
    """Name of the kind, image uint8 and labels int32 of one drawing.

    >>> name, (image, labels) = draw_kind(np.random.default_rng(0), "plates")
    >>> name, image.shape, bool(labels.max() > 3)
    ('plates', (448, 448), True)
    """
    return drawn(KINDS, rng, kind, print_share=0.0)
