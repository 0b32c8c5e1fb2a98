"""The archives' clock: every answer tells the time, as HTTP servers do."""

from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def dated(app: ASGIApp) -> ASGIApp:
    """The application with a Date header where it sets none itself."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def dating(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                if not any(name.lower() == b"date" for name, _ in headers):
                    now = format_datetime(datetime.now(UTC), usegmt=True)
                    headers.append((b"date", now.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, dating)

    return wrapped
