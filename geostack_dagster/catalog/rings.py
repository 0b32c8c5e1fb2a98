"""UMM-G geometries as GeoJSON: closed rings, holes, and footprints cut at the antimeridian.

CMR writes a polygon across the antimeridian with longitudes that jump from 179 to -179. GeoJSON
wants it in two parts (RFC 7946, 3.1.9); read as it is written it would span the whole Earth.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geostack_dagster.catalog.geometry import box_geometry, to_geojson
from geostack_dagster.domain.item import number

type _Ring = NDArray[np.float64]
"""Longitude and latitude of each vertex [degrees], shape (vertex, 2)."""

_TURN, _HALF_TURN = 360.0, 180.0
_SIDES = tuple(f"{side}BoundingCoordinate" for side in ("West", "South", "East", "North"))


def footprint(stated: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[float] | None]:
    """GeoJSON geometry and bbox of a UMM-G `Geometry`; None each if there is no usable one.

    The bbox of a footprint across the antimeridian has west > east.
    """
    parts = [part for kind, read in _READERS.items() for part in read(stated.get(kind))]
    if not parts:
        return None, None
    whole = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    (geometry,) = to_geojson(np.array([whole], dtype=object))
    return geometry, _bbox(whole)


def _polygons(stated: object) -> Iterator[shapely.Geometry]:
    for polygon in _mappings(stated):
        outer = _ring(polygon.get("Boundary"))
        if outer is None:
            continue
        zone = polygon.get("ExclusiveZone")
        holes = _mappings(zone.get("Boundaries")) if isinstance(zone, Mapping) else ()
        inner = [ring for hole in holes if (ring := _ring(hole)) is not None]
        yield _cut(outer, inner)


def _rectangles(stated: object) -> Iterator[shapely.Geometry]:
    for rectangle in _mappings(stated):
        sides = [number(rectangle.get(side)) for side in _SIDES]
        west, south, east, north = sides
        if west is None or south is None or east is None or north is None:
            continue
        if np.isfinite([west, south, east, north]).all():
            yield box_geometry(west, south, east, north)


def _points(stated: object) -> Iterator[shapely.Geometry]:
    positions = _positions(stated)
    if positions is not None:
        yield from map(shapely.Point, positions)


def _lines(stated: object) -> Iterator[shapely.Geometry]:
    for line in _mappings(stated):
        positions = _positions(line.get("Points"))
        if positions is not None and len(positions) > 1:
            yield from _wrapped(shapely.LineString(_unrolled(positions)))


_READERS = {
    "GPolygons": _polygons,
    "BoundingRectangles": _rectangles,
    "Lines": _lines,
    "Points": _points,
}


def _ring(boundary: object) -> _Ring | None:
    """Vertices of a boundary, closed; None if fewer than three can be read."""
    found = _positions(boundary.get("Points") if isinstance(boundary, Mapping) else None)
    if found is None or len(np.unique(found, axis=0)) < 3:
        return None
    return found if (found[0] == found[-1]).all() else np.vstack([found, found[:1]])


def _positions(stated: object) -> _Ring | None:
    found = [
        (number(one.get("Longitude")), number(one.get("Latitude"))) for one in _mappings(stated)
    ]
    if not found or any(None in position for position in found):
        return None
    positions = np.array(found, dtype=np.float64)
    return positions if np.isfinite(positions).all() else None


def _cut(outer: _Ring, holes: list[_Ring]) -> BaseGeometry:
    """A polygon within -180 to 180 degrees, in parts where it crosses the antimeridian."""
    unrolled = _unrolled(outer)
    if abs(unrolled[-1, 0] - unrolled[0, 0]) > _HALF_TURN:
        return _cap(unrolled)
    whole = shapely.Polygon(unrolled, [_near(_unrolled(hole), unrolled) for hole in holes])
    parts = list(_wrapped(shapely.make_valid(whole)))
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _cap(unrolled: _Ring) -> BaseGeometry:
    """What lies on the pole's side of a ring that goes once around the Earth."""
    latitudes = unrolled[:, 1]
    if latitudes.mean() > 0:
        return shapely.box(-_HALF_TURN, latitudes.min(), _HALF_TURN, 90.0)
    return shapely.box(-_HALF_TURN, -90.0, _HALF_TURN, latitudes.max())


def _unrolled(positions: _Ring) -> _Ring:
    """Positions whose longitudes go on beyond 180 instead of jumping."""
    moved = positions.copy()
    turns = np.cumsum(-np.rint(np.diff(positions[:, 0]) / _TURN))
    moved[1:, 0] += _TURN * turns
    return moved


def _near(hole: _Ring, outer: _Ring) -> _Ring:
    """A hole turned to the side of the antimeridian where its polygon is."""
    moved = hole.copy()
    moved[:, 0] += _TURN * round((outer[:, 0].mean() - hole[:, 0].mean()) / _TURN)
    return moved


def _wrapped(whole: BaseGeometry) -> Iterator[BaseGeometry]:
    """Parts of a geometry with unrolled longitudes, each brought back to -180 to 180."""
    west, _, east, _ = whole.bounds
    first, last = int((west + _HALF_TURN) // _TURN), int((east + _HALF_TURN) // _TURN)
    for turn in range(first, last + 1):
        strip = shapely.box(_TURN * turn - _HALF_TURN, -90.0, _TURN * turn + _HALF_TURN, 90.0)
        part = whole if first == last else shapely.intersection(whole, strip)
        if not part.is_empty and (first == last or part.area > 0 or whole.area == 0):
            yield translate(part, xoff=-_TURN * turn)


def _bbox(whole: shapely.Geometry) -> list[float]:
    west, south, east, north = shapely.bounds(whole).tolist()
    if west <= -_HALF_TURN and east >= _HALF_TURN:
        spans = sorted(
            (one[0], one[2]) for one in shapely.bounds(shapely.get_parts(whole)).tolist()
        )
        gap = max(pairwise(spans), key=lambda pair: pair[1][0] - pair[0][1], default=None)
        if gap is not None and gap[1][0] > gap[0][1]:
            west, east = gap[1][0], gap[0][1]
    return [west, south, east, north]


def _mappings(stated: object) -> list[Mapping[str, Any]]:
    return [one for one in stated if isinstance(one, Mapping)] if isinstance(stated, list) else []
