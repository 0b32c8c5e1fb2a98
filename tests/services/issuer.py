"""Token endpoints that no third party serves: an answer for each path, and a list of the asks."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any

from tests.services.tunnel import Certificates

type Give = Callable[[str], Any]


class Issuer(ThreadingHTTPServer):
    """Answers with the JSON that `give` makes of the path."""

    daemon_threads = True

    def __init__(self, certificates: Certificates | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.give: Give = lambda path: {}
        self.asked: list[str] = []
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.certificate, certificates.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Issuer  # type: ignore[assignment]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = json.dumps(self.server.give(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving[T: BaseServer](server: T) -> Iterator[T]:
    """Serve from a thread for the length of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
