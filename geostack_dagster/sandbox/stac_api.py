"""A STAC API twin: one Starlette application for every dialect.

Our own rather than stac-fastapi with a memory backend: what clients trip over is each archive's
paging, errors and silences, and those are data here (`dialects/`). Searches are evaluated with
shapely and the `cql2` package.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geostack_dagster.sandbox import queries
from geostack_dagster.sandbox.catalogue import BadRequestError, Catalogue, Record, Search
from geostack_dagster.sandbox.dialects import CollectionFacts, Dialect
from geostack_dagster.sandbox.faults import PageFault, page_fault
from geostack_dagster.sandbox.paging import Ask, Link, Page
from geostack_dagster.sandbox.queries import Parameters

_KINDS = {429: "TooManyRequests", 500: "InternalServerError"}


class StacTwin:
    """Serves one catalogue in one dialect."""

    def __init__(self, dialect: Dialect, catalogue: Catalogue) -> None:
        self._dialect = dialect
        self._catalogue = catalogue

    def app(self) -> Starlette:
        """The ASGI application, with absolute paths of the archive."""
        path = self._dialect.path
        handlers: dict[str, tuple[Callable[[Request], Awaitable[Response]], list[str]]] = {
            "": (self._landing, ["GET"]),
            "/": (self._landing, ["GET"]),
            "/conformance": (self._conformance, ["GET"]),
            "/queryables": (self._queryables, ["GET"]),
            "/collections": (self._collections, ["GET"]),
            "/collections/{collection}": (self._collection, ["GET"]),
            "/collections/{collection}/queryables": (self._queryables, ["GET"]),
            "/collections/{collection}/items": (self._items, ["GET"]),
            "/collections/{collection}/items/{item}": (self._item, ["GET"]),
            "/search": (self._search, ["GET", "POST"]),
        }
        routes = [
            Route(path + tail, self._guarded(handler), methods=methods)
            for tail, (handler, methods) in handlers.items()
        ]
        return Starlette(routes=routes, exception_handlers={404: self._unknown_path})

    def _guarded(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except BadRequestError as error:
                kind = _KINDS.get(error.status, "BadRequest")
                return self._error(error.status, kind, str(error))

        return guarded

    async def _landing(self, request: Request) -> Response:
        dialect = self._dialect
        return self._json(
            {
                "type": "Catalog",
                "id": dialect.id,
                "title": dialect.title,
                "description": dialect.description,
                "stac_version": dialect.stac_version,
                "conformsTo": list(dialect.conformance),
                "links": dialect.landing(self._collection_ids()),
            }
        )

    async def _conformance(self, request: Request) -> Response:
        return self._json({"conformsTo": list(self._dialect.conformance)})

    async def _queryables(self, request: Request) -> Response:
        names = sorted(
            {
                name
                for record in self._catalogue.records(request.path_params.get("collection"))[:50]
                for name in record.item.get("properties", {})
                if name in self._dialect.grammar.filter
            }
        )
        return self._json(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "$id": str(request.url),
                "type": "object",
                "title": "STAC Queryables.",
                "properties": {name: {} for name in ("id", "geometry", *names)},
            }
        )

    async def _collections(self, request: Request) -> Response:
        documents = [self._collection_document(name) for name in self._collection_ids()]
        return self._json({"collections": documents, "links": [self._dialect.root]})

    async def _collection(self, request: Request) -> Response:
        asked = request.path_params["collection"]
        name = self._known(asked)
        if name is None:
            return self._missing(asked)
        return self._json(self._collection_document(name))

    async def _item(self, request: Request) -> Response:
        collection, name = request.path_params["collection"], request.path_params["item"]
        record = self._catalogue.get(self._known(collection) or collection, name)
        if record is None:
            return self._missing(collection, name)
        return Response(record.body, media_type=self._dialect.geojson_type)

    async def _items(self, request: Request) -> Response:
        asked = request.path_params["collection"]
        name = self._known(asked)
        if name is None:
            return self._missing(asked)
        parameters = queries.of_get(request.query_params) | {"collections": [name]}
        return self._found(request, parameters, dict(request.query_params))

    async def _search(self, request: Request) -> Response:
        if request.method == "GET":
            given: Parameters = dict(request.query_params)
            parameters = queries.of_get(request.query_params)
        else:
            given = parameters = _decoded(await request.body())
        queries.demand(parameters, self._dialect.grammar)
        return self._found(request, parameters, given)

    def _found(self, request: Request, parameters: Parameters, given: Parameters) -> Response:
        dialect = self._dialect
        limit = queries.limit_of(parameters, dialect.grammar)
        address = f"https://{dialect.host}{request.url.path}"
        ask = Ask(address, request.method, given, limit)
        page = self._page(queries.search_of(parameters, dialect.grammar), ask)
        steps = dialect.paging.steps(page, ask)
        page, steps = _spoiled(request, page, steps, ask)
        features = [_feature(record, parameters) for record in page.records]
        head: dict[str, Any] = {"type": "FeatureCollection", **dialect.counts(page, ask)}
        body = b'%s,"features":[%s],"links":%s}' % (
            json.dumps(head)[:-1].encode(),
            b",".join(features),
            json.dumps(dialect.frame(ask, steps)).encode(),
        )
        if dialect.max_body is not None and len(body) > dialect.max_body:
            return Response(
                b'{"message": "Internal server error"}', 502, media_type="application/json"
            )
        return Response(body, media_type=dialect.geojson_type)

    def _page(self, search: Search, ask: Ask) -> Page:
        dialect = self._dialect
        found = self._catalogue.search(search)
        if not search.sortby:
            found.sort(key=dialect.order, reverse=dialect.is_newest_first)
        start = dialect.paging.start(found, ask.given, ask.limit)
        records = found[start : start + ask.limit]
        return Page(records, len(found), start, start + len(records))

    def _known(self, name: str) -> str | None:
        """The collection that a name stands for."""
        held = self._collection_ids()
        return next((known for known in self._dialect.grammar.ids_of(name) if known in held), None)

    def _collection_ids(self) -> list[str]:
        return sorted({*self._dialect.collections, *self._catalogue.collections()})

    def _collection_document(self, name: str) -> dict[str, Any]:
        dialect = self._dialect
        facts = dialect.collections.get(name, CollectionFacts(title=name))
        href = f"{dialect.base}/collections/{name}"
        return {
            "type": "Collection",
            "stac_version": dialect.stac_version,
            "id": name,
            "title": facts.title,
            "description": f"{facts.title}, served by the sandbox",
            "license": facts.license,
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
            },
            "links": [
                {"rel": "self", "type": "application/json", "href": href},
                {"rel": "items", "type": "application/geo+json", "href": f"{href}/items"},
                {"rel": "parent", "type": "application/json", "href": dialect.base},
                dialect.root,
            ],
            **facts.extra,
        }

    def _json(self, document: Any, status: int = 200) -> Response:
        return Response(json.dumps(document), status, media_type=self._dialect.json_type)

    def _error(self, status: int, kind: str, description: str) -> Response:
        return self._json(self._dialect.errors(status, kind, description), status)

    def _missing(self, collection: str, item: str | None = None) -> Response:
        dialect = self._dialect
        return self._error(404, dialect.not_found, dialect.missing(collection, item))

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        return self._error(404, self._dialect.not_found, "Not Found")


def _decoded(body: bytes) -> Parameters:
    try:
        parameters = json.loads(body or b"{}")
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise BadRequestError("the body is not a JSON object")
    return parameters


def _spoiled(request: Request, page: Page, steps: list[Link], ask: Ask) -> tuple[Page, list[Link]]:
    """The page as a fault rule wants it: empty, offered again, or miscounted."""
    fault = page_fault(request.scope)
    if fault is PageFault.EMPTY:
        page = replace(page, records=[])
    elif fault is PageFault.WRONG_MATCHED:
        page = replace(page, matched=page.matched * 2 + 7)
    elif fault is PageFault.DUPLICATE:
        others = [link for link in steps if link["rel"] != "next"]
        steps = [ask.link("next"), *others]
    return page, steps


def _feature(record: Record, parameters: Parameters) -> bytes:
    chosen = queries.selected(record.item, parameters.get("fields"))
    return record.body if chosen is record.item else json.dumps(chosen).encode()
