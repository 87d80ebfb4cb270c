"""Train the reader of printed lengths: lines of text rendered at random, a small network, CTC.

``python -m training.scale_text FONTS OUT`` renders lengths such as ``"200 nm"`` and other text in
every font of the folder FONTS, trains on one thread in a few minutes, and writes the weights that
`particle_nb.core.image.scale_text` reads. No micrograph of anybody is in the training data.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import nn

from particle_nb.core.files import atomic
from particle_nb.core.image.scale_text import ALPHABET, HEIGHT, INK

#: Letters that only stand in other text of a picture; all are read as one class, "?".
_OTHERS = "abcdefghijklopqrstvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:=/()-+%"

_ROUND = (1, 2, 3, 4, 5, 10, 20, 25, 30, 40, 50, 100, 150, 200, 250, 300, 400, 500, 600, 1000)


@dataclass(frozen=True)
class ReaderSettings:
    """How long and on what the reader is trained."""

    steps: int = 3000
    batch: int = 64
    peak_rate: float = 4e-3
    seed: int = 0
    minutes: float = 60.0
    start: Path | None = None


def random_text(rng: np.random.Generator) -> str:
    """Return a printed length, or now and then other text of an info bar."""
    kind = rng.random()
    if kind < 0.72:
        form = rng.random()
        if form < 0.5:
            number = str(rng.choice(_ROUND))
        elif form < 0.65:
            number = str(rng.integers(1, 10 ** rng.integers(1, 5)))
        elif form < 0.75:
            number = f"0.{rng.integers(1, 10)}"
        else:
            number = f"{rng.integers(0, 10 ** rng.integers(1, 4))}{rng.choice(['.', '.', ','])}"
            number += str(rng.integers(0, 10)) + (
                "" if rng.random() < 0.5 else str(rng.integers(10))
            )
        space = "" if rng.random() < 0.35 else " "
        return number + space + str(rng.choice(["nm", "µm", "um", "mm", "nm", "µm"]))
    if kind < 0.86:
        return str(
            rng.choice(
                [
                    f"{rng.integers(1, 31)}.{rng.integers(10)} kV",
                    f"x{rng.integers(1, 400)},000",
                    f"x{rng.integers(1, 400)}k",
                    f"WD = {rng.integers(2, 20)}.{rng.integers(10)} mm",
                    f"Mag {rng.integers(1, 400)}.{rng.integers(100)} K X",
                    f"EHT = {rng.integers(1, 31)}.00 kV",
                    f"({rng.choice(list('abcdefgh'))})",
                    f"{rng.integers(1, 30)}/{rng.integers(1, 13)}/20{rng.integers(10, 27)}",
                    f"SE{rng.integers(1, 3)}",
                    f"spot {rng.integers(1, 6)}.0",
                ]
            )
        )
    letters = list("0123456789." + _OTHERS + "num")
    return "".join(rng.choice(letters, rng.integers(1, 9)))


def classes(text: str) -> list[int]:
    """Return the classes of a text's characters; spaces have none."""
    text = text.replace(" ", "").replace("µ", "u").replace(",", ".")
    return [1 + ALPHABET.index(letter if letter in ALPHABET else "?") for letter in text]


