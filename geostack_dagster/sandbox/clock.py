"""The archives' clock, which may differ from a client's; every answer tells the time.

One process serves all archives and they share one clock.
"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_skew = timedelta()


def now() -> datetime:
    """The archives' time."""
    return datetime.now(UTC) + _skew


def shift(skew_s: float) -> None:
    """Let the archives' clock be so much ahead of this machine's."""
    global _skew  # noqa: PLW0603 - a clock is one for all
    _skew = timedelta(seconds=skew_s)


def dated(app: ASGIApp) -> ASGIApp:
    """The application with a Date header where it sets none itself."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def dating(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                if not any(name.lower() == b"date" for name, _ in headers):
                    headers.append((b"date", format_datetime(now(), usegmt=True).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, dating)

    return wrapped
