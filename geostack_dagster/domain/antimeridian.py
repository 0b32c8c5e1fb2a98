"""Areas as people draw them, cut where they cross the antimeridian, as GeoJSON wants it (RFC 7946).

Tools write an area across the antimeridian in two ways: longitudes go on beyond 180, or jump from
179 to -179. Either way it becomes a MultiPolygon whose parts stop at +-180; a ring that goes once
around the Earth becomes the cap on its pole's side.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from shapely import Geometry

_TURN, _HALF_TURN, _THREE_QUARTERS = 360.0, 180.0, 270.0

type Ring = list[tuple[float, float]]


def cut(name: str, geometry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The geometry with all longitudes within +-180; itself where it has nothing to be cut.

    Raises:
        ConfigurationError: If an edge is so long that it may go either way around the Earth.
    """
    polygons = geometry["coordinates"]
    polygons = [polygons] if geometry["type"] == "Polygon" else polygons
    if not all(_is_ring(ring) for polygon in polygons for ring in polygon):
        return geometry  # the AOI says what is wrong with it
    rings = [[_unrolled(name, ring) for ring in polygon] for polygon in polygons]
    if all(
        _is_within(unrolled) and not _turns(unrolled) for polygon in rings for unrolled in polygon
    ):
        return geometry
    import shapely

    parts = [part for polygon in rings for part in _wrapped(_whole(name, polygon))]
    found = shapely.union_all(parts)
    return dict(shapely.geometry.mapping(found))


def _is_ring(ring: Sequence[Sequence[float]]) -> bool:
    values = [float(value) for position in ring for value in position[:2]]
    return len(ring) > 3 and ring[0] == ring[-1] and all(map(math.isfinite, values))


def _unrolled(name: str, ring: Sequence[Sequence[float]]) -> Ring:
    """Positions whose longitudes go on beyond 180 instead of jumping."""
    out = [(float(ring[0][0]), float(ring[0][1]))]
    turns = 0
    for before, after in pairwise(ring):
        step = after[0] - before[0]
        if _HALF_TURN < abs(step) < _TURN:
            if abs(step) < _THREE_QUARTERS:
                raise ConfigurationError(
                    f"{name} has an edge from longitude {before[0]:g} to {after[0]:g}, which "
                    "may go either way around the Earth; add vertices between them, or split the "
                    "area at the antimeridian"
                )
            turns -= round(step / _TURN)
        out.append((float(after[0]) + _TURN * turns, float(after[1])))
    return out


def _is_within(ring: Ring) -> bool:
    return all(-_HALF_TURN <= longitude <= _HALF_TURN for longitude, _ in ring)


def _turns(ring: Ring) -> bool:
    """Whether the ring goes once around the Earth."""
    return abs(ring[-1][0] - ring[0][0]) > _HALF_TURN


def _whole(name: str, rings: Sequence[Ring]) -> "Geometry":
    import shapely

    outer, *holes = rings
    if _turns(outer):
        pole = 90.0 if sum(latitude for _, latitude in outer) > 0 else -90.0
        outer = [*outer, (outer[-1][0], pole), (outer[0][0], pole)]
    middle = sum(longitude for longitude, _ in outer) / len(outer)
    found = shapely.Polygon(outer, [_near(hole, middle) for hole in holes])
    if not found.is_valid:
        raise ConfigurationError(
            f"{name} crosses itself ({shapely.is_valid_reason(found)}); draw it anew"
        )
    return found


def _near(hole: Ring, middle: float) -> Ring:
    """A hole turned to the side of the antimeridian where its polygon is."""
    own = sum(longitude for longitude, _ in hole) / len(hole)
    turn = _TURN * round((middle - own) / _TURN)
    return [(longitude + turn, latitude) for longitude, latitude in hole]


def _wrapped(whole: "Geometry") -> Iterator["Geometry"]:
    """Parts of a polygon with unrolled longitudes, each brought back to within +-180."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = shapely.bounds(whole).tolist()
    first, last = int((west + _HALF_TURN) // _TURN), int((east + _HALF_TURN) // _TURN)
    for turn in range(first, last + 1):
        strip = shapely.box(_TURN * turn - _HALF_TURN, -90.0, _TURN * turn + _HALF_TURN, 90.0)
        part = shapely.intersection(whole, strip)
        if shapely.area(part) > 0:
            yield translate(part, xoff=-_TURN * turn)
