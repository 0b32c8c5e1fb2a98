"""Items as stac-geoparquet columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geostack_dagster.catalog.columns import Doubts, columns_of
from geostack_dagster.catalog.geometry import Geometries, from_geojson, to_geojson
from geostack_dagster.catalog.geoparquet import box_column, file_metadata, located
from geostack_dagster.catalog.layout import (
    DATES,
    MEMBERS,
    PLAIN,
    PROJECTED,
    TIMESTAMP,
    Spellings,
    spelled,
    struct,
)
from geostack_dagster.domain.item import Item, parse_datetime, properties

_PARSED = PLAIN | {"bbox"}
_UNLIFTED = frozenset({*MEMBERS, PROJECTED})  # properties that get no column, or not as they are
# Archives that put file names into asset keys (EMIT in CMR-STAC) would make a column tree for each
# Item; beyond this many keys the others stay out of the columns.
_MAX_ASSET_KEYS = 512
_SPELLING = re.compile(r".{10}T.{8}(?P<fraction>\.\d+)?(?P<zone>Z|\+00:00)")
_UNITS = {0: "s", 3: "ms", 6: "us"}
# Links of Items that have none: rustac expects structs, and Arrow sees lists of nothing.
_LINKS = pa.list_(pa.struct([("href", pa.string()), ("rel", pa.string())]))
_NEEDED = {
    "type": pa.string(),
    "stac_version": pa.string(),
    "collection": pa.string(),
    "datetime": TIMESTAMP,
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Items as a stac-geoparquet table with its file metadata."""

    table: pa.Table
    spellings: Spellings
    doubtful: Doubts
    """Rows that may not come back equal; comparing them with their Items tells."""


def to_table(items: Sequence[Item]) -> Encoded:
    """Columns of some Items; `catalog.decode.to_items` is the way back."""
    preparation = _Preparation(items)
    raw = columns_of(preparation)
    columns = {name: raw.table[name] for name in raw.table.column_names if name in PLAIN}
    columns |= _lifted(raw.table)
    spellings: Spellings = {}
    doubts = [raw.doubtful, np.array(preparation.altered, dtype=np.bool_)]
    for name in DATES.intersection(columns):
        columns[name], spelling, doubtful = _dated(columns[name].combine_chunks())
        spellings |= {name: spelling} if spelling else {}
        doubts.append(doubtful)
    if "assets" in columns:
        columns["assets"] = _with_wkb(columns["assets"])
    if "links" in columns and not pa.types.is_struct(columns["links"].type.value_type):
        stated = columns["links"].combine_chunks()
        columns["links"] = pa.array([[] if one else None for one in stated.is_valid()], _LINKS)
        doubts.append(_differs(pc.list_value_length(stated), pa.array([0] * len(stated))))
    geometries = from_geojson(item.get("geometry") for item in items)
    columns["bbox"], doubtful = box_column(raw.table, geometries)
    places = located(geometries, columns["bbox"])
    columns["geometry"] = pa.array(shapely.to_wkb(places), pa.binary())
    doubts += [doubtful, _misplaced(places, items)]
    columns |= _projected(items)
    for name in _NEEDED.keys() - columns.keys():
        columns[name] = pa.nulls(len(items), _NEEDED[name])
    present = {name: column for name, column in columns.items() if column is not None}
    metadata = file_metadata(places, [PROJECTED] if PROJECTED in columns else [])
    table = pa.table(present).replace_schema_metadata(metadata)
    return Encoded(table, spellings, np.logical_or.reduce(doubts))


@dataclass(slots=True)
class _Preparation:
    """Documents that Arrow can type: without geometries and members of no known place."""

    items: Sequence[Item]
    altered: list[bool] = field(default_factory=list)
    """For each document given so far, whether it or its absent bbox differs from its Item."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        keys = _asset_keys(self.items)
        for item in self.items:
            document = {
                name: value
                for name, value in item.items()
                if name in _PARSED and isinstance(value, MEMBERS[name])
            }
            aside = [isinstance(item.get(name), dict) for name in ("properties", "geometry")]
            altered = len(document) + sum(aside) != len(item) or not aside[0]
            stated = properties(item)
            if not _UNLIFTED.isdisjoint(stated):
                stated = {name: value for name, value in stated.items() if name not in _UNLIFTED}
                altered = True
            document["properties"] = stated
            if keys is not None or any(map(_is_special, _assets(item).values())):
                document["assets"] = _writable_assets(item, keys)
                altered = True
            self.altered.append(altered or "bbox" not in document)
            yield document


def _assets(item: Item) -> Mapping[str, Any]:
    """Assets as they stand: checking each one, as `domain.item` does, costs more than the rest."""
    found = item.get("assets")
    return found if isinstance(found, Mapping) else {}


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


def _is_special(asset: object) -> bool:
    return type(asset) is not dict or PROJECTED in asset


def _writable_assets(item: Item, keys: frozenset[str] | None) -> dict[str, Any]:
    return {
        key: _hexed(asset)
        for key, asset in _assets(item).items()
        if isinstance(asset, Mapping) and (keys is None or key in keys)
    }


def _hexed(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The asset with its projected geometry as text, which `_with_wkb` makes binary."""
    if PROJECTED not in asset:
        return asset
    (geometry,) = from_geojson([asset[PROJECTED]])
    return {**asset, PROJECTED: None if geometry is None else shapely.to_wkb(geometry, hex=True)}


