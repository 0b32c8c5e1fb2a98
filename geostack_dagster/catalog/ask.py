"""One request series to a catalogue, and what a client must do to answer it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol, Self

import numpy as np
import shapely

from geostack_dagster.catalog.dialect import can_ask, predicate_parameters
from geostack_dagster.catalog.geometry import from_geojson, to_geojson
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers.provider import Provider

_SECOND = timedelta(seconds=1)
MAX_PAGES = 2000
"""Pages of one search beyond which it is taken to be a mistake."""

_PAGE_LIMITS = range(1, 10_001)  # pystac-client's and most catalogues' own


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Parameters of an item search over one time interval, closed at both ends as STAC has it.

    Both ends are whole seconds: some catalogues do not read fractions.
    """

    start: datetime
    end: datetime
    page_limit: int
    parameters: Mapping[str, Any]
    """collections, bbox or intersects, ids, and predicates in the provider's dialect."""

    @classmethod
    def of(cls, provider: Provider, query: ItemQuery) -> Self:
        """The whole of a query; it may reach a second beyond, which the caller takes off.

        Raises:
            ConfigurationError: If the page limit is not between 1 and 10,000.
        """
        page_limit = query.page_limit or provider.limits.page_limit
        if page_limit not in _PAGE_LIMITS:
            raise ConfigurationError(f"page limit {page_limit} is not between 1 and 10,000")
        asked = heeded(provider, query)
        return cls(
            start=query.start.replace(microsecond=0),
            end=(query.end + _SECOND - timedelta(microseconds=1)).replace(microsecond=0),
            page_limit=min(page_limit, provider.limits.largest_page),
            parameters={
                "collections": list(query.collections),
                **_place(query, provider.limits.polygon_positions),
                **({"ids": list(query.ids)} if query.ids else {}),
                **predicate_parameters(asked, provider.filter_dialect),
            },
        )

    @property
    def interval(self) -> str:
        """`start/end` in RFC 3339."""
        return "/".join(
            moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for moment in (self.start, self.end)
        )

    def split(self, pieces: int) -> list[Self]:
        """Asks that cover the same time; neighbours share a second, so none falls between."""
        seconds = int((self.end - self.start).total_seconds())
        pieces = max(min(pieces, seconds), 1)
        edges = [self.start + _SECOND * (seconds * k // pieces) for k in range(pieces + 1)]
        return [replace(self, start=start, end=end) for start, end in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer."""

    items: list[dict[str, Any]]
    matched: int | None = None
    """How many Items the catalogue says there are in all."""
    has_next: bool = False


class Searcher(Protocol):
    """A STAC API client. Called from several threads at once."""

    def has_collection(self, name: str) -> bool:
        """Whether the catalogue has the collection; raises as `pages` does."""
        ...

    def pages(self, ask: Ask) -> Iterator[Page]:
        """All pages of an answer, in the catalogue's order, empty ones included.

        Raises:
            ConfigurationError: If the catalogue says that the ask is wrong.
            CredentialError: If it wants a credential, or another one.
            ServiceError: If it is busy, broken, or answers with something else than pages.
        """
        ...


def heeded(provider: Provider, query: ItemQuery) -> list[Predicate]:
    """Predicates that the catalogue is asked for; all of them are checked here in any case.

    Left out is what it would refuse, ignore, or answer with less than there is: properties that a
    collection does not state (CMR drops what is silent), and numbers that Items write as text.
    """
    known = [provider.find_collection(name) for name in query.collections]
    silent = {name for collection in known if collection for name in collection.unstated}
    return [
        predicate
        for predicate in query.predicates
        if predicate.name not in silent
        and can_ask(predicate, provider.filter_dialect)
        and _compares(provider, predicate)
    ]


def _compares(provider: Provider, predicate: Predicate) -> bool:
    if provider.numbers_are_text and not isinstance(predicate.value, str):
        return False
    names = provider.filterable
    return names is None or predicate.op in names.get(predicate.name, ())


def _place(query: ItemQuery, positions: int) -> dict[str, Any]:
    """The AOI as a bbox where it is one: fewer catalogues err on that than on `intersects`.

    Polygons are sent flat and counter-clockwise, which CMR insists on, and as the boxes of their
    parts if they are longer than the catalogue takes.
    """
    west, south, east, north = query.aoi.bbox
    geometry = query.aoi.geometry
    vertices = geometry["coordinates"][0] if geometry["type"] == "Polygon" else []
    corners = {(west, south), (east, south), (east, north), (west, north)}
    is_box = len(vertices) == 5 and {tuple(vertex[:2]) for vertex in vertices} == corners
    if is_box and len(geometry["coordinates"]) == 1:
        return {"bbox": [west, south, east, north]}
    shapes = shapely.orient_polygons(shapely.force_2d(from_geojson([geometry])))
    if shapely.get_num_coordinates(shapes[0]) > positions:
        boxes = shapely.envelope(shapely.get_parts(shapes))
        shapes = shapely.orient_polygons(np.array([shapely.union_all(boxes)], dtype=object))
    return {"intersects": to_geojson(shapes)[0]}
