"""The plane of the features: what it draws is what was computed, with the particle on hover."""

import base64
import io
import json
import re
import sys
import types

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image as PILImage

import particle_nb as pnb
from particle_nb.core.learning import plane
from particle_nb.core.learning.clusters import standardised


def scene():
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((30, 30), int))
    labels[:, ::30] = labels[::30] = 0
    grey = (labels * 18 + rng.integers(0, 4, labels.shape)).astype(np.uint8)
    return pnb.Image(grey), pnb.MaskSet.from_labels(labels)


def test_points_are_those_of_the_plane_and_classes_have_traces() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(12, 5))
    values[3, 2] = np.nan
    names = ["disc", "rod", "unknown"] * 4
    table = pd.DataFrame({"class": names, "probability": np.linspace(0.5, 1, 12)})
    features = pnb.FeatureTable(values, ("elongation", "solidity", "roundness", "net.0", "net.1"))
    fig = pnb.figures.feature_map(features, table)
    assert isinstance(fig, go.Figure)
    points, shares, loadings = plane(features)
    assert [trace.name for trace in fig.data] == ["disc (3)", "rod (4)", "unknown (4)"]
    for trace in fig.data:
        rows = np.asarray(trace.customdata)[:, 0]
        np.testing.assert_allclose(np.column_stack([trace.x, trace.y]), points[rows])
    assert "1 too small to measure" in fig.layout.title.text
    title = fig.layout.xaxis.title.text
    assert f"{100 * shares[0]:.0f} %" in title
    most = features.names[int(np.abs(loadings[0, :3]).argmax())]
    assert most in title
    assert "particle 4<br>rod, probability 0.68" in fig.data[1].text


def test_the_thumbnail_under_the_pointer_is_that_of_the_particle() -> None:
    image, masks = scene()
    features = np.random.default_rng(2).normal(size=(12, 4))
    fig = pnb.figures.feature_map(features, None, image, masks)
    page = fig.to_html(full_html=False, include_plotlyjs=False)
    assert "plotly_hover" in page
    about = json.loads(re.search(r"about = (\{.*?\});\n", page)[1])
    data = base64.b64decode(about["atlas"].partition(",")[2])
    atlas = np.asarray(PILImage.open(io.BytesIO(data)))
    shown = image.to_uint8()
    for row, mask in enumerate(masks):
        place = about["places"][str(row)]
        top, left = (about["side"] * v for v in divmod(place, about["columns"]))
        middle = atlas[top + 24 : top + 40, left + 24 : left + 40].mean()
        r0, c0, r1, c1 = mask.bbox
        assert middle == pytest.approx(shown[r0:r1, c0:c1][mask.crop].mean(), abs=6)
    bundle = fig._repr_mimebundle_()
    assert list(bundle) == ["text/html"]
    assert "src=" not in bundle["text/html"].partition("<script")[2][:200]
    plain = pnb.figures.feature_map(features)
    assert "plotly_hover" not in plain.to_html(include_plotlyjs=False)


def test_names_of_classes_are_text_and_not_html() -> None:
    fig = pnb.figures.feature_map(np.eye(4), ["<b onclick=x>", "disc"] * 2)
    page = json.dumps(fig.to_plotly_json(), default=str)
    assert "<b onclick" not in page


def test_what_does_not_fit_is_refused() -> None:
    image, masks = scene()
    features = np.random.default_rng(3).normal(size=(12, 4))
    for arguments, said in (
        ((features, ["disc"]), "1 classes for 12"),
        ((features, None, image), "both"),
        ((features[:5], None, image, masks), "as many masks"),
        ((features, None, pnb.Image(np.eye(5)), masks), "frame"),
        ((features, pd.DataFrame({"name": ["a"]})), "column 'class'"),
        ((features[:2],), "three particles"),
    ):
        with pytest.raises(pnb.DataError, match=said):
            pnb.figures.feature_map(*arguments)


def test_umap_is_drawn_where_it_is_installed_and_asked_for_where_not(monkeypatch) -> None:
    values = np.random.default_rng(3).normal(size=(12, 4))
    values[5, 1] = np.nan
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(pnb.DataError, match="pip install umap-learn"):
        pnb.figures.feature_map(values, projection="umap")
    with pytest.raises(pnb.DataError, match="'pca' or 'umap'"):
        pnb.figures.feature_map(values, projection="tsne")

    class Upside:  # stands for umap-learn, which is no dependency
        def __init__(self, n_neighbors: int, random_state: int) -> None:
            assert (n_neighbors, random_state) == (10, 0)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return -rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Upside))
    fig = pnb.figures.feature_map(values, projection="umap")
    rows = np.asarray(fig.data[0].customdata)[:, 0]
    assert 5 not in rows
    np.testing.assert_allclose(fig.data[0].x, -standardised(values)[0][rows, 0])
    assert "distances are not" in fig.layout.xaxis.title.text


def test_batches_are_drawn_in_their_order_with_their_intervals() -> None:
    rng = np.random.default_rng(4)
    names = ["disc"] * 15 + ["rod"] * 15
    tables = {
        name: pnb.separation(
            rng.normal(size=(30, 3)) + gap * np.repeat([[0], [1]], 15, axis=0), names
        )
        for name, gap in (("2 h", 1), ("1 h", 3))
    }
    fig = pnb.figures.separation_series(tables)
    assert len(fig.data) == 3
    for trace, measure in zip(fig.data, tables["2 h"].index, strict=True):
        assert trace.x == ("2 h", "1 h")
        for place, table in enumerate(tables.values()):
            row = table.loc[measure]
            assert trace.y[place] == row["value"]
            assert trace.y[place] + trace.error_y.array[place] == pytest.approx(row["high"])
            assert trace.y[place] - trace.error_y.arrayminus[place] == pytest.approx(row["low"])
    for bad in ({}, None, {"a": pd.DataFrame()}):
        with pytest.raises(pnb.DataError, match="separation"):
            pnb.figures.separation_series(bad)
