"""Reading reference distributions: every layout describes the same powder or a worked sieve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import ReferenceDistribution, read_distribution

# a log-normal volume distribution: the truth behind all tables below
MEDIAN, SIGMA = 60.0, np.log(1.5)
EDGES = np.round(np.geomspace(8, 450, 41), 3)
Q = stats.norm.cdf(np.log(EDGES / MEDIAN) / SIGMA)
TRUTH = MEDIAN * np.exp(SIGMA * stats.norm.ppf([0.1, 0.5, 0.9]))


def put(folder: Path, text: str, encoding: str = "utf-8", name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


def close(ref: ReferenceDistribution, unit: str = "um", tolerance: float = 0.004) -> None:
    assert (ref.unit, ref.r) == (unit, 3)
    scale = {"um": 1.0, "mm": 1e-3, "nm": 1e3}[unit]
    np.testing.assert_allclose(ref.percentile([10, 50, 90]), TRUTH * scale, rtol=tolerance)


def comma(value: float) -> str:
    return f"{value:.4f}".replace(".", ",")


def test_image_analysis_export(tmp_path: Path) -> None:
    """Semicolons, decimal commas, a block of text before, x_o, Q3 and q3lg beside each other."""
    density = np.diff(Q, prepend=0) / np.diff(np.log10(EDGES), prepend=0.85)
    rows = [
        f"{comma(x)};{comma(100 * c)};{comma(d)}" for x, c, d in zip(EDGES, Q, density, strict=True)
    ]
    head = "Dynamic image analysis\r\nProbe: Al2O3;dispergiert\r\nDatum;2024-05-01\r\n\r\n"
    head += "xo/µm;Q3/%;q3lg\r\n"
    for encoding in ("utf-8-sig", "cp1252", "utf-16"):
        close(read_distribution(put(tmp_path, head + "\r\n".join(rows), encoding)))


def test_density_alone(tmp_path: Path) -> None:
    """Only x_u, x_o and q3lg: shares are density times logarithmic width."""
    density = np.diff(Q) / np.diff(np.log10(EDGES))
    rows = [
        f"{low}\t{high}\t{d:.5f}" for low, high, d in zip(EDGES, EDGES[1:], density, strict=False)
    ]
    close(read_distribution(put(tmp_path, "xu [um]\txo [um]\tq3lg\n" + "\n".join(rows))))


@pytest.mark.parametrize("last", ["", "0"])
def test_laser_diffraction_by_class(tmp_path: Path, last: str) -> None:
    """Volume % between a size and the next: one limit more than there are values."""
    shares = [f"{100 * v:.5f}" for v in np.diff(Q)]
    rows = [f"{x},{v}" for x, v in zip(EDGES, [*shares, last], strict=True)]
    file = put(tmp_path, "Size (µm),Volume In %\n" + "\n".join(rows))
    close(read_distribution(file, classes="lower" if last else None))


def test_laser_diffraction_limits_and_centres(tmp_path: Path) -> None:
    shares = 100 * np.diff(Q)
    lower = [f"{x},{v:.5f}" for x, v in zip(EDGES, shares, strict=False)]
    close(
        read_distribution(
            put(tmp_path, "Channel Diameter (Lower) um,Diff. Volume %\n" + "\n".join(lower))
        )
    )
    centre = np.sqrt(EDGES[1:] * EDGES[:-1])
    rows = [f"{x:.5f} {v:.5f}" for x, v in zip(centre, shares, strict=True)]
    found = read_distribution(put(tmp_path, "Size[um]  Volume[%]\n" + "\n".join(rows)))
    close(found)
    assert any("centres" in note for note in found.notes)


def test_undersize_oversize_and_other_units(tmp_path: Path) -> None:
    under = [f"{1000 * x};{c}" for x, c in zip(EDGES, Q, strict=True)]
    close(
        read_distribution(put(tmp_path, "Diameter (nm);Undersize volume\n" + "\n".join(under))),
        "nm",
    )
    over = [f"{x / 1000};{100 - 100 * c}" for x, c in zip(EDGES[::-1], Q[::-1], strict=True)]
    file = put(tmp_path, "Opening (mm);Cumulative retained (mass %)\n" + "\n".join(over))
    close(read_distribution(file), "mm")
    close(read_distribution(file).to("um"))


def test_unit_from_the_text_above_or_from_the_caller(tmp_path: Path) -> None:
    rows = "\n".join(f"{x};{100 * c}" for x, c in zip(EDGES, Q, strict=True))
    close(read_distribution(put(tmp_path, "All sizes in micron\nx;Q3\n" + rows)))
    bare = put(tmp_path, "x;Q3\n" + rows)
    with pytest.raises(DataError, match="unit"):
        read_distribution(bare)
    close(read_distribution(bare, unit="um"))


def test_sieve_analysis_by_hand(tmp_path: Path) -> None:
    """US mesh numbers and grams retained; passing by hand: 60 of 100 g at 75 um, 90 at 150."""
    text = "Sieve No.,Mass retained (g)\n50,0\n100,10\n200,30\n325,40\nPan,20\n"
    ref = read_distribution(put(tmp_path, text))
    assert ref.unit == "um"
    np.testing.assert_allclose(ref.Q([45, 75, 150, 300]), [0.2, 0.6, 0.9, 1.0], atol=1e-12)
    passing = "Mesh opening (µm),% passing by mass\n300,100\n150,90\n75,60\n45,20\n"
    again = read_distribution(put(tmp_path, passing))
    np.testing.assert_allclose(again.percentile([20, 60, 90]), [45, 75, 150], rtol=1e-9)
    assert again.r == 3


def test_number_distribution_is_told_from_volume(tmp_path: Path) -> None:
    rows = "\n".join(f"{x};{100 * c}" for x, c in zip(EDGES, Q, strict=True))
    assert read_distribution(put(tmp_path, "x/um;Q0/%\n" + rows)).r == 0
    assert read_distribution(put(tmp_path, "Diameter um;Cumulative number %\n" + rows)).r == 0
    unnamed = read_distribution(put(tmp_path, "Diameter um;Cumulative %\n" + rows))
    assert unnamed.r == 3
    assert unnamed.notes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "nothing here\nat all\n",
        "x/um;Q3/%\n1;5\n",
        "a;b\n1;2\n2;3\n3;4\n4;5\n",
        "x/um;Q3/%\n1;5\n2;90\n3;40\n4;100\n",
        "x/um;Q3/%\n1;5\n1;20\n3;40\n4;100\n",
        "x/um;Q3/%\n1;5\n2;20\n3;40\n4;300\n",
        "Size (um);Volume %\n1;-5\n2;20\n3;40\n4;45\n",
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"table\.csv|falls|leaves"):
        read_distribution(put(tmp_path, text))


def test_bad_paths_and_values(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.csv", None, 7):
        with pytest.raises(DataError):
            read_distribution(path)  # type: ignore[arg-type]
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError):
        read_distribution(tmp_path / "binary.csv")
    with pytest.raises(DataError, match="classes"):
        read_distribution(tmp_path / "x.csv", classes="middle")
    for x, c in (
        ([1, 2], [0, 2]),
        ([2, 1], [0, 1]),
        ([0, 1], [0, 1]),
        ([1, 2], [0, np.nan]),
        ([1], [1]),
    ):
        with pytest.raises(DataError):
            ReferenceDistribution(np.array(x, float), np.array(c, float), 3, "um")


def test_density_of_a_reference_integrates_to_its_share() -> None:
    ref = ReferenceDistribution(EDGES, Q, 3, "um")
    for per in ("ln x", "log10 x"):
        assert ref.q(per).shares.sum() == pytest.approx(Q[-1] - Q[0], abs=1e-12)
    assert np.isnan(
        ReferenceDistribution(np.array([1, 2]), np.array([0.2, 0.8]), 3, "um").percentile(10)
    )
