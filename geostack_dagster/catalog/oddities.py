"""What is odd about an Item's document, times and footprint, as sentences that name the thing.

Nothing here judges or repairs: the same facts are read with `domain.item`, which decides what is
made of them.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from geostack_dagster.domain.item import Item, is_finite, number, parse_datetime, properties

_HALF_TURN = 180.0
_WHOLE_SECOND = timedelta(seconds=1)  # DLR cuts datetime, not start_datetime, to seconds
_BBOX_TOLERANCE_DEGREES = 0.1
_NUMERIC_ENDINGS = (
    *("cloud_cover", "snow_cover", "_percentage", "sun_elevation", "sun_azimuth", "off_nadir"),
    *("incidence_angle", "view:azimuth", "gsd", "proj:epsg", "_orbit", "data_coverage"),
)
# Whatever stands where coordinates should: shapely does not check what it is given.
_UNREADABLE = (
    *(ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError),
)
_BBOX_LENGTHS = {4: (0, 1, 2, 3), 6: (0, 1, 3, 4)}


def document(item: Item) -> Iterator[str]:
    """The members every Item should have, and numbers written as strings."""
    kind = item.get("type")
    if kind != "Feature":
        yield f"its type is {_short(kind)}, not Feature: this is not a STAC Item"
    if not isinstance(item.get("id"), str) or not item["id"]:
        yield f"its id is {_short(item.get('id'))}, not a name"
    version = item.get("stac_version")
    if not isinstance(version, str):
        yield f"its stac_version is {_short(version)}: taken as 1.0"
    elif not version.startswith("1."):
        yield f"it is written in STAC {version}: members may have other names than in 1.0"
    if not isinstance(item.get("properties"), Mapping):
        yield f"its properties are {_short(item.get('properties'))}: nothing is known about it"
    yield from _numbers_as_strings(properties(item))


def times(item: Item) -> Iterator[str]:
    """Absent, null, unreadable, zoneless or reversed date-times."""
    stated = properties(item)
    parsed = {}
    for name in ("datetime", "start_datetime", "end_datetime"):
        value = stated.get(name)
        if value is None:
            continue
        moment = parsed[name] = parse_datetime(value)
        if moment is None:
            yield f"its {name} {_short(value)} is not a readable date-time"
        elif not _has_zone(value):
            yield f"its {name} {value!r} states no time zone: taken as UTC"
    yield from _absence(stated, parsed)
    start, end, moment = (parsed.get(f"{n}datetime") for n in ("start_", "end_", ""))
    if start and end and start > end:
        yield f"its start_datetime {start.isoformat()} is after its end_datetime {end.isoformat()}"
    elif moment and start and end and not start - _WHOLE_SECOND < moment < end + _WHOLE_SECOND:
        yield f"its datetime {moment.isoformat()} lies outside its start and end"


def footprint(item: Item) -> Iterator[str]:
    """Absent, reversed, wide or invalid bbox and geometry, and the two at odds."""
    bbox, geometry = bounding_box(item), _geometry(item)
    yield from _bbox_remarks(item, bbox)
    stated = item.get("geometry")
    if stated is None:
        yield "it has no geometry: it cannot be matched to an AOI but by its bbox"
    elif geometry is None:
        kind = stated.get("type") if isinstance(stated, Mapping) else type(stated).__name__
        yield f"its geometry cannot be read as the {_short(kind)} it says it is"
    else:
        yield from _geometry_remarks(geometry, stated)
        yield from _at_odds(geometry, bbox)


def bounding_box(item: Item) -> tuple[float, float, float, float] | None:
    """West, south, east, north as the Item states them; None if it does not."""
    stated = item.get("bbox")
    if not isinstance(stated, list) or len(stated) not in _BBOX_LENGTHS:
        return None
    if not all(is_finite(value) for value in stated):
        return None
    west, south, east, north = (float(stated[i]) for i in _BBOX_LENGTHS[len(stated)])
    return west, south, east, north


def extent(item: Item) -> tuple[float, float, float, float] | None:
    """The bbox, or the bounds of the geometry where there is none."""
    bbox = bounding_box(item)
    geometry = _geometry(item) if bbox is None else None
    if geometry is None or geometry.is_empty or not all(map(math.isfinite, geometry.bounds)):
        return bbox
    west, south, east, north = geometry.bounds
    return west, south, east, north


def geometry_type(item: Item) -> str:
    """What the geometry is, in words: `Polygon`, `invalid Polygon`, `missing`, `unreadable`."""
    if item.get("geometry") is None:
        return "missing"
    geometry = _geometry(item)
    if geometry is None:
        return "unreadable"
    return str(geometry.geom_type) if geometry.is_valid else f"invalid {geometry.geom_type}"


def _numbers_as_strings(stated: Mapping[str, Any]) -> Iterator[str]:
    for name, value in stated.items():
        if isinstance(value, str) and name.endswith(_NUMERIC_ENDINGS):
            read = number(value)
            meaning = "not a number" if read is None else f"read as the number {read:g}"
            yield f"its {name} is the string {_short(value)}: {meaning}"


def _absence(stated: Mapping[str, Any], parsed: Mapping[str, Any]) -> Iterator[str]:
    if "datetime" in stated and stated["datetime"] is None:
        used = "start_datetime is used" if parsed.get("start_datetime") else "it cannot be dated"
        yield f"its datetime is null: {used}"
    elif "datetime" not in stated:
        used = "start_datetime is used" if parsed.get("start_datetime") else "it cannot be dated"
        yield f"it has no datetime: {used}"
    if ("start_datetime" in parsed) != ("end_datetime" in parsed):
        present = "start_datetime" if "start_datetime" in parsed else "end_datetime"
        yield f"it has a {present} without its counterpart"


def _has_zone(value: str) -> bool:
    clock = value[11:]
    return value[-1:] in "Zz" or "+" in clock or "-" in clock


def _bbox_remarks(item: Item, bbox: tuple[float, float, float, float] | None) -> Iterator[str]:
    if item.get("bbox") is None:
        yield "it has no bbox: it is computed from the geometry"
    elif bbox is None:
        yield f"its bbox {_short(item['bbox'])} is not four or six finite numbers"
    else:
        west, south, east, north = bbox
        if west > east:
            yield f"its bbox has west {west:g} > east {east:g}: it crosses the antimeridian"
        elif east - west > _HALF_TURN:
            yield (
                f"its bbox is {east - west:.1f} degrees wide: unless it is global, it crosses the "
                "antimeridian and should have west > east"
            )
        if south > north:
            yield f"its bbox has south {south:g} > north {north:g}: the order is west, south, ..."
        if max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > _HALF_TURN:
            yield f"its bbox {[west, south, east, north]} leaves the range of lon and lat"


def _geometry(item: Item) -> BaseGeometry | None:
    stated = item.get("geometry")
    if not isinstance(stated, Mapping):
        return None
    try:
        with np.errstate(invalid="ignore"):  # a vertex that is NaN is remarked on, not warned of
            return shape(_without_empty_parts(stated))
    except _UNREADABLE:
        return None


def _without_empty_parts(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Planetary Computer's Sentinel-1 has MultiPolygons with an empty part at the antimeridian."""
    found = dict(stated)
    if found.get("type") == "MultiPolygon" and isinstance(found.get("coordinates"), list):
        found["coordinates"] = [part for part in found["coordinates"] if part]
    return found


