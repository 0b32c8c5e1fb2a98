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
    ],
)
def test_the_crs_of_a_place(bbox, crs):
    assert choose_crs(AOI.from_bbox("a", bbox)) == crs


def test_too_wide_for_a_zone_asks_for_a_crs():
    with pytest.raises(ConfigurationError, match=r"grid\.crs"):
        choose_crs(AOI.from_bbox("europe", (-10, 35, 30, 60)))


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
