"""Micrographs with label maps as training crops: variation in space and grey, and targets.

Everything on pixels runs in torch on the training device; only prompt sampling needs the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Grey values (H, W) as float32: median 0, span of percentiles 1 to 99 is 2, cut at +-3."""
    grey = np.asarray(pixels, np.float32)
    step = max(1, int(np.sqrt(grey.size / 250_000)))
    low, middle, high = np.percentile(grey[::step, ::step], (1, 50, 99))
    span = max(float(high - low), 1e-6)
    return np.clip((grey - middle) * (2.0 / span), -3.0, 3.0).astype(np.float32)


def centreness(labels: np.ndarray) -> np.ndarray:
    """Distance to the own edge over its maximum in the particle, float32 (H, W), 0 outside."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    same = inner > 0
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        other = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        same &= other == inner
    distance = ndimage.distance_transform_edt(same) + 0.5
    peak = np.zeros(int(labels.max()) + 1)
    np.maximum.at(peak, labels.ravel(), distance.ravel())
    return np.where(labels > 0, distance / peak[labels], 0.0).astype(np.float32)


def compact(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) renumbered 1..n, int32."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    table = np.cumsum(present) * present
    return table[labels].astype(np.int32)


@dataclass(frozen=True, eq=False)
class TrainingScene:
    """One micrograph on the training device, small: image, labels and centreness (H, W).

    The image is the normalised one times 10000, the centreness times 255.
    """

    name: str
    image: Tensor
    labels: Tensor
    centre: Tensor
    count: int
    radius: float

    @classmethod
    def of(
        cls, name: str, pixels: np.ndarray, labels: np.ndarray, device: torch.device
    ) -> TrainingScene:
        """Build one from grey values and a label map of the same (H, W)."""
        labels = compact(labels)
        image = torch.from_numpy(np.round(normalise(pixels) * 1e4).astype(np.int16))
        areas = np.bincount(labels.ravel())[1:]
        return cls(
            name,
            image.to(device),
            torch.from_numpy(labels.astype(np.int16)).to(device),
            torch.from_numpy(np.round(centreness(labels) * 255).astype(np.uint8)).to(device),
            len(areas),
            float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else 20.0,
        )

    @property
    def planes(self) -> Tensor:
        """Image, labels and centreness as float32 (3, H, W)."""
        return torch.stack([self.image * 1e-4, self.labels.float(), self.centre * (1 / 255)])


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops on the device, image (B, 1, S, S) and labels (B, S, S), and their truth."""

    image: Tensor
    labels: Tensor
    centre: Tensor
    foreground: Tensor
    boundary: Tensor
    contact: Tensor
    radius: Tensor
    sides: Tensor
    host_labels: np.ndarray
    host_centre: np.ndarray
    boxes: list[np.ndarray]
    areas: list[np.ndarray]


