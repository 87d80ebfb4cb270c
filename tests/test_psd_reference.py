"""Reading reference distributions: every layout describes the same powder or a worked sieve."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from growth import grows_linearly
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import ReferenceDistribution, read_distribution
from particle_nb.core.sizes.reference import ReferenceWarning

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


# ------------------------------------------- every way to write one sieve analysis down

SIZES = [0.063, 0.125, 0.25, 0.5, 1, 2]  # mm
BELOW = [4, 12, 31, 58, 86, 100]  # per cent by mass
ON = [8, 19, 27, 28, 14, 0]  # per cent on each of the sieves; 4 below them
PERCENTILES = [105.32, 407.17, 1219.01]  # um, straight over ln x between the points


def rows(*columns: object, sep: str = ",") -> str:
    return "".join(sep.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))  # type: ignore[call-overload]


def found(path: Path, truth: list[float] = PERCENTILES, **said: object) -> ReferenceDistribution:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReferenceWarning)
        ref = read_distribution(path, **said)  # type: ignore[arg-type]
    np.testing.assert_allclose(ref.to("um").percentile([10, 50, 90]), truth, rtol=0.01)
    return ref


UNDER = """Passing (%)|% Pass|Pass %|Percent passing|Cum. % passing|Undersize|Undersize %|Finer (%)
% finer|Percent finer|Smaller than (%)|Less than %|Below (%)|Cum %|cum|Cumulative (%)|CDF (%)
Cumulative undersize [%]|Cumulative volume (%)|Cum. < Volume (%)|Vol Under %|F(x)|D(x) [%]|Q
Q3|Q3 [%]|Q_3|Q₃ [%]|Q3(x) [%]|Q(x) [%]|% < size|< x (%)|Durchgang [%]|Siebdurchgang (M.-%)
Unterkorn (%)|Kumuliert (%)|kumulierte Masse [%]|kum. [%]|Kumulativ (%)|Summenverteilung
Verteilungssumme Q3|Durchgangssumme D [%]|kleiner als [%]|feiner als (%)|Anteil < x [%]
Passant (%)|passant cumulé (%)|Summe [%]|Sum (%)|Fines (%)|Q3,%"""
OVER = """Oversize (%)|R [%]|R3 [%]|R(x) [%]|R|1-Q3|1-Q3 [%]|100-Q3 [%]|% >|> x (%)|Coarser than (%)
% Coarser|Cumulative retained (%)|Cum. % retained|Total retained (%)|Retained cumulative %
Greater than (%)|Larger than (%)|Above (%)|Vol Over %|Cum. > Volume (%)|Survival function
Kumulierter Rückstand (%)|Rückstand kumuliert [%]|Rückstandssumme R [%]|Summe Rückstand [%]
größer als (%)|Überkorn (%)|Anteil > x (%)|refus cumulé (%)|Residue cumulative (%)|Retained (%)
Rückstand (%)|Rest (%)|Cumulative (%)"""


def headings(text: str) -> list[str]:
    return [heading for line in text.split("\n") for heading in line.split("|")]


@pytest.mark.parametrize("heading", headings(UNDER))
def test_headings_of_undersize(heading: str, tmp_path: Path) -> None:
    file = put(tmp_path, f"Sieve size (mm),{heading}\n" + rows(SIZES, BELOW))
    assert found(file).unit == "mm"


@pytest.mark.parametrize("heading", headings(OVER))
def test_headings_of_oversize(heading: str, tmp_path: Path) -> None:
    over = [100 - q for q in BELOW]
    found(put(tmp_path, f"Sieve size (mm),{heading}\n" + rows(SIZES, over)))


@pytest.mark.parametrize(
    "heading",
    ["Retained (%)", "Mass retained (g)", "% retained", "Rückstand [g]", "Masse (g)",
     "Individual retained %", "Siebrückstand (%)"],
)  # fmt: skip
def test_what_lies_on_a_sieve(heading: str, tmp_path: Path) -> None:
    found(put(tmp_path, f"Sieve size (mm),{heading}\n" + rows(SIZES, ON) + "Pan,4\n"))
    down = rows(SIZES[::-1], ON[::-1], sep=";")
    found(put(tmp_path, f"Maschenweite [mm];{heading}\n{down}Boden;4\n"))
    ranges = [f"{low} - {high} mm" for low, high in itertools.pairwise(SIZES)]
    text = f"Fraktion;{heading}\n>2 mm;0\n" + rows(ranges[::-1], ON[:-1][::-1], sep=";")
    found(put(tmp_path, text + "<0.063 mm;4\n"))


PHI = [f"{-np.log2(size):.5f}" for size in SIZES]
US, TYLER_NUMBERS = [230, 120, 60, 35, 18, 10], [250, 115, 60, 32, 16, 9]


@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("Sieve No.", US),
        ("US Mesh", US),
        ("Mesh", US),
        ("Sieve", [f"#{n}" for n in US]),
        ("Sieve size", [f"No. {n}" for n in US]),
        ("US sieve", [f"{n} mesh" for n in US]),
        ("Tyler mesh", TYLER_NUMBERS),
        ("phi", PHI),
        ("φ", PHI),
        ("Size (phi)", PHI),
        ("Opening (in)", [f"{size / 25.4:.6f}" for size in SIZES]),
        ("Sieve opening [inch]", [f"{size / 25.4:.6f}" for size in SIZES]),
        ("Sieve", [f"{size / 25.4:.6f} in" for size in SIZES]),
        ("Sieb", ["63 µm", "125 µm", "250 µm", "500 µm", "1 mm", "2 mm"]),
        ("Particle diameter, microns", [1000 * size for size in SIZES]),
        ("Size [cm]", [size / 10 for size in SIZES]),
    ],
)
def test_sieves_by_number_inch_phi_and_with_their_unit(
    heading: str, cells: list[object], tmp_path: Path
) -> None:
    found(put(tmp_path, f"{heading};Passing (%)\n" + rows(cells, BELOW, sep=";")))
    pan = "Pan;4\n"
    found(put(tmp_path, f"{heading};Retained (g)\n" + rows(cells, ON, sep=";") + pan))


def test_fractions_between_two_sieves(tmp_path: Path) -> None:
    between = ["+10", "-10+18", "-18+35", "-35 +60", "-60/+120", "-120+230", "-230"]
    text = "Mesh;Wt %\n" + rows(between, [*ON[::-1], 4], sep=";")
    found(put(tmp_path, text))


def test_a_number_that_no_sieve_has_is_refused(tmp_path: Path) -> None:
    for heading in ("Mesh", "BS mesh"):
        file = put(tmp_path, f"{heading};Passing (%)\n" + rows([231, *US[1:]], BELOW, sep=";"))
        with pytest.raises(DataError, match=r"mesh|sieve number"):
            read_distribution(file)


def test_sieves_of_soil(tmp_path: Path) -> None:
    """ASTM's list: fractions of an inch, then numbers, then the pan."""
    text = 'Sieve,% Passing\n"3/8""",100\nNo. 4,90\nNo. 10,50\nNo. 40,10\nPan,0\n'
    ref = found(put(tmp_path, text), [425, 2000, 4750])
    assert ref.Q([9525.0]) == pytest.approx(1.0)
    assert found(put(tmp_path, text.replace("3/8", "1 1/2")), [425, 2000, 4750]).x[-1] == 38_100


