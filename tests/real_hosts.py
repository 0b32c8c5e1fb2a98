"""Archives at their real host names, on loopback: TLS under a throw-away CA, behind a proxy.

For clients that cannot be pointed at another address, earthaccess above all.
"""

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi
import trustme

from geostack_dagster.sandbox.redirector import Redirector

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Request:
    method: str
    host: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class RealHosts:
    """What the hosts were asked, and the variables that lead a client to them."""

    answer: Callable[[Request], Answer]
    asked: list[Request] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Hosts that were asked for and are none of these."""
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def real_hosts(
    folder: Path, hosts: tuple[str, ...], answer: Callable[[Request], Answer]
) -> Iterator[RealHosts]:
    found = RealHosts(answer)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    bundle = folder / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with _running(server), _proxy(hosts, server.server_port, found) as proxy:
        found.environment = {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
            **dict.fromkeys(_BUNDLES, str(bundle)),
            "HOME": str(folder),
        }
        yield found


def _handler(state: RealHosts) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(
                self.command, headers.get("host", ""), self.path, headers, self.rfile.read(length)
            )
            state.asked.append(request)
            answer = state.answer(request)
            self.send_response_only(answer.status)  # recorded answers bring their own Date
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_HEAD = respond  # noqa: N815 (names of http.server)

    return Handler


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _proxy(hosts: tuple[str, ...], port: int, state: RealHosts) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    redirector = Redirector(hosts, port, state.strangers.append)
    try:
        found = asyncio.run_coroutine_threadsafe(redirector.start(), loop).result(10)
        yield f"http://127.0.0.1:{found}"
    finally:
        loop.call_soon_threadsafe(redirector.stop)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def without_proxies() -> list[str]:
    """Variables of this machine that would lead elsewhere."""
    return [name for name in os.environ if name.lower() in ("http_proxy", "all_proxy")]
