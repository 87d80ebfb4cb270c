"""A working session: models loaded when first needed, what they computed kept by bytes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_nb.core.errors import DataError, ImageError, ModelError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import MaskSet, Prompt
from particle_nb.models import (
    DepthEstimator,
    Embedding,
    FeatureExtractor,
    Progress,
    Segmenter,
    Window,
    load_model,
)
from particle_nb.models.embedding_files import load_embedding, save_embedding
from particle_nb.models.protocols import missing_members, settings_key
from particle_nb.progress import progress_bar

if TYPE_CHECKING:
    from pandas import DataFrame

    from particle_nb.core.learning import FeatureTable, ShapeClassifier
    from particle_nb.core.phases import DenseFeatures
    from particle_nb.core.surface import DepthMap
    from particle_nb.models.tuning.settings import TuneSettings
    from particle_nb.models.tuning.tuned import Tuned

Key = tuple[str, ...]
_PROTOCOLS: dict[str, type] = {
    "segmenter": Segmenter,
    "depth": DepthEstimator,
    "features": FeatureExtractor,
}

#: A first candidate with a predicted IoU above this is not looked for in a wider window.
_SURE = 0.7
#: A wider window's candidate must be better by this much.
_SURER = 0.15


@dataclass(frozen=True)
class CacheInfo:
    """What the session keeps: counts of answers, entries and bytes."""

    hits: int
    misses: int
    disk_hits: int
    entries: int
    nbytes: int
    max_bytes: int


class Session:
    """Models and what they have computed, for a notebook, a script or a batch.

    Nothing is loaded until it is used. Embeddings, proposals and depth maps are kept on the
    model's device under (model, weights digest, image digest, window) and dropped least recently
    used first when `cache_bytes` is exceeded. There is no current image: every call names its own.
    A session can be copied and pickled: the copy has the same models and settings and an empty
    cache; a pickled one loads its models anew.

    Parameters
    ----------
    segmenter : str or Segmenter
        ``"embedded"`` (default), ``"classical"``, a hub id (``"facebook/sam-vit-huge"``), a local
        folder, an official ``sam_vit_*.pth``, or an object that follows
        `particle_nb.models.Segmenter`.
    depth, features : str or object
        Likewise for depth maps (``"embedded"``, the package's own; any transformers depth model
        by hub id or folder, such as ``"Intel/dpt-large"``) and particle features
        (``"embedded"``, the encoder of the package's own segmenter; ``"efficientnet-lite0"``,
        ``"vgg-hed"``, or a DINOv2 by hub id or folder).
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    cache_bytes : int
        Budget of the cache in bytes; one entry larger than that is not kept.
    cache_dir : path or None
        Where embeddings are also written (safetensors), so that they outlive the kernel.

    Raises
    ------
    ModelError
        When a model that is needed cannot be loaded (at first use, not here).

    Examples
    --------
    >>> session = Session(segmenter="classical")
    >>> picture = np.zeros((64, 64), np.uint8); picture[20:40, 20:40] = 200
    >>> len(session.propose(Image(picture)))
    1
    """

    def __init__(
        self,
        segmenter: str | Segmenter = "embedded",
        depth: str | DepthEstimator = "embedded",
        features: str | FeatureExtractor = "embedded",
        *,
        device: str = "auto",
        cache_bytes: int = 2 << 30,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 0:
            raise DataError(f"cache_bytes is a number of bytes, not {cache_bytes!r}.")
        if not isinstance(device, str):
            raise ModelError(f"device is 'auto', 'cpu', 'cuda' or 'mps', not {device!r}.")
        self.device = device
        self.cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._sources: dict[str, Any] = {
            "segmenter": segmenter,
            "depth": depth,
            "features": features,
        }
        self._models: dict[str, Any] = {}
        self._cache: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._max_bytes = cache_bytes
        self._counts = {"hits": 0, "misses": 0, "disk_hits": 0}
        self._lock = threading.RLock()

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded at first use."""
        return self._model("segmenter")

    @property
    def depth_model(self) -> DepthEstimator:
        """The depth model, loaded at first use."""
        return self._model("depth")

    @property
    def feature_model(self) -> FeatureExtractor:
        """The feature model, loaded at first use."""
        return self._model("features")

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Return the embedding of the image or of a window of it, from the cache where it is there.

        Parameters
        ----------
        image : Image
        window : (x0, y0, x1, y1) or None
            Pixels, ends exclusive; clipped to the image. A window is encoded at full resolution.

        Raises
        ------
        ImageError
            If `image` is no `Image`.
        PromptError
            If the window does not overlap the image.
        ModelError
            If the model cannot be loaded.
        """
        image = _image(image)
        x0, y0, x1, y1 = window = checked_window(window, image.shape, clip=True, error=PromptError)
        whole = (x1 - x0, y1 - y0) == image.shape[::-1]
        model = self.segmenter
        key = ("embedding", model.name, model.digest, image.digest, *map(str, window))

        def compute() -> Embedding:
            path = self._path(key)
            found = load_embedding(path, key, str(getattr(model, "device", "cpu")))
            if found is not None:
                self._counts["disk_hits"] += 1
                return found
            fresh = model.encode(image, None if whole else window)
            if path is not None:
                save_embedding(path, key, fresh)
            return fresh

        return self._cached(key, compute, lambda embedding: embedding.nbytes)

    def predict(
        self,
        image: Image,
        prompt: Prompt,
        window: Window | None = None,
        *,
        outline: str = "annotators",
    ) -> MaskSet:
        """Answer a prompt with up to three candidates, best predicted IoU first.

        Masks lie in the frame of the whole image, also when a window was encoded. Where none is
        given, the model chooses: on an image that it would have to shrink, a window at full
        resolution around what the prompt points at, and a wider one if the answer is cut by it.

        Raises
        ------
        PromptError
            If the prompt is none, or lies outside the image.
        """
        image = _image(image)
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"a prompt is a particle_nb.Prompt, not {type(prompt).__name__}; "
                "write Prompt(points=((x, y),))."
            )
        prompt.check(image.shape)
        model = self.segmenter
        if window is not None or not hasattr(model, "windows"):
            answer = model.predict(self.encode(image, window), prompt)
            return _outlined(answer, image, outline, rivals=True)
        best = MaskSet((), image.shape)
        cut = False
        for wide in model.windows(image.shape, prompt):
            answer = model.predict(self.encode(image, wide), prompt)
            # a wider look is a coarser one: it replaces an answer that is cut or clearly less sure
            if cut or _first_iou(answer) > _first_iou(best) + _SURER:
                best, cut = answer, _cut(answer, wide)
            if not cut and _first_iou(best) > _SURE:
                break
        return _outlined(best, image, outline, rivals=True)

    def propose(
        self, image: Image, *, progress: bool = True, outline: str = "annotators"
    ) -> MaskSet:
        """Return the automatic mode's masks of the whole image; slow once, cached afterwards.

        Interrupting it leaves the cache as it was. `outline` is as in `predict`. Of an image with a
        region only what lies inside is returned.

        Raises
        ------
        ImageError
            If `image` is no `Image`.
        ModelError
            If the model cannot be loaded.
        """
        image = _image(image)
        model = self.segmenter
        key = ("proposals", model.name, model.digest, image.digest, settings_key(model))

        def compute() -> MaskSet:
            with _bar("segmenting", progress) as report:
                return model.generate(image, self.encode, report)

        found = self._cached(
            key, compute, lambda masks: sum(mask.crop.nbytes + 256 for mask in masks)
        )
        if image.region is not None:
            found = found[image.region.holds(found.masks)]
        return _outlined(found, image, outline)

    def depth(self, image: Image, window: Window | None = None) -> DepthMap:
        """Return relative heights of the image, larger is nearer to the detector.

        Raises
        ------
        ImageError, PromptError, ModelError
            As in `encode`.
        """
        from particle_nb.core.surface import DepthMap

        image = _image(image)
        whole = window is None
        window = checked_window(window, image.shape, clip=True, error=PromptError)
        model = self.depth_model
        key = ("depth", model.name, model.digest, image.digest, *map(str, window))

        def compute() -> DepthMap:
            relative = model.estimate(image, None if whole else window)
            return DepthMap(relative, model=model.name, weights=model.digest, window=window)

        return self._cached(key, compute, lambda depth: depth.relative.nbytes)

    def features(self, image: Image, masks: MaskSet) -> FeatureTable:
        """Return numbers of every mask that tell its class: ours, and beside them the model's.

        Parameters
        ----------
        image : Image
        masks : MaskSet
            On the image's frame.

        Returns
        -------
        FeatureTable
            One row a mask: first the columns of `particle_nb.core.learning.particle_numbers`, then
            those of the feature model; ``numpy.asarray`` gives float32 (N, D). Names of columns,
            model, digest and licence of its weights go with it.

        Raises
        ------
        DataError
            If the masks are of another frame.
        ModelError
            If the model cannot be loaded, or does not answer with one row a mask.
        """
        from particle_nb.core.learning import particle_numbers

        image = _image(image)
        if not isinstance(masks, MaskSet) or masks.shape != image.shape:
            raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
        model = self.feature_model
        # the size in nm is one of the features, so the scale is part of the key
        scale = str(image.calibration and image.calibration.to("nm"))
        key = ("features", model.name, model.digest, image.digest, scale, masks.digest)

        def compute() -> FeatureTable:
            rows = np.asarray(model.extract(image, masks), np.float32)
            return _beside(particle_numbers(image, masks), rows, model)

        return self._cached(key, compute, lambda table: table.nbytes)

    def classify(self, image: Image, masks: MaskSet, classifier: ShapeClassifier) -> DataFrame:
        """Return the classes of all masks of an image, as `ShapeClassifier.predict` does.

        Raises
        ------
        DataError, ModelError
            As `features`; if the classifier is none, not fitted, or fitted on other features.
        """
        from particle_nb.core.learning.neighbours import classified

        return classified(classifier, image, masks, self.features(image, masks))

    def feature_maps(self, image: Image, kind: str = "network") -> DenseFeatures:
        """Return numbers at every pixel: a network's maps, or a bank of filters.

        Parameters
        ----------
        image : Image
        kind : str
            ``"network"``, the maps of the feature model, or ``"filters"``.

        Returns
        -------
        DenseFeatures
            ``.maps()`` gives float32 (H, W, D); names and origin of the numbers go with it.

        Raises
        ------
        DataError
            If the kind is none.
        ModelError
            If the model cannot be loaded, or makes no maps.
        """
        from particle_nb.core.phases import filter_bank

        image = _image(image)
        if kind not in ("network", "filters"):
            raise DataError(f"kind is 'network' or 'filters', not {kind!r}.")
        if kind == "filters":
            key: Key = ("filters", image.digest)
            return self._cached(key, lambda: filter_bank(image), lambda dense: dense.nbytes)
        model = self.feature_model
        make = getattr(model, "maps", None)
        if make is None:
            raise ModelError(f"{model.name!r} makes no maps: it lacks maps(image).")
        key = ("maps", model.name, model.digest, image.digest)
        return self._cached(key, lambda: make(image), lambda dense: dense.nbytes)

    def tune(
        self,
        annotations: Any,
        minutes: float = 5.0,
        *,
        settings: TuneSettings | None = None,
        progress: bool = True,
        stop: threading.Event | None = None,
    ) -> Tuned:
        """Tune a copy of the segmenter on your own masks; masks held out decide.

        The session goes on with the old weights; see `use`. Interrupting it (the stop button of
        the notebook) ends the learning early and loses nothing of it.

        Parameters
        ----------
        annotations : list or dict
            (image, masks) pairs, `Annotation` objects or annotators, or paths of ``.pnb`` files.
            All particles of an image must be marked: what is not counts as ground.
        minutes : float
            Time for all of it.
        settings : TuneSettings or None
        progress : bool
            Shows how far it is, and the score before and now.
        stop : threading.Event or None
            Ends the learning early when it is set, from another thread.

        Returns
        -------
        Tuned
            ``.segmenter``, ``.scores`` (DataFrame), ``.kept``, ``.notes``, ``.save(path)``.

        Raises
        ------
        DataError
            If there are too few masks to learn from and to judge by.
        ModelError
            If this segmenter cannot be tuned.
        """
        from particle_nb.models.tuning.running import Outlook, tune, tuning_bar

        if stop is not None and not isinstance(stop, threading.Event):
            raise DataError(f"stop is a threading.Event, not {type(stop).__name__}.")
        with tuning_bar(progress) as report:
            outlook = Outlook(minutes, report, stop or threading.Event())
            return tune(self.segmenter, annotations, settings, outlook)

    def use(self, segmenter: str | Segmenter | Tuned) -> None:
        """Go on with another segmenter: a tuned one, a path or a name; what was cached stays apart.

        Embeddings and proposals are kept under the digest of the weights, so none of the old
        ones is taken for one of the new.

        Parameters
        ----------
        segmenter : str, Segmenter or Tuned

        Raises
        ------
        ModelError
            If it cannot be loaded; the session then keeps the one it has.
        """
        source = getattr(segmenter, "segmenter", segmenter)
        loaded = _loaded(source, "segmenter", self.device)
        with self._lock:
            self._sources["segmenter"] = source
            self._models["segmenter"] = loaded

    def cache_info(self) -> CacheInfo:
        """Return counts of hits, misses, entries and bytes."""
        with self._lock:
            total = sum(size for _, size in self._cache.values())
            return CacheInfo(
                **self._counts,
                entries=len(self._cache),
                nbytes=total,
                max_bytes=self._max_bytes,
            )

    def cache_clear(self) -> None:
        """Drop everything kept in memory; files in `cache_dir` stay."""
        with self._lock:
            self._cache.clear()
            self._counts = {"hits": 0, "misses": 0, "disk_hits": 0}

    def __getstate__(self) -> dict[str, Any]:
        # what was computed stays here, and named models are loaded anew where they are used
        return {
            "sources": self._sources,
            "device": self.device,
            "cache_bytes": self._max_bytes,
            "cache_dir": self.cache_dir,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        sources = state.pop("sources")
        self.__init__(**sources, **state)  # type: ignore[misc]

    def __copy__(self) -> Session:
        other = Session.__new__(Session)
        other.__setstate__(self.__getstate__())
        with self._lock:
            other._models = dict(self._models)  # nothing changes a loaded model
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return self.__copy__()

    def __repr__(self) -> str:
        names = {kind: getattr(source, "name", source) for kind, source in self._sources.items()}
        shown = ", ".join(f"{kind}={name!r}" for kind, name in names.items())
        return f"Session({shown}, device={self.device!r})"

    def _model(self, kind: str) -> Any:
        with self._lock:
            if kind not in self._models:
                self._models[kind] = _loaded(self._sources[kind], kind, self.device)
            return self._models[kind]

    def _cached(self, key: Key, compute: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return the value under the key; an exception on the way leaves the cache untouched."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                self._counts["hits"] += 1
                return self._cache[key][0]
            self._counts["misses"] += 1
            value = compute()
            nbytes = int(size(value))
            if nbytes <= self._max_bytes:
                self._cache[key] = (value, nbytes)
                total = sum(kept for _, kept in self._cache.values())
                while total > self._max_bytes:
                    total -= self._cache.popitem(last=False)[1][1]
            return value

    def _path(self, key: Key) -> Path | None:
        if self.cache_dir is None:
            return None
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
        return self.cache_dir / f"{name}.safetensors"


def _loaded(source: Any, kind: str, device: str) -> Any:
    """A model by its name, or the object itself where it follows the protocol."""
    if isinstance(source, str):
        source = load_model(source, kind, device)
    missing = missing_members(source, _PROTOCOLS[kind])
    if missing:
        raise ModelError(
            f"{type(source).__name__} is no {kind} model; name one of "
            f"`particle-nb models`, or pass an object that follows "
            f"particle_nb.models.{_PROTOCOLS[kind].__name__}: it lacks "
            f"{', '.join(missing)}."
        )
    return source


def _beside(ours: FeatureTable, rows: np.ndarray, model: FeatureExtractor) -> FeatureTable:
    """Put a model's rows beside our own numbers, with their names and their origin."""
    if rows.ndim != 2 or len(rows) != len(ours):
        raise ModelError(
            f"{model.name!r} answered with an array of {rows.shape} for {len(ours)} masks; "
            "a feature model gives one row a mask."
        )
    tag = model.name.rpartition("/")[2].replace(".", "_")
    names = getattr(model, "names", None) or [f"{tag}.{i}" for i in range(rows.shape[1])]
    return replace(
        ours,
        values=np.hstack([ours.values, rows]),
        names=(*ours.names, *names),
        model=model.name,
        digest=model.digest,
        licence=getattr(model, "licence", ""),
    )


