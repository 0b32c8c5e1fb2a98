"""The two STAC API clients behind the `Searcher` protocol."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import batched
from threading import Lock
from typing import Any
from urllib.parse import quote

import rustac
from pystac import MediaType, STACError, STACTypeError
from pystac_client import Client

from geostack_dagster.catalog.api import ApiIO, Headers, next_link
from geostack_dagster.catalog.ask import MAX_PAGES, Ask, Page, Searcher
from geostack_dagster.catalog.failure import failure, retrying
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import ConfigurationError, GeostackError, ServiceError
from geostack_dagster.providers.provider import FilterDialect, Provider

_CONFORMANCE = {
    FilterDialect.QUERY: "QUERY",
    FilterDialect.CQL2_JSON: "FILTER",
    FilterDialect.CQL2_TEXT: "FILTER",
}
_STATUS = re.compile(r"\((\d{3}) ")
_REPEATS = 10  # pages without a new Item after which rustac is taken to go in a circle


@dataclass(frozen=True, slots=True)
class PystacSearcher:
    """pystac-client; the landing page is read once for each catalogue and process."""

    provider: Provider
    url: str
    headers: Headers | None = None

    def has_collection(self, name: str) -> bool:
        """Whether the catalogue has the collection."""
        _, io = _connected(self)
        return io.status(_collection_url(self.url, name)) != 404

    def pages(self, ask: Ask) -> Iterator[Page]:
        """Pages as they come, asked for one after the other."""
        client, io = _connected(self)
        search = client.search(
            method=_method(client),
            datetime=ask.interval,
            limit=ask.page_limit,
            **ask.parameters,
        )
        for page in io.get_pages(search.url, search.method, search.get_parameters()):
            yield Page(
                items=[item for item in page["features"] if isinstance(item, dict)],
                matched=_matched(page),
                has_next=next_link(page) is not None,
            )


@dataclass(frozen=True, slots=True)
class RustacSearcher:
    """rustac. It states no matched count, and an empty page ends its answer.

    Its own retries make one attempt more and do not wait, so the whole ask is repeated here.
    """

    provider: Provider
    url: str
    headers: Headers | None = None

    def has_collection(self, name: str) -> bool:
        """Whether the catalogue has the collection."""
        client = rustac.ApiClient(self.url, headers=self._headers())
        found = retrying(lambda: _translated(self.url, lambda: client.get_collection_sync(name)))
        return found is not None

    def pages(self, ask: Ask) -> Iterator[Page]:
        """The whole answer, in pages as large as asked for."""
        items = retrying(lambda: _translated(self.url, lambda: asyncio.run(self._collected(ask))))
        parts = list(batched(items, ask.page_limit)) or [()]
        for number, part in enumerate(parts, 1):
            yield Page(items=list(part), has_next=number < len(parts))

    async def _collected(self, ask: Ask) -> list[dict[str, Any]]:
        parameters = {name: v for name, v in ask.parameters.items() if name != "filter_lang"}
        client = rustac.ApiClient(self.url, headers=self._headers())
        found: list[dict[str, Any]] = []
        ids: set[tuple[str, str]] = set()
        last_new = 0
        async for item in await client.iter_search(
            datetime=ask.interval, limit=ask.page_limit, **parameters
        ):
            if item is None:  # rustac 0.9 goes on for ever with None after the last Item
                break
            found.append(item)
            key = (str(item.get("collection")), str(item.get("id")))
            if key not in ids:
                ids.add(key)
                last_new = len(found)
            if len(found) - last_new > _REPEATS * ask.page_limit:
                raise ServiceError(
                    f"paging of {self.url} goes in a circle: no new Items come", status=200
                )
            if len(found) > MAX_PAGES * ask.page_limit:
                break  # the caller counts the pages and says so
        return found

    def _headers(self) -> dict[str, str]:
        return dict(self.headers()) if self.headers else {}


def _rustac(provider: Provider, url: str, headers: Headers | None) -> RustacSearcher:
    """A rustac searcher, for the providers that it can ask.

    Raises:
        ConfigurationError: If it would ask another question than is meant.
    """
    if provider.next_is_merged or provider.filter_dialect is FilterDialect.CQL2_TEXT:
        raise ConfigurationError(
            f"rustac cannot search {provider.slug}: it does not merge next links into the question "
            "and rewrites CQL2 text; use pystac-client"
        )
    return RustacSearcher(provider, url, headers)


SEARCHERS: Mapping[str, Callable[[Provider, str, Headers | None], Searcher]] = {
    "pystac-client": PystacSearcher,
    "rustac": _rustac,
}
"""The clients by the names that a user selects them with."""


def forget_connections() -> None:
    """Read landing pages anew from now on."""
    with _CONNECTIONS.lock:
        _CONNECTIONS.made.clear()


@dataclass(slots=True)
class _Connections:
    """Clients by catalogue, each made under a lock of its own so that only one thread makes it."""

    lock: Lock = field(default_factory=Lock)
    locks: defaultdict[object, Lock] = field(default_factory=lambda: defaultdict(Lock))
    made: dict[object, tuple[Client, ApiIO]] = field(default_factory=dict)


_CONNECTIONS = _Connections()


def _connected(searcher: PystacSearcher) -> tuple[Client, ApiIO]:
    key = (searcher.url, searcher.headers)
    with _CONNECTIONS.lock:
        lock = _CONNECTIONS.locks[key]
    with lock:
        if key not in _CONNECTIONS.made:
            _CONNECTIONS.made[key] = _connect(searcher)
        return _CONNECTIONS.made[key]


def _connect(searcher: PystacSearcher) -> tuple[Client, ApiIO]:
    provider = searcher.provider
    io = ApiIO(
        searcher.url, connections=provider.limits.concurrent_searches, headers=searcher.headers
    )
    landing = io.read_json(searcher.url)
    try:
        client = io.stac_object_from_dict(landing, href=searcher.url)
    except (STACError, STACTypeError, KeyError, TypeError, ValueError) as error:
        raise _no_landing(searcher.url) from error
    if not isinstance(client, Client):
        raise _no_landing(searcher.url)
    # What the record says counts, not the landing page: DLR writes `/req/` where others write
    # `/conf/`, Earth Search v0 states nothing, and pystac-client refuses both.
    for name in ("ITEM_SEARCH", _CONFORMANCE.get(provider.filter_dialect)):
        if name is not None:
            client.add_conforms_to(name)
    return client, io


def _no_landing(url: str) -> ConfigurationError:
    return ConfigurationError(f"{url} is not the landing page of a STAC API; check the URL")


def _method(client: Client) -> str:
    """POST unless the landing page advertises GET alone."""
    methods = {
        link.extra_fields.get("method", "GET")
        for link in client.get_links("search")
        if link.media_type in (MediaType.GEOJSON, MediaType.JSON)
    }
    return "GET" if methods == {"GET"} else "POST"


def _matched(page: Mapping[str, Any]) -> int | None:
    context = page.get("context")
    counts = (page.get("numberMatched"), isinstance(context, dict) and context.get("matched"))
    return next((n for n in counts if isinstance(n, int) and not isinstance(n, bool)), None)


def _collection_url(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/collections/{quote(name, safe='')}"


def _translated[T](url: str, call: Callable[[], T]) -> T:
    """Result of a rustac call; its errors say all they know in their text."""
    try:
        return call()
    except rustac.RustacError as error:
        raise _error(url, str(error)) from error


def _error(url: str, text: str) -> GeostackError:
    status = _STATUS.search(text)
    if status is not None:
        return failure(url, int(status.group(1)), "")
    if "decoding" in text:
        return ServiceError(f"{url} answered with something else than JSON, or it breaks off")
    return ServiceError(f"{url} did not answer: {redact(text)[:300]}")
