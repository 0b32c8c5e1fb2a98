"""Items come back from the columnar file as they went in, and other programs read it."""

import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import rustac
import stac_geoparquet.arrow as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.catalog.parquet import read_facts, read_items, write_items
from geostack_dagster.errors import IntegrityError

_POLYGON = {
    "type": "Polygon",
    "coordinates": [[[10.0, 45.0], [11.0, 45.0], [11.0, 46.0], [10.0, 46.0], [10.0, 45.0]]],
}


def written(items: list[Any]) -> bytes:
    sink = io.BytesIO()
    write_items(items, sink, facts={})
    return sink.getvalue()


def round_trip(items: list[Any]) -> list[dict[str, Any]]:
    return read_items(io.BytesIO(written(items)))


def an_item(**changes: Any) -> dict[str, Any]:
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": "a",
        "collection": "c",
        "geometry": _POLYGON,
        "bbox": [10.0, 45.0, 11.0, 46.0],
        "properties": {"datetime": "2024-06-01T10:30:31.024Z", "eo:cloud_cover": 12.5},
        "assets": {"B04": {"href": "https://a.example/B04.tif", "roles": ["data"]}},
        "links": [{"rel": "self", "href": "https://a.example/a"}],
    }
    return item | changes


def properties(**members: Any) -> dict[str, Any]:
    return {"datetime": "2024-06-01T10:30:31.024Z"} | members