# ------------------------------------------------------------------------ numbers and encodings


@pytest.mark.parametrize("separator", [";", "\t", "|", "  ", " "])
@pytest.mark.parametrize("sign", [".", ","])
@pytest.mark.parametrize("decimals", [0, 1])
def test_any_separator_with_either_decimal_sign(
    separator: str, sign: str, decimals: int, tmp_path: Path
) -> None:
    lines = [
        f"{size:.3f}{separator}{q:.{decimals}f}".replace(".", sign)
        for size, q in zip(SIZES, BELOW, strict=True)
    ]
    text = f"Maschenweite (mm){separator}Durchgang (%)\n" + "\n".join(lines)
    assert found(put(tmp_path, text)).unit == "mm"


def test_a_decimal_comma_between_commas(tmp_path: Path) -> None:
    comma = [f"{size}".replace(".", ",") for size in SIZES]
    quoted = rows([f'"{cell}"' for cell in comma], BELOW)
    found(put(tmp_path, "Maschenweite (mm),Durchgang (%)\n" + quoted))
    bare = rows([f"{size:.3f}".replace(".", ",") for size in SIZES], [f"{q},0" for q in BELOW])
    with pytest.raises(DataError, match="4 cells under 2 headings"):
        read_distribution(put(tmp_path, "Maschenweite (mm),Durchgang (%)\n" + bare))


