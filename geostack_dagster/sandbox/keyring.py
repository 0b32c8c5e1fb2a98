"""S3 keys that a service knows: pairs of an account, and temporary ones that die."""

import base64
import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.lifetime import Lifetime

_KEY_ID_LETTERS = string.ascii_uppercase + string.digits
_TOKEN_BYTES = 250  # a real session token has some hundred characters


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key id with its secret, and what it may read."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    buckets: frozenset[str]
    """Closed buckets that its owner may read; open ones need no leave."""
    token: str | None = field(default=None, repr=False)
    """Session token of temporary keys: part of every request that they sign."""
    expires_at: datetime | None = None

    @property
    def is_expired(self) -> bool:
        """Whether it has stopped working."""
        return self.expires_at is not None and self.expires_at <= clock.now()


class Keyring:
    """The keys of one service; they are random and die with the sandbox."""

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._keys: dict[str, AccessKey] = {}

    def pair(self, *buckets: str) -> AccessKey:
        """New keys that last, as an account's owner makes them."""
        return self._kept("AKIA", None, frozenset(buckets), None)

    def minted(self, *buckets: str) -> AccessKey:
        """New temporary keys with a session token, as a token service mints them.

        They expire at a whole second, as such keys do: the lifetime is rounded up.
        """
        expires_at = datetime.fromtimestamp(
            ceil(clock.now().timestamp() + self._lifetime.seconds), UTC
        )
        token = base64.b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode()
        return self._kept("ASIA", token, frozenset(buckets), expires_at)

    def find(self, key_id: str) -> AccessKey | None:
        """The key of that id, expired or not."""
        return self._keys.get(key_id)

    def _kept(
        self, kind: str, token: str | None, buckets: frozenset[str], expires_at: datetime | None
    ) -> AccessKey:
        key = AccessKey(
            key_id=kind + "".join(secrets.choice(_KEY_ID_LETTERS) for _ in range(16)),
            secret=base64.b64encode(secrets.token_bytes(30)).decode(),
            buckets=buckets,
            token=token,
            expires_at=expires_at,
        )
        self._keys[key.key_id] = key
        return key
