"""stac-geoparquet columns as Items."""

from typing import Any

import pyarrow as pa
import shapely

from geostack_dagster.catalog.geometry import to_geojson
from geostack_dagster.catalog.geoparquet import box_lists
from geostack_dagster.catalog.layout import MEMBERS, PLAIN, PROJECTED, Spellings, spelled, struct
from geostack_dagster.catalog.prune import pruner


def to_items(table: pa.Table, spellings: Spellings) -> list[dict[str, Any]]:
    """Items of a stac-geoparquet table, without what is null in it."""
    rows = _rows(table, spellings)
    items: list[dict[str, Any]] = rows.to_pylist()
    prune = pruner(rows)
    geometries = to_geojson(shapely.from_wkb(table["geometry"].to_numpy()))
    for item, geometry in zip(items, geometries, strict=True):
        if prune is not None:
            prune(item)
        if geometry is not None:
            item["geometry"] = geometry
        item.setdefault("properties", {})
    if PROJECTED in table.column_names:
        projected = to_geojson(shapely.from_wkb(table[PROJECTED].to_numpy()))
        for item, geometry in zip(items, projected, strict=True):
            if geometry is not None:
                item["properties"][PROJECTED] = geometry
    return items


def _rows(table: pa.Table, spellings: Spellings) -> pa.StructArray:
    """The table as structs of the members of an Item, without geometries."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    lowered = {
        name: spelled(column, spellings.get(name)) if pa.types.is_timestamp(column.type) else column
        for name, column in columns.items()
        if name not in (*MEMBERS, PROJECTED)
    }
    members = {name: column for name, column in columns.items() if name in PLAIN}
    if lowered:
        members["properties"] = struct(lowered)
    if "bbox" in columns:
        members["bbox"] = box_lists(columns["bbox"])
    return struct(members)
