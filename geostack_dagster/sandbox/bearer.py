"""Guards: an application behind a bearer token, refused in the words that clients report.

app = guarded(catalogue, setting.accounts.copernicus, SENTINEL_HUB)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.sandbox.tokens import TokenAuthority, TokenState


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How a service refuses: one status, and a body for each state of a token."""

    status: int = 401
    bodies: Mapping[TokenState, Any]
    headers: Mapping[str, str]

    def answer(self, state: TokenState) -> Response:
        """The refusal."""
        return JSONResponse(self.bodies[state], self.status, dict(self.headers))


_SENTINEL_HUB = {
    "error": {
        "status": 401,
        "reason": "Unauthorized",
        "message": (
            "You are not authorized! Please provide a valid access token in the header of the "
            "request."
        ),
        "code": "COMMON_UNAUTHORIZED",
    }
}
SENTINEL_HUB = Refusals(
    bodies=dict.fromkeys(TokenState, _SENTINEL_HUB),
    headers={"www-authenticate": 'Bearer realm="sentinel-hub"'},
)
"""Catalogue and Process API."""
COPERNICUS_DOWNLOAD = Refusals(
    bodies={
        TokenState.ABSENT: {"detail": "Unauthorized"},
        TokenState.UNKNOWN: {"detail": "Invalid token!"},
        TokenState.EXPIRED: {"detail": "Expired signature!"},
    },
    headers={"www-authenticate": "Bearer"},
)
"""`download.dataspace.copernicus.eu` and `zipper.`."""


def guarded(app: ASGIApp, authority: TokenAuthority, refusals: Refusals) -> ASGIApp:
    """The application for requests with a valid token of the authority, a refusal for others."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        state, _ = authority.of(Request(scope))
        passed = app if state is TokenState.VALID else refusals.answer(state)
        await passed(scope, receive, send)

    return guard
