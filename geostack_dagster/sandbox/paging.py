"""How a page says where the next one is; each archive has a way of its own."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from geostack_dagster.sandbox import nested
from geostack_dagster.sandbox.catalogue import BadRequestError, Key, Record

type Link = dict[str, Any]
type Parameters = dict[str, Any]

_GEOJSON = "application/geo+json"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a page."""

    href: str
    """Address without the query."""
    method: str
    given: Parameters
    """What the client sent, as it sent it."""
    limit: int

    def link(self, rel: str, **changes: Any) -> Link:
        """A link that asks the same, with some parameters changed."""
        given = self.given | changes
        link: Link = {"rel": rel, "type": _GEOJSON, "method": self.method}
        if self.method == "POST":
            return link | {"href": self.href, "body": given}
        return link | {"href": f"{self.href}?{nested.written(given)}"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search."""

    records: list[Record]
    matched: int
    start: int
    """How many Items come before it."""
    stop: int
    """Position after its last Item."""

    @property
    def has_more(self) -> bool:
        """Whether Items follow."""
        return self.stop < self.matched


class Paging(Protocol):
    """One archive's way."""

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page that is asked for.

        Raises:
            BadRequestError: If the token is not one that was handed out.
        """
        ...

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """Links to the next page and the previous one, where there are such."""
        ...


@dataclass(frozen=True, slots=True)
class KeyTokens:
    """pgstac: `token=next:<key>`, no link on the last page, a previous link on all but the first.

    Planetary Computer writes collection and id as the key; others hide them.
    """

    write: Callable[[Key], str] = ":".join
    read: Callable[[str], Key] = lambda text: (text.partition(":")[0], text.partition(":")[2])

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page."""
        if not given.get("token"):
            return 0
        direction, _, text = str(given["token"]).partition(":")
        at = position(found, self.read(text))
        return at + 1 if direction == "next" else max(at - limit, 0)

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """Next, then previous."""
        links = []
        if page.has_more:
            links.append(ask.link("next", token=f"next:{self.write(page.records[-1].key)}"))
        if page.start and page.records:
            links.append(ask.link("previous", token=f"prev:{self.write(page.records[0].key)}"))
        return links


def hidden(key: Key) -> str:
    """A key that clients cannot read."""
    return base64.urlsafe_b64encode("\n".join(key).encode()).decode().rstrip("=")


def revealed(text: str) -> Key:
    """The key behind `hidden`.

    Raises:
        BadRequestError: If there is none.
    """
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadRequestError(f"the page token {text!r} is not one of ours") from error
    collection, _, name = decoded.partition("\n")
    return collection, name


@dataclass(frozen=True, slots=True)
class SearchAfter:
    """stac-server: `next=<datetime>,<id>,<collection>` after every page that is not empty."""

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page."""
        parts = str(given.get("next") or "").split(",", 2)
        return position(found, (parts[2], parts[1])) + 1 if len(parts) == 3 else 0

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """Next, also after the last page: then an empty one follows."""
        if not page.records:
            return []
        last = page.records[-1]
        moment = last.moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        link = ask.link("next", next=f"{moment},{last.key[1]},{last.key[0]}")
        return [{"title": "Next page of Items"} | link | {"merge": False}]


@dataclass(frozen=True, slots=True)
class NextNumber:
    """Sentinel Hub: an integer, which a POST merges into the question."""

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page."""
        return _count(given, "next")

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """Next."""
        if not page.has_more:
            return []
        link: Link = {"rel": "next", "type": _GEOJSON, "title": "Next set of results"}
        if ask.method == "GET":
            return [link | {"href": ask.link("next", next=page.stop)["href"]}]
        body = {"method": "POST", "body": {"next": page.stop}, "merge": True}
        return [{"href": ask.href} | link | body]


@dataclass(frozen=True, slots=True)
class StartIndex:
    """GeoServer: the position and the limit, which a POST merges into the question."""

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page."""
        return _count(given, "startIndex")

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """Next."""
        if not page.has_more:
            return []
        step = {"startIndex": page.stop, "limit": ask.limit}
        link = ask.link("next", **step)
        return [link | {"body": step, "merge": True} if ask.method == "POST" else link]


@dataclass(frozen=True, slots=True)
class Cursor:
    """CMR-STAC: a GET address with a cursor, also after a POST, and one of the first page."""

    provider: str

    def start(self, found: list[Record], given: Mapping[str, Any], limit: int) -> int:
        """Position of the first Item of the page."""
        cursor = given.get("cursor")
        if not cursor:
            return 0
        try:
            provider, _, name = json.loads(base64.b64decode(str(cursor)))["json"]
        except (ValueError, TypeError, KeyError) as error:
            raise BadRequestError("the cursor is not one of ours") from error
        if provider != self.provider:
            raise BadRequestError("the cursor is of another provider")
        return next((at + 1 for at, record in enumerate(found) if record.key[1] == name), 0)

    def steps(self, page: Page, ask: Ask) -> list[Link]:
        """First, then next."""
        first = {name: value for name, value in ask.given.items() if name != "cursor"}
        links = [_got(ask, "first", first, "First page of results")]
        if page.has_more:
            last = page.records[-1]
            place = [self.provider, round(last.moment.timestamp() * 1000), last.key[1]]
            cursor = base64.b64encode(json.dumps({"json": place}).encode()).decode()
            links.append(_got(ask, "next", first | {"cursor": cursor}, "Next page of results"))
        return links


def position(found: list[Record], key: Key) -> int:
    """Where an Item stands among those found.

    Raises:
        BadRequestError: If it is not among them.
    """
    for at, record in enumerate(found):
        if record.key == key:
            return at
    raise BadRequestError(f"the page token names {key[1]!r}, which is not in the results")


def _got(ask: Ask, rel: str, given: Parameters, title: str) -> Link:
    href = f"{ask.href}?{nested.written(given)}"
    return {"rel": rel, "href": href, "type": _GEOJSON, "title": title}


def _count(given: Mapping[str, Any], name: str) -> int:
    try:
        return max(int(given.get(name) or 0), 0)
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"{name} {given[name]!r} is not a number") from error
