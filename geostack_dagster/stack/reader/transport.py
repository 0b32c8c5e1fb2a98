"""One HTTP exchange, whoever carries it: a range is asked for, a `Reply` comes back.

A transport reports what the server said and judges nothing; `ByteSource` does, in one place for
all transports.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from geostack_dagster.auth.signer import SignedRequest

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed a little later."""

type Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which bytes of which object, and of which version of it."""

    request: SignedRequest = field(repr=False)
    start: int
    stop: int
    etag: str | None = None
    """Strong entity tag the object must still have; None to take any version."""
    again: bool = False
    """Whether it was asked before in vain: now the whole answer matters more than speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; `status` 206 means `data` are the bytes asked for, as far as they go."""

    status: int
    data: Buffer = field(repr=False)
    size: int | None = None
    """Length of the whole object [bytes], if the server said it."""
    etag: str | None = None
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Lower-case names; only filled for answers that are no plain success."""


class Transport(Protocol):
    """Carries asks to servers; used on the background loop only."""

    async def get(self, ask: Ask) -> Reply:
        """The server's answer.

        Raises:
            OSError: If no complete answer came: refused, reset, timed out, cut short.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


def total_size(content_range: str | None) -> int | None:
    """Object size from a header like `bytes 0-99/1000`."""
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def strong(etag: str | None) -> str | None:
    """The tag if it can be used in If-Match; weak tags never match there (RFC 9110, 13.1.1)."""
    return None if etag is None or etag.startswith("W/") else etag