ODD = {
    "asset keys differ": [
        an_item(),
        an_item(assets={"B8A": {"href": "s3://b/B8A.tif"}}),
        an_item(assets={}),
    ],
    "keys with slashes and dots": [
        an_item(assets={"002/EMIT_L2B.v1": {"href": "s3://b/x"}, "": {"href": "y"}}),
        an_item(properties=properties(**{"a.b": {"c/d": 1}, "a": {"b": 2}})),
    ],
    "null is not absent": [
        an_item(properties=properties(**{"proj:epsg": None})),
        an_item(properties=properties(**{"proj:epsg": 32632})),
        an_item(properties=properties()),
    ],
    "numbers as strings": [
        an_item(properties=properties(**{"eo:cloud_cover": "72"})),
        an_item(properties=properties(**{"eo:cloud_cover": 72})),
        an_item(properties=properties(**{"eo:cloud_cover": 72.5})),
        an_item(properties=properties(**{"eo:cloud_cover": True})),
    ],
    "nested members of several types": [
        an_item(properties=properties(x={"y": [1, 2]}, z={"deep": {"er": 1}})),
        an_item(properties=properties(x={"y": {"k": "v"}}, z={"deep": "flat"})),
        an_item(properties=properties(x=[{"y": "text"}, {"y": 3}], z=[[1], ["two"]])),
    ],
    "lists with nulls": [an_item(properties=properties(v=[None, 1, None], w=[{"a": None}, {}]))],
    "empty members": [
        an_item(properties=properties(x={}, y=[], z=[{}]), assets={}, links=[], stac_extensions=[])
    ],
    "no datetime": [
        an_item(
            properties={
                "datetime": None,
                "start_datetime": "2020-01-01T00:00:00Z",
                "end_datetime": "2021-01-01T00:00:00+00:00",
            }
        )
    ],
    "datetime spelled otherwise": [
        an_item(properties={"datetime": text})
        for text in (
            "2024-06-01T10:30:31Z",
            "2024-06-01T10:30:31.1234567Z",
            "2024-06-01T12:30:31+02:00",
            "2024-06-01T10:30:31",
            "2024-06-01 10:30:31+00:00",
            "2024-06-01",
            "yesterday",
            20240601,
            "",
        )
    ],
    "strings that look like dates": [
        an_item(properties=properties(**{"s2:generation_time": "2024-06-01T10:30:31Z"})),
        an_item(properties=properties(**{"s2:generation_time": "2024-06-01 10:30:31"})),
    ],
    "geometries": [
        an_item(geometry=geometry)
        for geometry in (
            {"type": "Point", "coordinates": [1.0, 2.0]},
            {"type": "Point", "coordinates": [1.0, 2.0, 3.0]},
            {"type": "MultiPolygon", "coordinates": [_POLYGON["coordinates"]]},
            {"type": "Polygon", "coordinates": []},
            {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
            {"type": "GeometryCollection", "geometries": [_POLYGON]},
            {**_POLYGON, "crs": {"type": "name"}},
            {"type": "Polygon"},
            "POINT (1 2)",
            None,
        )
    ],
    "boxes": [
        an_item(bbox=box)
        for box in ([1, 2, 3, 4], [1, 2, 0, 3, 4, 9], [179.0, 0, -179.0, 1], [], ["w"], None, "x")
    ],
    "boxes with heights": [an_item(bbox=[1.0, 2.0, 0.0, 3.0, 4.0, 9.0])] * 2,
    "no bbox": [{name: value for name, value in an_item().items() if name != "bbox"}],
    "members of no known place": [
        an_item(_private={"a": 1}, properties=properties(id="mine", collection=7, geometry="g"))
    ],
    "projected geometries": [
        an_item(
            properties=properties(**{"proj:geometry": _POLYGON}),
            assets={
                "image": {"href": "x", "proj:geometry": _POLYGON},
                "mask": {"href": "y", "proj:geometry": None},
            },
        ),
        an_item(assets={"image": {"href": "x", "proj:geometry": "junk"}, "mask": {}}),
    ],
    "huge integers": [
        an_item(properties=properties(n=2**53 + 1)),
        an_item(properties=properties(n=0.5)),
        an_item(properties=properties(n=2**70)),
    ],
    "broken text": [an_item(properties=properties(t="\ud800", u="\u0000é漢")), an_item()],
    "nothing but an id": [{"id": "a"}, {"id": "b", "properties": {}}, {}],
    "assets that are no objects": [an_item(assets={"a": "href", "b": None}), an_item(assets=[1])],
}


@pytest.mark.parametrize("items", ODD.values(), ids=ODD)
def test_odd_items_come_back_equal(items: list[dict[str, Any]]) -> None:
    assert round_trip(items) == items


def test_more_asset_keys_than_columns() -> None:
    items = [
        an_item(
            id=str(n), assets={f"s3_002/EMIT_{n}_{k}": {"href": f"s3://b/{n}/{k}"} for k in "ab"}
        )
        for n in range(400)
    ]
    assert round_trip(items) == items


def test_a_type_conflict_many_items_later() -> None:
    items = [an_item(id=str(n), properties=properties(v=n)) for n in range(5000)]
    items[4900]["properties"]["v"] = "4900"
    items[17]["properties"]["v"] = {"seventeen": 17}
    assert round_trip(items) == items


def test_recorded_items_of_every_archive_come_back_equal(shared_fixtures: Path) -> None:
    items = recorded(shared_fixtures)
    assert len(items) >= 80
    assert round_trip(items) == items


def test_another_program_reads_what_it_would_have_kept(
    shared_fixtures: Path, tmp_path: Path
) -> None:
    groups = defaultdict(list)
    for item in recorded(shared_fixtures):
        groups[str(item.get("collection"))].append(item)
    for items in groups.values():
        path = tmp_path / "items.parquet"
        write_items(items, path, facts={})
        for found in (
            list(peer.stac_table_to_items(pq.read_table(path))),
            rustac.read_sync(str(path), set_self_link=False)["features"],
        ):
            assert [comparable(item) for item in found] == [comparable(item) for item in items]


def test_duckdb_prunes_by_box_and_date(tmp_path: Path) -> None:
    items = [
        an_item(
            id=str(n),
            bbox=[float(n), 0.0, n + 1.0, 1.0],
            properties={"datetime": f"2024-06-{n + 1:02}T00:00:00Z", "eo:cloud_cover": n},
        )
        for n in range(20)
    ]
    path = tmp_path / "items.parquet"
    write_items(items, path, facts={})
    rows = duckdb.sql(
        f"select id, assets.B04.href from '{path}' "
        "where bbox.xmin >= 4 and datetime < '2024-06-08' and \"eo:cloud_cover\" > 4 order by id"
    ).fetchall()
    assert rows == [(str(n), "https://a.example/B04.tif") for n in (5, 6)]


def test_items_that_rustac_wrote_are_read(tmp_path: Path) -> None:
    items = [an_item(id=str(n)) for n in range(3)]
    path = tmp_path / "items.parquet"
    rustac.write_sync(str(path), items)
    found = read_items(path)
    assert [comparable(item) for item in found] == [comparable(item) for item in items]


def test_no_items_is_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items([], path, facts={"why": "nothing there"})
    assert read_items(path) == []
    assert read_facts(path)["why"] == "nothing there"
    assert list(peer.stac_table_to_items(pq.read_table(path))) == []
    assert rustac.read_sync(str(path))["features"] == []


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    path.write_bytes(written([an_item()])[:-100])
    with pytest.raises(IntegrityError, match=r"items\.parquet is not readable Parquet"):
        read_items(path)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["72", "2024-06-01T00:00:00Z", "2024-06-01", "12:00", ""])
)
_KEYS = st.sampled_from(["a", "b", "a.b", "a/b", "", "type", "id", "datetime", "href", "é"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)
_MEMBERS = {
    "id": st.text(max_size=4) | _VALUES,
    "properties": st.dictionaries(_KEYS, _VALUES, max_size=4) | _VALUES,
    "assets": st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3)
    | _VALUES,
    "links": st.lists(st.dictionaries(_KEYS, _VALUES, max_size=2), max_size=2) | _VALUES,
    "bbox": st.lists(st.floats(-180, 180), min_size=4, max_size=4) | _VALUES,
    "geometry": st.sampled_from([_POLYGON, {"type": "Point", "coordinates": [0.1, -0.0]}])
    | _VALUES,
    "collection": st.sampled_from(["c", "d"]) | _VALUES,
    "other": _VALUES,
}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.fixed_dictionaries({}, optional=_MEMBERS), max_size=4))
def test_any_json_comes_back_equal(items: list[dict[str, Any]]) -> None:
    assert json.dumps(as_floats(round_trip(items)), sort_keys=True) == json.dumps(
        as_floats(items), sort_keys=True
    )


