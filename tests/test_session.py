"""The session: models loaded late, answers kept by bytes, files that survive damage."""

import numpy as np
import pytest

from particle_nb import Calibration, Image, MaskSet, ModelError, Prompt, PromptError, Session
from particle_nb.core.errors import DataError, ImageError
from particle_nb.models import Embedding, Segmenter


class Counting:
    """A segmenter that counts how often it is asked."""

    name, digest, device = "counting", "w1", "cpu"

    def __init__(self, array: np.ndarray | None = None, fail: bool = False) -> None:
        self.encoded: list = []
        self.array = np.arange(250, dtype=np.float32) if array is None else array
        self.fail = fail

    def encode(self, image, window=None):
        self.encoded.append(window)
        height, width = image.shape
        return Embedding(
            self.name,
            self.digest,
            image.digest,
            image.shape,
            window or (0, 0, width, height),
            {"a": self.array},
            {"scale": 2.0},
        )

    def predict(self, embedding, prompt):
        x0, y0, x1, y1 = embedding.window
        labels = np.zeros(embedding.shape, int)
        labels[y0:y1, x0:x1] = 1
        return MaskSet.from_labels(labels)

    def generate(self, image, encode=None, progress=None):
        if self.fail:
            raise KeyboardInterrupt
        for step in range(3):
            progress and progress(step + 1, 3)
        return self.predict((encode or self.encode)(image, None), None)


def image(seed: int = 0, shape: tuple[int, int] = (32, 48)) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8))


def test_an_embedding_is_computed_once_per_image_and_window() -> None:
    model = Counting()
    session = Session(model)
    for _ in range(3):
        session.encode(image())
        session.encode(image(), (4, 4, 20, 20))
        session.predict(image(), Prompt(points=((5, 5),)))
    assert model.encoded == [None, (4, 4, 20, 20)]
    info = session.cache_info()
    assert (info.misses, info.hits, info.entries, info.nbytes) == (2, 7, 2, 2000)


def test_the_digest_of_the_pixels_is_the_key_not_the_object_or_its_name() -> None:
    model = Counting()
    session = Session(model)
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    session.encode(Image(pixels, name="a"))
    session.encode(Image(pixels.copy(), Calibration(1, "um"), name="b"))
    session.encode(Image(pixels.astype(np.int32)))
    assert len(model.encoded) == 2


def test_least_recently_used_goes_first_and_the_budget_holds() -> None:
    model = Counting()
    session = Session(model, cache_bytes=2500)
    first, second, third = image(1), image(2), image(3)
    for picture in (first, second, first, third, first):
        session.encode(picture)
        assert session.cache_info().nbytes <= 2500
    assert len(model.encoded) == 3, "the first image was used last and must have stayed"
    session.encode(second)
    assert len(model.encoded) == 4


def test_an_entry_larger_than_the_budget_is_returned_but_not_kept() -> None:
    session = Session(Counting(), cache_bytes=10)
    session.encode(image())
    assert session.cache_info().entries == 0


def test_interrupting_leaves_the_cache_as_it_was() -> None:
    model = Counting(fail=True)
    session = Session(model)
    with pytest.raises(KeyboardInterrupt):
        session.propose(image(), progress=False)
    assert session.cache_info().entries == 0
    model.fail = False
    assert len(session.propose(image(), progress=False)) == 1
    assert len(session.propose(image())) == 1
    assert len(model.encoded) == 1


def test_embeddings_outlive_the_kernel_and_damage(tmp_path) -> None:
    model = Counting()
    Session(model, cache_dir=tmp_path).encode(image())
    again = Session(model, cache_dir=tmp_path)
    embedding = again.encode(image())
    assert len(model.encoded) == 1
    assert again.cache_info().disk_hits == 1
    assert embedding.meta == {"scale": 2.0}
    assert embedding.window == (0, 0, 48, 32)
    np.testing.assert_array_equal(embedding.arrays["a"], model.array)

    (entry,) = tmp_path.glob("*.safetensors")
    whole = entry.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]  # one bit of a number
    renamed = whole.replace(b'"a":', b'"b":', 1)
    assert renamed != whole
    damages = (b"", whole[:40], b"\xff" * len(whole), whole[:-100], b"{}" + whole)
    for damage in (*damages, flipped, renamed):
        entry.write_bytes(damage)
        before = len(model.encoded)
        Session(model, cache_dir=tmp_path).encode(image())
        assert len(model.encoded) == before + 1
        mended = Session(model, cache_dir=tmp_path)
        mended.encode(image())
        assert mended.cache_info().disk_hits == 1, "a damaged entry is written again"
    assert not list(tmp_path.glob("*.part"))


def test_torch_embeddings_come_back_as_tensors(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    model = Counting(torch.arange(6, dtype=torch.bfloat16))
    Session(model, cache_dir=tmp_path).encode(image())
    back = Session(model, cache_dir=tmp_path).encode(image()).arrays["a"]
    assert back.dtype == torch.bfloat16
    assert back.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_unwritable_cache_warns_and_goes_on(tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(UserWarning, match="cannot be written"):
        Session(Counting(), cache_dir=blocked).encode(image())


def test_windows_are_clipped_and_refused_outside() -> None:
    model = Counting()
    session = Session(model)
    session.encode(image(), (-5, -5, 20, 20))
    session.encode(image(), (0, 0, 48, 32))
    assert model.encoded == [(0, 0, 20, 20), None]
    for window in ((100, 0, 120, 20), (5, 5, 5, 9), "here", (1, 2, 3)):
        with pytest.raises(PromptError):
            session.encode(image(), window)


def test_bad_arguments_are_named() -> None:
    session = Session("classical")
    for bad in (None, "a.tif", np.zeros((4, 4))):
        with pytest.raises(ImageError, match="read_image"):
            session.propose(bad)
    with pytest.raises(PromptError, match="Prompt"):
        session.predict(image(), (3, 4))
    with pytest.raises(PromptError, match="outside"):
        session.predict(image(), Prompt(points=((400, 2),)))
    with pytest.raises(ModelError):
        Session("no-such-model/anywhere").propose(image())
    with pytest.raises(DataError):
        Session(cache_bytes=-1)
    with pytest.raises(DataError):
        Session("classical").features(image(), None)
    with pytest.raises(TypeError):
        Session(colour="red")


def test_every_segmenter_says_its_settings_and_they_part_what_is_kept() -> None:
    """Proposals made with other settings are other proposals, in a session and in a batch."""

    class Adjustable(Counting):
        settings = 0

        def generate(self, image, encode=None, progress=None):
            Adjustable.runs += 1
            return super().generate(image, encode, progress)

    Adjustable.runs = 0
    model = Adjustable()
    session = Session(model)
    for model.settings in (1, 1, 2):
        session.propose(image())
    assert Adjustable.runs == 2
    assert "settings" in Segmenter.__annotations__
    for name in ("classical", "embedded"):
        assert Session(name).segmenter.settings is not None
    with pytest.raises(ModelError, match="lacks digest, encode, generate, name, predict"):
        _ = Session(object()).segmenter
