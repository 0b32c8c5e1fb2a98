import json
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.errors import ConfigurationError

AOIS = st.builds(
    lambda lon, lat, width, height: AOI.from_bbox(
        "a", (lon, lat, lon + width if lon + width <= 180 else lon + width - 360, lat + height)
    ),
    st.floats(-179.9, 179.9),
    st.floats(-79.0, 83.0),
    st.floats(0.001, 0.5),
    st.floats(0.001, 0.5),
)


@settings(deadline=None)
@given(aoi=AOIS, resolution=st.sampled_from([10.0, 20.0, 60.0, 300.0]))
def test_a_grid_is_anchored_covers_its_aoi_and_is_no_larger(aoi, resolution):
    from pyproj import Transformer

    crs = choose_crs(aoi)
    grid = Grid.covering(aoi, crs=crs, resolution=resolution)
    left, bottom, right, top = grid.bounds
    assert left % resolution == top % resolution == 0
    project = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    xs, ys = project.transform(*zip(*aoi.unwrapped(), strict=True))
    rounding = 2e-6 * resolution
    assert left - rounding <= min(xs) <= max(xs) <= right + rounding
    assert bottom - rounding <= min(ys) <= max(ys) <= top + rounding
    # Straight edges bend a little between their vertices, by far less than they are long.
    slack = resolution + 0.02 * max(right - left, top - bottom)
    assert right - left <= max(xs) - min(xs) + resolution + slack
    assert top - bottom <= max(ys) - min(ys) + resolution + slack