@pytest.mark.parametrize(
    "cells",
    [
        ["63", "125", "250", "500", "1,000", "2,000"],
        ["63", "125", "250", "500", "1.000", "2.000"],
        ["63", "125", "250", "500", "1'000", "2'000"],
        ["63", "125", "250", "500", "1\u00a0000", "2\u202f000"],
        ["63,0", "125,0", "250,0", "500,0", "1.000,0", "2.000,0"],
        ["63.0", "125.0", "250.0", "500.0", "1,000.0", "2,000.0"],
    ],
)
def test_thousands(cells: list[str], tmp_path: Path) -> None:
    text = rows(cells, BELOW, sep="\t")
    found(put(tmp_path, "Größe (µm)\tDurchgang (%)\n" + text))


def test_a_thousand_that_may_be_one_is_refused_until_it_is_said(tmp_path: Path) -> None:
    text = "Größe (mm);Durchgang (%)\n1,000;10\n2,000;50\n4,000;100\n"
    with pytest.raises(DataError, match=r"'1,000' may be a thousand.*decimal="):
        read_distribution(put(tmp_path, text))
    assert found(put(tmp_path, text), [1000, 2000, 3482.2], decimal=",").x[0] == 1
    text = "Größe (nm);Durchgang (%)\n1,000;10\n2,000;50\n4,000;100\n"
    assert read_distribution(put(tmp_path, text), decimal=".").x[0] == 1000
    text = "Größe (mm);Durchgang (%)\n0.5;10\n2,5;50\n4,0;100\n"
    with pytest.raises(DataError, match=r"point.*comma"):
        read_distribution(put(tmp_path, text))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    sizes = [int(1000 * size) for size in SIZES]
    text = "Prüfbericht\nKorngröße (µm);Durchgang (%)\n" + rows(sizes, BELOW, sep=";")
    found(put(tmp_path, text, encoding))


# ----------------------------------------------------------------------- layouts of instruments

GRAINS = np.round(np.geomspace(4, 110, 25), 4)
SUM = 100 * stats.norm.cdf(np.log(GRAINS / 20) / 0.4)
PARTS = np.diff(SUM)
LASER = [11.979, 20.0, 33.392]
LOW, HIGH = GRAINS[:-1], GRAINS[1:]
NUMBERS = range(1, 25)


def table_of(*columns: object) -> str:
    return rows(*columns, sep="\t")


