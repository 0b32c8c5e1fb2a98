"""A data centre's download gateway, after NASA's Thin Egress App: buckets over https for a login.

Files in closed buckets are for a bearer token, or a cookie from the OAuth flow; whoever has one is
sent on with a presigned URL to a content network that must not see the token.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.bodies import UnsatisfiableRangeError, span_of
from geostack_dagster.sandbox.earthdata_login import LOGIN_HOST, wrong_token
from geostack_dagster.sandbox.faults import is_unlicensed_by_fault
from geostack_dagster.sandbox.keyring import AccessKey, Keyring
from geostack_dagster.sandbox.objects import Vault
from geostack_dagster.sandbox.presign import presigned
from geostack_dagster.sandbox.tokens import TokenAuthority, TokenState, claims_of

_COOKIE = "asf-urs"
_CLIENT_ID = "ijpRZvb9qeKCK5ctsn75Tg"
_REGION = "us-west-2"
_SCRIPTS = re.compile("(curl|wget|aria2|python)", re.IGNORECASE)
_ROUNDED_UP = timedelta(seconds=1)
_LICENCE = {
    "error": "invalid_token",
    "status_code": 403,
    "error_description": "EULA Acceptance Failure",
    "resolution_url": f"https://{LOGIN_HOST}/approve_app?client_id={_CLIENT_ID}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """One gateway: what it serves, whose tokens it honours, which keys it signs with."""

    vault: Vault
    tokens: TokenAuthority
    """Of Earthdata Login."""
    sessions: TokenAuthority
    """Of the gateway's own cookies."""
    keys: Keyring
    closed: str
    """Bucket behind the login."""
    open: str
    """Bucket for anyone."""
    network: str
    """Address of the content network, to which the bucket's host is appended."""
    _roles: dict[str, AccessKey] = field(default_factory=dict, repr=False)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/login", self._login, methods=["GET"]),
                Route("/s3credentials", self._s3credentials, methods=["GET"]),
                Route("/{bucket}/{key:path}", self._file, methods=["GET", "HEAD"]),
                Route("/{page:path}", _not_found, methods=["GET", "HEAD"]),
            ]
        )

    async def _login(self, request: Request) -> Response:
        """The end of the OAuth flow: a code becomes a cookie."""
        query = request.query_params
        state, claims = self.tokens.check(query.get("code", ""))
        if state is not TokenState.VALID or claims.get("typ") != "Code":
            return HTMLResponse(_page("Could Not Login", "Login failed."), 401)
        answer = RedirectResponse(query.get("state") or "/", 301)
        session = self.sessions.issue(uid=claims["uid"])
        answer.set_cookie(_COOKIE, session.value, secure=True, httponly=True)
        return answer

    async def _s3credentials(self, request: Request) -> Response:
        user = self._user(request)
        if isinstance(user, Response):
            return user
        key = self.keys.minted(self.closed, self.open)
        assert key.expires_at is not None
        document = {
            "accessKeyId": key.key_id,
            "secretAccessKey": key.secret,
            "sessionToken": key.token,
            "expiration": str(key.expires_at),
        }
        return JSONResponse(document)

    async def _file(self, request: Request) -> Response:
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        if bucket not in (self.closed, self.open) or not key:
            return await _not_found(request)
        is_asked = bucket == self.closed and request.method == "GET"
        user = self._user(request) if is_asked else None
        if isinstance(user, Response):
            return user
        # The gateway looks before it sends anyone on; it asks no login of HEAD.
        stored = self.vault.find("s3", bucket, key)
        if stored is None:
            return await _not_found(request)
        try:
            span_of(request.headers, stored.size)
        except UnsatisfiableRangeError:
            return Response("Invalid Range", 416)
        return RedirectResponse(self._signed(request.method, bucket, key, user), 303)

    def _signed(self, method: str, bucket: str, key: str, user: str | None) -> str:
        host = f"{bucket}.s3.{_REGION}.amazonaws.com"
        path = f"/{quote(key)}"
        query = presigned(
            path,
            host,
            self._role(bucket),
            method=method,
            region=_REGION,
            extra={} if user is None else {"A-userid": user},
        )
        return f"{self.network}/{host}{path}?{query}"

    def _role(self, bucket: str) -> AccessKey:
        """Keys that URLs are signed with, kept for half of a life as long as it is set now."""
        key, life = self._roles.get(bucket), timedelta(seconds=self.tokens.lifetime.seconds)
        left = timedelta() if key is None or key.expires_at is None else key.expires_at - _now()
        if key is None or not life / 2 < left <= life + _ROUNDED_UP:
            key = self._roles[bucket] = self.keys.minted(bucket)
        return key

    def _user(self, request: Request) -> str | Response:
        """Name of who is logged in, or what anybody else gets."""
        state, claims = self.sessions.check(request.cookies.get(_COOKIE, ""))
        if state is not TokenState.VALID:
            state, claims = self.tokens.of(request)
            if state is TokenState.ABSENT or not self._is_jwt(request):
                return _to_login(request)
        if state is not TokenState.VALID:
            return JSONResponse(wrong_token(state), 401)
        if is_unlicensed_by_fault(request.scope):
            return JSONResponse(_LICENCE, 403)
        return str(claims["uid"])

    def _is_jwt(self, request: Request) -> bool:
        """Whether the bearer names a user, rightly or not: others count as not logged in."""
        return "uid" in claims_of(request.headers["authorization"].partition(" ")[2])


def _now() -> datetime:
    return clock.now()


def _to_login(request: Request) -> Response:
    query = {
        "client_id": _CLIENT_ID,
        "response_type": "code",
        "redirect_uri": f"https://{request.headers['host']}/login",
        "state": request.url.path,
    }
    if _SCRIPTS.match(request.headers.get("user-agent", "")):
        query["app_type"] = "401"
    return RedirectResponse(f"https://{LOGIN_HOST}/oauth/authorize?{urlencode(query)}", 302)


async def _not_found(request: Request) -> Response:
    return HTMLResponse(_page("Data Not Available", "Could not find requested data."), 404)


def _page(title: str, text: str) -> str:
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>"
        f"<body><h1>{title}</h1><p>{text}</p></body></html>"
    )
