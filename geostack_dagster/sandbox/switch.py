"""Requests to many hosts through one application: the first host glob that fits answers."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


def by_host(apps: Mapping[str, ASGIApp]) -> ASGIApp:
    """An application that passes each request on by its host; 421 where none answers."""

    async def switch(scope: Scope, receive: Receive, send: Send) -> None:
        host = host_of(scope)
        for pattern, app in apps.items():
            if fnmatchcase(host, pattern):
                await app(scope, receive, send)
                return
        await Response(f"no twin for {host}", 421)(scope, receive, send)

    return switch


def host_of(scope: Scope) -> str:
    """Host name of a request, without the port."""
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1")).partition(":")[0].lower()
    return ""
