"""A loopback HTTP server that answers as a test says and remembers what it was asked."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from geostack_dagster.auth import broker

VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PC_SDK_SAS_URL",
    "PC_SDK_SUBSCRIPTION_KEY",
    "CDSE_ACCESS_KEY_ID",
    "CDSE_SECRET_ACCESS_KEY",
    "CDSE_USERNAME",
    "CDSE_PASSWORD",
    "GEOSTACK_AWS_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "EARTHDATA_TOKEN",
    "EARTHDATA_USERNAME",
    "EARTHDATA_PASSWORD",
    "SH_CLIENT_ID",
    "SH_CLIENT_SECRET",
    "ENMAP_USERNAME",
    "ENMAP_PASSWORD",
    "NETRC",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    document: object = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def encoded(self) -> bytes:
        return json.dumps(self.document).encode() if self.body is None else self.body


class Loopback:
    """`answer` maps a request to a reply; `asked` lists the requests so far."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[Asked], Reply] = lambda asked: Reply(404)
        self.asked: list[Asked] = []
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                loopback.asked.append(asked)
                reply = loopback.answer(asked)
                body = reply.encoded()
                self.send_response_only(reply.status)
                for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 (the names the server looks for)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://localhost:{self.server.server_port}"

    def script(self, *replies: Reply) -> None:
        """Answer with these in turn; the last one again and again."""
        remaining = list(replies)
        self.answer = lambda asked: remaining.pop(0) if len(remaining) > 1 else remaining[0]


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@contextmanager
def _serving(found: Loopback) -> Iterator[Loopback]:
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with _serving(Loopback()) as found:
        yield found


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_loopback(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """The same over TLS at `https://localhost`, trusted through the environment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with _serving(Loopback(context)) as found:
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a credential be refused right after its fetch, so that no test has to wait."""
    monkeypatch.setattr(broker, "_MIN_AGE", timedelta(0))


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An environment without any credential, proxy or home of its own."""
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
