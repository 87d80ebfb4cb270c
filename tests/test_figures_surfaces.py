"""Depth, surface and roughness figures: heights of the core, units, limits, refusals."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import particle_nb as pnb
from particle_nb.core.errors import CalibrationError, ParticleError
from particle_nb.core.surface import RoughnessSettings, fit_law, roughness_table, section

figures = pnb.figures


@pytest.fixture(scope="module")
def sphere() -> tuple[pnb.Image, pnb.Mask, pnb.DepthMap, pnb.PointCloud]:
    """A sphere of 500 nm with Sq 10 nm, off the corner of its frame, 8 nm a pixel."""
    body = pnb.synthetic.rough_sphere(500.0, 10.0, 60.0, 8.0, np.random.default_rng(1))
    frame = ((20, 7), (5, 30))
    height, inside = np.pad(body.height, frame), np.pad(body.mask, frame)
    grey = np.random.default_rng(2).integers(0, 256, height.shape, np.uint8)
    grey[0, :2] = 0, 255
    image = pnb.Image(grey, pnb.Calibration(8, "nm"), "sphere")
    mask, depth = pnb.Mask.from_full(inside), pnb.DepthMap(height, model="truth")
    return image, mask, depth, pnb.point_cloud(depth, mask, image.calibration)


def heat_map(fig) -> go.Heatmap:
    return next(trace for trace in fig.data if trace.type == "heatmap")


def test_a_depth_map_without_a_scale_is_called_relative(sphere) -> None:
    image, _, depth, _ = sphere
    drawn = heat_map(figures.depth_maps.depth(image, depth))
    np.testing.assert_array_equal(drawn.z, depth.relative)
    assert drawn.colorbar.title.text == "relative height"


def test_a_scaled_cloud_lies_on_its_pixels_and_is_in_nm(sphere) -> None:
    image, mask, _, cloud = sphere
    drawn = heat_map(figures.depth_maps.depth(image, cloud, mask))
    assert drawn.colorbar.title.text == "height z / nm"
    for x, y, z in cloud.xyz[::997]:
        assert drawn.z[round(y / 8 - drawn.y0), round(x / 8 - drawn.x0)] == z
    assert (drawn.zmin, drawn.zmax) == (cloud.xyz[:, 2].min(), cloud.xyz[:, 2].max())


def test_a_window_of_depth_lies_where_it_was_taken(sphere) -> None:
    image, mask, depth, _ = sphere
    part = pnb.DepthMap(depth.relative[10:, 4:], window=(4, 10, depth.shape[1], depth.shape[0]))
    drawn = heat_map(figures.depth_maps.depth(image, part, mask))
    assert (drawn.x0, drawn.y0) == (4, 10)


def test_a_mask_shows_its_particle_with_its_outline(sphere) -> None:
    image, mask, depth, _ = sphere
    fig = figures.depth_maps.depth(image, depth, mask)
    r0, c0, r1, c1 = mask.bbox
    left, right = fig.layout.xaxis.range
    bottom, top = fig.layout.yaxis.range
    assert 0 <= left + 0.5 <= c0
    assert c1 <= right + 0.5 <= image.shape[1]
    assert 0 <= top + 0.5 <= r0
    assert r1 <= bottom + 0.5 <= image.shape[0]
    outlines = [trace for trace in fig.data if trace.type == "scatter" and trace.mode == "lines"]
    for panel in ("x", "x2"):
        x = np.concatenate([trace.x for trace in outlines if trace.xaxis == panel])
        assert (x.min(), x.max()) == (c0 - 0.5, c1 - 0.5), "in each panel"


def test_a_large_depth_map_is_thinned_and_says_so() -> None:
    heights = np.random.default_rng(0).random((1536, 2048)).astype(np.float32)
    image = pnb.Image(np.zeros((1536, 2048), np.uint8))
    fig = figures.depth_maps.depth(image, heights)
    drawn = heat_map(fig)
    assert max(drawn.z.shape) <= 700
    np.testing.assert_array_equal(drawn.z, heights[::3, ::3])
    assert "3rd" in fig.layout.title.text
    assert len(fig.to_json()) < 2_500_000


def test_a_point_cloud_is_drawn_as_it_is_with_the_grey_values_below_it(sphere) -> None:
    image, _, _, cloud = sphere
    fig = figures.surfaces.point_cloud(cloud, image)
    points = fig.data[0]
    np.testing.assert_array_equal(np.stack([points.x, points.y, points.z], 1), cloud.xyz)
    rows, cols = np.rint(cloud.xyz[:, 1] / 8).astype(int), np.rint(cloud.xyz[:, 0] / 8).astype(int)
    np.testing.assert_array_equal(points.marker.color, image.to_uint8()[rows, cols])
    scene = fig.layout.scene
    assert [scene[f"{a}axis"].title.text for a in "xyz"] == ["x / nm", "y / nm", "z / nm"]
    assert scene.aspectmode == "data"


def test_a_large_cloud_is_thinned_on_its_grid_into_arrays_not_lists() -> None:
    y, x = (v.ravel() for v in np.mgrid[:900, :1000].astype(np.float32))
    cloud = pnb.PointCloud(np.stack([x, y, np.sin(x / 50)], 1), pixel_size=1)
    fig = figures.surfaces.point_cloud(cloud)
    points = fig.data[0]
    assert 0.5e5 < len(points.x) <= 1e5
    assert all(isinstance(points[name], np.ndarray) for name in "xyz")
    assert np.unique(np.diff(np.unique(points.x))).tolist() == [4], "every 4th column"
    assert fig.layout.title.text == "900,000 points, every 4th row and column drawn"
    assert len(fig.to_json()) < 2_000_000
    scattered = pnb.PointCloud(np.random.default_rng(0).random((120_000, 3)))
    assert len(figures.surfaces.point_cloud(scattered).data[0].x) == 100_000
    assert len(figures.surfaces.point_cloud(cloud, limit=900_000).data[0].x) == 900_000


def test_a_surface_carries_the_micrograph_on_its_heights(sphere) -> None:
    image, _, _, cloud = sphere
    fig = figures.surfaces.surface(cloud, image)
    drawn = fig.data[0]
    np.testing.assert_array_equal(drawn.z, cloud.grid())
    known = np.isfinite(drawn.z)
    rows, cols = np.rint(drawn.y / 8).astype(int), np.rint(drawn.x / 8).astype(int)
    grey = image.to_uint8()[np.ix_(rows, cols)]
    np.testing.assert_array_equal(drawn.surfacecolor[known], grey[known])
    assert (drawn.cmin, drawn.cmax) == (0, 255)
    assert fig.layout.scene.aspectmode == "data"


def test_a_surface_of_an_array_is_spaced_by_the_pixel_and_stays_small() -> None:
    heights = np.random.default_rng(0).uniform(100, 1000, (1400, 1399)).astype(np.float32)
    image = pnb.Image(np.zeros((1400, 1399), np.uint8), pnb.Calibration(0.02, "um"))
    fig = figures.surfaces.surface(heights, image)
    drawn = fig.data[0]
    np.testing.assert_array_equal(drawn.z, heights[::2, ::2])
    assert np.diff(drawn.x) == pytest.approx(40), "two pixels of 20 nm"
    assert drawn.z.dtype == np.float32
    assert drawn.surfacecolor.dtype == np.uint8
    assert "every 2nd row and column" in fig.layout.title.text
    # 4 + 1 bytes a point in base64, whose slashes plotly writes as six characters
    assert len(fig.to_json()) < 700 * 700 * 5 * 4 / 3 * (1 + 2 * 5 / 64) + 20_000


def test_the_buttons_look_from_where_they_say(sphere) -> None:
    _, _, _, cloud = sphere
    fig = figures.surfaces.surface(cloud)
    buttons = {b.label: b.args[1] for b in fig.layout.updatemenus[0].buttons}
    sides = {"top": (2, 1), "bottom": (2, -1), "front": (1, -1), "left": (0, -1), "right": (0, 1)}
    for name, (axis, sign) in sides.items():
        eye = [buttons[name]["scene.camera"]["eye"][a] for a in "xyz"]
        assert np.sign(eye).tolist() == [sign if k == axis else 0 for k in range(3)]
        hidden = [a for a in "xyz" if not buttons[name][f"scene.{a}axis.visible"]]
        assert hidden == ["xyz"[axis]]
    assert all(buttons["oblique"][f"scene.{a}axis.visible"] for a in "xyz")
    # rows run down the micrograph, and the top view shows it so
    for change in (fig.layout.scene.yaxis, buttons["top"]):
        near, far = change["range" if change is fig.layout.scene.yaxis else "scene.yaxis.range"]
        assert near > far
    assert buttons["top"]["scene.camera"]["up"]["y"] == 1


@pytest.mark.parametrize("draw", [figures.surfaces.surface, figures.surfaces.point_cloud])
def test_the_cut_shows_the_heights_of_the_middle_row(sphere, draw) -> None:
    *_, cloud = sphere
    fig = draw(cloud)
    face, line = fig.data[1:]
    assert not face.visible
    assert not line.visible
    button = {b.label: b for b in fig.layout.updatemenus[0].buttons}["cross-section"]
    shown, change = button.args
    assert shown["visible"] == [True, True, True]
    rows, _, shape = cloud.grid_index()
    middle = cloud.xyz[rows == shape[0] // 2]
    if not np.array_equal(line.z, middle[:, 2]):  # an even number of rows has two middles
        middle = cloud.xyz[rows == shape[0] // 2 - 1]
    np.testing.assert_array_equal(line.x, middle[:, 0])
    np.testing.assert_array_equal(line.z, middle[:, 2])
    # what lies nearer than the cut is beyond the axis; line and face are not
    near, far = change["scene.yaxis.range"]
    assert far < cloud.xyz[:, 1].min()
    assert line.y[0] <= near < middle[0, 1] + 8
    # the strip of triangles covers the profile down to the lowest point
    x, z = face.x.astype(float), face.z.astype(float)
    a, b, c = (np.stack([x[n], z[n]]) for n in (face.i, face.j, face.k))
    area = np.abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])).sum() / 2
    base = float(cloud.xyz[:, 2].min())
    assert area == pytest.approx(np.trapezoid(line.z.astype(float) - base, line.x), rel=1e-5)
    for view in fig.layout.updatemenus[0].buttons[:-1]:
        assert view.args[0]["visible"] == [True, False, False]


def test_heights_without_a_scale_are_not_drawn_to_scale(sphere) -> None:
    image, mask, depth, _ = sphere
    cloud = pnb.point_cloud(depth, mask, None, height="none")
    for fig in (figures.surfaces.surface(cloud, image), figures.surfaces.point_cloud(cloud, image)):
        scene = fig.layout.scene
        assert scene.zaxis.title.text == "relative height"
        assert scene.xaxis.title.text == "x / px"
        assert scene.aspectmode == "manual"


def test_a_section_shows_the_profile_and_leaves_holes_open(sphere) -> None:
    *_, cloud = sphere
    cut = section(cloud, "sphere", angle=20)
    height, residual = figures.roughness.cross_section(cut).data
    np.testing.assert_array_equal(height.x, cut.position)
    np.testing.assert_array_equal(height.y, cut.height)
    np.testing.assert_array_equal(residual.y, cut.residual)
    away = np.hypot(
        cloud.xyz[:, 0] - cloud.xyz[:, 0].mean(), cloud.xyz[:, 1] - cloud.xyz[:, 1].mean()
    )
    holed = section(pnb.PointCloud(cloud.xyz[away > 80], pixel_size=8), "sphere")
    fig = figures.roughness.cross_section(holed)
    assert np.isnan(fig.data[0].y).sum() == 1
    assert f"Rq = {holed.Rq:.3g} nm" in fig.layout.annotations[0].text
    assert "sphere removed" in fig.layout.annotations[0].text
    assert fig.layout.yaxis.title.text == "height z / nm"
    assert fig.layout.xaxis2.title.text == "distance along the cut / nm"


@pytest.mark.parametrize(
    ("form", "filters"), [("sphere", {}), ("sphere", {"l_filter": 300.0}), ("none", {})]
)
def test_the_histogram_holds_the_moments_that_it_names(sphere, form, filters) -> None:
    *_, cloud = sphere
    found = pnb.roughness(cloud, form, **filters)
    fig = figures.roughness.heights(cloud, form, **filters)
    bars, normal = fig.data
    share, middle = np.asarray(bars.y), np.asarray(bars.x)
    assert share.sum() == pytest.approx(100)
    mean = np.average(middle, weights=share)
    spread = math.sqrt(np.average((middle - mean) ** 2, weights=share))
    assert spread == pytest.approx(found.Sq, rel=0.01), "81 classes move Sq by less"
    skewness = np.average(((middle - mean) / spread) ** 3, weights=share)
    assert skewness == pytest.approx(found.Ssk, abs=0.02)
    # the normal law has its inflection at one Sq: exp(-1/2) of its top
    beyond = np.interp(mean + found.Sq, normal.x, normal.y) / np.max(normal.y)
    assert beyond == pytest.approx(math.exp(-0.5), abs=0.03)
    text = fig.layout.title.text
    assert f"{found.Sq:.3g} nm" in text
    assert ("form included" in text) == (form == "none")
    assert ("form removed (sphere)" in text) == (form == "sphere")
    if found.null is not None:
        assert f"Rq {found.null.Rq:.3g}" in text
    if filters:
        assert "L-filter 300 nm" in text


def test_particles_are_compared_with_doubtful_ones_hatched_and_references_over_them(
    sphere,
) -> None:
    image, mask, depth, _ = sphere
    masks = pnb.MaskSet((mask, mask), image.shape)
    iso, paper = (
        roughness_table(depth, masks, image.calibration, RoughnessSettings(form))
        for form in ("sphere", "none")
    )
    iso.loc[0, "flags"], iso.loc[1, "flags"] = "", "small: 20 px across"
    fig = figures.roughness.roughness_comparison(iso, reference=[9.0, math.nan])
    bars, reference = fig.data
    np.testing.assert_array_equal(bars.y, iso["Sq_nm"])
    assert bars.marker.pattern.shape.tolist() == ["", "/"]
    assert reference.y[0] == 9
    assert "sphere removed; hatched: 1 doubtful of 2" in fig.layout.title.text
    assert fig.layout.yaxis.title.text == "root mean square height Sq / nm"
    both = figures.roughness.roughness_comparison({"paper": paper, "ISO": iso})
    assert [trace.name for trace in both.data] == [
        "paper",
        "paper: smooth particle of this size",
        "ISO",
    ]
    np.testing.assert_array_equal(both.data[1].y, paper["null_Rq_nm"])
    assert (
        figures.roughness.roughness_comparison(iso, "Ssk").layout.yaxis.title.text == "skewness Ssk"
    )


def test_a_law_is_drawn_with_its_interval_over_its_own_range() -> None:
    x, y = np.array([60.0, 75, 82, 90, 105]), np.array([10.0, 19, 27, 30, 41])
    law = fit_law(x, y, provenance={"method": "depth Rq", "reference": "AFM Sq"})
    fig = figures.roughness.calibration_law(law, x, y)
    band, line, identity, points = fig.data
    assert (min(line.x), max(line.x)) == (60, 105)
    np.testing.assert_allclose(line.y, np.polyval(np.polyfit(x, y, 1), line.x))
    low, high = law.interval(line.x)
    np.testing.assert_allclose(band.y, [*high, *low[::-1]])
    np.testing.assert_array_equal(identity.x, identity.y)
    np.testing.assert_array_equal(points.y, y)
    assert f"leave-one-out error {law.loo_rmse:.3g} nm" in fig.layout.title.text
    assert fig.layout.xaxis.title.text == "depth Rq / nm"
    assert fig.layout.yaxis.title.text == "AFM Sq / nm"


def test_bad_input_is_named(sphere) -> None:
    image, mask, depth, cloud = sphere
    small = pnb.Image(np.zeros((10, 10), np.uint8))
    table = pd.DataFrame({"particle": [0], "Sq_nm": [1.0]})
    law = fit_law([1.0, 2, 3], [1.0, 2, 3.5])
    wrong = [
        lambda: figures.depth_maps.depth(depth, image),
        lambda: figures.depth_maps.depth(small, depth),
        lambda: figures.depth_maps.depth(image, "depth"),
        lambda: figures.depth_maps.depth(image, np.full(image.shape, np.nan)),
        lambda: figures.depth_maps.depth(image, depth, mask=[mask]),
        lambda: figures.depth_maps.depth(image, depth, mask=np.ones((3, 3), bool)),
        lambda: figures.depth_maps.depth(small, cloud),
        lambda: figures.surfaces.point_cloud([[0, 0, 0]]),
        lambda: figures.surfaces.point_cloud(np.full((5, 3), np.nan)),
        lambda: figures.surfaces.point_cloud(cloud, small),
        lambda: figures.surfaces.point_cloud(cloud, limit=0),
        lambda: figures.surfaces.point_cloud(cloud, limit=10**9),
        lambda: figures.surfaces.point_cloud(
            pnb.PointCloud(np.random.default_rng(0).random((50, 3))), image
        ),
        lambda: figures.surfaces.surface(np.zeros((1, 5)), pixel_size=1),
        lambda: figures.surfaces.surface(np.zeros((4, 5)), pixel_size=math.inf),
        lambda: figures.surfaces.surface(np.zeros((4, 5)), image),
        lambda: figures.surfaces.surface(pnb.PointCloud(np.random.default_rng(0).random((50, 3)))),
        lambda: figures.roughness.cross_section(cloud),
        lambda: figures.roughness.heights(cloud, "cube"),
        lambda: figures.roughness.heights(pnb.PointCloud(cloud.xyz, unit="relative"), "sphere"),
        lambda: figures.roughness.roughness_comparison({}),
        lambda: figures.roughness.roughness_comparison(table.iloc[:0]),
        lambda: figures.roughness.roughness_comparison(table, "Sz"),
        lambda: figures.roughness.roughness_comparison(table, reference=[1.0, 2.0]),
        lambda: figures.roughness.roughness_comparison(table, reference="AFM"),
        lambda: figures.roughness.roughness_comparison(table, reference=["a"]),
        lambda: figures.roughness.calibration_law("law"),
        lambda: figures.roughness.calibration_law(law, [1.0, 2.0]),
        lambda: figures.roughness.calibration_law(law, [1.0, 2.0], [1.0]),
    ]
    for call in wrong:
        with pytest.raises(ParticleError):
            call()
    with pytest.raises(CalibrationError, match="pixel_size"):
        figures.surfaces.surface(np.zeros((4, 5)))


def test_linked_pictures_hold_everything_they_show(sphere, tmp_path) -> None:
    image, mask, depth, cloud = sphere
    masks = pnb.MaskSet((mask,))
    table = pnb.measure(masks, image.calibration)
    table["note"] = "</script><b>&"
    for heights in (depth, cloud, [cloud], np.asarray(depth.relative)):
        linked = figures.picking.linked_depth(image, heights, masks, table)
        page = linked.write_html(tmp_path / "page.html").read_text(encoding="utf-8")
        assert page.count("data:image/png;base64,") == 2
        assert "http" not in page
        assert page.count("</script>") == 1, "a table's text ends no script"
        assert linked._repr_html_() in page
    assert "height z / nm" in page
    assert "relative height" in figures.picking.linked_depth(image, depth, masks).fragment


def test_many_linked_particles_stay_small() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(1536)[:, None] + np.zeros((1, 2048), int)
    labels = np.zeros(y.shape, int)
    away = np.hypot(*np.mgrid[-50:51, -50:51])
    for number, (r, c) in enumerate(np.ndindex(15, 20), start=1):
        box = labels[10 + 100 * r : 111 + 100 * r, 10 + 100 * c : 111 + 100 * c]
        box[away < rng.uniform(20, 45)] = number
    masks = pnb.MaskSet.from_labels(labels)
    image = pnb.Image(rng.integers(0, 255, labels.shape, dtype=np.uint8))
    linked = figures.picking.linked_depth(image, np.where(labels, y, 0).astype(np.float32), masks)
    assert len(linked.fragment) < 2_500_000
    assert linked.fragment.count("data-i=") == 300


@pytest.mark.parametrize("bad", ["masks", None, [], 3])
def test_linked_pictures_refuse_what_does_not_fit(sphere, bad) -> None:
    image, mask, depth, _ = sphere
    masks = pnb.MaskSet((mask,))
    for call in (
        lambda: figures.picking.linked_depth(image, depth, bad),
        lambda: figures.picking.linked_depth(image, bad, masks),
        lambda: figures.picking.linked_depth(bad, depth, masks),
        lambda: figures.picking.linked_depth(image, depth, masks, pd.DataFrame({"a": [1, 2]})),
    ):
        with pytest.raises(ParticleError):
            call()
