"""Real host names on loopback: a proxy that leads each to a port, and certificates for them."""

import os
import select
import socket
import socketserver
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import trustme

_CHUNK = 1 << 16
_TRUSTING = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GDAL_CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
)


class Tunnel(socketserver.ThreadingTCPServer):
    """An HTTPS proxy that knows some host names (globs) and refuses all others."""

    daemon_threads = True

    def __init__(self, ports: Mapping[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.ports = ports

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def port(self, host: str) -> int | None:
        """Where a host is served; None for one that is not."""
        return next((port for glob, port in self.ports.items() if fnmatchcase(host, glob)), None)


class _Connection(socketserver.StreamRequestHandler):
    server: Tunnel
    rbufsize = 0  # what follows the request belongs to the other end

    def handle(self) -> None:
        method, _, rest = self.rfile.readline().decode().partition(" ")
        while self.rfile.readline().strip():
            pass
        port = self.server.port(rest.partition(":")[0])
        if method != "CONNECT" or port is None:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port)) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self._copy(other)

    def _copy(self, other: socket.socket) -> None:
        across = {self.connection: other, other: self.connection}
        while True:
            for source in select.select(list(across), [], [])[0]:
                try:
                    data = source.recv(_CHUNK)
                    across[source].sendall(data)
                except OSError:
                    return
                if not data:
                    return


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a throw-away authority."""

    certificate: Path
    key: Path
    bundle: Path

    @classmethod
    def issue(cls, folder: Path, *hosts: str) -> "Certificates":
        """Certificates for host names, wildcards allowed."""
        authority = trustme.CA()
        issued = authority.issue_cert(*hosts)
        made = cls(*(folder / name for name in ("server.pem", "server.key", "ca.pem")))
        made.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        made.key.write_bytes(issued.private_key_pem.bytes())
        authority.cert_pem.write_to_path(made.bundle)
        return made


def inside(tunnel: Tunnel, certificates: Certificates) -> dict[str, str]:
    """Variables with which every client takes the tunnel and trusts the certificates."""
    return {
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), tunnel.url),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        **dict.fromkeys(_TRUSTING, os.fspath(certificates.bundle)),
    }
