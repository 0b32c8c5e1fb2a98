"""Areas across the antimeridian and around the poles, however they are drawn."""

import json

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.antimeridian import cut
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.errors import ConfigurationError


def polygon(*rings) -> dict:
    return {"type": "Polygon", "coordinates": [[list(one) for one in ring] for ring in rings]}


def box(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def jumping(ring) -> list[tuple[float, float]]:
    return [(lon - 360 if lon > 180 else lon, lat) for lon, lat in ring]


@given(
    st.floats(150, 179.9), st.floats(-60, 60), st.floats(0.2, 20), st.floats(0.1, 10), st.booleans()
)
def test_both_ways_of_drawing_mean_the_same_area(west, south, width, height, is_jumping):
    east = max(west + width, 180.05)
    ring = box(west, south, east, south + height)
    found = cut("fiji", polygon(jumping(ring) if is_jumping else ring))

    aoi = AOI("fiji", found)
    assert aoi.crosses_antimeridian
    assert aoi.bbox == pytest.approx((west, south, east - 360, south + height))
    whole = shapely.geometry.shape(found)
    assert whole.is_valid
    assert whole.area == pytest.approx((east - west) * height)


def test_what_does_not_cross_is_left_as_it_is():
    for ring in (box(10, 46, 11, 47), box(-180, -80, 180, 80), box(170, 0, 180, 1)):
        assert cut("a", polygon(ring)) == polygon(ring)


def test_holes_stay_holes():
    found = cut("a", polygon(box(170, 0, 190, 10), jumping(box(181, 2, 185, 4))))

    assert shapely.geometry.shape(found).area == pytest.approx(200 - 8)


def test_an_edge_that_may_go_either_way_is_refused():
    with pytest.raises(ConfigurationError, match="either way around the Earth") as raised:
        cut("wide", polygon(box(-100, 0, 100, 10)))
    assert "wide" in str(raised.value)


@pytest.mark.parametrize("pole", [1, -1])
def test_a_ring_around_a_pole_is_its_cap(pole, tmp_path):
    ring = [(lon, pole * 85.0) for lon in range(-170, 181, 10)]
    path = tmp_path / "cap.geojson"
    path.write_text(json.dumps(polygon([*ring, ring[0]])))

    aoi = AOI.from_file(path)
    grid = Grid.covering(aoi, crs=choose_crs(aoi), resolution=1000)

    assert aoi.bbox == ((-180, 85, 180, 90) if pole > 0 else (-180, -90, 180, -85))
    assert grid.crs == ("EPSG:3413" if pole > 0 else "EPSG:3031")
    assert grid.width == pytest.approx(1100, abs=30)  # 5 degrees of latitude on every side
    assert abs(grid.left + grid.width * 500) <= 1000  # around the pole


@pytest.mark.parametrize("written", ["beyond", "jumping"])
def test_a_file_across_the_antimeridian_is_one_narrow_grid(tmp_path, written):
    ring = box(179.9, -17.0, 180.1, -16.9)
    path = tmp_path / "fiji.geojson"
    path.write_text(json.dumps(polygon(ring if written == "beyond" else jumping(ring))))

    aoi = AOI.from_file(path)

    assert aoi == AOI("fiji", aoi.geometry)
    assert aoi.bbox == pytest.approx((179.9, -17.0, -179.9, -16.9))
    assert Grid.covering(aoi, crs=choose_crs(aoi), resolution=100).width < 300
