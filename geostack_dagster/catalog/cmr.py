"""NASA's CMR behind the `Searcher` protocol: granules asked for through earthaccess, page by page.

`earthaccess.search_data` is a query object that it builds, asks for the number of hits, and reads
to the end before it gives anything back: without a timeout, with the session of whoever logged in
in this process, and at the production address only. Here the same query object is built, and its
pages are asked for with a session of our own that carries no login.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
import requests
from earthaccess import DataCollections, DataGranules

from geostack_dagster.catalog.api import Headers
from geostack_dagster.catalog.ask import Ask, Page
from geostack_dagster.catalog.connections import Connections
from geostack_dagster.catalog.failure import failure, not_json, retrying
from geostack_dagster.catalog.umm import item_of
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.hrefs import canonical, redact
from geostack_dagster.errors import ConfigurationError, ServiceError
from geostack_dagster.providers.provider import Provider

_TIMEOUT_S = (10.0, 90.0)  # connect, read
_MAX_PAGE = 2000  # CMR's own limit
_CONCEPT = re.compile(r"C\d+-[A-Za-z0-9_]+")
_AFTER, _HITS = "CMR-Search-After", "CMR-Hits"


@dataclass(frozen=True, slots=True)
class CmrSearcher:
    """Granules of CMR as Items; `url` is the root of its search API."""

    provider: Provider
    url: str
    headers: Headers | None = None
    concepts: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """CMR's concept ids of the collections that it was asked about; they never change."""

    def has_collection(self, name: str) -> bool:
        """Whether CMR has the collection, by concept id or `SHORTNAME_VERSION`."""
        return bool(_concepts(self, name))

    def pages(self, ask: Ask) -> Iterator[Page]:
        """Pages as they come, each continued after the last granule of the one before."""
        names: list[str] = ask.parameters["collections"]
        concepts = {concept: name for name in names for concept in _concepts(self, name)}
        if not concepts:
            raise ConfigurationError(f"{self.provider.slug} has no collection {names[0]!r}")
        url = _granules_url(self, ask, list(concepts))
        size, seen, after = min(ask.page_limit, _MAX_PAGE), 0, None
        while True:
            answer = _asked(self, url, size, after)
            seen += len(answer.granules)
            # CMR names a next page even on the last; only the count tells without another request.
            is_last = len(answer.granules) < size and seen >= (answer.hits or 0)
            repeats = answer.after is not None and answer.after == after
            after = None if is_last or not answer.granules else answer.after
            if repeats and after is not None:
                raise ServiceError(f"paging of {canonical(self.url)} goes in a circle")
            yield Page(
                items=[
                    item_of(granule, self.provider, asked=names, root=self.url)
                    for granule in answer.granules
                ],
                matched=answer.hits,
                has_next=after is not None,
            )
            if after is None:
                return


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page as CMR sends it."""

    granules: list[Any] = field(repr=False)
    hits: int | None
    after: str | None
    """What continues it; None at the end."""


def _granules_url(searcher: CmrSearcher, ask: Ask, concepts: list[str]) -> str:
    query = DataGranules().parameters(
        concept_id=concepts,
        temporal=(ask.start, ask.end),
        **_place(ask.parameters),
        **({"granule_name": ask.parameters["ids"]} if "ids" in ask.parameters else {}),
        **{name: ask.parameters[name] for name in ("cloud_cover",) if name in ask.parameters},
    )
    return _address(searcher, query)


def _place(parameters: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """A box, of a polygon too: CMR joins vertices by great circles and leaves out what lies under.

    Every footprint is held against the true area afterwards.
    """
    if "bbox" in parameters:
        return {"bounding_box": tuple(parameters["bbox"])}
    return {"bounding_box": AOI("area", parameters["intersects"]).bbox}


def _address(searcher: CmrSearcher, query: Any) -> str:
    address: str = query.mode(f"{searcher.url.rstrip('/')}/")._build_url()  # noqa: SLF001
    return address


def _concepts(searcher: CmrSearcher, name: str) -> tuple[str, ...]:
    """CMR's concept ids of a collection: from the record, else as CMR says; empty if unknown."""
    known = searcher.provider.find_collection(name)
    stated = tuple(filter(_CONCEPT.fullmatch, (name, *(known.aliases if known else ()))))
    if stated:
        return stated
    if name not in searcher.concepts:
        searcher.concepts[name] = _looked_up(searcher, name)
    return searcher.concepts[name]


def _looked_up(searcher: CmrSearcher, name: str) -> tuple[str, ...]:
    short_name, _, version = name.rpartition("_")
    if not short_name:
        return ()
    query = DataCollections().parameters(short_name=short_name, version=version)
    answer = _asked(searcher, _address(searcher, query), _MAX_PAGE, None)
    metas = (one.get("meta") for one in answer.granules if isinstance(one, dict))
    found = (meta.get("concept-id") for meta in metas if isinstance(meta, dict))
    return tuple(concept for concept in found if isinstance(concept, str))


def _asked(searcher: CmrSearcher, url: str, size: int, after: str | None) -> _Answer:
    headers = {**(searcher.headers() if searcher.headers else {})}
    if after is not None:
        headers[_AFTER] = after
    document, stated = retrying(lambda: _once(searcher, url, size, headers))
    granules = document.get("items") if isinstance(document, dict) else None
    if not isinstance(granules, list):
        raise ServiceError(f"{canonical(searcher.url)} answered with JSON that holds no `items`")
    return _Answer(
        granules=granules,
        hits=_count(stated.get(_HITS), document.get("hits")),
        after=stated.get(_AFTER),
    )


def _once(
    searcher: CmrSearcher, url: str, size: int, headers: Mapping[str, str]
) -> tuple[Any, Mapping[str, str]]:
    """JSON and headers of an answer."""
    session = _session(searcher.url, searcher.provider.limits.concurrent_searches)
    try:
        response = session.get(url, params={"page_size": size}, headers=headers, timeout=_TIMEOUT_S)
    except requests.RequestException as error:
        raise ServiceError(
            f"{canonical(searcher.url)} did not answer: {redact(str(error))[:300]}"
        ) from error
    if response.status_code != requests.codes.ok:
        retry_after = response.headers.get("Retry-After")
        raise failure(searcher.url, response.status_code, response.text, retry_after=retry_after)
    try:
        return orjson.loads(response.content), response.headers
    except orjson.JSONDecodeError as error:
        raise not_json(searcher.url, response.content) from error


def _count(*stated: object) -> int | None:
    return next((int(str(one)) for one in stated if str(one).isdigit()), None)


@cache
def _session(url: str, connections: int) -> requests.Session:
    """Connections to a catalogue, shared by threads; a search never carries a netrc login."""
    session = requests.Session()
    session.auth = _unsigned
    for scheme in ("http://", "https://"):
        session.mount(scheme, Connections(connections))
    return session


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
