"""The embedded promptable segmenter behind the `Segmenter` protocol: offline, small, on a CPU."""

from __future__ import annotations

import json
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError, ModelError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.models.embedded import inference
from particle_nb.models.embedded.automatic import OnePassSettings, propose
from particle_nb.models.embedded.close_ups import Place
from particle_nb.models.embedded.familiar import Familiar, centre
from particle_nb.models.embedded.network import STRIDE, NetworkSettings, PromptableNetwork
from particle_nb.models.embedded.pyramid import view_of
from particle_nb.models.embedded.settling import Judges
from particle_nb.models.embedded.views import Decoded, View, cell_px, main_part, pixel_mask
from particle_nb.models.protocols import Embedding, Encode, Progress, Window
from particle_nb.models.weights import (
    file_digest,
    parse_weights,
    pick_device,
    read_weights,
)

#: What the names of the judges' tensors begin with, those of the weights that answer elsewhere, and
#: those of what tells where that is.
JUDGE, ELSEWHERE, FAMILIAR = "judge.", "elsewhere.", "familiar."
WEIGHTS = Path(__file__).with_name("segmenter.safetensors")
#: Pixels of the finest view: larger windows are scaled down to MOST_PIXELS, smaller ones zoomed
#: up to AIM_PIXELS, but no more than LARGEST_ZOOM (more to reach LEAST_SIDE).
MOST_PIXELS, AIM_PIXELS = 1_600_000, 640_000
LARGEST_ZOOM, LEAST_SIDE = 1.5, 192
#: Each view is half as fine as the one before; a view has a side of at least this.
VIEWS, COARSEST_SIDE = 3, 100
#: Windows that a prompt on a larger image is answered in: sides of the first, and the grid that
#: they lie on, so that prompts near each other share what was encoded.
WINDOW_SIDE, WINDOW_GRID = 1024, 256
#: A picture is glanced at so much coarser than its finest view, to see whether it is familiar.
GLANCE = 0.5
#: Pictures of which is remembered which weights answer.
REMEMBERED = 256


class UnfamiliarWarning(UserWarning):
    """A picture is unlike those that the weights were tuned on; those before tuning answer."""


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """What answers for pictures that are not familiar: the weights before tuning.

    Parameters
    ----------
    segmenter : EmbeddedSegmenter
    familiar : Familiar
        In the space of its network.
    quiet : bool
        Without a warning.
    answers : dict
        By digest of the image, whether it is unlike them; filled as images come.
    """

    segmenter: EmbeddedSegmenter
    familiar: Familiar
    quiet: bool = False
    answers: OrderedDict[str, bool] = field(default_factory=OrderedDict, repr=False)

    def holds(self, image: Image) -> bool:
        """Whether an image is unlike the annotated ones."""
        if image.digest not in self.answers:
            place = self.place(self.segmenter.glance(image))
            self.answers[image.digest] = not self.familiar.holds(place)
            while len(self.answers) > REMEMBERED:
                self.answers.popitem(last=False)
        return self.answers[image.digest]

    def place(self, picture: Tensor) -> np.ndarray:
        """Coordinates (K,) of a glance."""
        return self.familiar.space.place(self.segmenter.network, picture)


