"""Faults on demand and a log of every request: the gate in front of all twins.

Rules are set at run time through the control endpoint. The first rule that matches a request and
has something left to spend is applied; rules with only a latency let later rules apply as well.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geostack_dagster.sandbox.switch import host_of

_SCOPE_KEY = "sandbox.faults"
_LOG_LENGTH = 200_000
_SLOW_CHUNK = 16 << 10
_INVERTED = bytes(255 - value for value in range(256))
_PER_SECOND = {"sh.dataspace.copernicus.eu": 1000}
"""What a host counts Retry-After in; seconds elsewhere."""
_LOGIN_PAGE = b"""<!DOCTYPE html>
<html><head><title>Sign in</title></head><body><form method="post" action="/login">
<input name="username"><input name="password" type="password"></form></body></html>"""


class PageFault(StrEnum):
    """What is wrong with a page of search results."""

    EMPTY = "empty"
    DUPLICATE = "duplicate"
    WRONG_MATCHED = "wrong-matched"


@dataclass(slots=True, kw_only=True)
class Fault:
    """A rule: which requests it takes and what happens to them."""

    host: str = "*"
    path: str = "*"
    method: str = "*"
    times: int | None = None
    """Requests it takes before it is spent; None for all."""
    skip: int = 0
    """Matching requests it lets pass first."""
    probability: float = 1.0
    latency_s: float = 0.0
    status: int | None = None
    retry_after_s: float | None = None
    truncate_bytes: int | None = None
    """Body bytes after which the connection is closed."""
    corrupt: bool = False
    """Other bytes than the object's, as many."""
    bytes_per_s: int | None = None
    html: bool = False
    """A login page with 200 instead of the data."""
    expire: bool = False
    """Credentials of the request count as expired."""
    unlicensed: bool = False
    """The account counts as not having accepted the licence of the data."""
    page: PageFault | None = None
    hits: int = 0
    seen: int = field(default=0, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Fault":
        """Fault from JSON."""
        page = document.get("page")
        return cls(**{**document, "page": PageFault(page) if page else None})

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @property
    def only_delays(self) -> bool:
        """Whether later rules may apply to the same request."""
        return self == Fault(
            **{name: getattr(self, name) for name in _MATCHING}, latency_s=self.latency_s
        )


_MATCHING = ("host", "path", "method", "times", "skip", "probability", "hits", "seen")


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request as the twins saw it; the query, which may hold a signature, is left out."""

    at: float
    method: str
    host: str
    path: str
    range: str | None
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Gate:
    """Applies faults and writes the log; wraps the application that serves all hosts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.faults: list[Fault] = []
        self.log: deque[Entry] = deque(maxlen=_LOG_LENGTH)
        self._random = random.Random(20240603)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = _entry(scope)
        started = time.perf_counter()
        faults = self._matching(entry)
        scope[_SCOPE_KEY] = faults
        try:
            await self._serve(faults, scope, receive, _counted(entry, send))
        finally:
            entry.seconds = time.perf_counter() - started
            self.log.append(entry)

    def refused(self, host: str) -> None:
        """Log a host that the redirector turned away."""
        entry = Entry(at=time.time(), method="CONNECT", host=host, path="", range=None, status=403)
        self.log.append(entry)

    def _matching(self, entry: Entry) -> list[Fault]:
        found = []
        for fault in self.faults:
            if not _matches(fault, entry):
                continue
            fault.seen += 1
            is_spent = fault.times is not None and fault.hits >= fault.times
            if fault.seen <= fault.skip or is_spent or self._random.random() >= fault.probability:
                continue
            fault.hits += 1
            found.append(fault)
            if not fault.only_delays:
                break
        return found

    async def _serve(self, faults: list[Fault], scope: Scope, receive: Receive, send: Send) -> None:
        for fault in faults:
            if fault.latency_s:
                await asyncio.sleep(fault.latency_s)
            if fault.status is not None:
                await _fail(fault, host_of(scope), send)
                return
            if fault.html:
                await _answer(200, {"content-type": "text/html"}, _LOGIN_PAGE, send)
                return
            if fault.truncate_bytes is not None:
                send = _truncated(fault.truncate_bytes, send)
            if fault.corrupt:
                send = _corrupted(send)
            if fault.bytes_per_s is not None:
                send = _slow(fault.bytes_per_s, send)
        try:
            await self._app(scope, receive, send)
        except _CutError:
            return  # uvicorn sees a short body and closes the connection, as meant


class _CutError(Exception):
    """The body ends here."""


def page_fault(scope: Scope) -> PageFault | None:
    """The page fault that applies to a request."""
    return next((fault.page for fault in scope.get(_SCOPE_KEY, ()) if fault.page), None)


def is_expired_by_fault(scope: Scope) -> bool:
    """Whether a rule lets the request's credentials count as expired."""
    return any(fault.expire for fault in scope.get(_SCOPE_KEY, ()))


def is_unlicensed_by_fault(scope: Scope) -> bool:
    """Whether a rule lets the account count as not having accepted the licence."""
    return any(fault.unlicensed for fault in scope.get(_SCOPE_KEY, ()))


def _matches(fault: Fault, entry: Entry) -> bool:
    return (
        fnmatchcase(entry.host, fault.host)
        and fnmatchcase(entry.path, fault.path)
        and fnmatchcase(entry.method, fault.method)
    )


def _entry(scope: Scope) -> Entry:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    return Entry(
        at=time.time(),
        method=scope["method"],
        host=headers.get(b"host", "").partition(":")[0],
        path=scope["path"],
        range=headers.get(b"range") or headers.get(b"x-ms-range"),
    )


def _counted(entry: Entry, send: Send) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry.status = message["status"]
        else:
            entry.bytes += len(message.get("body", b""))
        await send(message)

    return counted


def _truncated(limit: int, send: Send) -> Send:
    left = limit

    async def truncated(message: Message) -> None:
        nonlocal left
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) <= left:
            left -= len(body)
            await send(message)
            return
        await send({"type": "http.response.body", "body": body[:left], "more_body": True})
        raise _CutError

    return truncated


def _corrupted(send: Send) -> Send:
    async def corrupted(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": bytes(message.get("body", b"")).translate(_INVERTED)}
        await send(message)

    return corrupted


def _slow(bytes_per_s: int, send: Send) -> Send:
    async def slow(message: Message) -> None:
        body = bytes(message.get("body", b""))
        if message["type"] != "http.response.body" or not body:
            await send(message)
            return
        for at in range(0, len(body), _SLOW_CHUNK):
            part = body[at : at + _SLOW_CHUNK]
            await asyncio.sleep(len(part) / bytes_per_s)
            is_last = at + _SLOW_CHUNK >= len(body) and not message.get("more_body", False)
            await send({"type": "http.response.body", "body": part, "more_body": not is_last})

    return slow


async def _fail(fault: Fault, host: str, send: Send) -> None:
    headers = {"content-type": "application/json"}
    if fault.retry_after_s is not None:
        headers["retry-after"] = f"{fault.retry_after_s * _PER_SECOND.get(host, 1):.12g}"
    await _answer(fault.status or 500, headers, b'{"message":"fault of the sandbox"}', send)


async def _answer(status: int, headers: dict[str, str], body: bytes, send: Send) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
