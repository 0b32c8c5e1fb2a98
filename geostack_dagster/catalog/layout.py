"""Names and places that both directions of the stac-geoparquet layout share.

Properties are lifted to the top level, date-times are timestamps, bbox is a struct that readers
prune row groups by, geometries are WKB. Specification: stac-geoparquet 1.0 over GeoParquet 1.1.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

MEMBERS: Mapping[str, type] = {
    "type": str,
    "stac_version": str,
    "stac_extensions": list,
    "id": str,
    "collection": str,
    "geometry": dict,
    "bbox": list,
    "properties": dict,
    "assets": dict,
    "links": list,
}
"""Members of an Item and the JSON type that their columns hold."""

PLAIN = frozenset(MEMBERS) - {"geometry", "bbox", "properties"}
"""Members that become columns as they are."""

DATES = frozenset(
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
"""Properties that become timestamps."""

# stac_geoparquet wants WKB here and cannot read a null: only a column without gaps is written.
PROJECTED = "proj:geometry"

TIMESTAMP = pa.timestamp("us", tz="UTC")

type Spellings = dict[str, list[str]]
"""For each date-time column, the unit it is written to and its zone suffix: `["ms", "Z"]`."""


def spelled(column: pa.Array, spelling: list[str] | None) -> pa.Array:
    """Date-times as text, in a spelling or with microseconds and `Z`."""
    unit, zone = spelling or ["us", "Z"]
    instants = column.cast(pa.timestamp(unit, tz="UTC"), safe=False)
    text = pc.strftime(instants, format="%Y-%m-%dT%H:%M:%S")
    return pc.binary_join_element_wise(text, pa.scalar(zone), "")


def struct(children: Mapping[str, pa.Array], mask: pa.Array | None = None) -> pa.StructArray:
    """A struct of columns by name."""
    return pa.StructArray.from_arrays(list(children.values()), names=list(children), mask=mask)
