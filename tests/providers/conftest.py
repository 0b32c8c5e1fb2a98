"""A store on loopback that opens a file only for the header it was told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Store:
    """Serves `content`, with ranges, to GET requests that carry all of `wanted`."""

    def __init__(self) -> None:
        self.content = b""
        self.wanted: dict[str, str] = {}
        self.refused: list[str] = []
        self.asked: list[tuple[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                store.asked.append((self.command, self.path))
                if any(self.headers.get(name) != value for name, value in store.wanted.items()):
                    store.refused.append(self.path)
                    self.send_error(403)
                    return
                first, last = 0, len(store.content) - 1
                ranged = self.headers.get("range")
                if ranged:
                    start, _, stop = ranged.removeprefix("bytes=").partition("-")
                    first, last = int(start), min(int(stop or last), last)
                body = store.content[first : last + 1]
                self.send_response(206 if ranged else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(body)))
                if ranged:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(store.content)}")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()
