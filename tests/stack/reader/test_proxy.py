"""Both transports go through HTTPS_PROXY and trust SSL_CERT_FILE, as the sandbox needs."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

BODY = bytes(range(200))
HOST = "archive.example.org"
READ = f"""
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource
import sys
found = wait(ByteSource(transport=sys.argv[1]).opening("https://{HOST}/folder/file.tif", 200))
print(bytes(found.data).hex(), found.size)
"""


def answer(connection: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    assert head.startswith(b"GET /folder/file.tif HTTP/1.1")
    status = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-199/200\r\n"
    connection.sendall(status + b"Content-Length: 200\r\nConnection: close\r\n\r\n" + BODY)
    connection.close()


def serve(listener: socket.socket, context: ssl.SSLContext, asked: list[str]) -> None:
    """A proxy that answers CONNECT and then, under TLS, for the host that was asked for."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        line = connection.recv(4096).split(b"\r\n", 1)[0].decode()
        asked.append(line)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        answer(context.wrap_socket(connection, server_side=True))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    authority, asked = trustme.CA(), []
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, context, asked), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", bundle, asked


@pytest.mark.parametrize("transport", ["obstore", "fsspec"])
def test_proxy_and_certificates_come_from_the_environment(proxy, transport):
    address, bundle, asked = proxy
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = {
        **clean,
        "HTTPS_PROXY": address,
        "https_proxy": address,
        "SSL_CERT_FILE": str(bundle),
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, transport],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [BODY.hex(), "200"], done.stderr
    assert asked == [f"CONNECT {HOST}:443 HTTP/1.1"]
