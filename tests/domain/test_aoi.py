import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.errors import ConfigurationError

LON = st.floats(-180, 180, allow_nan=False)
LAT = st.floats(-89, 88.5, allow_nan=False)
SQUARE = [[[10.0, 46.0], [11.0, 46.0], [11.0, 47.0], [10.0, 47.0], [10.0, 46.0]]]


def box(west: float, east: float) -> list:
    return [[[west, 0.0], [east, 0.0], [east, 1.0], [west, 1.0], [west, 0.0]]]


@given(LON, LON, LAT, st.floats(0.01, 1.0))
def test_a_bbox_comes_back(west, east, south, height):
    if west == east or (west > east and west - east <= 180):
        return
    aoi = AOI.from_bbox("a", (west, south, east, south + height))
    if {west, east} & {180.0, -180.0}:
        west, east = (-180.0 if west == 180 else west), (180.0 if east == -180 else east)
    assert aoi.bbox == (west, south, east, south + height)
    assert aoi.crosses_antimeridian == (west > east)
    longitude, latitude = aoi.centre
    assert -180 <= longitude <= 180
    assert latitude == pytest.approx(south + height / 2)
    inside = (longitude - west) % 360
    assert inside <= (east - west) % 360 + 1e-6 or inside > 360 - 1e-6


@given(LON, st.floats(0.1, 100.0))
def test_unwrapped_longitudes_are_one_stretch(west, width):
    east = west + width
    aoi = AOI.from_bbox("a", (west, 0.0, east - 360 if east > 180 else east, 1.0))
    longitudes = [lon for lon, _ in aoi.unwrapped()]
    assert max(longitudes) - min(longitudes) == pytest.approx(width, abs=1e-6)


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ((11.0, 46.0, 10.0, 47.0), "west 11.0 east of east 10.0"),
        ((10.0, 47.0, 11.0, 46.0), "south 47.0 not below north 46.0"),
        ((10.0, 46.0, 10.0, 47.0), "no width"),
        ((10.0, 46.0, 11.0), "four finite degrees"),
        ((10.0, 46.0, math.nan, 47.0), "four finite degrees"),
        ((399960.0, 5190240.0, 509760.0, 5300040.0), "projected metres"),
        ((46.0, 100.0, 47.0, 101.0), "swapped"),
    ],
)
def test_a_wrong_bbox_is_named(bbox, words):
    with pytest.raises(ConfigurationError, match=words) as raised:
        AOI.from_bbox("lake", bbox)
    assert "lake" in str(raised.value)


@pytest.mark.parametrize(
    ("west", "east", "expected"), [(180, -170, (-180, -170)), (170, -180, (170, 180))]
)
def test_a_box_that_ends_at_the_seam_does_not_cross_it(west, east, expected):
    aoi = AOI.from_bbox("a", (west, 0, east, 1))
    assert aoi.geometry["type"] == "Polygon"
    assert (aoi.bbox[0], aoi.bbox[2]) == expected


def test_islands_on_both_sides_belong_to_one_box():
    geometry = {
        "type": "MultiPolygon",
        "coordinates": [box(176.0, 177.0), box(179.0, 180.0), box(-180.0, -179.0)],
    }
    aoi = AOI("fiji", geometry)
    assert aoi.crosses_antimeridian
    assert aoi.bbox == (176.0, 0.0, -179.0, 1.0)


def test_a_globe_does_not_cross():
    geometry = {"type": "MultiPolygon", "coordinates": [box(-180.0, 180.0), box(0.0, 1.0)]}
    assert not AOI("globe", geometry).crosses_antimeridian
    assert AOI("globe", geometry).bbox == (-180.0, 0.0, 180.0, 1.0)


@pytest.mark.parametrize("name", ["", "a|b", "a,b", "a b", "../x", "x" * 64, "[1]", "-x"])
def test_a_name_must_do_as_a_partition_key_and_a_folder(name):
    with pytest.raises(ConfigurationError, match="AOI name"):
        AOI.from_bbox(name, (10, 46, 11, 47))


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": SQUARE},
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "Polygon", "coordinates": SQUARE},
        },
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [SQUARE]}}
            ],
        },
    ],
)
def test_geojson_of_any_form_is_read(tmp_path, geometry):
    path = tmp_path / "po-valley.geojson"
    path.write_text(json.dumps(geometry))
    aoi = AOI.from_file(path)
    assert aoi.name == "po-valley"
    assert aoi.bbox == (10.0, 46.0, 11.0, 47.0)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "null",
        '{"type": "Feature", "geometry": null}',
        '{"type": "FeatureCollection", "features": []}',
        '{"type": "FeatureCollection", "features": {"a": 1}}',
        '{"type": "FeatureCollection", "features": [7]}',
        '{"type": "Point", "coordinates": [1, 2]}',
        '{"type": "Polygon", "coordinates": "abc"}',
        '{"type": "Polygon", "coordinates": null}',
        '{"type": "Polygon", "coordinates": []}',
        '{"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}',
        '{"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6], [7, 8]]]}',
        '{"type": "Polygon", "coordinates": [[[1], [3], [5], [1]]]}',
        '{"type": "MultiPolygon", "coordinates": [[]]}',
        '{"type": "MultiPolygon", "coordinates": [[[1, 2], [2, 2], [2, 3], [1, 2]]]}',
        '{"type": "Polygon", "coordinates": [[[NaN, 2], [2, 2], [2, 3], [NaN, 2]]]}',
    ],
)
def test_a_wrong_file_is_a_configuration_error_that_names_it(tmp_path, text):
    path = tmp_path / "lake.geojson"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="lake"):
        AOI.from_file(path)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        AOI.from_file(tmp_path / "nowhere.geojson")
