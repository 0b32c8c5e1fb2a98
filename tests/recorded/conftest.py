"""Recorded conversations with real catalogues, answered again from loopback."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

_PAGING = ("next", "token", "startIndex")


@dataclass
class Replay:
    """Answers requests as the recorded catalogue did, at a host of its own.

    A search is answered by the recorded one with the same paging token; where the recording ends,
    by an empty page.
    """

    host: str
    exchanges: list[dict[str, Any]]
    origin: str = ""
    searches: list[dict[str, Any]] = field(default_factory=list)
    beyond: int = 0
    """Requests that the recording has no answer for."""

    def url(self, path: str) -> str:
        return f"{self.origin}{path}"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if path.endswith("/search"):
            self.searches.append(body)
        for exchange in self.exchanges:
            request, response = exchange["request"], exchange["response"]
            if request["method"] == method and self.is_same(request, path, body):
                text = json.dumps(response["json"])
                return response["status"], text.replace(self.host, self.origin).encode()
        self.beyond += 1
        if path.endswith("/search"):
            return 200, b'{"type": "FeatureCollection", "features": [], "links": []}'
        return 404, b'{"code": "NotFound"}'

    def is_same(self, request: dict[str, Any], path: str, body: dict[str, Any]) -> bool:
        recorded = urlsplit(request["uri"])
        if recorded.path.rstrip("/") != path.rstrip("/"):
            return False
        stated = request.get("body") or {}
        return all(stated.get(name) == body.get(name) for name in _PAGING)


@pytest.fixture
def replay(shared_fixtures: Path) -> Iterator[Callable[..., Replay]]:
    """Serves the conversations of some recordings with one host."""
    with ExitStack() as stack:

        def start(host: str, *names: str, extra: tuple[dict[str, Any], ...] = ()) -> Replay:
            exchanges = [
                json.loads(line)
                for name in names
                for line in (shared_fixtures / "http" / f"{name}.ndjson").read_text().splitlines()
            ]
            return stack.enter_context(_serving(Replay(host, [*exchanges, *extra])))

        yield start


@contextmanager
def _serving(replay: Replay) -> Iterator[Replay]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            status, answer = replay.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = respond  # noqa: N815 names that http.server prescribes

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    replay.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
