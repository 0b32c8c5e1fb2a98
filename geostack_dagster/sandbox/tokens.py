"""Bearer tokens as Keycloak and Earthdata Login hand them out: JWTs, made and checked for real.

Clients may read the claims; nobody but the service can make a token that passes. The header says
RS256 as the services' do, though the signature is an HMAC with a key of this sandbox.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from starlette.requests import Request

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.faults import is_expired_by_fault
from geostack_dagster.sandbox.lifetime import Lifetime

_HEADER = {"typ": "JWT", "alg": "RS256"}
_SCHEME = "bearer "
_ACCESS = "Bearer"


class TokenState(StrEnum):
    """What a service makes of a token."""

    VALID = "valid"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """Malformed, tampered with, of another service, or revoked."""
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token with what it says."""

    value: str = field(repr=False)
    claims: Mapping[str, Any]

    @property
    def expires_at(self) -> datetime:
        """End of its life."""
        return datetime.fromtimestamp(self.claims["exp"], UTC)


class TokenAuthority:
    """Makes the tokens of one issuer and checks them."""

    def __init__(self, issuer: str, lifetime: Lifetime) -> None:
        self.lifetime = lifetime
        self._issuer = issuer
        self._key = secrets.token_bytes(32)
        self._revoked: set[str] = set()

    def issue(self, *, life: float = 1.0, **claims: Any) -> Token:
        """A new token that lives `life` times the sandbox's lifetime.

        Expiry has whole seconds, as in every JWT, rounded up.
        """
        now = clock.now().timestamp()
        said = {
            **claims,
            "iss": self._issuer,
            "iat": int(now),
            "exp": math.ceil(now + self.lifetime.seconds * life),
            "jti": secrets.token_hex(8),
        }
        body = f"{_encoded(_HEADER)}.{_encoded(said)}"
        return Token(value=f"{body}.{self._signature(body)}", claims=said)

    def revoke(self, value: str) -> None:
        """Stop honouring a token."""
        self._revoked.add(value)

    def check(self, value: str) -> tuple[TokenState, Mapping[str, Any]]:
        """What to make of a token, and its claims where it is one of ours."""
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._signature(body), signature) or value in self._revoked:
            return TokenState.UNKNOWN, {}
        claims = claims_of(value)
        is_alive = clock.now().timestamp() < claims["exp"]
        return (TokenState.VALID if is_alive else TokenState.EXPIRED), claims

    def of(self, request: Request) -> tuple[TokenState, Mapping[str, Any]]:
        """What to make of the token in a request's `Authorization` header, and its claims."""
        header = request.headers.get("authorization", "")
        if not header.lower().startswith(_SCHEME):
            return TokenState.ABSENT, {}
        state, claims = self.check(header[len(_SCHEME) :].strip())
        if claims.get("typ", _ACCESS) != _ACCESS:
            return TokenState.UNKNOWN, {}  # a refresh token opens nothing
        if state is TokenState.VALID and is_expired_by_fault(request.scope):
            return TokenState.EXPIRED, claims
        return state, claims

    def _signature(self, body: str) -> str:
        return _base64url(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def claims_of(value: str) -> dict[str, Any]:
    """Claims of a JWT, unchecked; empty if it is none."""
    parts = value.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _encoded(document: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(document, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