@dataclass(frozen=True, eq=False)
class EmbeddedSegmenter:
    """Encode once, prompt many, with weights that come with the package.

    Parameters
    ----------
    network : PromptableNetwork
    name, digest : str
        Model name and SHA-256 of the weights file, 16 hex digits.
    calibration : (knots, values)
        Piecewise linear map from the raw predicted IoU to the calibrated one.
    settings : OnePassSettings
        What the automatic mode depends on.
    device : torch.device
    judges : Judges or None
        What the automatic mode needs besides the network.
    elsewhere : Elsewhere or None
        Of tuned weights: what answers for pictures unlike those that they were tuned on. None to
        answer for all.
    """

    network: PromptableNetwork = field(repr=False)
    name: str
    digest: str
    calibration: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0, 1.0), (0.0, 1.0))
    settings: OnePassSettings = field(default_factory=OnePassSettings)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    judges: Judges | None = field(default=None, repr=False)
    about: str = "small segmenter trained by this project, not Segment Anything; see its model card"
    elsewhere: Elsewhere | None = field(default=None, repr=False)

    def answers(self, image: Image) -> bool:
        """Whether these weights answer for an image; else those before tuning do."""
        return self.answering(image) is self

    def answering(self, image: Image) -> EmbeddedSegmenter:
        """What answers for an image: this, or of tuned weights those before tuning."""
        if self.elsewhere is None or not self.elsewhere.holds(image):
            return self
        return self.elsewhere.segmenter

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Encode the window of an image (all of it if None).

        Raises
        ------
        ImageError
            If the window does not lie on the image.
        """
        other = self._other(image, again=False)
        if other is not None:
            made = other.encode(image, window)
            return replace(made, meta={**made.meta, "elsewhere": True})
        x0, y0, x1, y1 = checked_window(window, image.shape)
        part = self._normalised(image, (x0, y0, x1, y1))
        arrays: dict[str, Tensor] = {}
        scales: list[float] = []
        sizes: list[list[int]] = []
        with torch.inference_mode():
            for number, scale in enumerate(view_scales(x1 - x0, y1 - y0)):
                view = view_of(self.network, part, scale, (float(x0), float(y0)))
                arrays[f"image{number}"], arrays[f"maps{number}"] = view.image, view.maps
                scales.append(scale)
                sizes.append(list(view.size))
        return Embedding(
            self.name,
            self.digest,
            image.digest,
            image.shape,
            (x0, y0, x1, y1),
            arrays,
            {"scales": scales, "sizes": sizes},
        )

    def views(self, embedding: Embedding) -> list[View]:
        """The tensors of an embedding of this model, finest view first.

        Raises
        ------
        ModelError
            If it was made by another model.
        """
        if (embedding.model, embedding.weights) != (self.name, self.digest):
            raise ModelError(
                f"this embedding was made by {embedding.model} ({embedding.weights}), not by "
                f"{self.name} ({self.digest}); encode the image again."
            )
        origin = (float(embedding.window[0]), float(embedding.window[1]))
        views = []
        for number, (scale, size) in enumerate(
            zip(embedding.meta["scales"], embedding.meta["sizes"], strict=True)
        ):
            image, maps = (
                torch.as_tensor(embedding.arrays[f"{key}{number}"]).to(self.device).float()
                for key in ("image", "maps")
            )
            views.append(View(image, maps, (int(size[0]), int(size[1])), origin, float(scale)))
        return views

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Up to three candidates for one particle, best predicted IoU first.

        Raises
        ------
        PromptError
            If the prompt lies outside the image or says only what is not meant.
        """
        prompt.check(embedding.shape)
        if self.elsewhere is not None and embedding.meta.get("elsewhere"):
            return self.elsewhere.segmenter.predict(embedding, prompt)
        views = self.views(embedding)
        points = self._points(prompt)
        positive = bool((points[:, 2] > 0.5).any())
        if not positive and prompt.box is None and prompt.sketch is None:
            raise PromptError(
                "only negative clicks; add a click on the particle, a box or a sketch."
            )
        with torch.inference_mode():
            if prompt.sketch is not None:
                decoded = self._sketch(views, prompt.sketch, points)
            elif prompt.box is not None:
                x0, y0, x1, y1 = prompt.box
                corners = points.new_tensor([x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5])
                decoded = inference.box(self.network, views, corners, points)
            else:
                decoded = inference.click(self.network, views, points)
        return self._masks(decoded, views, embedding, prompt)

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Propose every particle of the image; each comes once, better ones first."""
        other = self._other(image)
        if other is not None:
            return other.generate(image, encode, progress)
        if self.judges is None:
            raise ModelError(
                f"the weights {self.name} ({self.digest}) lack the judges of the automatic mode; "
                "fit them with `python -m training.segmenter.fit_judges`."
            )
        height, width = image.shape
        with torch.inference_mode():
            if height * width <= MOST_PIXELS:
                views = self.views((encode or self.encode)(image, None))
            else:
                views = self._pyramid(image)

            def closer(box: Window, scale: float) -> View:
                origin = (float(box[0]), float(box[1]))
                return view_of(self.network, self._normalised(image, box), scale, origin)

            place = Place(image.shape, (0, 0, width, height), closer)
            found = propose(self.network, views, place, self.judges, self.settings)
        if progress is not None:
            progress(1, 1)
        return MaskSet(tuple(p.mask for p in found), image.shape)

    def windows(self, shape: tuple[int, int], prompt: Prompt) -> Iterator[Window | None]:
        """Windows to answer a prompt in, in the order to be tried, each at least twice as large.

        A whole image that is not too large is encoded as it is (None).
        """
        height, width = shape
        if height * width <= MOST_PIXELS:
            yield None
            return
        low, high = _extent(prompt)
        side = max(WINDOW_SIDE, 2.0 * float((high - low).max()))
        while side < max(height, width):
            edges: list[int] = []
            for middle, limit in zip((0.5 * (low + high)).tolist(), (width, height), strict=True):
                start = WINDOW_GRID * round((middle - side / 2) / WINDOW_GRID)
                start = int(min(max(start, 0), max(limit - side, 0)))
                edges += [start, min(limit, start + math.ceil(side))]
            yield edges[0], edges[2], edges[1], edges[3]
            side *= 2.5
        yield None

    def glance(self, image: Image) -> Tensor:
        """Grey values (1, 1, h, w) of an image at a coarse scale, of the middle of a large one;
        sides are multiples of `STRIDE`."""
        x0, y0, x1, y1 = window = centre(*image.shape, MOST_PIXELS)
        scale = GLANCE * view_scales(x1 - x0, y1 - y0)[0]
        size = [max(STRIDE, STRIDE * round(n * scale / STRIDE)) for n in (y1 - y0, x1 - x0)]
        return F.interpolate(
            self._normalised(image, window), size=size, mode="bilinear", antialias=True
        )

    def _other(self, image: Image, again: bool = True) -> EmbeddedSegmenter | None:
        """What answers for an image in place of these weights; a warning says so, the first time
        or `again`."""
        if self.elsewhere is None:
            return None
        first = image.digest not in self.elsewhere.answers
        if not self.elsewhere.holds(image):
            return None
        if self.elsewhere.quiet or not (first or again):
            return self.elsewhere.segmenter
        warnings.warn(
            f"{image.name or 'this image'} is unlike the pictures that {self.name} was tuned on: "
            f"{self.elsewhere.segmenter.name}, from before tuning, answers for it. Annotate some "
            "like it and tune again, or tune with TuneSettings(everywhere=True).",
            UnfamiliarWarning,
            stacklevel=3,
        )
        return self.elsewhere.segmenter

    def _normalised(self, image: Image, window: Window) -> Tensor:
        """Grey values (1, 1, h, w) of a window, stretched as the whole image is."""
        x0, y0, x1, y1 = window
        low, middle, high = _percentiles(image)
        part = torch.from_numpy(np.array(image.grey[y0:y1, x0:x1], np.float32)).to(self.device)
        return ((part - middle) * (2.0 / max(high - low, 1e-6))).clamp(-3.0, 3.0)[None, None]

    def _pyramid(self, image: Image) -> list[View]:
        """Views of a whole image at full resolution, and at ever coarser ones, finest first."""
        height, width = image.shape
        part = self._normalised(image, (0, 0, width, height))
        views: list[View] = []
        scale = 1.0
        while not views or max(height, width) * scale >= COARSEST_SIDE:
            views.append(view_of(self.network, part, scale, (0.0, 0.0)))
            scale *= 0.5
        return views

    def _calibrated(self, mask: Mask) -> Mask:
        knots, values = self.calibration
        return mask.replace(predicted_iou=float(np.interp(mask.predicted_iou, knots, values)))

    def _points(self, prompt: Prompt) -> Tensor:
        if not prompt.points:
            return torch.full((1, 3), -1.0, device=self.device)
        rows = [(*p, label) for p, label in zip(prompt.points, prompt.labels or (), strict=True)]
        return torch.tensor(rows, dtype=torch.float32, device=self.device)

    def _sketch(self, views: list[View], drawn: np.ndarray, points: Tensor) -> Decoded:
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        r0, r1, c0, c1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        frame = points.new_tensor(
            [0.5 * (c0 + c1) - 0.5, 0.5 * (r0 + r1) - 0.5, float(c1 - c0), float(r1 - r0)]
        )
        part = torch.from_numpy(drawn[r0:r1, c0:c1].copy()).to(self.device)
        return inference.sketch(self.network, views, part, frame, points)

    def _masks(
        self, decoded: Decoded, views: list[View], embedding: Embedding, prompt: Prompt
    ) -> MaskSet:
        wanted = [p for p, label in zip(prompt.points, prompt.labels or (), strict=True) if label]
        spots = np.round(np.array(wanted).reshape(-1, 2)[:, ::-1]).astype(int)
        stability = decoded.stability()
        masks = []
        for index in range(len(decoded)):
            made = pixel_mask(decoded.logits[index], decoded.rois[index], embedding.window)
            if made is None:
                continue
            (row, column), crop = made
            mask = Mask(
                (row, column),
                main_part(crop, spots - np.array([row, column])),
                embedding.shape,
                predicted_iou=float(decoded.score[index]),
                stability_score=float(stability[index]),
                grid_px=cell_px(views, decoded.rois[index]),
            )
            masks.append(self._calibrated(mask))
        masks.sort(key=lambda mask: -mask.predicted_iou)
        return MaskSet(tuple(masks), embedding.shape)


def view_scales(width: int, height: int) -> list[float]:
    """Scales of the views of a window, finest first.

    >>> view_scales(800, 800)
    [1.0, 0.5, 0.25]
    """
    pixels, longest = width * height, max(width, height)
    scale = 1.0
    if pixels > MOST_PIXELS:
        scale = math.sqrt(MOST_PIXELS / pixels)
    elif pixels < AIM_PIXELS:
        scale = min(math.sqrt(AIM_PIXELS / pixels), LARGEST_ZOOM)
    if longest * scale < LEAST_SIDE:
        scale = min(LEAST_SIDE / longest, 8.0)
    coarser = [scale * 0.5**n for n in range(1, VIEWS)]
    return [scale] + [s for s in coarser if longest * s >= COARSEST_SIDE]


def _percentiles(image: Image) -> tuple[float, float, float]:
    grey = image.grey
    step = max(1, int(np.sqrt(grey.size / 250_000)))
    low, middle, high = np.percentile(grey[::step, ::step], (1, 50, 99))
    return float(low), float(middle), float(high)


def _extent(prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
    """Corners (x, y) of what a prompt points at, negative clicks aside."""
    spots = [p for p, label in zip(prompt.points, prompt.labels or (), strict=True) if label]
    if prompt.box is not None:
        spots += [prompt.box[:2], prompt.box[2:]]
    if prompt.sketch is not None:
        rows, columns = (np.flatnonzero(prompt.sketch.any(axis)) for axis in (1, 0))
        spots += [(columns[0], rows[0]), (columns[-1], rows[-1])]
    places = np.array(spots or prompt.points, float).reshape(-1, 2)
    return places.min(0), places.max(0)


def load(source: str = "", device: str = "auto") -> EmbeddedSegmenter:
    """Load the segmenter that comes with the package, or another weights file of its kind.

    Parameters
    ----------
    source : str
        Path of a .safetensors file; empty for the one of the package.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If the weights are missing or of another network, or the device is not there.

    Examples
    --------
    >>> load(device="cpu").name  # doctest: +SKIP
    'pnb-small-3'
    """
    where = pick_device(device)
    path, stored, metadata = read_weights(source, WEIGHTS, "segmenter.train")
    digest = file_digest(path.read_bytes())
    return _made(stored, metadata, (str(path), digest), where)


def parsed(data: bytes, what: str, device: torch.device) -> EmbeddedSegmenter:
    """The segmenter that the bytes of a weights file hold; `what` names them in errors.

    Raises
    ------
    ModelError
        If they are damaged or of another network.
    """
    stored, metadata = parse_weights(data, what)
    return _made(stored, metadata, (what, file_digest(data)), device)


def stored_tensors(segmenter: EmbeddedSegmenter) -> dict[str, Tensor]:
    """The tensors that a weights file holds: the network in half precision, and the judges."""
    state = segmenter.network.state_dict()
    tensors = {key: value.detach().half().contiguous() for key, value in state.items()}
    if segmenter.judges is not None:
        for key, value in segmenter.judges.stored().items():
            tensors[JUDGE + key] = torch.from_numpy(value)
    if segmenter.elsewhere is not None:
        others = stored_tensors(segmenter.elsewhere.segmenter)
        # judges share what tuning leaves alone, which a file must hold twice
        tensors |= {ELSEWHERE + key: value.clone() for key, value in others.items()}
        for key, value in segmenter.elsewhere.familiar.stored().items():
            tensors[FAMILIAR + key] = torch.from_numpy(np.asarray(value, np.float32))
    return tensors


def stored_facts(segmenter: EmbeddedSegmenter) -> dict[str, Any]:
    """What a weights file says of a segmenter besides its tensors."""
    facts = {
        "settings": asdict(segmenter.network.settings),
        "calibration": segmenter.calibration,
        "automatic": asdict(segmenter.settings),
    }
    if segmenter.elsewhere is not None:
        other = segmenter.elsewhere.segmenter
        named = {"name": other.name, "digest": other.digest}
        facts["elsewhere"] = {key: json.dumps(v) for key, v in stored_facts(other).items()} | named
    return facts


def _made(
    stored: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    origin: tuple[str, str],
    where: torch.device,
) -> EmbeddedSegmenter:
    path, digest = origin
    inner, stored = _parted(stored, ELSEWHERE)
    known, stored = _parted(stored, FAMILIAR)
    elsewhere = None
    try:
        if inner:
            facts = json.loads(metadata["elsewhere"])
            other = _made(inner, facts, (path, str(facts["digest"])), where)
            familiar = Familiar.read({k: v.numpy().astype(float) for k, v in known.items()})
            elsewhere = Elsewhere(other, familiar)
        settings: dict[str, Any] = json.loads(metadata["settings"])
        network = PromptableNetwork(NetworkSettings(**{k: tuple(v) for k, v in settings.items()}))
        judged, stored = _parted(stored, JUDGE)
        arrays = {key: value.float().numpy() for key, value in judged.items()}
        judges = Judges.read(arrays) if arrays else None
        network.load_state_dict({key: value.float() for key, value in stored.items()})
        knots, values = json.loads(metadata.get("calibration", "[[0, 1], [0, 1]]"))
        automatic = OnePassSettings(**json.loads(metadata.get("automatic", "{}")))
    except (KeyError, TypeError, ValueError, RuntimeError, DataError) as error:
        raise ModelError(f"{path} holds no weights of this network: {error}") from None
    network.to(where).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    made = EmbeddedSegmenter(
        network,
        metadata.get("name", "pnb-small"),
        digest,
        (tuple(knots), tuple(values)),
        automatic,
        where,
        judges,
        elsewhere=elsewhere,
    )
    parents = parentage(metadata)
    return replace(made, about=parents) if parents else made


def _parted(
    stored: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors whose names begin with a prefix, without it, and the others."""
    own = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    return own, {k: v for k, v in stored.items() if not k.startswith(prefix)}


def parentage(metadata: Mapping[str, str]) -> str:
    """One sentence on where tuned weights come from; empty for others."""
    try:
        about = json.loads(metadata["parentage"])
        parent, given = about["parent"], about["annotations"]
        whose = f"{parent['name']} ({parent['digest']})"
        seen = f"{len(given)} annotated images, {sum(int(one['particles']) for one in given)}"
        if not about["kept"]:
            return f"{whose} unchanged: tuning on {seen} particles gained nothing, {about['date']}"
        return f"tuned from {whose} on {seen} particles, {about['date']}"
    except (KeyError, TypeError, ValueError):
        return ""