def texture(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return what a specimen leaves of ink behind and around text, (H, W) of 0 to 1."""
    noise = rng.normal(0, 1, shape)
    if rng.random() < 0.7:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 6))
        noise /= noise.std() + 1e-9
    return np.clip(rng.uniform(-0.3, 0.35) + rng.uniform(0, 0.3) * noise, 0, 1)


def rendered(text: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> np.ndarray:
    """Return ink of a line of text, (H, W) of 0 to 1, with a wide margin."""
    left, top, right, bottom = font.getbbox(text)
    pad = int(font.size)
    picture = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
    draw = ImageDraw.Draw(picture)
    stroke = 1 if rng.random() < 0.06 and font.size > 18 else 0
    if rng.random() < 0.15:
        draw.fontmode = "1"
    draw.text((pad - left, pad - top), text, 255, font, stroke_width=stroke)
    return np.asarray(picture, np.float32) / 255


def degraded(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put ink on a ground, blur it, and write it as JPEG now and then."""
    ground = texture(rng, ink.shape) if rng.random() < 0.75 else np.zeros(ink.shape)
    ink = np.maximum(ink, ground) if rng.random() < 0.5 else ink + (1 - ink) * ground
    if rng.random() < 0.5:
        ink = ndimage.gaussian_filter(ink, rng.uniform(0.2, 0.9))
    if rng.random() < 0.4:
        stream = io.BytesIO()
        grey = Image.fromarray((255 * np.clip(ink, 0, 1)).astype(np.uint8))
        grey.save(stream, "JPEG", quality=int(rng.integers(30, 95)))
        ink = np.asarray(Image.open(stream), np.float32) / 255
    return np.clip(ink * rng.uniform(0.85, 1.2) + rng.normal(0, 0.03), 0, 1)


def line(fonts: Sequence[Path], rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Return one line as the reader sees it, (HEIGHT, W) float32, and its classes."""
    if rng.random() < 0.06:
        shape = (HEIGHT, int(rng.integers(24, 160)))
        return texture(rng, shape).astype(np.float32), []
    text = random_text(rng)
    # small text is common in pictures of half a thousand pixels
    size = int(np.exp(rng.uniform(np.log(9), np.log(48))))
    ink = rendered(text, ImageFont.truetype(str(rng.choice(np.array(fonts))), size), rng)
    rows, columns = np.nonzero(ink > 0.4)
    if not len(rows):
        return np.zeros((HEIGHT, 32), np.float32), []
    r0, r1, c0, c1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    ink = degraded(ink, rng)
    tall = r1 - r0
    scale = INK / tall * np.exp(rng.normal(0, 0.1))
    # a box that is a little too small, too large, or off the line
    middle = (r0 + r1) / 2 + rng.normal(0, 0.06) * tall
    top, bottom = middle - HEIGHT / 2 / scale, middle + HEIGHT / 2 / scale
    stretch = np.exp(rng.normal(0, 0.12))
    left = c0 - rng.uniform(0.1, 0.6) * tall
    right = c1 + rng.uniform(0.1, 0.6) * tall
    wide = int(np.clip((right - left) * scale * stretch, 16, 240))
    # as in use: antialiased by Pillow, and what lies outside the picture is no ink
    frame = Image.fromarray((255 * ink).astype(np.uint8))
    soft = Image.Resampling.BILINEAR
    if scale >= 0.7:
        place = (left, top, right, bottom)
        out = frame.transform((wide, HEIGHT), Image.Transform.EXTENT, place, soft)
    else:
        whole = (round(left), round(top), round(right), round(bottom))
        out = frame.crop(whole).resize((wide, HEIGHT), soft)
    return np.asarray(out, np.float32) / 255, classes(text)


class Reader(nn.Module):
    """Five convolutions from (B, 1, HEIGHT, W) to (W/2, B, classes) of log-probabilities."""

    layers: Any
    norms: Any

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(1, 12, 3, padding=1),
                nn.Conv2d(12, 24, 3, padding=1),
                nn.Conv2d(24, 36, 3, padding=1),
                nn.Conv2d(36, 72, (3, 3), padding=(0, 1)),
                nn.Conv2d(72, 72, (1, 5), padding=(0, 2)),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c.out_channels) for c in self.layers)
        self.last = nn.Conv2d(72, len(ALPHABET) + 1, (1, 3), padding=(0, 1))
        self.pools = ((2, 2), (2, 1), (2, 1), None, None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Read a batch of lines."""
        for conv, norm, pool in zip(self.layers, self.norms, self.pools, strict=True):
            x = torch.relu(norm(conv(x)))
            if pool:
                x = nn.functional.max_pool2d(x, pool)
        return self.last(x)[:, :, 0].permute(2, 0, 1).log_softmax(-1)

    def folded(self) -> dict[str, Any]:
        """Return weights with the normalisation folded in, as float16 arrays."""
        arrays = {}
        for k, (conv, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            arrays[f"w{k}"] = conv.weight * gain[:, None, None, None]
            arrays[f"b{k}"] = (conv.bias - norm.running_mean) * gain + norm.bias
        arrays["w5"], arrays["b5"] = self.last.weight, self.last.bias
        return {key: value.detach().numpy().astype(np.float16) for key, value in arrays.items()}


def batches(
    fonts: Sequence[Path], size: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield lines of about one width at a time, with their classes and both lengths, for ever."""
    while True:
        lines = sorted((line(fonts, rng) for _ in range(6 * size)), key=lambda x: x[0].shape[1])
        for k in rng.permutation(6):
            yield padded(lines[k * size : (k + 1) * size])


def padded(
    lines: Sequence[tuple[np.ndarray, list[int]]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return lines padded to one width, with their classes and both lengths."""
    wide = max(pixels.shape[1] for pixels, _ in lines)
    x = np.zeros((len(lines), 1, HEIGHT, wide + wide % 2), np.float32)
    for k, (pixels, _) in enumerate(lines):
        x[k, 0, :, : pixels.shape[1]] = pixels
    steps = torch.tensor([pixels.shape[1] // 2 for pixels, _ in lines])
    targets = torch.tensor([c for _, found in lines for c in found], dtype=torch.long)
    return torch.from_numpy(x), targets, steps, torch.tensor([len(found) for _, found in lines])


def resumed(path: Path, fonts: Sequence[Path], rng: np.random.Generator) -> Reader:
    """Return a reader that begins with weights that were written.

    Their normalisation is folded in: the new one is set to leave fresh lines as they are.
    """
    model = Reader()
    with np.load(path) as file, torch.no_grad():
        x = padded([line(fonts, rng) for _ in range(128)])[0]
        for k, (conv, norm) in enumerate(zip(model.layers, model.norms, strict=True)):
            conv.weight.copy_(torch.from_numpy(file[f"w{k}"].astype(np.float32)))
            conv.bias.copy_(torch.from_numpy(file[f"b{k}"].astype(np.float32)))
            x = conv(x)
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.bias.copy_(mean)
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
            x = torch.relu(x)
            pool = model.pools[k]
            if pool:
                x = nn.functional.max_pool2d(x, pool)
        last: Any = model.last
        last.weight.copy_(torch.from_numpy(file["w5"].astype(np.float32)))
        last.bias.copy_(torch.from_numpy(file["b5"].astype(np.float32)))
    return model


def train(fonts: Sequence[Path], settings: ReaderSettings, out: Path) -> float:
    """Train, write the weights, and return the share of fresh lines that are read right."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)
    model = resumed(settings.start, fonts, rng) if settings.start else Reader()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.peak_rate, weight_decay=1e-3)
    loss = nn.CTCLoss(zero_infinity=True)
    start, recent = time.monotonic(), 0.0
    source = batches(fonts, settings.batch, rng)
    for step in range(settings.steps):
        # the rate follows whichever runs out first, steps or time
        done = max(step / settings.steps, (time.monotonic() - start) / 60 / settings.minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = (
                settings.peak_rate * min(step / 100, 1) * (0.5 + 0.5 * np.cos(np.pi * done))
            )
        x, targets, steps, lengths = next(source)
        value = loss(model(x), targets, steps, lengths)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        recent = 0.98 * recent + 0.02 * float(value.detach())
        if step % 200 == 199:
            report(step + 1, recent / (1 - 0.98 ** (step + 1)), time.monotonic() - start)
            save(model, out)
    save(model, out)
    return right(model, fonts, np.random.default_rng(settings.seed + 1))


def save(model: Reader, out: Path) -> None:
    """Write the weights, as a whole or not at all."""
    with atomic(out) as stream:
        np.savez_compressed(stream, **model.folded())


def right(model: Reader, fonts: Sequence[Path], rng: np.random.Generator) -> float:
    """Return the share of 512 fresh lines whose most likely path spells their text."""
    model.eval()
    with torch.no_grad():
        x, targets, steps, lengths = padded([line(fonts, rng) for _ in range(512)])
        best = model(x).argmax(-1).numpy()
    good, at = 0, 0
    for k in range(512):
        path = best[: steps[k], k]
        kept = [int(c) for i, c in enumerate(path) if c and (i == 0 or c != path[i - 1])]
        good += kept == targets[at : at + lengths[k]].tolist()
        at += int(lengths[k])
    return good / 512


def report(step: int, loss: float, seconds: float) -> None:
    """Write one line about the run."""
    import sys

    sys.stderr.write(f"step {step:5d}  loss {loss:.3f}  {seconds:.0f} s\n")


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fonts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=ReaderSettings.steps)
    parser.add_argument("--minutes", type=float, default=ReaderSettings.minutes)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--rate", type=float, default=ReaderSettings.peak_rate)
    parser.add_argument("--seed", type=int, default=ReaderSettings.seed)
    given = parser.parse_args(argv)
    fonts = sorted(given.fonts.glob("*.[to]tf"))
    settings = ReaderSettings(
        steps=given.steps,
        peak_rate=given.rate,
        seed=given.seed,
        minutes=given.minutes,
        start=given.start,
    )
    share = train(fonts, settings, given.out)
    report(given.steps, 1 - share, 0.0)


if __name__ == "__main__":
    main()