def crop(
    scene: TrainingScene, side: int, rng: np.random.Generator, scale: float | None = None
) -> Tensor:
    """One random affine crop (3, side, side) of image, labels and centreness.

    Without a `scale` (pixels of the crop a pixel of the image) it is drawn widely.
    """
    height, width = scene.image.shape
    if scale is None:
        low, high = 0.42, 2.2
        # Keep typical particles between 3 px and 100 px radius.
        low = min(max(low, 3.0 / scene.radius), 1.2)
        high = max(min(high, 110.0 / scene.radius), 0.5)
        scale = float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high))))
    stretch = float(np.exp(rng.normal(0.0, 0.12))) if rng.random() < 0.5 else 1.0
    angle = rng.integers(4) * np.pi / 2
    if rng.random() < 0.35:
        angle += rng.uniform(-np.pi / 4, np.pi / 4)
    cos, sin = np.cos(angle), np.sin(angle)
    flip = 1.0 if rng.random() < 0.5 else -1.0
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * stretch, 1.0 / stretch]) / scale
    half = 0.5 * side / scale
    centre = np.array(
        [
            rng.uniform(min(half, width / 2), max(width - half, width / 2)),
            rng.uniform(min(half, height / 2), max(height - half, height / 2)),
        ]
    )
    # In coordinates of grid_sample, where the image spans -1..1.
    size = np.array([width, height], float)
    theta = np.empty((2, 3), np.float32)
    theta[:, :2] = matrix * side / size[:, None]
    theta[:, 2] = 2.0 * centre / size - 1.0
    planes = scene.planes
    grid = F.affine_grid(
        torch.from_numpy(theta)[None].to(planes.device), [1, 1, side, side], align_corners=False
    ).to(planes.dtype)
    # Averages before thinning out, or fine texture turns into noise of another kind.
    source = planes[:1]
    for limit in (0.62, 0.3):
        if scale < limit:
            source = F.avg_pool2d(source[None], 2)[0]
    image = F.grid_sample(
        source[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    labels = F.grid_sample(planes[None, 1:2], grid, mode="nearest", align_corners=False)
    centre_map = F.grid_sample(planes[None, 2:3], grid, mode="bilinear", align_corners=False)
    # What is reflected in at the rim carries no labels, so it must not look like particles either.
    inside = (grid.abs() <= 1.0).all(-1, keepdim=True).permute(0, 3, 1, 2)
    image = torch.where(inside, image, image.new_zeros(()))
    return torch.cat([image, labels, centre_map], 1)[0].float()


def _smooth_noise(
    shape: tuple[int, int], cells: int, rng: torch.Generator, device: torch.device
) -> Tensor:
    coarse = torch.randn(1, 1, cells, cells, generator=rng, device=device)
    return F.interpolate(coarse, size=shape, mode="bicubic", align_corners=False)[0, 0]


def _blur(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, int(2.5 * sigma + 0.5))
    steps = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    image = F.pad(image[None, None], (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(image, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[0, 0]


def vary_intensity(
    image: Tensor, labels: Tensor, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Random detector, material and imaging conditions on a crop (S, S)."""
    shape = (image.shape[0], image.shape[1])
    if rng.random() < 0.30:
        # Foreground must not be learned as brightness: shift particles as a whole against the rest.
        shift = rng.uniform(-1.6, 1.6)
        count = int(labels.max()) + 1
        table = torch.full((count,), shift, device=image.device)
        if rng.random() < 0.6:
            table = table + 0.35 * torch.randn(count, generator=generator, device=image.device)
        table[0] = 0.0
        image = image * rng.uniform(0.6, 1.0) + _blur(table[labels.long()], rng.uniform(0.5, 1.5))
    # The holes of a foam, inverted, would be particles that touch.
    if rng.random() < 0.15 and bool(labels.any()):
        image = -image
    if rng.random() < 0.5:
        low, high = float(image.min()), float(image.max())
        unit = (image - low) / max(high - low, 1e-3)
        image = low + (high - low) * unit.clamp(min=0.0) ** float(np.exp(rng.normal(0, 0.4)))
    if rng.random() < 0.3:
        image = _blur(image, rng.uniform(0.4, 1.6))
    elif rng.random() < 0.2:
        image = image + rng.uniform(0.3, 1.0) * (image - _blur(image, 1.2))
    if rng.random() < 0.4:
        image = image + rng.uniform(0.05, 0.5) * _smooth_noise(
            shape, int(rng.integers(2, 5)), generator, image.device
        )
    if rng.random() < 0.5:
        noise = torch.randn(shape, generator=generator, device=image.device)
        if rng.random() < 0.4:
            noise = _blur(noise, rng.uniform(0.5, 1.2)) * 2.0
        image = image + float(rng.exponential(0.12)) * noise
    if rng.random() < 0.1:
        image = image + 0.1 * torch.randn(shape[0], 1, generator=generator, device=image.device)
    if rng.random() < 0.1:
        top, left = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        image = image.clone()
        image[top : top + 24, left : left + 90] = float(rng.uniform(-1.5, 2.5))
    # What inference does to a whole image, with a little freedom.
    sample = image[::4, ::4].flatten()
    marks = torch.quantile(sample, torch.tensor([0.01, 0.5, 0.99], device=image.device))
    span = (marks[2] - marks[0]).clamp(min=0.2)
    image = (image - marks[1]) * (2.0 / span) * float(np.exp(rng.normal(0, 0.15))) + float(
        rng.normal(0, 0.1)
    )
    return image.clamp(-3.0, 3.0)


def make_batch(
    scenes: list[TrainingScene],
    weights: np.ndarray,
    batch: int,
    side: int,
    rng: np.random.Generator,
    generator: torch.Generator,
    vary: bool = True,
) -> Batch:
    """Random crops with their dense targets at stride 2 and tables of their particles.

    `weights` (N,) are how often each scene is drawn from.
    """
    picked = rng.choice(len(scenes), batch, p=weights)
    planes = []
    for index in picked:
        planes.append(crop(scenes[index], side, rng))
        if (planes[-1][1] > 0).float().mean() < 0.01:  # one more try for an empty crop
            planes[-1] = crop(scenes[index], side, rng)
    stack = torch.stack(planes)
    host = np.stack([compact(item) for item in stack[:, 1].round().to(torch.int32).cpu().numpy()])
    labels = torch.from_numpy(host).to(stack.device)
    images = stack[:, :1]
    if vary:
        images = torch.stack(
            [
                vary_intensity(image[0], label, rng, generator)
                for image, label in zip(images, labels, strict=True)
            ]
        )[:, None]
    return targets(images, labels, stack[:, 2], host)


def targets(images: Tensor, labels: Tensor, centre: Tensor, host: np.ndarray) -> Batch:
    """The dense targets and tables of crops (B, 1, S, S) with compact labels (B, S, S)."""
    device = images.device
    padded = F.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")
    high = F.max_pool2d(padded, 3, 1)
    low = -F.max_pool2d(-padded, 3, 1)
    boundary = F.max_pool2d((high != low).float(), 2)
    # Where particle meets particle, without ground between them.
    contact = F.max_pool2d(((high != low) & (low > 0)).float(), 2)
    foreground = F.avg_pool2d((labels[:, None] > 0).float(), 2)
    boxes, areas, radius, sides = [], [], [], []
    side = host.shape[1]
    at = torch.arange(0, side, 2, device=device, dtype=torch.float32) + 0.5
    for item, label in zip(host, labels, strict=True):
        found = ndimage.find_objects(item)
        box = np.array(
            [(s[1].start - 0.5, s[0].start - 0.5, s[1].stop - 0.5, s[0].stop - 0.5) for s in found],
            np.float32,
        ).reshape(-1, 4)
        area = np.bincount(item.ravel(), minlength=len(found) + 1)[1:]
        boxes.append(box)
        areas.append(area)
        table = np.zeros((len(found) + 1, 5), np.float32)
        table[1:, 0] = 0.5 * np.log(area / np.pi) - np.log(16.0)
        table[1:, 1:] = box
        coarse = label[::2, ::2].long()
        dense = torch.from_numpy(table).to(device)[coarse]
        radius.append(dense[..., 0])
        sides.append(
            torch.stack(
                [
                    at[None, :] - dense[..., 1],
                    at[:, None] - dense[..., 2],
                    dense[..., 3] - at[None, :],
                    dense[..., 4] - at[:, None],
                ]
            )
        )
    return Batch(
        images,
        labels,
        centre,
        foreground,
        boundary,
        contact,
        torch.stack(radius)[:, None],
        torch.stack(sides),
        host,
        centre.cpu().numpy(),
        boxes,
        areas,
    )
