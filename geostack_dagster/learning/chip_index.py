"""The index of chips as a GeoParquet file, for maps, queries and the next training."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geostack_dagster import storage
from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.chips import Chip

_BOX = ("xmin", "ymin", "xmax", "ymax")
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "scene": pa.string(),
        "orbit": pa.string(),
        "acquired": pa.timestamp("us", tz="UTC"),
        "site": pa.string(),
        "longitude": pa.float64(),
        "latitude": pa.float64(),
        "row": pa.int32(),
        "column": pa.int32(),
        "size": pa.int32(),
        "state": pa.string(),
        "content": pa.string(),
        "weight": pa.float64(),
        "injected": pa.int32(),
        "plumes": pa.list_(pa.string()),
        "observed_fraction": pa.float64(),
        "plume_fraction": pa.float64(),
        "geometry": pa.binary(),
        "bbox": pa.struct({name: pa.float64() for name in _BOX}),
    }
)
_DERIVED = ("id", "site", "geometry", "bbox")
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "covering": {"bbox": {name: ["bbox", name] for name in _BOX}},
        }
    },
}


def write_index(url: str, chips: Iterable[Chip]) -> None:
    """Write the index, in the order of ids: equal chips give equal bytes."""
    rows = [_row(chip) for chip in sorted(chips, key=lambda chip: chip.id)]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    with storage.staged(url) as path:
        pq.write_table(
            table.replace_schema_metadata({"geo": json.dumps(_GEO)}), path, compression="zstd"
        )


def read_index(url: str) -> list[Chip]:
    """Chips of an index, in the order of their ids.

    Raises:
        FileNotFoundError: If there is none.
        IntegrityError: If it is not an index of chips.
    """
    content = storage.read_bytes(url)
    try:
        rows = pq.read_table(pa.BufferReader(content)).cast(_SCHEMA).to_pylist()
        return [_chip(row) for row in rows]
    except (pa.ArrowException, ValueError, shapely.errors.ShapelyError) as error:
        raise IntegrityError(f"{url} is no index of chips ({error}); write it again") from error


def _row(chip: Chip) -> dict[str, Any]:
    outline = shapely.Polygon(chip.corners)
    row = {member.name: getattr(chip, member.name) for member in fields(chip)}
    del row["corners"]
    return row | {
        "id": chip.id,
        "site": chip.site,
        "state": chip.state.value,
        "geometry": shapely.to_wkb(outline),
        "bbox": dict(zip(_BOX, outline.bounds, strict=True)),
    }


def _chip(row: Mapping[str, Any]) -> Chip:
    members = {name: value for name, value in row.items() if name not in _DERIVED}
    outline = shapely.from_wkb(row["geometry"])
    members |= {
        "state": State(row["state"]),
        "plumes": tuple(row["plumes"]),
        "corners": tuple(outline.exterior.coords[:-1]),
    }
    return Chip(**members)
