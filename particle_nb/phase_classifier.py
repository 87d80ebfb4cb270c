"""Phases of images from a few strokes: fit, predict, keep."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.archives import read_archive, write_archive
from particle_nb.core.errors import DataError, check_whole
from particle_nb.core.image import Image
from particle_nb.core.phases import (
    Committee,
    DenseFeatures,
    Growth,
    PhaseMap,
    appoint,
    channels_of,
    filter_bank,
    guided,
    joined,
)
from particle_nb.core.phases.inputs import (
    Own,
    checked_image,
    checked_images,
    checked_kinds,
    checked_own,
    checked_strokes,
    each_image,
    name_of,
    own_features,
)

_FORMAT = 1
_KIND = "phase classifier"
#: Pixels whose features are held at a time.
_BAND = 65_536


@dataclass(frozen=True)
class PhaseSettings:
    """How the forest grows and how its answer is smoothed.

    Parameters
    ----------
    trees : int
        1 to 2000.
    depth : int or None
        Most questions in a row; None for no limit.
    leaf : int
        Fewest painted pixels in a leaf.
    balance : bool
        Whether every phase counts alike however much of it was painted.
    most_pixels : int
        Painted pixels that are learned from at most; of more a random part, of each phase alike.
    linear : bool
        Whether a linear discriminant on each family of features votes beside its forest.
    smooth : int
        Half the side of the squares in pixels within which votes are smoothed along the image's
        edges; 0 for none.

    Raises
    ------
    DataError
        If a number is out of range.

    Examples
    --------
    >>> PhaseSettings(trees=50).smooth
    5
    """

    trees: int = 100
    depth: int | None = None
    leaf: int = 1
    balance: bool = True
    most_pixels: int = 20_000
    linear: bool = True
    smooth: int = 5

    def __post_init__(self) -> None:
        for name, low, high in (
            ("trees", 1, 2000),
            ("leaf", 1, 10_000),
            ("most_pixels", 100, 10_000_000),
            ("smooth", 0, 100),
        ):
            check_whole(f"PhaseSettings.{name}", getattr(self, name), low, high)
        if self.depth is not None:
            check_whole("PhaseSettings.depth", self.depth, 1, 1000)
        for name in ("balance", "linear"):
            if not isinstance(getattr(self, name), bool):
                raise DataError(f"PhaseSettings.{name} is True or False.")


class PhaseClassifier:
    """Random forests over features of pixels, taught by strokes.

    The features are a bank of filters at several scales on every channel (so of several detectors
    each counts), and beside it the maps of a network. Each family of features has a forest of its
    own and a linear discriminant beside it, and their votes are averaged. One classifier
    serves a stack or a folder.

    Parameters
    ----------
    session : Session or None
        Whose feature model makes the network's maps, and which keeps them; None makes one with
        the package's own model when it is needed.
    features : str, callable, or a sequence of these
        ``"both"`` (default), ``"filters"``, ``"network"``; a function of your own that takes an
        `Image` and returns numbers (H, W, D).
    settings : PhaseSettings or None
    seed : int
        The same seed, strokes and images give the same phases.

    Raises
    ------
    DataError
        If something of it cannot be used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([[0, 1]], 32, axis=1).repeat(48, axis=0)
    >>> image = Image(rng.normal(60 + 80 * truth, 10).clip(0, 255).astype(np.uint8))
    >>> strokes = np.full(truth.shape, -1)
    >>> strokes[10:14, 5:9], strokes[10:14, 40:44] = 0, 1
    >>> phases = PhaseClassifier(features="filters").fit(image, strokes).predict(image)
    >>> bool((phases.labels == truth).mean() > 0.95)
    True

    References
    ----------
    I. Arganda-Carreras et al., 2017, doi:10.1093/bioinformatics/btx180 (filters and forest);
    L. Breiman, 2001, doi:10.1023/A:1010933404324.
    """

    def __init__(
        self,
        session: Any = None,
        features: str | Own | Sequence[str | Own] = "both",
        settings: PhaseSettings | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if session is not None and not hasattr(session, "feature_maps"):
            raise DataError(
                f"session is a particle_nb.Session or None, not {type(session).__name__}."
            )
        self._session = session
        self.features = checked_kinds(features)
        self.settings = PhaseSettings() if settings is None else settings
        if not isinstance(self.settings, PhaseSettings):
            raise DataError(f"settings are PhaseSettings, not {type(settings).__name__}.")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise DataError(f"seed is a whole number, 0 or more, not {seed!r}.")
        self.seed = int(seed)
        self._forest: Committee | None = None

    # ------------------------------------------------------------------------------ learning

    def fit(
        self,
        images: Any,
        strokes: Any,
        names: Mapping[int, str] | Sequence[str] = (),
        *,
        own: Any = None,
    ) -> PhaseClassifier:
        """Learn the phases from painted pixels.

        Parameters
        ----------
        images : Image, array (H, W) or (H, W, C), or a sequence of images
        strokes : int array (H, W), or a sequence of these
            -1 where nothing was painted, else the phase 0, 1, ...; one for each image.
        names : mapping of int to str, or sequence of str
            What the phases are called.
        own : float array (H, W, D), or a sequence of these
            Features of your own, one for each image, beside those of `features`.

        Returns
        -------
        PhaseClassifier
            Itself.

        Raises
        ------
        DataError
            If strokes are no whole numbers of the image's shape, or fewer than two phases are
            painted.
        ImageError
            If something is no image.
        ModelError
            If the network cannot be loaded.
        """
        pictures = checked_images(images)
        painted = checked_strokes(strokes, pictures)
        dense = [
            self.maps(picture, own=part)
            for picture, part in zip(pictures, checked_own(own, pictures), strict=True)
        ]
        return self.fit_maps(dense, painted, pictures, names)

    def fit_maps(
        self,
        maps: Sequence[DenseFeatures],
        strokes: Sequence[np.ndarray],
        images: Sequence[Image],
        names: Mapping[int, str] | Sequence[str] = (),
    ) -> PhaseClassifier:
        """Learn from features that have been made, one each for images and strokes; see `fit`.

        Parameters
        ----------
        maps : sequence of DenseFeatures
            As `maps` makes them.
        strokes : sequence of int arrays (H, W)
        images : sequence of Image
        names : mapping of int to str, or sequence of str

        Raises
        ------
        DataError
            As `fit`.
        """
        kinds = {(dense.names, dense.origin) for dense in maps}
        if len(kinds) > 1:
            raise DataError(
                "the images have different features, as those of other numbers of channels have; "
                "teach one classifier with images of the same detectors."
            )
        rows, targets = self._gathered(maps, strokes)
        classes, places = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            found = ", ".join(map(str, classes.tolist())) or "none"
            raise DataError(f"paint at least two phases; painted so far: {found}.")
        # checked before anything is replaced
        known = PhaseMap(classes[None].astype(np.int16), names=names).names
        settings = self.settings
        growth = Growth(
            settings.trees,
            settings.depth,
            settings.leaf,
            settings.balance,
            self.seed,
            settings.linear,
        )
        self._forest = appoint(rows, places, maps[0].families, growth)
        self._classes = classes
        self.names = dict(known)  # type: ignore[arg-type]
        self._kind = (maps[0].names, maps[0].origin)
        self._licence = maps[0].licence
        self._channels = len(channels_of(images[0]))
        counts = np.bincount(np.concatenate([s[s >= 0].ravel() for s in strokes]))
        self.painted = {self.names[k]: int(counts[k]) for k in classes.tolist()}
        self._images = [image.digest for image in images]
        return self

    def _gathered(
        self, maps: Sequence[DenseFeatures], strokes: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, D) and phases (N,) of painted pixels, not more than the settings take."""
        places = [np.nonzero(painted >= 0) for painted in strokes]
        phases = [painted[at].astype(int) for painted, at in zip(strokes, places, strict=True)]
        numbers = np.concatenate(phases)
        keep = np.ones(len(numbers), bool)
        if len(numbers) > self.settings.most_pixels:
            rng = np.random.default_rng(self.seed)
            share = max(1, self.settings.most_pixels // max(len(np.unique(numbers)), 1))
            keep[:] = False
            for phase in np.unique(numbers):
                mine = np.flatnonzero(numbers == phase)
                keep[rng.choice(mine, min(share, len(mine)), replace=False)] = True
        rows, start = [], 0
        for dense, (r, c) in zip(maps, places, strict=True):
            chosen = keep[start : start + len(r)]
            start += len(r)
            rows.append(dense.at(r[chosen], c[chosen]))
        return np.concatenate(rows), numbers[keep]

    def maps(self, image: Any, *, own: Any = None) -> DenseFeatures:
        """Return the features of an image, those of the session from its cache.

        Parameters
        ----------
        image : Image or array (H, W) or (H, W, C)
        own : float array (H, W, D) or None

        Raises
        ------
        DataError
            If own features are not of the image's shape, or not finite.
        """
        image = checked_image(image)
        parts: list[DenseFeatures] = []
        for place, kind in enumerate(self.features):
            if callable(kind):
                parts.append(own_features(kind(image), image, f"own{place}", name_of(kind)))
            elif kind == "filters":
                parts.append(
                    filter_bank(image)
                    if self._session is None
                    else self._session.feature_maps(image, "filters")
                )
            else:
                parts.append(self.session.feature_maps(image, kind))
        if own is not None:
            parts.append(own_features(own, image, "own", "array"))
        return joined(parts)

    @property
    def session(self) -> Any:
        """The session that makes the network's maps."""
        if self._session is None:
            from particle_nb.session import Session

            self._session = Session()
        return self._session

    # ------------------------------------------------------------------------------ answering

    def predict(self, image: Any, *, own: Any = None) -> PhaseMap:
        """Return the phase of every pixel.

        Parameters
        ----------
        image : Image or array (H, W) or (H, W, C)
            With as many channels as the fitted ones.
        own : float array (H, W, D) or None
            Own features, where it was fitted with some.

        Returns
        -------
        PhaseMap
            With names, votes, scale and what it was made with.

        Raises
        ------
        DataError
            If it is not fitted, or on other features or channels.
        ImageError
            If it is no image.
        """
        image = checked_image(image)
        self._check_channels(image)
        return self.predict_maps(self.maps(image, own=own), image)

    def predict_maps(self, maps: DenseFeatures, image: Image) -> PhaseMap:
        """Return the phases of an image whose features have been made; see `predict`.

        Raises
        ------
        DataError
            As `predict`.
        """
        votes = guided(self.votes(maps), channels_of(image).mean(axis=0), self.settings.smooth)
        return self._map(votes, image)

    def _map(self, votes: np.ndarray, image: Image) -> PhaseMap:
        from particle_nb import __version__

        size = max(self.names) + 1
        votes = np.clip(votes, 0, 1)
        votes /= np.maximum(votes.sum(axis=2, keepdims=True), 1e-9)
        labels = self._classes[votes.argmax(axis=2)].astype(np.int16)
        probable = np.zeros((*image.shape, size), np.float16)
        probable[..., self._classes] = votes
        if image.pixels.dtype.kind == "f":
            finite = np.isfinite(image.pixels.reshape(*image.shape, -1)).all(axis=2)
            labels[~finite] = -1
        info = {
            "features": list(self._kind[1]),
            "licence": self._licence,
            "numbers": len(self._kind[0]),
            "painted": self.painted,
            "painted_images": self._images,
            "settings": asdict(self.settings),
            "seed": self.seed,
            "image": image.digest,
            "particle_nb": __version__,
        }
        return PhaseMap(labels, probable, self.names, image.calibration, image.name, info)

    def votes(self, maps: DenseFeatures, step: int = 1) -> np.ndarray:
        """Return shares of the trees for each painted phase, before smoothing.

        Parameters
        ----------
        maps : DenseFeatures
            Of an image of (H, W).
        step : int
            1 for every pixel; more for every so many pixels of every so many rows, quickly.

        Returns
        -------
        float32 (ceil(H / step), ceil(W / step), K)

        Raises
        ------
        DataError
            If it is not fitted, or on other features.
        """
        forest = self._checked(maps)
        height, width = maps.shape
        lines, columns = np.arange(0, height, step), np.arange(0, width, step)
        out = np.empty((len(lines), len(columns), len(self._classes)), np.float32)
        band = max(1, _BAND // len(columns))
        for top in range(0, len(lines), band):
            part = lines[top : top + band]
            rows, cols = np.repeat(part, len(columns)), np.tile(columns, len(part))
            found = forest.probabilities(maps.at(rows, cols))
            out[top : top + band] = found.reshape(len(part), len(columns), -1)
        return out

    @property
    def classes(self) -> tuple[int, ...]:
        """The painted phases, rising; the last axis of `votes`."""
        return () if self._forest is None else tuple(int(k) for k in self._classes)

    def predict_all(
        self, source: Any, out: str | os.PathLike[str] | None = None
    ) -> Iterator[PhaseMap]:
        """Yield the phases of many images, one after the other.

        Parameters
        ----------
        source : sequence of images or paths, a folder, or the path of a stack
            Of a folder all images in the order of their names; of a stack all pages.
        out : folder or None
            Where label TIFFs are written, named like the images.

        Yields
        ------
        PhaseMap

        Raises
        ------
        DataError
            If there is nothing to do, or an image has other channels than the fitted ones.
        ImageError
            If a file cannot be read.
        """
        if self._forest is None:
            raise DataError("this PhaseClassifier knows no phases yet: fit it on strokes first.")
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
        done = 0
        for image in each_image(source):
            phases = self.predict(image)
            done += 1
            if out is not None:
                stem = Path(image.name).stem or "image"
                page = image.info.get("page")
                mark = f"-{page}" if page is not None else ""
                phases.export(Path(out) / f"{stem}{mark}-phases.tif")
            yield phases
        if not done:
            raise DataError(f"there is no image in {source!r}.")

    def _fitted(self) -> Committee:
        if self._forest is None:
            raise DataError("this PhaseClassifier knows no phases yet: fit it on strokes first.")
        return self._forest

    def _check_channels(self, image: Image) -> None:
        self._fitted()
        channels = len(channels_of(image))
        if channels != self._channels:
            raise DataError(
                f"{image.name or 'this image'} has {channels} channels, the phases were learned "
                f"from {self._channels}; give the same detectors in the same order."
            )

    def _checked(self, maps: DenseFeatures) -> Committee:
        forest = self._fitted()
        if (maps.names, maps.origin) != self._kind:
            raise DataError(
                f"the phases were learned from {len(self._kind[0])} features of "
                f"{', '.join(self._kind[1])}, these are {len(maps.names)} of "
                f"{', '.join(maps.origin)}; fit again on these, or use the session of then."
            )
        return forest

    # ------------------------------------------------------------------------------ keeping

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the forest and all that predicting needs to a file without pickle.

        Raises
        ------
        DataError
            If it is not fitted, or cannot be written.

        Examples
        --------
        >>> PhaseClassifier().save("my.pnbphases")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        forest = self._fitted()
        about = {
            "format": _FORMAT,
            "kind": _KIND,
            "features": [None if callable(kind) else kind for kind in self.features],
            "settings": asdict(self.settings),
            "seed": self.seed,
            "names": {str(k): v for k, v in self.names.items()},
            "columns": list(self._kind[0]),
            "origin": list(self._kind[1]),
            "licence": self._licence,
            "channels": self._channels,
            "painted": self.painted,
            "images": self._images,
        }
        return write_archive(path, about, {"classes": self._classes, **forest.arrays()})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        session: Any = None,
        features: str | Own | Sequence[str | Own] | None = None,
    ) -> PhaseClassifier:
        """Read what `save` wrote; nothing in the file is run.

        Parameters
        ----------
        path : path
        session : Session or None
            As for a new one. Its feature model must be the one that was learned with.
        features : as for a new one, or None
            Needed where own functions were used, which a file does not hold.

        Raises
        ------
        DataError
            If it cannot be read, is damaged, or needs own functions.

        Examples
        --------
        >>> PhaseClassifier.load("no such file")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        about, arrays = read_archive(path, _KIND, _FORMAT)
        try:
            kinds: Any = about["features"] if features is None else features
            if features is None and None in kinds:
                raise DataError(
                    f"{path} was learned with own functions, which no file holds; pass features="
                )
            made = cls(session, kinds, PhaseSettings(**about["settings"]), seed=about["seed"])
            columns = tuple(str(name) for name in about["columns"])
            classes = np.asarray(arrays.pop("classes"), np.int64)
            made._forest = Committee.of_arrays(arrays, len(columns))
            names = {int(k): str(v) for k, v in about["names"].items()}
            made.names = dict(PhaseMap(classes[None], names=names).names)  # type: ignore[arg-type]
            if made._forest.classes != len(classes):
                raise DataError(f"{path} is damaged: its trees know other phases.")
            made._classes = classes
            made._kind = (columns, tuple(str(text) for text in about["origin"]))
            made._licence = str(about["licence"])
            made._channels = int(about["channels"])
            made.painted = {str(k): int(v) for k, v in about["painted"].items()}
            made._images = [str(digest) for digest in about["images"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} holds no phase classifier: {error}.") from None
        return made

    def __repr__(self) -> str:
        if self._forest is None:
            return "<PhaseClassifier, not fitted>"
        told = ", ".join(f"{name} {count} px" for name, count in self.painted.items())
        return f"<PhaseClassifier on {len(self._kind[0])} features; painted {told}>"