def _outlined(masks: MaskSet, image: Image, outline: str, rivals: bool = False) -> MaskSet:
    """The masks as they are, or each moved to its grey edge; `rivals` are of one particle."""
    if outline == "annotators":
        return masks
    if outline != "edge":
        raise DataError(f"outline is 'annotators' or 'edge', not {outline!r}.")
    from particle_nb.core.grey_edges import to_grey_edges

    if not rivals:
        return to_grey_edges(masks, image)
    alone = [to_grey_edges(MaskSet((mask,)), image)[0] for mask in masks]
    return MaskSet(tuple(alone), masks.shape)


def _first_iou(answer: MaskSet) -> float:
    """Predicted IoU of the best candidate, -1 where there is none."""
    return float(np.nan_to_num(answer[0].predicted_iou)) if len(answer) else -1.0


def _cut(answer: MaskSet, window: Window | None) -> bool:
    """Whether the best candidate ends where its window ends, and the image does not."""
    if window is None or not len(answer):
        return False
    (r0, c0, r1, c1), (height, width) = answer[0].bbox, answer[0].shape
    x0, y0, x1, y1 = window
    near = 2
    return (
        (x0 > 0 and c0 <= x0 + near)
        or (y0 > 0 and r0 <= y0 + near)
        or (x1 < width and c1 >= x1 - near)
        or (y1 < height and r1 >= y1 - near)
    )


def _image(image: Any) -> Image:
    if not isinstance(image, Image):
        raise ImageError(
            f"expected a particle_nb.Image, not {type(image).__name__}; "
            "use read_image(path) or Image(array)."
        )
    return image


@contextmanager
def _bar(text: str, show: bool) -> Iterator[Progress | None]:
    if not show:
        yield None
        return
    with progress_bar(text) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
