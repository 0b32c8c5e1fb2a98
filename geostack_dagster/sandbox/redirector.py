"""An HTTPS_PROXY that knows only the twins: their host names lead to loopback, all others nowhere.

It forwards bytes and never decrypts them: TLS runs between the client and the twin. Hosts without
a twin are refused with 403, so nothing under test reaches the internet by accident.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import cast, override

_LINE_LIMIT = 16 << 10


class Redirector:
    """The proxy server; `hosts` are globs."""

    def __init__(
        self, hosts: tuple[str, ...], target_port: int, refused: Callable[[str], None]
    ) -> None:
        self._hosts = hosts
        self._target_port = target_port
        self._refused = refused
        self._server: asyncio.Server | None = None
        self.clients: set[asyncio.Transport] = set()

    async def start(self) -> int:
        """Listen on a free port of loopback; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.abort()

    def admits(self, host: str) -> bool:
        """Whether a host has a twin."""
        return any(fnmatchcase(host.lower(), pattern) for pattern in self._hosts)

    def answer(self, request_line: str) -> tuple[str | None, str]:
        """Host to connect to, or None and the reason for refusing."""
        method, _, rest = request_line.partition(" ")
        target = rest.partition(" ")[0]
        if method != "CONNECT":
            self._refused(target)
            return None, f"the sandbox forwards https only, not {method} {target}"
        host, _, port = target.rpartition(":")
        if port != "443" or not self.admits(host):
            self._refused(host)
            return None, f"{target} is not a twin of the sandbox; the internet is out of reach"
        return host, ""

    async def connect(self, client: asyncio.Transport) -> "_Pipe":
        """A connection to the twins that answers into `client`."""
        loop = asyncio.get_running_loop()
        _, pipe = await loop.create_connection(
            lambda: _Pipe(client), "127.0.0.1", self._target_port
        )
        return pipe


class _Pipe(asyncio.Protocol):
    """Copies what arrives here to the other side, and slows down when that side does."""

    def __init__(self, other: asyncio.Transport | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    @override
    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    @override
    def eof_received(self) -> bool:
        if self.other is not None and self.other.can_write_eof():
            with suppress(OSError, RuntimeError):
                self.other.write_eof()
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    @override
    def pause_writing(self) -> None:
        """This side's client reads slowly: stop reading from the other side."""
        if self.other is not None:
            self.other.pause_reading()

    @override
    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()


class _Client(_Pipe):
    """The client's side: reads the CONNECT request, then only copies."""

    def __init__(self, redirector: Redirector) -> None:
        super().__init__()
        self._redirector = redirector
        self._head = b""
        self._opening: asyncio.Task[None] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            self._redirector.clients.add(self.transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.transport is not None:
            self._redirector.clients.discard(self.transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)
            return
        self._head += data
        if self._opening is None and (b"\r\n\r\n" in self._head or len(self._head) > _LINE_LIMIT):
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        client = self.transport
        if client is None:
            return
        head, _, rest = self._head.partition(b"\r\n\r\n")
        host, reason = self._redirector.answer(head.partition(b"\r\n")[0].decode("latin-1"))
        if host is None:
            body = reason.encode() + b"\n"
            client.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            client.close()
            return
        pipe = await self._redirector.connect(client)
        client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if pipe.transport is not None and rest:
            pipe.transport.write(rest)
        self.other = pipe.transport