def recorded(fixtures: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(fixtures.glob("items/**/*.json"))]


def as_floats(value: Any) -> Any:
    """Numbers of one spelling: a column holds 72 and 72.5 as floats."""
    if isinstance(value, dict):
        return {name: as_floats(member) for name, member in value.items()}
    if isinstance(value, list):
        return [as_floats(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and float(value) == value:
        return value + 0.0
    return 0.0 if value == 0 and isinstance(value, float) else value


def comparable(item: dict[str, Any]) -> Any:
    """What stac-geoparquet can say at all: no nulls, instants rather than their spelling."""
    kept = plain(item)
    for name in ("description", "bbox"):  # no column for a foreign member; boxes become tuples
        kept.pop(name, None)
    kept["stac_version"] = ""  # rustac migrates what it writes
    geometry = kept.pop("geometry", {})
    if "datetime" in kept["properties"]:
        kept["properties"]["datetime"] = ""
    for name in ("start_datetime", "end_datetime", "created", "updated", "published", "expires"):
        kept["properties"].pop(name, None)
    kept["properties"].pop("collection", None)
    projected = kept["properties"].pop("proj:geometry", {})
    for key in ("type",):
        assert isinstance(geometry.get(key, ""), str)
        assert isinstance(projected.get(key, ""), str)
    return kept


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return value