def _lifted(raw: pa.Table) -> dict[str, pa.ChunkedArray]:
    if "properties" not in raw.column_names:
        return {}
    names = _names(raw.schema.field("properties").type)
    return dict(zip(names, raw["properties"].flatten(), strict=True))


def _dated(column: pa.Array) -> tuple[pa.Array, list[str] | None, Doubts]:
    """Timestamps of a column, how most are spelled, and which are spelled otherwise."""
    stamps = _timestamps(column)
    stated = column.drop_null()
    spelling = _spelling(stated[0].as_py()) if len(stated) else None
    if not pa.types.is_string(column.type):
        return stamps, spelling, column.is_valid().to_numpy(zero_copy_only=False)
    return stamps, spelling, _differs(column, spelled(stamps, spelling))


def _timestamps(column: pa.Array) -> pa.Array:
    try:
        if pa.types.is_string(column.type):
            return column.cast(TIMESTAMP)
    except pa.ArrowInvalid:
        pass  # one is spelled in a way that Arrow does not read
    return pa.array([parse_datetime(value) for value in column.to_pylist()], TIMESTAMP)


def _spelling(value: object) -> list[str] | None:
    match = _SPELLING.fullmatch(value) if isinstance(value, str) else None
    unit = _UNITS.get(len(match["fraction"] or ".") - 1) if match else None
    return [unit, match["zone"]] if match and unit else None


def _differs(stated: pa.Array, kept: pa.Array) -> Doubts:
    """Rows where something is stated and something else, or nothing, is kept."""
    same = pc.fill_null(pc.equal(stated, kept), fill_value=False)
    doubtful: Doubts = pc.and_(stated.is_valid(), pc.invert(same)).to_numpy(zero_copy_only=False)
    return doubtful


def _misplaced(places: Geometries, items: Sequence[Item]) -> Doubts:
    found = zip(to_geojson(places), items, strict=True)
    return np.fromiter((kept != item.get("geometry") for kept, item in found), np.bool_, len(items))


def _projected(items: Sequence[Item]) -> dict[str, pa.Array]:
    geometries = from_geojson(properties(item).get(PROJECTED) for item in items)
    if not len(items) or shapely.is_missing(geometries).any():
        return {}
    return {PROJECTED: pa.array(shapely.to_wkb(geometries), pa.binary())}


def _with_wkb(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.StructArray | None:
    """The assets with their projected geometries as WKB or without them; None if none is left."""
    if not any(PROJECTED in _names(asset.type) for asset in column.type):
        return column
    whole = column.combine_chunks()
    found = zip(_names(column.type), map(_asset_with_wkb, _fields(whole)), strict=True)
    rebuilt = {name: asset for name, asset in found if asset is not None}
    return struct(rebuilt, whole.is_null()) if rebuilt else None


def _asset_with_wkb(asset: pa.StructArray) -> pa.StructArray | None:
    children = dict(zip(_names(asset.type), _fields(asset), strict=True))
    if PROJECTED in children:
        wkb = [_unhexed(text) for text in children.pop(PROJECTED).to_pylist()]
        if None not in wkb:
            children[PROJECTED] = pa.array(wkb, pa.binary())
    return struct(children, asset.is_null()) if children else None


def _names(kind: pa.StructType) -> list[str]:
    return [child.name for child in kind]


def _fields(array: pa.StructArray) -> list[pa.Array]:
    return [array.field(index) for index in range(array.type.num_fields)]


def _unhexed(text: object) -> bytes | None:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else None
    except ValueError:
        return None
