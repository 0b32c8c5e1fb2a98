"""Footprints against pyproj's own corners, across the antimeridian and around a pole."""

from typing import Any

import pytest
from pyproj import Transformer
from shapely.geometry import LinearRing, Point, shape

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.publish.footprint import footprint, outline_on_globe, pixel_size_m


def covering(bbox: tuple[float, float, float, float], resolution: float = 100.0) -> Grid:
    aoi = AOI.from_bbox("a", bbox)
    return Grid.covering(aoi, crs=choose_crs(aoi), resolution=resolution)


def test_an_ordinary_grid_has_a_counter_clockwise_ring_through_its_corners() -> None:
    grid = covering((9.0, 45.0, 10.3, 46.0))
    geometry, bbox = footprint(grid)
    outline = shape(geometry)
    assert geometry["type"] == "Polygon"
    assert outline.is_valid
    assert outline.exterior.is_ccw
    assert outline.bounds == pytest.approx(bbox)
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    left, bottom, right, top = grid.bounds
    for x, y in (
        (left, bottom),
        (right, bottom),
        (right, top),
        (left, top),
        (left, (bottom + top) / 2),
    ):
        assert outline.exterior.distance(Point(*to_degrees.transform(x, y))) < 3e-6
    assert shape(AOI.from_bbox("a", (9.0, 45.0, 10.3, 46.0)).geometry).within(outline.buffer(1e-6))


def test_a_grid_across_the_antimeridian_is_split_there() -> None:
    geometry, (west, south, east, north) = footprint(covering((179.5, -17.5, -179.4, -16.5)))
    assert geometry["type"] == "MultiPolygon"
    parts = shape(geometry).geoms
    assert len(parts) == 2
    assert all(part.is_valid and -180 <= part.bounds[0] < part.bounds[2] <= 180 for part in parts)
    assert west > 179 > -179 > east
    assert south == pytest.approx(-17.5, abs=0.03)
    assert north == pytest.approx(-16.5, abs=0.03)


def test_a_grid_in_degrees_beyond_180_is_turned_back() -> None:
    grid = Grid(crs="EPSG:4326", resolution=0.01, left=180.0, top=10.0, width=200, height=100)
    geometry, bbox = footprint(grid)
    assert geometry["type"] == "Polygon"
    assert bbox == (-180.0, 9.0, -178.0, 10.0)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90.0), ("EPSG:3413", 90.0)])
def test_a_grid_around_a_pole_is_a_cap(crs: str, pole: float) -> None:
    grid = Grid(crs=crs, resolution=1000.0, left=-1e5, top=1e5, width=200, height=200)
    geometry, bbox = footprint(grid)
    assert shape(geometry).covers(Point(0, pole))
    assert (bbox[0], bbox[2]) == (-180.0, 180.0)
    assert pole in (bbox[1], bbox[3])


def test_pixels_are_measured_in_metres() -> None:
    assert pixel_size_m(covering((9.0, 45.0, 9.1, 45.1), 20.0)) == (20.0, 20.0)
    degrees = Grid(crs="EPSG:4326", resolution=0.01, left=9.0, top=60.5, width=10, height=100)
    assert pixel_size_m(degrees) == pytest.approx((556.0, 1112.0), rel=2e-3)
    feet = Grid(crs="EPSG:2263", resolution=100.0, left=9e5, top=2e5, width=10, height=10)
    assert pixel_size_m(feet)[0] == pytest.approx(30.48, rel=1e-4)


def _block(left: float, top: float, size: float) -> dict[str, Any]:
    right, bottom = left + size, top - size
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]  # clockwise
    return {"type": "MultiPolygon", "coordinates": [[ring]]}


def test_an_outline_runs_counter_clockwise_in_degrees() -> None:
    found = outline_on_globe(_block(412_000.0, 5_205_000.0, 900.0), "EPSG:32632")
    assert found["type"] == "MultiPolygon"
    ((ring,),) = found["coordinates"]
    assert LinearRing(ring).is_ccw
    assert shape(found).bounds == pytest.approx((7.8426, 46.9846, 7.8547, 46.9928), abs=1e-4)


def test_an_outline_across_the_antimeridian_is_two() -> None:
    """UTM zone 1 reaches over it: one ring of it would go around the globe."""
    found = outline_on_globe(_block(121_000.0, 45_000.0, 90_000.0), "EPSG:32601")
    assert len(found["coordinates"]) == 2
    whole = shape(found)
    assert whole.is_valid
    assert (whole.bounds[0], whole.bounds[2]) == (-180.0, 180.0)
    assert whole.area == pytest.approx(0.81**2, rel=0.05)
    assert all(LinearRing(ring).is_ccw for (ring,) in found["coordinates"])
