"""Shared access signatures as Planetary Computer hands them out: made and checked for real.

The string that is signed and the parameters follow Azure's user-delegation SAS of version
2021-06-08; the key belongs to this sandbox and dies with it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from urllib.parse import quote

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.lifetime import Lifetime

_VERSION = "2021-06-08"
_OBJECT_ID = "957f55e4-97bf-4dce-ae04-ff8389f97c65"
_TENANT_ID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_EARLY = timedelta(days=1)
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


class Verdict(StrEnum):
    """What a store makes of a signature."""

    VALID = "valid"
    ABSENT = "absent"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"
    OUT_OF_TIME = "out of time"


@dataclass(slots=True)
class SasAuthority:
    """Signs tokens for containers and checks them."""

    lifetime: Lifetime
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def token(self, account: str, container: str) -> tuple[str, str]:
        """Expiry and token of a container, read and list only; whole seconds, rounded up."""
        now = clock.now()
        expiry = datetime.fromtimestamp(ceil(now.timestamp() + self.lifetime.seconds), UTC)
        fields = {
            "st": (now - _EARLY).strftime(_FORMAT),
            "se": expiry.strftime(_FORMAT),
            "sp": "rl",
            "sv": _VERSION,
            "sr": "c",
            "skoid": _OBJECT_ID,
            "sktid": _TENANT_ID,
            "skt": (now - _EARLY / 3).strftime(_FORMAT),
            "ske": (now + 6 * _EARLY).strftime(_FORMAT),
            "sks": "b",
            "skv": _VERSION,
        }
        fields["sig"] = self._signature(fields, account, container)
        token = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        return fields["se"], token

    def verdict(self, query: Mapping[str, str], account: str, container: str) -> Verdict:
        """Whether the query signs a request to this container now."""
        if "sig" not in query:
            return Verdict.ABSENT
        try:
            start, end = (datetime.fromisoformat(query[name]) for name in ("st", "se"))
        except (KeyError, ValueError):
            return Verdict.MALFORMED
        expected = self._signature(query, account, container)
        if not hmac.compare_digest(expected.encode(), query["sig"].encode()):
            return Verdict.MISMATCH
        return Verdict.VALID if start <= clock.now() < end else Verdict.OUT_OF_TIME

    def _signature(self, fields: Mapping[str, str], account: str, container: str) -> str:
        parts = (
            *(fields.get(name, "") for name in ("sp", "st", "se")),
            f"/blob/{account}/{container}",
            *(fields.get(name, "") for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")),
            *([""] * 5),  # authorised and unauthorised user, correlation id, addresses, protocol
            *(fields.get(name, "") for name in ("sv", "sr")),
            *([""] * 7),  # snapshot, encryption scope and response headers
        )
        digest = hmac.new(self._key, "\n".join(parts).encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()
