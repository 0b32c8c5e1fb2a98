"""CMR's search API: granules and collections, as UMM JSON or as a feed, paged by search-after.

Source: CMR Search API documentation and recorded conversations.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geostack_dagster.domain.item import properties
from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.archive import Archive
from geostack_dagster.sandbox.catalogue import Record, Search
from geostack_dagster.sandbox.cmr_ask import SORTABLE, Asked, AskError, asked
from geostack_dagster.sandbox.cmr_collections import COLLECTIONS, CollectionFacts
from geostack_dagster.sandbox.faults import PageFault, page_fault
from geostack_dagster.sandbox.objects import Vault
from geostack_dagster.sandbox.tokens import TokenAuthority, TokenState
from geostack_dagster.sandbox.umm import (
    PROVIDER,
    VERSION,
    granule_id,
    meta_of,
    umm_of,
    updated_of,
)

_UMM = f"application/vnd.nasa.cmr.umm_results+json;version={VERSION}; charset=utf-8"
_FEED = "application/json;charset=utf-8"
_AFTER, _HITS = "cmr-search-after", "cmr-hits"
_EXPOSED = "CMR-Hits, CMR-Request-Id, X-Request-Id, CMR-Scroll-Id, CMR-Search-After"
_TOKEN_ERRORS = {
    TokenState.UNKNOWN: "Token does not exist",
    TokenState.EXPIRED: "Token [Bearer eyJ0eXXX] has expired. Note the token value has been "
    "partially redacted.",
}


@dataclass(frozen=True, slots=True)
class _Granule:
    """A granule with the collection that it is in."""

    record: Record
    collection: CollectionFacts

    @property
    def concept_id(self) -> str:
        return granule_id(self.record.key[1])

    @property
    def after(self) -> list[Any]:
        """What continues a search behind it: provider, start [ms], number."""
        number = int(self.concept_id[1:].partition("-")[0])
        return [PROVIDER.lower(), int(self.record.start.timestamp() * 1000), number]


class CmrTwin:
    """Searches what the archives hold."""

    def __init__(
        self, archives: Mapping[str, Archive], vault: Vault, tokens: TokenAuthority
    ) -> None:
        self._archives = archives
        self._vault = vault
        self._tokens = tokens

    def app(self) -> Starlette:
        """The ASGI application, below `/search`."""
        get_post = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/search/concepts/{concept}", self._concept),
                Route("/search/{kind}.{form}", self._search, methods=get_post),
                Route("/search/{rest:path}", _no_page, methods=get_post),
            ]
        )

    async def _search(self, request: Request) -> Response:
        refused = self._refusal(request)
        if refused is not None:
            return refused
        kind, form = request.path_params["kind"], request.path_params["form"]
        answers: dict[str, Callable[[Request, Asked, bool], Response]] = {
            "granules": self._granules,
            "collections": self._collections,
        }
        if kind not in answers:
            return await _no_page(request)
        is_umm = form.startswith("umm_json")
        if not is_umm and form != "json":
            return _errors(400, f"The URL extension [{form}] is not supported.")
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        if request.method == "POST":
            pairs += parse_qsl((await request.body()).decode(), keep_blank_values=True)
        try:
            found = asked(pairs, for_granules=kind == "granules")
            # Sizes of files are known once these are laid out: not on the loop that serves all.
            return await run_in_threadpool(answers[kind], request, found, is_umm)
        except AskError as error:
            return _errors(400, *error.texts)

    def _granules(self, request: Request, query: Asked, is_umm: bool) -> Response:  # noqa: FBT001
        found = self._found(query)
        after, fault = request.headers.get(_AFTER), page_fault(request.scope)
        rest = found[query.skipped :] if after is None else _behind(found, query, after)
        page = rest[: query.page_size]
        if fault is PageFault.EMPTY:
            page = []
        if fault is PageFault.DUPLICATE and page:
            page = [*page[:-1], page[0]]
        headers = {_HITS: str(len(found) + 7 * (fault is PageFault.WRONG_MATCHED))}
        if page:
            headers[_AFTER] = json.dumps(_position(page[-1], query), separators=(",", ":"))
        if is_umm:
            items = [self._umm(granule) for granule in page]
            return _umm_answer(int(headers[_HITS]), items, headers)
        return _feed(request, "ECHO granule metadata", map(_entry, page), headers)

    def _collections(self, request: Request, query: Asked, is_umm: bool) -> Response:  # noqa: FBT001
        found = [
            facts
            for facts in COLLECTIONS
            if facts.is_asked_for(query) and query.admits("concept_id", facts.concept_id)
        ]
        shown = found[query.skipped :][: query.page_size]
        after = request.headers.get(_AFTER)
        if after is not None:
            shown = []
        headers = {_HITS: str(len(found))}
        if shown:
            headers[_AFTER] = json.dumps([0.0, shown[-1].short_name, shown[-1].concept_id])
        if is_umm:
            items = [facts.umm(len(self._held(facts))) for facts in shown]
            return _umm_answer(len(found), items, headers)
        entries = (facts.entry() for facts in shown)
        return _feed(request, "ECHO dataset metadata", entries, headers)

    async def _concept(self, request: Request) -> Response:
        concept = request.path_params["concept"].partition(".")[0]
        for facts in COLLECTIONS:
            if facts.concept_id == concept:
                return JSONResponse(facts.umm(len(self._held(facts)))["umm"])
            for record in self._held(facts):
                if granule_id(record.key[1]) == concept:
                    return JSONResponse(umm_of(record.item, facts.concept_id, self._vault))
        return _errors(404, f"Concept with concept-id [{concept}] could not be found.")

    def _held(self, facts: CollectionFacts) -> list[Record]:
        return self._archives[facts.archive].catalogue.records(facts.name)

    def _found(self, query: Asked) -> list[_Granule]:
        found = [
            _Granule(record, facts)
            for facts in COLLECTIONS
            if facts.is_asked_for(query)
            for record in self._archives[facts.archive].catalogue.search(
                Search(collections=(facts.name,), start=query.start, end=query.end)
            )
            if _admits(query, record, facts)
        ]
        found.sort(key=lambda granule: granule.after)
        for name, descends in reversed(query.sort):
            found.sort(key=_by(name), reverse=descends)
        return found

    def _umm(self, granule: _Granule) -> dict[str, Any]:
        item, concept = granule.record.item, granule.collection.concept_id
        return {"meta": meta_of(item, concept), "umm": umm_of(item, concept, self._vault)}

    def _refusal(self, request: Request) -> Response | None:
        """CMR needs no token, and takes no wrong one."""
        text = _TOKEN_ERRORS.get(self._tokens.of(request)[0])
        return None if text is None else _errors(401, text)


def _admits(query: Asked, record: Record, facts: CollectionFacts) -> bool:
    name, cover = record.key[1], properties(record.item).get("eo:cloud_cover")
    if query.cloud is not None and (cover is None or not query.cloud[0] <= cover <= query.cloud[1]):
        return False
    geometry = record.geometry
    return (
        query.admits("concept_id", facts.concept_id, granule_id(name))
        and all(query.admits(one, name) for one in ("granule_ur", "native_id"))
        and query.admits("readable_granule_name", name)
        and query.admits("producer_granule_id", name)
        and all(geometry is not None and geometry.intersects(area) for area in query.areas)
    )


def _position(granule: _Granule, query: Asked) -> list[Any]:
    """What `CMR-Search-After` says: values sorted by, then what tells granules apart."""
    values = [str(SORTABLE[name](granule.record)) for name, _ in query.sort]
    return [*values, *granule.after]


def _by(name: str) -> Callable[[_Granule], Any]:
    return lambda granule: SORTABLE[name](granule.record)


def _behind(found: list[_Granule], query: Asked, after: str) -> list[_Granule]:
    """Granules behind a position that was given out before."""
    try:
        position = json.loads(after)
    except ValueError as error:
        raise AskError(f"The search-after [{after}] is not valid JSON.") from error
    if not query.sort:  # also behind a granule that has been withdrawn since
        return [granule for granule in found if granule.after > position]
    for index, granule in enumerate(found):
        if _position(granule, query) == position:
            return found[index + 1 :]
    return []


def _umm_answer(hits: int, items: list[Any], headers: Mapping[str, str]) -> Response:
    document = {"hits": hits, "took": 7, "items": items}
    return JSONResponse(document, headers=_headers(headers), media_type=_UMM)


def _feed(
    request: Request, title: str, entries: Iterable[Any], headers: Mapping[str, str]
) -> Response:
    address = f"https://{request.headers['host']}:443{request.url.path}?{request.url.query}"
    updated = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    feed = {"updated": updated, "id": address, "title": title, "entry": list(entries)}
    return JSONResponse({"feed": feed}, headers=_headers(headers), media_type=_FEED)


def _entry(granule: _Granule) -> dict[str, Any]:
    item = granule.record.item
    stated = properties(item)
    return {
        "id": granule.concept_id,
        "title": granule.record.key[1],
        "producer_granule_id": granule.record.key[1],
        "dataset_id": granule.collection.title,
        "collection_concept_id": granule.collection.concept_id,
        "data_center": PROVIDER,
        "time_start": stated["start_datetime"],
        "time_end": stated["end_datetime"],
        "updated": updated_of(item),
        "cloud_cover": stated.get("eo:cloud_cover"),
        "links": [
            {"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "href": asset["href"]}
            for asset in item["assets"].values()
        ],
    }


def _headers(found: Mapping[str, str]) -> dict[str, str]:
    request_id = str(uuid.uuid4())
    return {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": _EXPOSED,
        "cmr-request-id": request_id,
        "x-request-id": request_id,
        "cmr-took": "8",
        **found,
    }


def _errors(status: int, *texts: str) -> Response:
    return JSONResponse({"errors": list(texts)}, status, _headers({}))


async def _no_page(request: Request) -> Response:
    return _errors(404, "The CMR Application could not find the page you were looking for")
