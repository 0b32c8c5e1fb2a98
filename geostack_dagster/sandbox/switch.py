"""Requests to many hosts through one application: the first address that fits answers."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


def by_host(apps: Mapping[str, ASGIApp]) -> ASGIApp:
    """An application that passes each request on by its address; 421 where none answers.

    An address is a host glob, or `host/path` for what lies at and below a path of one host; paths
    come before hosts, longer ones before shorter ones.
    """
    doors = [(*address.partition("/")[::2], app) for address, app in apps.items()]
    doors.sort(key=lambda door: -len(door[1]))

    async def switch(scope: Scope, receive: Receive, send: Send) -> None:
        host, path = host_of(scope), f"{scope['path']}/"
        for pattern, below, app in doors:
            if fnmatchcase(host, pattern) and (not below or path.startswith(f"/{below}/")):
                await app(scope, receive, send)
                return
        await Response(f"no twin for {host}{scope['path']}", 421)(scope, receive, send)

    return switch


def host_of(scope: Scope) -> str:
    """Host name of a request, without the port."""
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1")).partition(":")[0].lower()
    return ""
