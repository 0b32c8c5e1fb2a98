"""Earthdata Login: tokens for a user name and password, and the OAuth flow of data centres.

Answers follow recorded conversations where there are any; the flow follows what earthaccess,
obstore and NASA's Thin Egress App send and expect.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from geostack_dagster.sandbox.accounts import Login
from geostack_dagster.sandbox.tokens import Token, TokenAuthority, TokenState

LOGIN_HOST = "urs.earthdata.nasa.gov"
_COOKIE = "_urs-gui_session"
_MOST_TOKENS = 2
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_CHALLENGE = (
    'Basic realm="Please enter your Earthdata Login credentials. If you do not have a Earthdata '
    'Login, create one at https://urs.earthdata.nasa.gov//users/new"'
)
_WRONG_LOGIN = {"error": "invalid_credentials", "error_description": "Invalid user credentials"}
_WRONG_TOKEN = {
    TokenState.ABSENT: "Missing token",
    TokenState.UNKNOWN: "The token is either malformed or does not exist",
    TokenState.EXPIRED: "The token has expired",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Earthdata Login</title></head><body>
<form id="login" action="/login" accept-charset="UTF-8" method="post">
<input type="text" name="username" id="username"><input type="password" name="password">
<input type="submit" name="commit" value="Log in"></form></body></html>"""


class EarthdataLogin:
    """The login service of one account."""

    def __init__(self, user: Login, authority: TokenAuthority) -> None:
        self._user = user
        self._authority = authority
        self._tokens: list[Token] = []

    def app(self) -> Starlette:
        """The ASGI application."""
        users = "/api/users"
        return Starlette(
            routes=[
                Route(f"{users}/find_or_create_token", self._find_or_create, methods=["POST"]),
                Route(f"{users}/token", self._create, methods=["POST"]),
                Route(f"{users}/tokens", self._list, methods=["GET"]),
                Route(f"{users}/revoke_token", self._revoke, methods=["POST"]),
                Route(f"{users}/{{uid}}", self._profile, methods=["GET"]),
                Route("/oauth/authorize", self._authorize, methods=["GET"]),
                Route("/profile", _to_home, methods=["GET"]),
                Route("/{page:path}", _page, methods=["GET"]),
            ]
        )

    async def _find_or_create(self, request: Request) -> Response:
        if not self._user.signs(request.headers):
            return JSONResponse(_WRONG_LOGIN, 401, _NO_STORE)
        alive = self._alive()
        return JSONResponse(_listed(alive[0] if alive else self._created()), 200, _NO_STORE)

    async def _create(self, request: Request) -> Response:
        if not self._user.signs(request.headers):
            return JSONResponse(_WRONG_LOGIN, 401, _NO_STORE)
        if len(self._alive()) >= _MOST_TOKENS:
            reason = "Max token limit reached. Please revoke an existing token"
            refusal = {"error": "max_token_limit", "error_description": reason}
            return JSONResponse(refusal, 403, _NO_STORE)
        return JSONResponse(_listed(self._created()), 200, _NO_STORE)

    async def _list(self, request: Request) -> Response:
        if not self._user.signs(request.headers):
            return JSONResponse(_WRONG_LOGIN, 401, _NO_STORE)
        return JSONResponse([_listed(token) for token in self._alive()], 200, _NO_STORE)

    async def _revoke(self, request: Request) -> Response:
        if not self._user.signs(request.headers):
            return JSONResponse(_WRONG_LOGIN, 401, _NO_STORE)
        self._authority.revoke(request.query_params.get("token", ""))
        return Response(status_code=200)

    async def _profile(self, request: Request) -> Response:
        state, claims = self._authority.of(request)
        if state is not TokenState.VALID:
            return JSONResponse(wrong_token(state), 401, _NO_STORE)
        return JSONResponse({"uid": claims["uid"], "user_groups": []}, 200, _NO_STORE)

    async def _authorize(self, request: Request) -> Response:
        """Back to the data centre with a code, for a login in a header or an earlier one."""
        query = request.query_params
        signs = self._user.signs(request.headers)
        if signs or (signs is None and self._knows(request)):
            code = self._authority.issue(typ="Code", uid=self._user.name)
            said = {"code": code.value, **({"state": query["state"]} if "state" in query else {})}
            answer = RedirectResponse(f"{query['redirect_uri']}?{urlencode(said)}", 302)
            session = self._authority.issue(typ="Session", uid=self._user.name)
            answer.set_cookie(_COOKIE, session.value, secure=True, httponly=True)
            return answer
        if query.get("app_type") == "401":
            return HTMLResponse(_PAGE, 401, {"www-authenticate": _CHALLENGE})
        return HTMLResponse(_PAGE)

    def _knows(self, request: Request) -> bool:
        state, claims = self._authority.check(request.cookies.get(_COOKIE, ""))
        return state is TokenState.VALID and claims.get("typ") == "Session"

    def _alive(self) -> list[Token]:
        self._tokens = [
            token
            for token in self._tokens
            if self._authority.check(token.value)[0] is TokenState.VALID
        ]
        return self._tokens

    def _created(self) -> Token:
        token = self._authority.issue(
            type="User",
            uid=self._user.name,
            identity_provider="edl_ops",
            acr="edl",
            assurance_level=3,
        )
        self._tokens.append(token)
        return token


def wrong_token(state: TokenState) -> dict[str, str]:
    """What the service says of a token that is not valid."""
    return {"error": "invalid_token", "error_description": _WRONG_TOKEN[state]}


def _listed(token: Token) -> Mapping[str, Any]:
    return {
        "access_token": token.value,
        "token_type": "Bearer",
        "expiration_date": token.expires_at.strftime("%m/%d/%Y"),
    }


async def _to_home(request: Request) -> Response:
    return RedirectResponse(f"https://{LOGIN_HOST}/home", 302)


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE)