@given(
    west=st.integers(-1000, 1000),
    north=st.integers(-80, 80),
    width=st.integers(1, 50),
    resolution=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_an_aoi_on_pixel_edges_gets_no_extra_pixel(west, north, width, resolution):
    west = (west % 300 - 150) * resolution
    assume(west >= -180 and west + width * resolution <= 180 and abs(north * resolution) < 80)
    box = (west, north * resolution, west + width * resolution, (north + 2) * resolution)
    grid = Grid.covering(AOI.from_bbox("a", box), crs="EPSG:4326", resolution=resolution)
    assert grid.shape == (2, width)
    assert grid.bounds == box


def test_neighbours_share_their_pixels():
    one = Grid.covering(AOI.from_bbox("a", (9.0, 45, 9.2, 45.1)), crs="EPSG:32632", resolution=20)
    two = Grid.covering(AOI.from_bbox("b", (9.1, 45, 9.3, 45.1)), crs="EPSG:32632", resolution=20)
    assert (two.left - one.left) % 20 == 0
    assert (two.top - one.top) % 20 == 0


def test_a_sentinel2_tile_is_hit_exactly():
    grid = Grid(
        crs="EPSG:32632", resolution=10, left=399960, top=5300040, width=10980, height=10980
    )
    assert grid.transform == (10, 0, 399960, 0, -10, 5300040)
    assert grid.bounds == (399960, 5190240, 509760, 5300040)
    assert grid.left % 10 == 0


def test_the_geobox_is_the_same_grid():
    grid = Grid.covering(AOI.from_bbox("a", (9, 45, 9.1, 45.1)), crs="EPSG:32632", resolution=20)
    box = grid.geobox()
    assert box.shape == grid.shape
    assert tuple(box.affine)[:6] == grid.transform
    assert str(box.crs) == grid.crs


@given(AOIS, st.sampled_from([10.0, 30.0]))
@settings(deadline=None, max_examples=20)
def test_json_round_trip(aoi, resolution):
    grid = Grid.covering(aoi, crs=choose_crs(aoi), resolution=resolution)
    assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


@pytest.mark.parametrize(
    ("bbox", "crs"),
    [
        ((9.0, 45.0, 9.1, 45.1), "EPSG:32632"),
        ((9.0, -45.0, 9.1, -44.9), "EPSG:32732"),
        ((179.9, -17.0, -179.8, -16.0), "EPSG:32701"),
        ((179.0, -17.0, 179.9, -16.0), "EPSG:32760"),
        ((-180.0, 10.0, -179.0, 11.0), "EPSG:32601"),
        ((10.0, 85.0, 11.0, 86.0), "EPSG:3413"),
        ((10.0, -86.0, 11.0, -85.0), "EPSG:3031"),
        ((10.0, 83.0, 11.0, 84.5), "EPSG:3413"),
        ((5.0, 60.0, 5.5, 60.5), "EPSG:32632"),
        ((5.0, 64.5, 5.5, 65.0), "EPSG:32631"),
        ((15.0, 78.0, 16.0, 78.5), "EPSG:32633"),
        ((7.0, 78.0, 8.0, 78.5), "EPSG:32631"),
        ((22.0, 78.0, 23.0, 78.5), "EPSG:32635"),
    ],
)
def test_the_crs_of_a_place(bbox, crs):
    assert choose_crs(AOI.from_bbox("a", bbox)) == crs


@pytest.mark.parametrize(
    ("bbox", "advice"),
    [
        ((-10, 35, 30, 60), "EPSG:3035"),
        ((-120, 30, -90, 45), "EPSG:5070"),
        ((120, -35, 145, -20), "EPSG:3577"),
        ((20, 65, 60, 80), "EPSG:3413"),
        ((20, -79, 60, -70), "EPSG:3031"),
        ((-60, -20, -40, 0), "EPSG:6933"),
        ((170, -20, -170, 0), "EPSG:6933"),
    ],
)
def test_too_wide_for_a_zone_asks_for_a_crs_that_holds_it(bbox, advice):
    aoi = AOI.from_bbox("wide", bbox)
    with pytest.raises(ConfigurationError, match=r"grid\.crs") as raised:
        choose_crs(aoi)
    assert advice in str(raised.value)

    asked = AOI("wide", aoi.geometry, advice)
    grid = Grid.covering(asked, crs=choose_crs(asked), resolution=1000)
    assert grid.crs == advice


@pytest.mark.parametrize(
    ("crs", "words"), [("EPSG:0", "unknown CRS"), ("EPSG:32660", "lies outside")]
)
def test_a_crs_that_cannot_hold_the_area_is_refused_when_it_is_asked_for(crs, words):
    with pytest.raises(ConfigurationError, match=words):
        choose_crs(AOI("alps", AOI.from_bbox("alps", (9, 45, 9.1, 45.1)).geometry, crs))


@given(
    st.floats(-179, 179),
    st.floats(-85, 85),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.sampled_from([10.0, 20.0, 30.0, 60.0, 0.1, 1 / 3]),
)
def test_grids_of_neighbours_in_one_crs_share_their_pixels(lon, lat, east, north, resolution):
    one = AOI.from_bbox("one", (lon, lat, lon + 0.01, lat + 0.01))
    crs = choose_crs(one)
    if resolution < 10:
        crs, resolution = "EPSG:4326", resolution / 100
    beside = (min(max(lon + east, -179.9), 179.9), min(max(lat + north, -89), 89))
    two = AOI.from_bbox("two", (*beside, beside[0] + 0.01, beside[1] + 0.01))
    first, second = (Grid.covering(aoi, crs=crs, resolution=resolution) for aoi in (one, two))

    for apart in (first.left - second.left, first.top - second.top):
        pixels = apart / resolution
        assert pixels == pytest.approx(round(pixels), abs=1e-4)


@given(st.floats(61, 88), st.floats(0.5, 8), st.floats(-180, 100), st.floats(1, 79))
def test_a_polar_grid_covers_the_arcs_of_its_area(south, height, west, width):
    import numpy as np
    from pyproj import Transformer

    north = min(south + height, 89.9)
    aoi = AOI("polar", AOI.from_bbox("polar", (west, south, west + width, north)).geometry)
    grid = Grid.covering(aoi, crs="EPSG:3413", resolution=1000)
    along = np.linspace(west, west + width, 1001)
    project = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    xs, ys = project.transform(np.r_[along, along], np.r_[0 * along + south, 0 * along + north])
    left, bottom, right, top = grid.bounds
    slack = 20  # metres that an arc may bulge between two vertices
    assert left - slack <= xs.min() <= xs.max() <= right + slack
    assert bottom - slack <= ys.min() <= ys.max() <= top + slack


def test_across_the_antimeridian_the_grid_is_narrow():
    aoi = AOI.from_bbox("fiji", (179.9, -17.0, -179.9, -16.9))
    grid = Grid.covering(aoi, crs=choose_crs(aoi), resolution=100)
    assert grid.width < 300


@pytest.mark.parametrize(
    ("crs", "resolution", "words"),
    [
        ("EPSG:999999", 10, "unknown CRS"),
        ("EPSG:32632", 0, "must be positive"),
        ("EPSG:32632", math.nan, "must be positive"),
        ("EPSG:32632", math.inf, "must be positive"),
        ("EPSG:32632", 0.01, "split it"),
    ],
)
def test_a_wrong_grid_is_named(crs, resolution, words):
    with pytest.raises(ConfigurationError, match=words):
        Grid.covering(AOI.from_bbox("a", (9, 45, 9.1, 45.1)), crs=crs, resolution=resolution)


@pytest.mark.parametrize(
    ("bbox", "crs"),
    [
        ((178.0, -18.0, 179.0, -17.0), "EPSG:32632"),
        ((9.0, -45.0, 9.1, -44.9), "EPSG:32632"),
        ((9.0, 45.0, 9.1, 45.1), "EPSG:3031"),
        ((99.0, 45.0, 99.1, 45.1), "EPSG:32632"),
    ],
)
def test_an_aoi_off_its_crs_is_named(bbox, crs):
    with pytest.raises(ConfigurationError, match="lies outside") as raised:
        Grid.covering(AOI.from_bbox("far", bbox), crs=crs, resolution=100)
    assert "far" in str(raised.value)
    assert crs in str(raised.value)


@pytest.mark.parametrize("bbox", [(5.0, 45.0, 5.2, 45.1), (12.5, 45.0, 13.0, 45.1)])
def test_a_neighbouring_zone_is_allowed(bbox):
    assert Grid.covering(AOI.from_bbox("a", bbox), crs="EPSG:32632", resolution=100).width > 100
