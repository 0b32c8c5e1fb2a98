"""A plain https file server over what the vault holds for a host; guards stand before it."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from geostack_dagster.sandbox.bodies import (
    UnsatisfiableRangeError,
    has_changed,
    send_object,
    span_of,
)
from geostack_dagster.sandbox.objects import Stored, Vault

_SAFE = "/$()'-_.~:@!*,;=&+"


class FileHost:
    """Serves the objects of one container of the store `https`."""

    def __init__(self, vault: Vault, container: str) -> None:
        self._vault = vault
        self._container = container

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        stored = self._find(scope["path"].lstrip("/"))
        refusal = _refusal(request, stored)
        if refusal is not None or stored is None:
            await (refusal or Response(status_code=404))(scope, receive, send)
            return
        try:
            span = span_of(request.headers, stored.size)
        except UnsatisfiableRangeError:
            headers = {"content-range": f"bytes */{stored.size}"}
            await Response(status_code=416, headers=headers)(scope, receive, send)
            return
        extra = {"etag": f'"{stored.etag}"'}
        await send_object(stored, span, extra, send, is_head=request.method == "HEAD")

    def _find(self, path: str) -> Stored | None:
        """An object by its path, which hrefs may write encoded."""
        for key in (path, quote(path, safe=_SAFE)):
            found = self._vault.find("https", self._container, key)
            if found is not None:
                return found
        return None


def _refusal(request: Request, stored: Stored | None) -> Response | None:
    if request.method not in ("GET", "HEAD"):
        return Response("Method Not Allowed", 405, {"allow": "GET, HEAD"})
    if stored is None:
        return Response("Not Found", 404)
    return Response(status_code=412) if has_changed(request.headers, stored.etag) else None
