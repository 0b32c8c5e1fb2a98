"""How a catalogue speaks: its manners as one record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geostack_dagster.sandbox.catalogue import Record
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.paging import Ask, Link, Page, Paging

type Order = Callable[[Record], Any]
type Errors = Callable[[int, str, str], Any]
"""Body of an error: HTTP status, what kind of thing it is about, what to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """What a catalogue says about a collection besides its Items."""

    title: str
    license: str = "proprietary"
    extra: Mapping[str, Any] = field(default_factory=dict)


def oldest_last(record: Record) -> Any:
    """Newest first is the reverse of this order, in pgstac and stac-server alike."""
    collection, name = record.key
    return record.moment, name, collection


def coded(status: int, kind: str, text: str) -> Any:
    """Errors of stac-fastapi and stac-server."""
    return {"code": kind, "description": text}


def missing(collection: str, item: str | None) -> str:
    """Words of stac-fastapi."""
    if item is None:
        return f"No collection with id '{collection}' found!"
    return f"Item {item} in Collection {collection} does not exist."


def uncounted(page: Page, ask: Ask) -> dict[str, Any]:
    """A page that says nothing about counts."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One catalogue's manners."""

    slug: str
    """Our name of the archive."""
    host: str
    path: str
    id: str
    title: str
    description: str
    stac_version: str = "1.0.0"
    conformance: tuple[str, ...]
    grammar: Grammar
    """What it understands of a search."""
    paging: Paging
    order: Order = oldest_last
    is_newest_first: bool = True
    frame: Callable[[Ask, list[Link]], list[Link]]
    """Links of a page, given those to the next and the previous one."""
    counts: Callable[[Page, Ask], dict[str, Any]] = uncounted
    """Members of a page that count."""
    landing: Callable[[Sequence[str]], list[Link]]
    """Links of the landing page, given the ids of the collections."""
    errors: Errors = coded
    not_found: str = "NotFound"
    """Kind of a 404."""
    missing: Callable[[str, str | None], str] = missing
    """What a 404 says about a collection, or an Item of it."""
    json_type: str = "application/json"
    geojson_type: str = "application/geo+json"
    max_body: int | None = None
    """Bytes above which the gateway answers 502."""
    root_href: str
    collections: Mapping[str, CollectionFacts] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Address of the landing page."""
        return f"https://{self.host}{self.path}"

    @property
    def root(self) -> Link:
        """Link to the landing page."""
        return {"rel": "root", "type": "application/json", "href": self.root_href}


def plain_landing(base: str, root_href: str, names: Sequence[str]) -> list[Link]:
    """Links of a landing page as pgstac and stac-server write them."""
    json_type, geojson = "application/json", "application/geo+json"
    return [
        {"rel": "self", "type": json_type, "href": root_href},
        {"rel": "root", "type": json_type, "href": root_href},
        {"rel": "data", "type": json_type, "href": f"{base}/collections"},
        {"rel": "conformance", "type": json_type, "href": f"{base}/conformance"},
        *(
            {"rel": "search", "type": geojson, "href": f"{base}/search", "method": method}
            for method in ("GET", "POST")
        ),
        *(
            {"rel": "child", "type": json_type, "href": f"{base}/collections/{name}"}
            for name in names
        ),
    ]