def _geometry_remarks(geometry: BaseGeometry, stated: Mapping[str, Any]) -> Iterator[str]:
    if geometry.is_empty:
        yield f"its geometry is an empty {geometry.geom_type}"
        return
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        yield f"its geometry is a {geometry.geom_type}: it covers no area"
    if not geometry.is_valid:
        yield f"its geometry is invalid: {explain_validity(geometry)}"
    if geometry.geom_type == "MultiPolygon" and not all(stated["coordinates"]):
        yield "its geometry is a MultiPolygon with an empty part, which is left out"
    if "crs" in stated:
        yield "its geometry has a crs member, which GeoJSON dropped: taken as degrees"
    west, south, east, north = geometry.bounds
    if not all(map(math.isfinite, geometry.bounds)):
        yield "its geometry has a vertex that is not finite"
    elif max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > _HALF_TURN:
        yield (
            f"its geometry reaches {west:g}, {south:g}, {east:g}, {north:g}: outside the range of "
            "longitude and latitude"
        )
    elif any(part.bounds[2] - part.bounds[0] > _HALF_TURN for part in _parts(geometry)):
        yield "its geometry is wider than 180 degrees: it crosses the antimeridian unsplit"
    elif west <= -_HALF_TURN and east >= _HALF_TURN:
        yield "its geometry is split at the antimeridian"


def _at_odds(
    geometry: BaseGeometry, bbox: tuple[float, float, float, float] | None
) -> Iterator[str]:
    if bbox is None or geometry.is_empty or bbox[0] > bbox[2] or bbox[2] - bbox[0] > _HALF_TURN:
        return
    difference = max(abs(a - b) for a, b in zip(bbox, geometry.bounds, strict=True))
    if difference > _BBOX_TOLERANCE_DEGREES:
        yield f"its bbox and its geometry differ by up to {difference:.2g} degrees"


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    return list(shapely.get_parts(geometry))


def _short(value: object) -> str:
    shown = "absent" if value is None else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
