"""Keycloak's token endpoint: client credentials, password and refresh, with its answers.

Source: RFC 6749, sections 4.3, 4.4, 5 and 6; error texts are Keycloak's own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geostack_dagster.sandbox.accounts import Login
from geostack_dagster.sandbox.tokens import TokenAuthority, TokenState

_REFRESH = 6.0
"""Lifetimes that a refresh token lives: an hour for ten minutes, as CDSE has it."""
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class _GrantError(Exception):
    """The request is refused with this status, error and description."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status = status
        self.document = {"error": error, "error_description": description}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Server:
    """One realm: a confidential client, a public client, and a user of it."""

    realm: str
    """Path such as `/auth/realms/CDSE`."""
    authority: TokenAuthority
    client: Login
    public_client: str
    user: Login

    def app(self) -> Starlette:
        """The ASGI application."""
        path = f"{self.realm}/protocol/openid-connect/token"
        return Starlette(routes=[Route(path, self._token, methods=["POST"])])

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        try:
            document = self._granted(form, request.headers)
        except _GrantError as refusal:
            return JSONResponse(refusal.document, refusal.status, _NO_STORE)
        return JSONResponse(document, 200, _NO_STORE)

    def _granted(self, form: Mapping[str, str], headers: Headers) -> dict[str, Any]:
        grant = form.get("grant_type")
        if grant is None:
            raise _GrantError(400, "invalid_request", "Missing form parameter: grant_type")
        if grant == "client_credentials":
            return self._to_client(form, headers)
        if form.get("client_id") != self.public_client:
            raise _GrantError(401, "invalid_client", "Invalid client or Invalid client credentials")
        if grant == "password":
            return self._to_user(form)
        if grant == "refresh_token":
            return self._refreshed(form)
        raise _GrantError(400, "unsupported_grant_type", "Unsupported grant_type")

    def _to_client(self, form: Mapping[str, str], headers: Headers) -> dict[str, Any]:
        if form.get("client_id") == self.public_client:
            message = "Public client not allowed to retrieve service account"
            raise _GrantError(401, "unauthorized_client", message)
        signs = self.client.signs(headers)
        if signs is None:
            signs = self.client.fits(form.get("client_id", ""), form.get("client_secret", ""))
        if not signs:
            raise _GrantError(401, "invalid_client", "Invalid client or Invalid client credentials")
        subject = f"service-account-{self.client.name}"
        return self._answer(subject, self.client.name, with_refresh=False)

    def _to_user(self, form: Mapping[str, str]) -> dict[str, Any]:
        missing = [name for name in ("username", "password") if not form.get(name)]
        if missing:
            raise _GrantError(400, "invalid_request", f"Missing parameter: {missing[0]}")
        if not self.user.fits(form["username"], form["password"]):
            raise _GrantError(401, "invalid_grant", "Invalid user credentials")
        return self._answer(self.user.name, self.public_client, with_refresh=True)

    def _refreshed(self, form: Mapping[str, str]) -> dict[str, Any]:
        if "refresh_token" not in form:
            raise _GrantError(400, "invalid_request", "No refresh token")
        state, claims = self.authority.check(form["refresh_token"])
        if state is TokenState.EXPIRED:
            raise _GrantError(400, "invalid_grant", "Token is not active")
        if state is not TokenState.VALID or claims["typ"] != "Refresh":
            raise _GrantError(400, "invalid_grant", "Invalid refresh token")
        return self._answer(claims["sub"], self.public_client, with_refresh=True)

    def _answer(self, subject: str, client: str, *, with_refresh: bool) -> dict[str, Any]:
        lifetime_s = math.ceil(self.authority.lifetime.seconds)
        token = self.authority.issue(typ="Bearer", azp=client, sub=subject, scope="email profile")
        document: dict[str, Any] = {
            "access_token": token.value,
            "expires_in": lifetime_s,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": "email profile",
        }
        if with_refresh:
            refresh = self.authority.issue(life=_REFRESH, typ="Refresh", azp=client, sub=subject)
            document["refresh_expires_in"] = math.ceil(lifetime_s * _REFRESH)
            document["refresh_token"] = refresh.value
            document["session_state"] = refresh.claims["jti"]
        return document
