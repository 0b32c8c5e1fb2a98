"""The stac-geoparquet layout: Items as columns, and columns as Items.

Properties are lifted to the top level, date-times are timestamps, bbox is a struct that readers
prune row groups by, geometries are WKB. Specification: stac-geoparquet 1.0 over GeoParquet 1.1.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geostack_dagster.catalog.columns import table_of
from geostack_dagster.catalog.geometry import from_geojson, to_geojson
from geostack_dagster.catalog.geoparquet import box_column, box_lists, file_metadata, located
from geostack_dagster.catalog.prune import pruner
from geostack_dagster.domain.item import Item, parse_datetime, properties

_MEMBERS = (
    "type",
    "stac_version",
    "stac_extensions",
    "id",
    "collection",
    "geometry",
    "bbox",
    "properties",
    "assets",
    "links",
)
# stac_geoparquet wants WKB here and cannot read a null: only a column without gaps is written.
_PROJECTED = "proj:geometry"
_UNLIFTED = frozenset({*_MEMBERS, _PROJECTED})  # properties that get no column, or not as they are
_TYPES: Mapping[str, type] = {
    "type": str,
    "stac_version": str,
    "stac_extensions": list,
    "id": str,
    "collection": str,
    "bbox": list,
    "assets": dict,
    "links": list,
}
_PLAIN = frozenset(_TYPES) - {"bbox"}
_DATES = frozenset(
    {
        "datetime",
        "start_datetime",
        "end_datetime",
        "created",
        "updated",
        "expires",
        "published",
        "unpublished",
    }
)
# Archives that put file names into asset keys (EMIT in CMR-STAC) would make a column tree for each
# Item; beyond this many keys the others stay out of the columns and live in the patches.
_MAX_ASSET_KEYS = 512
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_SPELLING = re.compile(r".{10}T.{8}(?P<fraction>\.\d+)?(?P<zone>Z|\+00:00)")
_UNITS = {0: "s", 3: "ms", 6: "us"}
_ISO = "%Y-%m-%dT%H:%M:%S"
_LINK = pa.struct([("href", pa.string()), ("rel", pa.string())])

type Spellings = dict[str, list[str]]
"""For each date-time column, the unit it is written to and its zone suffix: `["ms", "Z"]`."""


def to_table(items: Sequence[Item]) -> pa.Table:
    """Items as stac-geoparquet columns with their file metadata; see `to_items` for the way back.

    What columns cannot hold is missing from the table; comparing `to_items` with the Items tells.
    """
    geometries = from_geojson(item.get("geometry") for item in items)
    raw = table_of(_prepared(items))
    boxes = box_column(raw, geometries)
    columns = {name: raw[name] for name in raw.column_names if name in _PLAIN}
    columns |= _lifted(raw)
    if "assets" in columns:
        columns["assets"] = _with_wkb(columns["assets"])
    if "links" in columns and not pa.types.is_struct(columns["links"].type.value_type):
        stated = columns["links"].is_valid().to_pylist()  # but all are empty
        columns["links"] = pa.array([[] if one else None for one in stated], pa.list_(_LINK))
    projected = from_geojson(properties(item).get(_PROJECTED) for item in items)
    if len(items) and not shapely.is_missing(projected).any():
        columns[_PROJECTED] = pa.array(shapely.to_wkb(projected), pa.binary())
    columns["bbox"] = boxes
    places = located(geometries, boxes)
    columns["geometry"] = pa.array(shapely.to_wkb(places), pa.binary())
    for name in ("type", "stac_version", "collection", "datetime"):
        if name not in columns:
            kind = _TIMESTAMP if name == "datetime" else pa.string()
            columns[name] = pa.nulls(len(items), kind)
    unplaced = (_PROJECTED,) if _PROJECTED in columns else ()
    present = {name: column for name, column in columns.items() if column is not None}
    return pa.table(present).replace_schema_metadata(file_metadata(places, unplaced))


def spellings(items: Sequence[Item], table: pa.Table) -> Spellings:
    """How the first Item that has it spells each date-time of the table."""
    found: Spellings = {}
    for name in _DATES.intersection(table.column_names):
        first = next((v for v in (properties(i).get(name) for i in items) if v), None)
        match = _SPELLING.fullmatch(first) if isinstance(first, str) else None
        if match:
            unit = _UNITS.get(len(match["fraction"] or ".") - 1)
            if unit:
                found[name] = [unit, match["zone"]]
    return found


def to_items(table: pa.Table, spelled: Spellings) -> list[dict[str, Any]]:
    """Items of a stac-geoparquet table, without what is null in it."""
    geometries = to_geojson(shapely.from_wkb(table["geometry"].to_numpy()))
    names = [name for name in table.column_names if name not in (*_MEMBERS, _PROJECTED)]
    lowered = {name: _spelled(table[name], spelled.get(name)) for name in names}
    columns = {name: table[name] for name in table.column_names if name in _PLAIN}
    if lowered:
        columns["properties"] = _struct(lowered)
    if "bbox" in table.column_names:
        columns["bbox"] = box_lists(table["bbox"])
    rows = pa.table(columns).combine_chunks().to_struct_array()
    rows = rows.chunk(0) if rows.num_chunks else pa.array([], rows.type)
    documents: list[dict[str, Any]] = rows.to_pylist()
    prune = pruner(rows)
    for document, geometry in zip(documents, geometries, strict=True):
        if prune is not None:
            prune(document)
        if geometry is not None:
            document["geometry"] = geometry
        document.setdefault("properties", {})
    if _PROJECTED in table.column_names:
        projected = to_geojson(shapely.from_wkb(table[_PROJECTED].to_numpy()))
        for document, geometry in zip(documents, projected, strict=True):
            if geometry is not None:
                document["properties"][_PROJECTED] = geometry
    return documents


def _prepared(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """Documents that Arrow can type: without geometries and members of no known place."""
    keys = _asset_keys(items)
    for item in items:
        document = {
            name: value for name, value in item.items() if isinstance(value, _TYPES.get(name, ()))
        }
        stated = properties(item)
        if not _UNLIFTED.isdisjoint(stated):
            stated = {name: value for name, value in stated.items() if name not in _UNLIFTED}
        document["properties"] = stated
        found = _assets(item)
        if keys is not None or any(_is_special(asset) for asset in found.values()):
            document["assets"] = {
                key: _hexed(asset)
                for key, asset in found.items()
                if isinstance(asset, Mapping) and (keys is None or key in keys)
            }
        yield document


def _is_special(asset: object) -> bool:
    return type(asset) is not dict or _PROJECTED in asset


def _asset_keys(items: Sequence[Item]) -> frozenset[str] | None:
    """The asset keys to keep as columns; None for all."""
    counts: dict[str, int] = {}
    for item in items:
        for key in _assets(item):
            counts[key] = counts.get(key, 0) + 1
    if len(counts) <= _MAX_ASSET_KEYS:
        return None
    frequent = sorted(counts, key=lambda key: (-counts[key], key))
    return frozenset(frequent[:_MAX_ASSET_KEYS])


def _assets(item: Item) -> Mapping[str, Any]:
    """Assets as they stand: checking each one, as `domain.item` does, costs more than the rest."""
    found = item.get("assets")
    return found if isinstance(found, Mapping) else {}


def _hexed(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The asset with its projected geometry as text, which `_with_wkb` makes binary."""
    if _PROJECTED not in asset:
        return asset
    (geometry,) = from_geojson([asset[_PROJECTED]])
    return {**asset, _PROJECTED: None if geometry is None else shapely.to_wkb(geometry, hex=True)}


