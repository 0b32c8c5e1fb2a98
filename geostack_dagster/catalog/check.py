"""Checking on the client what a catalogue was asked for: Earth Search ignores filters silently."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import affine_transform

from geostack_dagster.catalog.geometry import Geometries, box_geometry, from_geojson
from geostack_dagster.domain.item import Item, item_id, moment, properties
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import IntegrityError

_TURN = 360.0
_HALF_TURN = 180.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """An Item that came and was not taken, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class Sieve:
    """What passes a query, what does not, and notes about what passes with a doubt."""

    query: ItemQuery
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: dict[Predicate, int] = field(default_factory=dict)
    """How many Items fail each predicate."""

    def passing(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Items that satisfy the query, in order; the others are noted with a reason.

        An Item of the very end of the query came because STAC intervals include their ends; it is
        left out without a word.
        """
        shapes, missing = _footprints(items)
        inside = _meets(shapes, self.query)
        passed = []
        for row, item in enumerate(items):
            reason = self._reason(item)
            if reason is None:
                reason = self._place_reason(
                    item, is_missing=bool(missing[row]), is_inside=bool(inside[row])
                )
            if reason is None:
                passed.append(item)
            elif reason:
                self.rejected.append(Rejected(item_id(item), reason))
        return passed

    def _reason(self, item: Item) -> str | None:
        """Why the Item fails; None if it does not, empty if that is not worth a note."""
        query = self.query
        name = item_id(item)
        if not isinstance(item.get("id"), str) or not item["id"]:
            return f"{name} has no id; it cannot be referred to"
        if item.get("collection") not in (None, *query.collections):
            return f"item {name} is of collection {item['collection']!r}, which was not asked for"
        if query.ids and item["id"] not in query.ids:
            return f"item {name} was not asked for by its id"
        try:
            when = moment(item)
        except IntegrityError as error:
            return str(error)
        if not query.start <= when < query.end:
            beyond = max(query.start - when, when - query.end).total_seconds()
            return (
                ""
                if beyond < 1
                else (
                    f"item {name} is of {when.isoformat()}, outside {query.start.isoformat()} to "
                    f"{query.end.isoformat()}"
                )
            )
        return self._predicate_reason(item)

    def _predicate_reason(self, item: Item) -> str | None:
        stated = properties(item)
        for predicate in self.query.predicates:
            if not predicate.admits(stated):
                self.failed[predicate] = self.failed.get(predicate, 0) + 1
                return (
                    f"item {item_id(item)} has {predicate.name} {stated[predicate.name]!r}, "
                    f"which is not {predicate.op} {predicate.value!r}"
                )
        return None

    def _place_reason(self, item: Item, *, is_missing: bool, is_inside: bool) -> str | None:
        name = item_id(item)
        if is_missing:
            return f"item {name} has no geometry and no bbox that can be read; it has no place"
        if not is_inside:
            return f"item {name} does not touch AOI {self.query.aoi.name!r}"
        if not isinstance(item.get("geometry"), dict):
            self.notes.append(f"item {name} has no geometry: it is placed by its bbox")
        return None


def _footprints(items: Sequence[Item]) -> tuple[Geometries, NDArray[np.bool_]]:
    """Geometries, or boxes where those are unusable, and which Items have neither."""
    shapes = from_geojson(item.get("geometry") for item in items)
    for row in map(int, np.flatnonzero(shapely.is_missing(shapes) | shapely.is_empty(shapes))):
        shapes[row] = _box(items[row].get("bbox"))
    missing: NDArray[np.bool_] = shapely.is_missing(shapes)
    return shapes, missing


def _box(bbox: object) -> shapely.Geometry | None:
    if not isinstance(bbox, list) or len(bbox) not in (4, 6):
        return None
    picked = [bbox[0], bbox[1], bbox[len(bbox) // 2], bbox[len(bbox) // 2 + 1]]
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in picked):
        return None
    return box_geometry(*picked)


def _meets(shapes: Geometries, query: ItemQuery) -> NDArray[np.bool_]:
    """Which footprints touch the AOI, on whichever side of the antimeridian they are written.

    A footprint more than half a turn wide is read both ways: as written, and as one that crosses
    the antimeridian (many catalogues write 179 to -179 without a split).
    """
    (area,) = from_geojson([query.aoi.geometry])
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > _HALF_TURN)
    turned = shapes.copy()
    turned[wide] = shapely.transform(shapes[wide], _eastward)
    found = np.zeros(len(shapes), dtype=np.bool_)
    for turns in (-1, 0, 1):
        place = affine_transform(area, [1.0, 0.0, 0.0, 1.0, turns * _TURN, 0.0])
        shapely.prepare(place)
        found |= shapely.intersects(place, shapes) | shapely.intersects(place, turned)
    return found


def _eastward(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = positions.copy()
    moved[moved[:, 0] < 0, 0] += _TURN
    return moved
