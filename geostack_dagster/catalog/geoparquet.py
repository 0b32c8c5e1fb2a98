"""The GeoParquet 1.1 side of a table: boxes that readers prune by, geometries, file metadata."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from geostack_dagster.catalog.columns import Doubts
from geostack_dagster.catalog.geometry import Geometries, box_geometry

_BOX = ("xmin", "ymin", "xmax", "ymax")
_BOX_3D = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")


def box_column(raw: pa.Table, geometries: Geometries) -> tuple[pa.StructArray, Doubts]:
    """Stated boxes as a struct, and the rows that state something else.

    Where none is stated, it is the bounds of the geometry, for readers that prune by it.
    """
    bounds: NDArray[np.float64] = shapely.bounds(geometries).reshape(-1, 4)
    if "bbox" not in raw.column_names or not _holds_numbers(raw.schema.field("bbox").type):
        return _box_struct(bounds, _BOX), np.ones(len(bounds), dtype=np.bool_)
    column = raw["bbox"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    if len(lengths) and (lengths == len(_BOX_3D)).all():
        return _box_struct(_picked(column, range(6)), _BOX_3D), np.zeros(len(bounds), np.bool_)
    for length, picks in ((4, range(4)), (6, (0, 1, 3, 4))):
        rows = lengths == length
        if rows.any():
            bounds[rows] = _picked(column.filter(pa.array(rows)), picks)
    return _box_struct(bounds, _BOX), lengths != len(_BOX)


def box_lists(column: pa.Array) -> pa.Array:
    """Boxes as lists again."""
    if not pa.types.is_struct(column.type):
        return column
    children = column.flatten()
    values = np.column_stack([child.to_numpy(zero_copy_only=False) for child in children])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(children))
    return pc.if_else(column.is_valid(), lists, pa.scalar(None, lists.type))


def located(geometries: Geometries, boxes: pa.StructArray) -> Geometries:
    """Geometries without empty parts, or the box where an Item states nothing usable but that.

    Planetary Computer has MultiPolygons with an empty part; rustac panics at one.
    """
    places = geometries.copy()
    parts, rows = shapely.get_parts(geometries, return_index=True)
    for row in np.unique(rows[shapely.is_empty(parts)]):
        filled = parts[(rows == row) & ~shapely.is_empty(parts)]
        if shapely.get_type_id(places[row]) == shapely.GeometryType.MULTIPOLYGON:
            places[row] = shapely.multipolygons(filled)
    for row in np.flatnonzero(shapely.is_missing(places) | shapely.is_empty(places)):
        box = boxes[int(row)].as_py()
        places[row] = None if box is None else box_geometry(*(box[name] for name in _BOX))
    return places


def file_metadata(geometries: Geometries, unplaced: Sequence[str]) -> dict[bytes, bytes]:
    """Footer entries that make a file GeoParquet and stac-geoparquet.

    `unplaced` names WKB columns whose CRS differs from row to row.
    """
    present = geometries[~(shapely.is_missing(geometries) | shapely.is_empty(geometries))]
    geometry: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": _types(present),
        "edges": "planar",
        "covering": {"bbox": {name: ["bbox", name] for name in _BOX}},
    }
    if len(present):
        geometry["bbox"] = shapely.total_bounds(present).tolist()
    columns: dict[str, Any] = {"geometry": geometry}
    for name in unplaced:  # null: not known; absent would mean longitude and latitude
        columns[name] = {"encoding": "WKB", "geometry_types": [], "crs": None}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": columns}
    return {
        b"geo": json.dumps(geo).encode(),
        b"stac-geoparquet": json.dumps({"version": "1.0.0"}).encode(),
    }


def _holds_numbers(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
    )


def _picked(column: pa.ListArray, picks: Sequence[int]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)[:, list(picks)]


def _box_struct(bounds: NDArray[np.float64], names: Sequence[str]) -> pa.StructArray:
    missing = pa.array(np.isnan(bounds).any(axis=1))
    columns = [pa.array(bounds[:, index]) for index in range(len(names))]
    return pa.StructArray.from_arrays(columns, names=list(names), mask=missing)


def _types(present: Geometries) -> list[str]:
    kinds = 2 * shapely.get_type_id(present) + shapely.has_z(present)
    _, examples = np.unique(kinds, return_index=True)
    return sorted(
        f"{geometry.geom_type} Z" if geometry.has_z else geometry.geom_type
        for geometry in present[examples]
    )