DENSITY = PARTS / 100 / np.diff(np.log10(GRAINS))
LAYOUTS = {
    "camsizer, one word over both limits": (
        "Size class\t[mm]\tp3 [%]\tQ3 [%]\tq3 [%/mm]\tSPHT3\n"
        + table_of(LOW / 1000, HIGH / 1000, PARTS, SUM[1:], PARTS, [0.9] * 24)
    ),
    "camsizer, heading over two columns, shares only": (
        "Size class [mm]\t\tp3 [%]\n" + table_of(LOW / 1000, HIGH / 1000, PARTS)
    ),
    "camsizer, one heading twice": (
        "xc_min [mm]\txc_min [mm]\tp3 [%]\n" + table_of(LOW / 1000, HIGH / 1000, PARTS)
    ),
    "from, to": "von [µm]\tbis [µm]\tAnteil [%]\n" + table_of(LOW, HIGH, PARTS),
    "qicpic": (
        "Particle size\tcumulative distribution\tdensity distribution\nxo/µm\tQ3/%\tq3lg\n"
        + table_of(HIGH, SUM[1:], DENSITY)
    ),
    "qicpic, density only": "xu/µm\txo/µm\tq3lg\n" + table_of(LOW, HIGH, DENSITY),
    "density per micrometre": (
        "xu [µm]\txo [µm]\tq3 [1/µm]\n" + table_of(LOW, HIGH, PARTS / 100 / np.diff(GRAINS))
    ),
    "density that says nothing": (
        "xu [µm]\txo [µm]\tq3\n" + table_of(LOW, HIGH, PARTS / 100 / np.diff(GRAINS))
    ),
    "density over ln": (
        "xu [µm]\txo [µm]\tdV/dlnD\n" + table_of(LOW, HIGH, PARTS / np.diff(np.log(GRAINS)))
    ),
    "mastersizer 3000, last 0": (
        "Size Classes (μm)\tVolume Density (%)\n" + table_of(GRAINS, [*PARTS, 0])
    ),
    "mastersizer 3000, three columns": (
        "Size (µm)\t% Volume In\t% Volume Under\n" + table_of(GRAINS, [*PARTS, 0], SUM)
    ),
    "mastersizer 2000, two pages beside each other": (
        "Size (µm)\tVol Under %\tSize (µm)\tVol Under %\n"
        + table_of(GRAINS[:12], SUM[:12], GRAINS[12:24], SUM[12:24])
    ),
    "mastersizer 2000, shares on two pages": (
        "Size (µm)\tVolume In %\tSize (µm)\tVolume In %\n"
        + table_of(GRAINS[:12], PARTS[:12], GRAINS[12:24], PARTS[12:24])
        + f"\t\t{GRAINS[24]}\t\n"
    ),
    "mastersizer 2000, sizes across": (
        "Sample Name\td (0.5)\tResult Between User Sizes (Sizes in um)" + "\t" * 24 + "\tNotes\n"
        + "\t\t" + "\t".join(map(str, GRAINS)) + "\t\n"
        + "A\t20.0\t" + "\t".join(f"{p:.6f}" for p in PARTS) + "\t\tx\n"
    ),
    "mastersizer 2000, sums across": (
        "Sample Name\tResult Above User Sizes (Sizes in um)\n"
        + "\t" + "\t".join(map(str, GRAINS)) + "\n"
        + "A\t" + "\t".join(f"{100 - q:.6f}" for q in SUM) + "\n"
    ),
    "horiba": (
        "HORIBA LA-960\nMedian Size\t20.0\t(µm)\nNo.\tDiameter (µm)\tq (%)\tUndersize (%)\n"
        + table_of(NUMBERS, HIGH, PARTS, SUM[1:])
    ),
    "coulter, last blank": (
        "Channel Number\tChannel Diameter (Lower)\tDiff. Volume\n\tum\t%\n"
        + table_of(NUMBERS, LOW, PARTS) + f"25\t{GRAINS[-1]}\t\n"
    ),
    "coulter, above": (
        "Channel Diameter (Lower)\tCum. > Volume\num\t%\n" + table_of(GRAINS, 100 - SUM)
    ),
    "classes in words": (
        "Class (µm)\tVolume %\n"
        + table_of([f"{a}-{b}" for a, b in zip(LOW, HIGH, strict=True)], PARTS)
    ),
    "pages below each other": (
        "Size (µm)\tQ3 (%)\n" + table_of(GRAINS[:13], SUM[:13])
        + "Page 2\nSize (µm)\tQ3 (%)\n" + table_of(GRAINS[13:], SUM[13:])
    ),
    "sizes across": (
        "Size (µm)\t" + "\t".join(map(str, GRAINS)) + "\n"
        + "Q3 (%)\t" + "\t".join(map(str, SUM)) + "\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_layouts_of_instruments(layout: str, comma: bool, encoding: str, tmp_path: Path) -> None:
    text = LAYOUTS[layout]
    if comma:
        text = re.sub(r"(\d)\.(\d)", r"\1,\2", text)
    # the first and the last class are cut where the table ends
    assert found(put(tmp_path, text, encoding), LASER).r == 3


@pytest.mark.parametrize(
    "text",
    [
        "D10 (µm);105,32\nD50 (µm);407,17\nD90 (µm);1219,01\n",
        "Parameter\tValue\nDx (10)\t105.32 µm\nDx (50)\t407.17 µm\nDx (90)\t1219.01 µm\n",
        "d(0.1)\t105.32 um\nd(0.5)\t407.17 um\nd(0.9)\t1219.01 um\n",
        "D[v,0.1] [µm];D[v,0.5] [µm];D[v,0.9] [µm]\n105.32;407.17;1219.01\n",
        "Sample,Dv10 (µm),Dv50 (µm),Dv90 (µm)\nA,105.32,407.17,1219.01\n",
        "x10,3 [µm];x50,3 [µm];x90,3 [µm]\n105,32;407,17;1219,01\n",
        "D10: 105.32 µm\nD50: 407.17 µm\nD90: 1219.01 µm\n",
        "D(0.1) = 0,10532 mm\nD(0.5) = 0,40717 mm\nD(0.9) = 1,21901 mm\n",
        "Percentile,Size (um)\n10,105.32\n50,407.17\n90,1219.01\n",
        "Percentile,Size (um)\n0.1,105.32\n0.5,407.17\n0.9,1219.01\n",
        "Perzentil (%);Größe (mm)\n10;0,10532\n50;0,40717\n90;1,21901\n",
    ],
)
def test_tables_of_percentiles(text: str, tmp_path: Path) -> None:
    assert found(put(tmp_path, text)).r == 3


# ------------------------------------------------------------- what is refused and what is guessed


def test_several_samples_need_a_column(tmp_path: Path) -> None:
    less = [max(q - 2, 0) for q in BELOW[:-1]] + [100]
    text = "Size (mm);A passing (%);B passing (%)\n" + rows(SIZES, BELOW, less, sep=";")
    with pytest.raises(DataError, match=r"2 columns.*columns=\('Size \(mm\)', 'A passing"):
        read_distribution(put(tmp_path, text))
    found(put(tmp_path, text), columns=("Size (mm)", "A passing (%)"))
    found(put(tmp_path, text), columns=(0, 1))
    twice = "Size (mm);Q3 (%);Size (mm);Q3 (%)\n" + rows(SIZES, BELOW, SIZES, less, sep=";")
    with pytest.raises(DataError, match=r"several samples.*columns=\(0, 1\)"):
        read_distribution(put(tmp_path, twice))
    found(put(tmp_path, twice), columns=(0, 1))
    across = "Sample,Result Below User Sizes (Sizes in um)\n," + ",".join(map(str, GRAINS))
    for name in "AB":
        across += f"\n{name}," + ",".join(map(str, SUM))
    with pytest.raises(DataError, match=r"2 samples \('A', 'B'\)"):
        read_distribution(put(tmp_path, across))
    found(put(tmp_path, across), LASER, columns=("size", "B"))
    for bad in (("no", 1), (0, 9), (0, 0), 3, (1,), (True, 1), "ab", (None, 1)):
        with pytest.raises(DataError, match="column"):
            read_distribution(put(tmp_path, text), columns=bad)  # type: ignore[arg-type]


def test_values_without_headings_need_to_be_said(tmp_path: Path) -> None:
    file = put(tmp_path, rows(SIZES, BELOW, sep=";"))
    with pytest.raises(DataError, match="kind="):
        read_distribution(file)
    found(file, columns=(0, 1), kind="undersize", unit="mm")
    over = put(tmp_path, rows(SIZES, [100 - q for q in BELOW], sep=";"))
    found(over, columns=(0, 1), kind="oversize", unit="mm")
    shares = put(tmp_path, rows([0.03, *SIZES], [4, *ON], sep=";"))
    ref = read_distribution(shares, columns=(0, 1), kind="share", unit="mm", classes="lower")
    assert ref.Q(0.5) == pytest.approx(0.58)
    for name, value in (("kind", "sum"), ("kind", 3), ("decimal", ";"), ("decimal", 1)):
        with pytest.raises(DataError, match=name):
            read_distribution(file, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x/um;Q3/%\n1;100\n2;60\n3;20\n4;0\n", "falls with size.*oversize.*kind="),
        ("x/um;R3/%\n1;0\n2;60\n3;80\n4;100\n", "rises with size.*undersize.*kind="),
        ("Size (um);Cumulative (%)\n1;5\n2;60\n3;20\n4;100\n", "neither rises nor falls.*kind="),
        ("Size (um);Volume (%)\n1;50\n2;60\n3;20\n4;30\n", "sums to 160 %.*kind="),
        ("xu/um;xo/um;p3/%\n1;2;30\n3;4;70\n", "do not adjoin"),
        ("Größe (mm);Durchgang (%)\n1;10\n1;50\n4;100\n", "stands twice"),
        ("Size (mm);Size [um];Other\n1;10;3\n1;50;4\n4;100;5\n", "no column is headed"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        read_distribution(put(tmp_path, text))


def test_a_unit_against_the_heading_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path, "Size (mm);Passing (%)\n" + rows(SIZES, BELOW, sep=";"))
    with pytest.raises(DataError, match=r"says mm.*\.to\('um'\)"):
        read_distribution(file, unit="um")
    assert found(file, unit="mm").unit == "mm"


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("Volume (%)", "taken as undersize"),
        ("Cumulated (%)", None),
        ("Finer (%)", "taken as volume"),
    ],
)
def test_a_guess_is_warned_about_and_noted(heading: str, said: str | None, tmp_path: Path) -> None:
    size = "Size (µm)" if said else "Sieve size (µm)"
    text = f"{size};{heading}\n" + rows([1000 * size for size in SIZES], BELOW, sep=";")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ref = read_distribution(put(tmp_path, text))
    assert [str(w.message) for w in told] == [f"table.csv: {note}" for note in ref.notes]
    assert all(w.filename == __file__ for w in told)
    assert bool(ref.notes) is (said is not None)
    assert said is None or said in ref.notes[0]


def test_free_text_does_not_turn_volume_into_number(tmp_path: Path) -> None:
    text = "Number of measurements: 3\nSize (µm);Undersize (%)\n" + rows(GRAINS, SUM, sep=";")
    assert found(put(tmp_path, text), LASER).r == 3
    assert found(put(tmp_path, "Distribution: number\n" + text), LASER).r == 0
    both = "Size (µm);Volume undersize %;Number undersize %\n"
    both += rows(GRAINS, SUM, np.minimum(100, 1.2 * SUM), sep=";")
    assert found(put(tmp_path, both), LASER).r == 3
    assert read_distribution(put(tmp_path, both), r=0).percentile(50) < 20


# ------------------------------------------------------------------------------------- workbooks


def workbook(path: Path, table: list[list[object]], percent: bool = False) -> Path:
    book = openpyxl.Workbook()
    book.active.append(["Report of a laboratory"])
    sheet = book.create_sheet("result")
    for row in table:
        sheet.append(row)
    if percent:
        for (cell,) in sheet.iter_rows(min_row=2, min_col=2, max_col=2):
            cell.number_format = "0.0%"
    book.save(path)
    return path


def test_tables_of_excel(tmp_path: Path) -> None:
    head = ["Maschenweite (mm)", "Durchgang (%)"]
    table = [head, *map(list, zip(SIZES, BELOW, strict=True))]
    found(workbook(tmp_path / "a.xlsx", table))
    text = [[str(v).replace(".", ",") for v in row] for row in table[1:]]
    found(workbook(tmp_path / "b.xlsx", [head, *text]))
    shares = [[size, q / 100] for size, q in zip(SIZES, BELOW, strict=True)]
    found(workbook(tmp_path / "c.xlsx", [["Size (mm)", "Passing"], *shares], percent=True))
    for data in (b"PK\x03\x04 broken", (tmp_path / "a.xlsx").read_bytes()[:3000]):
        (tmp_path / "d.xlsx").write_bytes(data)
        with pytest.raises(DataError, match=r"no Excel workbook"):
            read_distribution(tmp_path / "d.xlsx")


def test_long_headings_and_cells_take_linear_time(tmp_path: Path) -> None:
    def read(count: int, piece: str) -> None:
        heading = piece * count
        file = put(tmp_path, f"Size (um);{heading}\n1;10\n2;60\n3;{heading}\n4;100\n")
        with warnings.catch_warnings(), contextlib.suppress(DataError):
            warnings.simplefilter("ignore", ReferenceWarning)
            read_distribution(file)

    for piece, count in (("cum", 60_000), ("(", 150_000), ("D10", 60_000), ("1 ", 270_000)):
        assert grows_linearly(functools.partial(read, piece=piece), count), piece
