"""A STAC API twin: one Starlette application for every dialect.

Our own rather than stac-fastapi with a memory backend: what clients trip over is each archive's
paging, errors and silences, and those are data here (`dialects.py`). Searches are evaluated with
shapely and the `cql2` package.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geostack_dagster.sandbox import queries
from geostack_dagster.sandbox.catalogue import BadRequestError, Catalogue, Record
from geostack_dagster.sandbox.dialects import CollectionFacts, Dialect, Paging
from geostack_dagster.sandbox.faults import PageFault, page_fault
from geostack_dagster.sandbox.queries import Parameters

type Link = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Page:
    """One page of a search."""

    records: list[Record]
    matched: int
    has_more: bool
    is_first: bool


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
                return self._error(400, "BadRequest", str(error))

        return guarded

    async def _landing(self, request: Request) -> Response:
        dialect = self._dialect
        base = dialect.base
        links = [
            {"rel": "self", "type": "application/json", "href": base + dialect.root_slash},
            self._root(),
            {"rel": "data", "type": "application/json", "href": f"{base}/collections"},
            {"rel": "conformance", "type": "application/json", "href": f"{base}/conformance"},
            *(
                {"rel": "search", "type": "application/geo+json", "href": f"{base}/search"}
                | {"method": method}
                for method in ("GET", "POST")
            ),
            *(
                {"rel": "child", "type": "application/json", "href": f"{base}/collections/{name}"}
                for name in self._collection_ids()
            ),
        ]
        return self._json(
            {
                "type": "Catalog",
                "id": dialect.id,
                "title": dialect.title,
                "description": dialect.description,
                "stac_version": "1.0.0",
                "conformsTo": list(dialect.conformance),
                "links": links,
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
        return self._json({"collections": documents, "links": [self._root()]})

    async def _collection(self, request: Request) -> Response:
        name = request.path_params["collection"]
        if name not in self._collection_ids():
            return self._missing(f"No collection with id '{name}' found!")
        return self._json(self._collection_document(name))

    async def _item(self, request: Request) -> Response:
        collection, name = request.path_params["collection"], request.path_params["item"]
        record = self._catalogue.get(collection, name)
        if record is None:
            return self._missing(f"Item {name} in Collection {collection} does not exist.")
        return Response(record.body, media_type=self._dialect.geojson_type)

    async def _items(self, request: Request) -> Response:
        name = request.path_params["collection"]
        if name not in self._collection_ids():
            return self._missing(f"No collection with id '{name}' found!")
        given = dict(request.query_params)
        parameters = queries.of_get(given) | {"collections": [name]}
        return self._found(request, parameters, given)

    async def _search(self, request: Request) -> Response:
        if request.method == "GET":
            given = dict(request.query_params)
            return self._found(request, queries.of_get(given), given)
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError as error:
            raise BadRequestError(f"the body is not JSON: {error}") from error
        return self._found(request, body, body)

    def _found(self, request: Request, parameters: Parameters, given: Parameters) -> Response:
        dialect = self._dialect
        limit = queries.limit_of(parameters, dialect.page_limit, dialect.max_page)
        search = queries.search_of(parameters, heeds_filter=dialect.heeds_filter)
        page = self._page(search, parameters, limit)
        links = self._page_links(request, page, given)
        page, links = self._spoiled(request, page, links, given)
        features = [self._feature(record, parameters) for record in page.records]
        head: dict[str, Any] = {"type": "FeatureCollection"}
        if dialect.states_matched:
            returned = len(page.records)
            head |= {
                "stac_version": "1.0.0",
                "stac_extensions": [],
                "context": {"limit": limit, "matched": page.matched, "returned": returned},
                "numberMatched": page.matched,
                "numberReturned": returned,
            }
        body = b'%s,"features":[%s],"links":%s}' % (
            json.dumps(head)[:-1].encode(),
            b",".join(features),
            json.dumps(links).encode(),
        )
        if dialect.max_body is not None and len(body) > dialect.max_body:
            return Response(
                b'{"message": "Internal server error"}', 502, media_type="application/json"
            )
        return Response(body, media_type=dialect.geojson_type)

    def _page(self, search: Any, parameters: Parameters, limit: int) -> _Page:
        found = self._catalogue.search(search)
        start = self._start(found, parameters, limit)
        records = found[start : start + limit]
        return _Page(records, len(found), start + limit < len(found), start == 0)

    def _spoiled(
        self, request: Request, page: _Page, links: list[Link], given: Parameters
    ) -> tuple[_Page, list[Link]]:
        """The page as a fault rule wants it: empty, offered again, or miscounted."""
        fault = page_fault(request.scope)
        if fault is PageFault.EMPTY:
            page = replace(page, records=[])
        elif fault is PageFault.WRONG_MATCHED:
            page = replace(page, matched=page.matched * 2 + 7)
        elif fault is PageFault.DUPLICATE:
            others = [link for link in links if link["rel"] != "next"]
            links = [self._page_link(request, "next", given), *others]
        return page, links

    def _start(self, found: list[Record], parameters: Parameters, limit: int) -> int:
        """Position of the first Item of the page that the client's token names."""
        if self._dialect.paging is Paging.SEARCH_AFTER:
            text = parameters.get("next")
            if not text:
                return 0
            _, name, collection = str(text).split(",", 2)
            return self._position(found, (collection, name)) + 1
        text = parameters.get("token")
        if not text:
            return 0
        direction, _, rest = str(text).partition(":")
        collection, _, name = rest.partition(":")
        at = self._position(found, (collection, name))
        return at + 1 if direction == "next" else max(at - limit, 0)

    def _position(self, found: list[Record], key: tuple[str, str]) -> int:
        for position, record in enumerate(found):
            if record.key == key:
                return position
        raise BadRequestError(f"the page token names {key[1]!r}, which is not in the results")

    def _page_links(self, request: Request, page: _Page, given: Parameters) -> list[Link]:
        links = []
        if self._dialect.paging is Paging.SEARCH_AFTER:
            if page.records:  # also after the last page: then an empty one follows
                last = page.records[-1]
                moment = last.start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                token = f"{moment},{last.key[1]},{last.key[0]}"
                link = self._page_link(request, "next", given | {"next": token})
                links.append({"title": "Next page of Items"} | link | {"merge": False})
            return [*links, self._root()]
        if page.has_more:
            collection, name = page.records[-1].key
            given = given | {"token": f"next:{collection}:{name}"}
            links.append(self._page_link(request, "next", given))
        if not page.is_first and page.records:
            collection, name = page.records[0].key
            given = given | {"token": f"prev:{collection}:{name}"}
            links.append(self._page_link(request, "previous", given))
        here = f"https://{self._dialect.host}{request.url.path}"
        return [*links, self._root(), {"rel": "self", "type": "application/json", "href": here}]

    def _page_link(self, request: Request, rel: str, given: Parameters) -> Link:
        href = f"https://{self._dialect.host}{request.url.path}"
        link: Link = {"rel": rel, "type": "application/geo+json", "method": request.method}
        if request.method == "POST":
            return link | {"href": href, "body": given}
        return link | {"href": f"{href}?{urlencode(given, safe=':,/', quote_via=quote)}"}

    def _feature(self, record: Record, parameters: Parameters) -> bytes:
        chosen = queries.selected(record.item, parameters.get("fields"))
        return record.body if chosen is record.item else json.dumps(chosen).encode()

    def _collection_ids(self) -> list[str]:
        return sorted({*self._dialect.collections, *self._catalogue.collections()})

    def _collection_document(self, name: str) -> dict[str, Any]:
        base = self._dialect.base
        facts = self._dialect.collections.get(name, CollectionFacts(title=name))
        href = f"{base}/collections/{name}"
        return {
            "type": "Collection",
            "stac_version": "1.0.0",
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
                {"rel": "parent", "type": "application/json", "href": base},
                self._root(),
            ],
            **facts.extra,
        }

    def _root(self) -> Link:
        href = self._dialect.base + self._dialect.root_slash
        return {"rel": "root", "type": "application/json", "href": href}

    def _json(self, document: dict[str, Any], status: int = 200) -> Response:
        return Response(json.dumps(document), status, media_type=self._dialect.json_type)

    def _error(self, status: int, code: str, description: str) -> Response:
        return self._json({"code": code, "description": description}, status)

    def _missing(self, description: str) -> Response:
        if self._dialect.paging is Paging.SEARCH_AFTER:
            description = "Not Found"
        return self._error(404, self._dialect.not_found, description)

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        return self._missing("Not Found")
