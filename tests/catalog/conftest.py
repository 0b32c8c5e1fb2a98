"""A small STAC API on loopback that can be told to misbehave."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

type Document = dict[str, Any]


@dataclass
class Answer:
    """What goes over the wire."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Catalogue:
    """Searches `items` honestly, unless `bend` or `faults` say otherwise."""

    items: list[Document] = field(default_factory=list)
    collections: tuple[str, ...] = ("c",)
    faults: list[Answer] = field(default_factory=list)
    """Given instead of the next answers to a search, one each."""
    bend: Callable[[Document, Document], Document | Answer] = lambda page, body: page
    """Changes a page, given the body of the request."""
    states_matched: bool = True
    conforms: list[str] = field(
        default_factory=lambda: [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ]
    )
    methods: tuple[str, ...] = ("POST", "GET")
    url: str = ""
    log: list[tuple[str, str, Document]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def searches(self) -> list[Document]:
        return [body for _, path, body in self.log if path.startswith("/search")]

    @property
    def landings(self) -> int:
        return sum(path == "/" for _, path, _ in self.log)

    def answer(self, method: str, path: str, body: Document) -> Answer:
        with self.lock:
            self.log.append((method, path, body))
            fault = self.faults.pop(0) if self.faults and path.startswith("/search") else None
        if fault is not None:
            return fault
        if path == "/":
            return as_json(self.landing())
        if path.startswith("/collections/"):
            known = path.removeprefix("/collections/") in self.collections
            return as_json({"id": "c"} if known else {"code": "NotFound"}, 200 if known else 404)
        page = self.bend(self.page(body), body)
        return page if isinstance(page, Answer) else as_json(page)

    def landing(self) -> Document:
        links = [
            {
                "rel": "search",
                "type": "application/geo+json",
                "method": method,
                "href": f"{self.url}/search",
            }
            for method in self.methods
        ]
        return {
            "type": "Catalog",
            "id": "test",
            "stac_version": "1.0.0",
            "description": "test",
            "conformsTo": self.conforms,
            "links": links,
        }

    def page(self, body: Document) -> Document:
        found = [item for item in self.items if self.matches(item, body)]
        limit, offset = int(body.get("limit", 10)), int(body.get("token", 0))
        page: Document = {
            "type": "FeatureCollection",
            "features": found[offset : offset + limit],
            "links": [],
        }
        if self.states_matched:
            page["numberMatched"] = len(found)
        if offset + limit < len(found):
            page["links"].append(self.link({**body, "token": offset + limit}))
        return page

    def link(self, body: Document) -> Document:
        return {"rel": "next", "method": "POST", "href": f"{self.url}/search", "body": body}

    def matches(self, item: Document, body: Document) -> bool:
        start, end = map(datetime.fromisoformat, body["datetime"].split("/"))
        stated = item["properties"]["datetime"]
        return (
            item["collection"] in body["collections"]
            and start <= datetime.fromisoformat(stated) <= end
            and ("ids" not in body or item["id"] in body["ids"])
        )


def as_json(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    served = Catalogue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            served.headers.append(dict(self.headers))
            answer = served.answer(self.command, self.path.partition("?")[0], body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = respond  # noqa: N815 names that http.server prescribes

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def answer() -> Callable[..., Answer]:
    """Makes an answer of a status, a body and headers."""
    return Answer
