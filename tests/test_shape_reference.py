"""Shape percentiles against a reference: truth is arithmetic on lists, and analytic ellipses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from particle_nb.core.errors import DataError
from particle_nb.core.shape import compare_shapes, read_shapes, shape_percentiles
from particle_nb.figures.tables import shape_whiskers

GIVEN = """parameter;D10;D50;D90;low;high;series
Sphericity;0,82;0,87;0,92;0,80;0,95;dispersed
Sphericity;0,80;0,86;0,91;;;dry
aspect ratio;0,55;0,70;0,85;;;
"""


def test_a_table_of_an_instrument_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GIVEN, encoding="utf-8-sig")
    table = read_shapes(tmp_path / "a.csv")
    assert table["parameter"].tolist() == ["circularity", "circularity", "aspect_ratio"]
    assert table["series"].tolist() == ["dispersed", "dry", ""]
    assert table["D50"].tolist() == [0.87, 0.86, 0.70]
    assert table["high"].iloc[0] == 0.95
    assert table["low"].iloc[1:].isna().all()
    (tmp_path / "b.csv").write_text("D10,D50,D90,parameter\n0.1,0.2,0.3,elongation\n")
    assert read_shapes(tmp_path / "b.csv")["D90"].tolist() == [0.3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no table"),
        ("parameter;D10;D50\nconvexity;0;1\n", "no column d90"),
        ("parameter;D10;D50;D90\ncolour;0;0;1\n", "unknown shape parameter 'colour'"),
        ("parameter;D10;D50;D90\nconvexity;0,9;0,8;1\n", "must not fall"),
        ("parameter;D10;D50;D90\nconvexity;0,9;95;99\n", "from 0 to 1"),
        ("parameter;D10;D50;D90\nconvexity;0,9;;1\n", "not at nothing"),
        ("parameter;D10;D50;D90\nconvexity;0,9;x;1\n", "no number"),
        ("parameter;D10;D50;D90\nconvexity;0,9\n", "2 cells for 4"),
        ("parameter;D10;D50;D90\nconvexity;0;0;1\nconvexity;0;0;1\n", "stands twice"),
    ],
)
def test_a_bad_table_is_refused_in_words(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_shapes(tmp_path / "a.csv")


def test_percentiles_by_number_and_by_volume() -> None:
    """Ten small particles of 0.9 and one ten times as wide of 0.5: by volume it is 99 %."""
    table = pd.DataFrame(
        {
            "convexity": [0.9] * 10 + [0.5],
            "x_A_um": [1.0] * 10 + [10.0],
            "edge_weight": [1.0] * 11,
        }
    )
    assert shape_percentiles(table)["D50"].tolist() == [0.9]
    by_volume = shape_percentiles(table, "x_A_um", 3)
    assert by_volume["D25"].tolist() == [0.5]
    # the large one is cut by the frame: it counts for nothing
    table.loc[10, "edge_weight"] = 0.0
    assert shape_percentiles(table, "x_A_um", 3)["D25"].tolist() == [0.9]
    with pytest.raises(DataError, match="name the column"):
        shape_percentiles(table, "x_A_nm", 3)
    table["edge_weight"] = 0.0
    with pytest.raises(DataError, match="no whole particle"):
        shape_percentiles(table)


def test_an_even_spread_has_its_percentiles() -> None:
    values = (np.arange(1000) + 0.5) / 1000
    found = shape_percentiles(pd.DataFrame({"roundness": values})).iloc[0]
    for p in (10, 25, 50, 75, 90):
        assert found[f"D{p}"] == pytest.approx(p / 100, abs=1e-9)


def test_deviations_and_whiskers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GIVEN)
    reference = read_shapes(tmp_path / "a.csv")
    measured = pd.DataFrame(
        {"parameter": ["circularity"], "D10": [0.81], "D25": 0.84, "D50": [0.90], "D75": 0.93}
    ).assign(D90=0.96, n=9)
    mine = reference[reference["series"] == "dispersed"]
    found = compare_shapes(measured, mine)
    assert found["within_whiskers"].tolist() == [True, True, False]  # 0.80 to 0.95
    assert found["deviation_percent"].tolist() == pytest.approx(
        [100 * (0.81 / 0.82 - 1), 100 * (0.90 / 0.87 - 1), 100 * (0.96 / 0.92 - 1)]
    )
    dry = compare_shapes(measured, reference[reference["series"] == "dry"])
    assert dry["within_whiskers"].tolist() == [None, True, None]
    fig = shape_whiskers({"dispersed": measured}, {"QICPIC": mine})
    box, marks, thin = fig.data
    assert (box.q1[0], box.median[0], box.q3[0]) == (0.84, 0.90, 0.93)
    assert (marks.lowerfence[0], marks.median[0], marks.upperfence[0]) == (0.82, 0.87, 0.92)
    assert (thin.lowerfence[0], thin.upperfence[0]) == (0.80, 0.95)
    with pytest.raises(DataError, match="none of"):
        compare_shapes(measured, reference[reference["parameter"] == "aspect_ratio"])
    with pytest.raises(DataError, match="no table of shape_percentiles"):
        shape_whiskers({"a": pd.DataFrame({"x": [1]})})
