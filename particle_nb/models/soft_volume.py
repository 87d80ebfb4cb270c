"""A soft volume led by gradients to the statistics of sections, a network's among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import ModelError
from particle_nb.core.rebuilding import Course, Sections
from particle_nb.models.weights import weights_digest

#: Slices across each axis in one step.
_SLICES = 2

#: Tiles of a section that its Gram matrices come from, at most, each way.
_TILES = 3

#: Share of the time that is left which may go into the steps.
_SHARE = 0.5

_LENGTHS = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class NetworkMaps:
    """A network whose maps stand for the look of a section.

    Parameters
    ----------
    name, licence, digest : str
    maps : callable
        Pictures (B, 1, H, W) of -1 to 1, edges of 8 or more, even, to maps (B, C, h, w).
    """

    name: str
    licence: str
    digest: str
    maps: Callable[[Tensor], list[Tensor]]


def find_maps(network: str, seed: int = 0) -> NetworkMaps:
    """Return the network asked for; ``"auto"`` is the first of vgg, embedded and random.

    Raises
    ------
    ModelError
        If its weights are not there.

    Examples
    --------
    >>> find_maps("random").name
    'random filters'
    """
    makers = {"vgg": _vgg, "embedded": _embedded, "random": lambda: _random(seed)}
    if network != "auto":
        return makers[network]()
    for name in ("vgg", "embedded"):
        try:
            return makers[name]()
        except ModelError:
            continue
    return _random(seed)


def _vgg() -> NetworkMaps:
    from particle_nb.models.features.imagenet import vgg_network

    model = vgg_network(device="cpu")
    model.blocks = model.blocks[:3]
    return NetworkMaps("VGG16 of HED", "MIT", weights_digest(model.state_dict()), model)


def _embedded() -> NetworkMaps:
    from particle_nb.models.embedded.segmenter import load

    model = load(device="cpu")
    encoder = model.network.encoder.requires_grad_(False)
    name = f"{model.name} encoder"
    return NetworkMaps(name, "MIT", model.digest, lambda x: encoder.pyramid(x)[:3])


def _random(seed: int) -> NetworkMaps:
    """Filters drawn at random, on three scales; better than nothing."""
    maker = torch.Generator().manual_seed(seed % 2**63)
    layer = nn.Conv2d(1, 48, 5, padding=2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=maker) / 5)

    def maps(x: Tensor) -> list[Tensor]:
        return [F.relu(layer(F.avg_pool2d(x, n) if n > 1 else x)) for n in (1, 2, 4)]

    digest = weights_digest(layer.state_dict())
    return NetworkMaps("random filters", "no weights", digest, maps)


def grams(maps: list[Tensor], groups: int) -> list[Tensor]:
    """Gram matrices of maps (B, C, h, w), mean over the pictures of each group: (groups, C, C)."""
    found = []
    for one in maps:
        flat = one.flatten(2)
        gram = flat @ flat.transpose(1, 2) / flat.shape[2]
        found.append(gram.reshape(-1, groups, *gram.shape[1:]).mean(0))
    return found


def softened(
    sections: Sections,
    shape: tuple[int, int, int],
    network: NetworkMaps,
    start: np.ndarray | None,
    steps: int,
    run: Course,
) -> np.ndarray:
    """Return places of phases uint8 (D, H, W) from a soft volume led by gradients.

    Gram matrices of the network's maps of slices, two-point correlation and lineal path along the
    axes are held to those of the sections.

    Parameters
    ----------
    sections : Sections
    shape : (D, H, W)
    network : NetworkMaps
    start : uint8 (d, h, w) or None
        A coarser volume to begin with.
    steps : int
    run : Course
    """
    field = _started(sections, shape, start)
    if run.stopped:
        return _hardened(field, sections)
    field.requires_grad_(True)
    aims = {axis: _section_grams(sections, axis, shape, network) for axis in sections.planes}
    curves = _Curves.of(sections, shape)
    optimiser = torch.optim.Adam([field], 0.15)
    maker = np.random.default_rng(steps)
    begin = time.monotonic()
    room = max(run.end - begin, 0.0) * _SHARE
    for step in range(steps):
        try:
            soft = field.softmax(0)
            loss = 20 * curves.loss(soft) + 0.2 * step / steps * (soft * (1 - soft)).mean()
            for axis, aim in aims.items():
                pictures = _slices(soft, axis, maker)
                found = grams(network.maps(pictures), len(sections.phases))
                for mine, theirs in zip(found, aim, strict=True):
                    scale = (theirs**2).sum((1, 2)).clamp_min(1e-12)
                    loss = loss + (((mine - theirs) ** 2).sum((1, 2)) / scale).mean() / len(aim)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if run.progress is not None:
                off = zip(sections.names, curves.errors(soft), strict=True)
                text = ", ".join(f"{name} {error:.3f}" for name, error in off)
                share = run.done + (1 - run.done) * 0.4 * step / steps
                run.progress(f"network, step {step + 1} of {steps}: S2 off by {text}", share)
        except KeyboardInterrupt:
            run.stopped = f"interrupted at step {step + 1} of the network"
            break
        if time.monotonic() - begin > room:
            run.hurried = True
            break
    run.done += (1 - run.done) * 0.4
    return _hardened(field.detach(), sections)


def _started(sections: Sections, shape: tuple[int, int, int], start: np.ndarray | None) -> Tensor:
    """Logits (K, D, H, W): the coarser volume made smooth, or nothing but the fractions."""
    shares = torch.tensor(np.maximum(sections.fractions, 1e-4), dtype=torch.float32)
    flat = shares.log()[:, None, None, None]
    if start is None:
        maker = torch.Generator().manual_seed(0)
        return flat + 0.3 * torch.randn((len(shares), *shape), generator=maker)
    sharp = F.one_hot(torch.from_numpy(start.astype(np.int64)), len(shares)).float()
    fine = F.interpolate(sharp.permute(3, 0, 1, 2)[None], size=shape, mode="trilinear")[0]
    return flat + 3 * fine


def _section_grams(
    sections: Sections, axis: int, shape: tuple[int, int, int], network: NetworkMaps
) -> list[Tensor]:
    """Gram matrices of tiles as large as the slices, for networks that look at a whole picture."""
    plane = sections.planes[axis]
    edges = [n // 2 * 2 for a, n in enumerate(shape) if a != axis]
    h, w = (min(n, m // 2 * 2) for n, m in zip(edges, plane.shape, strict=True))
    count = len(sections.phases)
    tiles = []
    for y in np.linspace(0, plane.shape[0] - h, _TILES).astype(int):
        for x in np.linspace(0, plane.shape[1] - w, _TILES).astype(int):
            part = plane[y : y + h, x : x + w]
            tiles += [part, np.ascontiguousarray(part[::-1, ::-1])]
    stack = torch.from_numpy(np.stack(tiles).astype(np.int64))
    pictures = F.one_hot(stack, count).permute(0, 3, 1, 2).reshape(-1, 1, h, w).float()
    with torch.no_grad():
        return grams(network.maps(2 * pictures - 1), count)


def _slices(soft: Tensor, axis: int, maker: np.random.Generator) -> Tensor:
    """Slices across an axis, each phase a picture (slices * K, 1, H, W) of -1 to 1."""
    places = torch.from_numpy(maker.integers(0, soft.shape[axis + 1], _SLICES))
    found = soft.index_select(axis + 1, places).movedim(axis + 1, 0)
    found = found[..., : found.shape[-2] // 2 * 2, : found.shape[-1] // 2 * 2]
    return 2 * found.reshape(-1, 1, *found.shape[2:]) - 1


@dataclass(frozen=True, eq=False)
class _Curves:
    """Two-point correlation and lineal path wanted of a soft volume that repeats.

    `lags` are places (z, y, x), `wanted` (K, lags); `segments` (3, lengths, K).
    """

    lags: Tensor
    wanted: Tensor
    lengths: tuple[int, ...]
    segments: Tensor
    scale: Tensor

    @classmethod
    def of(cls, sections: Sections, shape: tuple[int, int, int]) -> _Curves:
        reach = min(*shape, sections.shortest) // 2
        lags = [(0, 0, 0)]
        for axis in range(3):
            for lag in range(1, reach + 1):
                step = [0, 0, 0]
                step[axis] = lag
                lags.append((step[0], step[1], step[2]))
        wanted = np.array([sections.pairs(lag) for lag in lags]).T
        lengths = tuple(n for n in _LENGTHS if n < reach)
        steps = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
        segments = [sections.segments(step, np.array(lengths, int)) for step in steps]
        return cls(
            torch.tensor(lags).T,
            torch.tensor(wanted, dtype=torch.float32),
            lengths,
            torch.tensor(np.array(segments), dtype=torch.float32),
            torch.tensor(np.maximum(sections.fractions, 1e-3), dtype=torch.float32),
        )

    def pairs(self, soft: Tensor) -> Tensor:
        """Two-point correlation (K, lags) of a soft volume (K, D, H, W)."""
        size = soft[0].numel()
        power = torch.fft.rfftn(soft, dim=(1, 2, 3)).abs() ** 2
        found = torch.fft.irfftn(power, s=soft.shape[1:], dim=(1, 2, 3)) / size
        return found[:, self.lags[0], self.lags[1], self.lags[2]]

    def loss(self, soft: Tensor) -> Tensor:
        """Mean squares of what is off, relative to the fractions."""
        total = (((self.pairs(soft) - self.wanted) / self.scale[:, None]) ** 2).mean()
        for axis in range(3):
            inside = soft
            for step in range(1, max(self.lengths, default=0) + 1):
                inside = inside * torch.roll(soft, -step, axis + 1)
                if step in self.lengths:
                    want = self.segments[axis, self.lengths.index(step)]
                    off = (inside.mean((1, 2, 3)) - want) / self.scale
                    total = total + (off**2).mean() / len(self.lengths)
        return total

    def errors(self, soft: Tensor) -> list[float]:
        """Greatest difference of the two-point correlation, by phase."""
        with torch.no_grad():
            return (self.pairs(soft) - self.wanted).abs().amax(1).tolist()


def _hardened(field: Tensor, sections: Sections) -> np.ndarray:
    """The likeliest phase of every voxel, with biases that bring the fractions near."""
    logits = field.softmax(0).clamp_min(1e-6).log()
    wanted = torch.tensor(np.maximum(sections.fractions, 1e-4), dtype=torch.float32)
    bias = torch.zeros(len(wanted))
    for step in range(40):
        places = (logits + bias[:, None, None, None]).argmax(0)
        shares = torch.bincount(places.flatten(), minlength=len(wanted)) / places.numel()
        bias += (1.0 if step < 20 else 0.3) * (wanted - shares) / wanted.clamp_min(0.02)
    return places.numpy().astype(np.uint8)
