"""Sentinel Hub's Catalog: who asks for more than the landing page needs a token."""

from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.sandbox import bearer
from geostack_dagster.sandbox.dialects import SENTINEL_HUB
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue

_OPEN = frozenset(SENTINEL_HUB.path + tail for tail in ("", "/", "/conformance"))


def sentinel_hub_catalog(setting: Setting) -> Service:
    """The catalogue; its host has other services too."""
    app = catalogue(setting, SENTINEL_HUB)
    closed = bearer.guarded(app, setting.accounts.copernicus, bearer.SENTINEL_HUB)

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        passed: ASGIApp = app if scope["path"] in _OPEN else closed
        await passed(scope, receive, send)

    return Service(hosts=(f"{SENTINEL_HUB.host}{SENTINEL_HUB.path}",), app=door)