def _lifted(raw: pa.Table) -> dict[str, pa.ChunkedArray]:
    if "properties" not in raw.column_names:
        return {}
    field = raw.schema.field("properties")
    names = [child.name for child in field.type]
    lifted = dict(zip(names, raw["properties"].flatten(), strict=True))
    for name in _DATES & lifted.keys():
        lifted[name] = _timestamps(lifted[name])
    return lifted


def _timestamps(column: pa.ChunkedArray) -> pa.Array:
    try:
        if pa.types.is_string(column.type):
            return column.cast(_TIMESTAMP)
    except pa.ArrowInvalid:
        pass  # one is spelled in a way that Arrow does not read
    return pa.array([parse_datetime(value) for value in column.to_pylist()], _TIMESTAMP)


def _spelled(column: pa.ChunkedArray, spelling: list[str] | None) -> pa.Array:
    whole = column.combine_chunks()
    if not pa.types.is_timestamp(whole.type):
        return whole
    unit, zone = spelling or ["us", "Z"]
    text = pc.strftime(whole.cast(pa.timestamp(unit, tz="UTC"), safe=False), format=_ISO)
    return pc.binary_join_element_wise(text, pa.scalar(zone), "")


def _with_wkb(column: pa.ChunkedArray) -> pa.Array | None:
    """The assets with their projected geometries as WKB or without them; None if none is left."""
    if not any(_PROJECTED in _names(asset.type) for asset in column.type):
        return column
    whole = column.combine_chunks()
    found = zip(_names(column.type), map(_asset_with_wkb, _fields(whole)), strict=True)
    rebuilt = {name: asset for name, asset in found if asset is not None}
    return _struct(rebuilt, whole.is_null()) if rebuilt else None


def _asset_with_wkb(asset: pa.StructArray) -> pa.Array | None:
    children = dict(zip(_names(asset.type), _fields(asset), strict=True))
    if _PROJECTED in children:
        wkb = [_unhexed(text) for text in children.pop(_PROJECTED).to_pylist()]
        if None not in wkb:
            children[_PROJECTED] = pa.array(wkb, pa.binary())
    return _struct(children, asset.is_null()) if children else None


def _names(kind: pa.StructType) -> list[str]:
    return [field.name for field in kind]


def _fields(array: pa.StructArray) -> list[pa.Array]:
    return [array.field(index) for index in range(array.type.num_fields)]


def _unhexed(text: object) -> bytes | None:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _struct(children: Mapping[str, pa.Array], mask: pa.Array | None = None) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(children.values()), names=list(children), mask=mask)
