import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.item import (
    PixelFormat,
    Projection,
    assets,
    item_id,
    moment,
    number,
    parse_datetime,
    pixel_format,
    projection,
    properties,
)
from geostack_dagster.errors import IntegrityError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        *("proj:epsg", "proj:code", "proj:wkt2", "proj:shape", "proj:transform", "raster:bands"),
        *("bands", "nodata", "data_type", "scale", "offset", "datetime", "start_datetime"),
    ]
)
DOCUMENTS = st.dictionaries(MEMBERS, JSON)


@given(DOCUMENTS, DOCUMENTS, st.integers(0, 3))
def test_no_document_breaks_the_readers(asset, stated, band):
    item = {"id": "x", "properties": stated, "assets": {"a": asset}}
    found = projection(item, asset)
    assert found.shape is None or all(isinstance(size, int) for size in found.shape)
    assert found.transform is None or all(map(math.isfinite, found.transform))
    assert isinstance(pixel_format(asset, band), PixelFormat)
    try:
        assert moment(item).tzinfo is UTC
    except IntegrityError as error:
        assert "x" in str(error)  # noqa: PT017 (either outcome is right)


@given(JSON)
def test_members_of_any_kind_are_read_as_mappings(value):
    item = {"properties": value, "assets": value}
    assert isinstance(properties(item), dict)
    assert all(isinstance(asset, dict) for asset in assets(item).values())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("72", 72.0),
        (" 0.0001 ", 1e-4),
        (5, 5.0),
        (True, None),
        ("", None),
        ("five", None),
        (None, None),
        ([1], None),
        (10**400, None),
    ],
)
def test_numbers(value, expected):
    assert number(value) == expected


def test_nan_is_a_number():
    assert math.isnan(number("nan"))


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES))
def test_date_times_are_read_in_utc(value):
    parsed = parse_datetime(value.isoformat())
    assert parsed is None or (parsed == value and parsed.tzinfo is UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-14T19:00:49Z", datetime(2024, 5, 14, 19, 0, 49, tzinfo=UTC)),
        ("2024-05-14t19:00:49z", datetime(2024, 5, 14, 19, 0, 49, tzinfo=UTC)),
        ("2015-01-29 08:19:16.649281+00:00", datetime(2015, 1, 29, 8, 19, 16, 649281, UTC)),
        ("2025-11-13T01:18:44.291467", datetime(2025, 11, 13, 1, 18, 44, 291467, UTC)),
        ("2022-07-28 16:55:32+00:00", datetime(2022, 7, 28, 16, 55, 32, tzinfo=UTC)),
        ("2016-01-11", datetime(2016, 1, 11, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (20240514, None),
        (None, None),
    ],
)
def test_recorded_forms_of_date_times(text, expected):
    assert parse_datetime(text) == expected


def test_a_null_datetime_means_the_start():
    item = {"properties": {"datetime": None, "start_datetime": "2000-02-26T00:00:00Z"}}
    assert moment(item) == datetime(2000, 2, 26, tzinfo=UTC)


def test_an_item_without_any_date_is_named():
    with pytest.raises(IntegrityError, match="granule-7"):
        moment({"id": "granule-7", "properties": {"datetime": "soon"}})


def test_an_item_without_an_id_still_has_a_name():
    assert item_id({}) == "(item without id)"


WKT = 'GEOGCRS["x"]'


@pytest.mark.parametrize(
    ("stated", "asset", "expected"),
    [
        ({"proj:epsg": 32632}, {}, "EPSG:32632"),
        ({"proj:epsg": None}, {"proj:epsg": 32633}, "EPSG:32633"),
        ({"proj:epsg": 32632}, {"proj:code": "EPSG:32633"}, "EPSG:32633"),
        ({"proj:epsg": "32632"}, {}, "EPSG:32632"),
        ({"proj:epsg": None, "proj:wkt2": WKT}, {}, WKT),
        ({"proj:code": None}, {}, None),
        ({"proj:epsg": "nan"}, {}, None),
        ({"proj:epsg": 32632.5}, {}, None),
        ({"proj:epsg": -1}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_crs_from_wherever_it_is_stated(stated, asset, expected):
    assert projection({"properties": stated}, asset).crs == expected


def test_asset_level_projection_counts_before_item_level():
    item = {"properties": {"proj:epsg": 32632, "proj:shape": [100, 100]}}
    asset = {"proj:shape": [50, 50], "proj:transform": [10, 0, 1, 0, -10, 2, 0, 0, 1]}
    found = projection(item, asset)
    assert found == Projection(crs="EPSG:32632", shape=(50, 50), transform=(10, 0, 1, 0, -10, 2))
    assert found.is_complete
    assert not projection(item, {}).is_complete


@pytest.mark.parametrize(
    ("asset", "band", "expected"),
    [
        ({"raster:bands": [{"data_type": "uint16", "nodata": 0}]}, 0, ("uint16", 0.0, None, None)),
        (
            {"data_type": "uint16", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1},
            0,
            ("uint16", 0.0, 1e-4, -0.1),
        ),
        (
            {"raster:bands": [{}, {"scale": "0.5"}], "nodata": "-32768"},
            1,
            (None, -32768, 0.5, None),
        ),
        ({"raster:bands": "none", "bands": [7]}, 0, (None, None, None, None)),
    ],
)
def test_the_pixel_format_from_wherever_it_is_stated(asset, band, expected):
    found = pixel_format(asset, band)
    assert (found.dtype, found.nodata, found.scale, found.offset) == expected
