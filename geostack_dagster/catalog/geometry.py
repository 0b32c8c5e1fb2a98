"""GeoJSON geometries as shapely arrays and back, many at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

type Geometries = NDArray[np.object_]
"""Shapely geometries; None where there is none or it could not be read."""


def from_geojson(documents: Iterable[object]) -> Geometries:
    """Shapely geometries of GeoJSON objects; None for what is absent, unclosed or not GeoJSON."""
    encoded = [_encoded(document) for document in documents]
    found: Geometries = shapely.from_geojson(np.array(encoded, dtype=object), on_invalid="ignore")
    return found


def to_geojson(geometries: Geometries) -> list[dict[str, Any] | None]:
    """GeoJSON objects with lists of floats, as `json` would read them."""
    encoded: Sequence[str | None] = shapely.to_geojson(geometries).tolist()
    return [None if text is None else orjson.loads(text) for text in encoded]


def _encoded(document: object) -> str | None:
    if not isinstance(document, Mapping):
        return None
    try:
        return orjson.dumps(document).decode()
    except orjson.JSONEncodeError:  # broken text or an endless number: no geometry has those
        return None


def box_geometry(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    """Polygon of a bbox [degrees]; two parts when west > east, across the antimeridian."""
    if west <= east:
        return shapely.box(west, south, east, north)
    halves = [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)]
    return shapely.multipolygons(halves)
