"""An in-memory STAC catalogue: Items by collection, searched the way item-search says."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import shapely
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.item import Item, parse_datetime, properties

type Key = tuple[str, str]
"""Collection and id."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)


class BadRequestError(Exception):
    """The search cannot be understood; the message goes to the client."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Record:
    """An Item with what a search needs."""

    item: Item
    geometry: BaseGeometry | None
    moment: datetime
    """What it is sorted by."""
    start: datetime
    end: datetime
    """What `datetime` is compared with, as in pgstac: from start_datetime to end_datetime."""
    body: bytes = field(repr=False)
    """The Item as JSON, as it is sent."""

    @property
    def key(self) -> Key:
        """Collection and id."""
        return str(self.item.get("collection")), str(self.item.get("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """An item search, parsed."""

    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    area: BaseGeometry | None = None
    start: datetime = _EPOCH
    end: datetime = _ALWAYS
    predicates: tuple[Callable[[Item], bool], ...] = ()
    sortby: tuple[tuple[str, bool], ...] = ()
    """Property and whether it descends."""


class Catalogue:
    """Items of one archive; `publish` and `withdraw` change it while it serves."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        self._index: tuple[list[Record], shapely.STRtree, list[int]] | None = None

    def publish(self, items: Iterable[Item]) -> None:
        """Add Items, or replace those of the same id."""
        for item in items:
            record = _record(item)
            self._records[record.key] = record
        self._index = None

    def withdraw(self, key: Key) -> Item:
        """Take an Item away and give it back.

        Raises:
            KeyError: If there is no such Item.
        """
        self._index = None
        return self._records.pop(key).item

    def get(self, collection: str, name: str) -> Record | None:
        """One Item."""
        return self._records.get((collection, name))

    def named(self, name: str) -> Key | None:
        """Key of the Item with this id, in whatever collection."""
        return next((key for key in self._records if key[1] == name), None)

    def collections(self) -> list[str]:
        """Ids of all collections that hold Items."""
        return sorted({collection for collection, _ in self._records})

    def records(self, collection: str | None = None) -> list[Record]:
        """All Items, or those of one collection, newest first."""
        ordered, _, _ = self._indexed()
        return [record for record in ordered if collection in (None, record.key[0])]

    def search(self, query: Search) -> list[Record]:
        """Items that match, newest first unless sorted otherwise."""
        found = [record for record in self._near(query.area) if _admits(query, record)]
        for name, descends in reversed(query.sortby):
            found.sort(key=_sort_key(name), reverse=descends)
        return found

    def _near(self, area: BaseGeometry | None) -> list[Record]:
        ordered, tree, spatial = self._indexed()
        if area is None:
            return ordered
        hits = tree.query(area, predicate="intersects")
        return [ordered[index] for index in sorted(spatial[hit] for hit in hits)]

    def _indexed(self) -> tuple[list[Record], shapely.STRtree, list[int]]:
        if self._index is None:
            ordered = sorted(self._records.values(), key=_age, reverse=True)
            spatial = [(i, record.geometry) for i, record in enumerate(ordered) if record.geometry]
            tree = shapely.STRtree([geometry for _, geometry in spatial])
            self._index = ordered, tree, [i for i, _ in spatial]
        return self._index


@dataclass(frozen=True)
class Properties:
    """Looks names up as the query and sort extensions do: bare, dotted, or of the Item itself."""

    item: Item

    @cached_property
    def _properties(self) -> Mapping[str, Any]:
        return properties(self.item)

    def __getitem__(self, name: str) -> Any:
        """The value, or None."""
        bare = name.removeprefix("properties.")
        if bare in self._properties:
            return self._properties[bare]
        return self.item.get(bare) if bare in ("id", "collection") else None


def area_of_bbox(bbox: Sequence[float]) -> BaseGeometry:
    """Box in degrees; west > east crosses the antimeridian.

    Raises:
        BadRequestError: If it is not four or six numbers, or reversed in latitude.
    """
    try:
        values = [float(value) for value in bbox]
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"bbox {bbox!r} is not a list of numbers") from error
    if len(values) not in (4, 6):
        raise BadRequestError(f"bbox must have 4 or 6 values, not {len(values)}")
    half = len(values) // 2
    (west, south), (east, north) = values[:2], values[half : half + 2]
    if south > north:
        raise BadRequestError(f"bbox latitudes are reversed: {south} > {north}")
    if west <= east:
        return shapely.box(west, south, east, north)
    halves = shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
    return shapely.union_all(halves)


def area_of_geometry(geometry: object) -> BaseGeometry:
    """GeoJSON geometry.

    Raises:
        BadRequestError: If it is not one.
    """
    try:
        return shapely.from_geojson(json.dumps(geometry))
    except (GEOSException, TypeError, ValueError) as error:
        raise BadRequestError(f"intersects is not a GeoJSON geometry: {error}") from error


def interval(text: str) -> tuple[datetime, datetime]:
    """Instants of `a`, `a/b`, `../b` or `a/..`, both inclusive.

    Raises:
        BadRequestError: If it is none of these, or backwards.
    """
    first, slash, last = text.partition("/")
    start = _EPOCH if slash and first in ("", "..") else parse_datetime(first)
    end = _ALWAYS if slash and last in ("", "..") else parse_datetime(last if slash else first)
    if start is None or end is None:
        raise BadRequestError(f"datetime {text!r} is not RFC 3339 or an interval of two such")
    if start > end:
        raise BadRequestError(f"datetime {text!r} is backwards")
    return start, end


def _admits(query: Search, record: Record) -> bool:
    collection, name = record.key
    return (
        (not query.collections or collection in query.collections)
        and (not query.ids or name in query.ids)
        and record.start <= query.end
        and record.end >= query.start
        and all(predicate(record.item) for predicate in query.predicates)
    )


def _sort_key(name: str) -> Callable[[Record], tuple[bool, str, float, str]]:
    def key(record: Record) -> tuple[bool, str, float, str]:
        value = Properties(record.item)[name]
        is_number = isinstance(value, int | float)
        return (
            value is not None,
            type(value).__name__ if not is_number else "",
            float(value) if is_number else 0.0,
            "" if is_number else str(value),
        )

    return key


def _record(item: Item) -> Record:
    stated = properties(item)
    single = parse_datetime(stated.get("datetime"))
    first, last = (parse_datetime(stated.get(f"{end}_datetime")) for end in ("start", "end"))
    start = first or single or _EPOCH
    end = last or single or start
    if single is not None and (first is None or last is None):
        start = end = single
    body = json.dumps(item, separators=(",", ":")).encode()
    return Record(item, _geometry(item), single or start, start, end, body)


def _age(record: Record) -> tuple[datetime, str, str]:
    collection, name = record.key
    return record.moment, name, collection


def _geometry(item: Item) -> BaseGeometry | None:
    stated = item.get("geometry")
    if not isinstance(stated, Mapping):
        return None
    try:
        geometry = shapely.from_geojson(json.dumps(stated))
    except (GEOSException, TypeError, ValueError):
        return None
    if geometry.is_empty:
        return None
    return geometry if geometry.is_valid else shapely.make_valid(geometry)
