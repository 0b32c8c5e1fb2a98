"""Answers that Azure Blob and S3 share: ranges, conditions and object bodies."""

import re
from dataclasses import dataclass
from email.utils import format_datetime

from starlette.datastructures import Headers
from starlette.types import Send

from geostack_dagster.sandbox.objects import Stored

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 1 << 20


class UnsatisfiableRangeError(Exception):
    """The range lies outside the object."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes start..stop of an object."""

    start: int
    stop: int
    is_partial: bool


def span_of(headers: Headers, size: int) -> Span:
    """The bytes that the request asks for; several ranges at once count as none.

    Raises:
        UnsatisfiableRangeError: If they begin beyond the end.
    """
    asked = _RANGE.fullmatch(headers.get("x-ms-range") or headers.get("range") or "")
    if asked is None or asked.group(0) == "bytes=-":
        return Span(0, size, is_partial=False)
    first, last = asked.groups()
    if not first:
        return Span(max(size - int(last), 0), size, is_partial=True)
    start, stop = int(first), int(last) + 1 if last else size
    if start >= size or stop <= start:
        raise UnsatisfiableRangeError(asked.group(0))
    return Span(start, min(stop, size), is_partial=True)


def has_changed(headers: Headers, etag: str) -> bool:
    """Whether the request names other versions of the object than the one with this tag."""
    wanted = headers.get("if-match", "*")
    return wanted != "*" and f'"{etag}"' not in wanted.split(", ")


async def send_object(
    stored: Stored, span: Span, extra: dict[str, str], send: Send, *, is_head: bool
) -> None:
    """Answer with an object: 200 or 206, headers in `extra` besides the usual ones."""
    headers = {
        "content-length": str(span.stop - span.start),
        "content-type": stored.content_type,
        "accept-ranges": "bytes",
        "last-modified": format_datetime(stored.modified, usegmt=True),
        **extra,
    }
    if span.is_partial:
        headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{stored.size}"
    await _start(206 if span.is_partial else 200, headers, send)
    if not is_head:
        async for piece in stored.read(span.start, span.stop):
            for at in range(0, len(piece), _PIECE):
                part = bytes(piece[at : at + _PIECE]) if len(piece) > _PIECE else bytes(piece)
                await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_xml(
    status: int, document: str, extra: dict[str, str], send: Send, *, is_head: bool = False
) -> None:
    """Answer with an XML document; HEAD gets the headers only."""
    body = b"" if is_head else document.encode()
    headers = {"content-type": "application/xml", "content-length": str(len(body)), **extra}
    await _start(status, headers, send)
    await send({"type": "http.response.body", "body": body})


async def _start(status: int, headers: dict[str, str], send: Send) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
