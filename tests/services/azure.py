"""Azurite's account: containers, blobs, and tokens signed with the account key.

Strings to sign: Azure Storage, "Create a service SAS" (version 2020-12-06 and later) and
"Authorize with Shared Key".
"""

import base64
import hashlib
import hmac
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import httpx
import obstore
from obstore.store import AzureStore

_VERSION = "2021-06-08"
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A storage account and its key."""

    name: str
    endpoint: str
    """Address that the name of a container follows."""
    key: str = field(
        repr=False, default_factory=lambda: base64.b64encode(secrets.token_bytes(64)).decode()
    )
    bundle: Path | None = None
    """Certificates to trust, for an endpoint with TLS."""

    def create(self, container: str) -> None:
        """Make a container."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        resource = f"/{self.name}/{self.name}/{container}\nrestype:container"
        lines = [f"{name}:{value}" for name, value in headers.items()]
        signed = self._signature("\n".join(["PUT", *[""] * 11, *lines, resource]))
        headers["Authorization"] = f"SharedKey {self.name}:{signed}"
        trust = ssl.create_default_context(cafile=self.bundle)
        httpx.put(
            f"{self.endpoint}/{container}?restype=container",
            headers=headers,
            verify=trust,
            trust_env=False,
        ).raise_for_status()

    def put(self, container: str, key: str, content: bytes) -> None:
        """Store a blob."""
        store = AzureStore(
            container,
            account_name=self.name,
            account_key=self.key,
            endpoint=self.endpoint,
            client_options={
                "allow_http": True,
                "allow_invalid_certificates": self.bundle is not None,
            },
        )
        obstore.put(store, key, content)

    def token(
        self, container: str, *, permissions: str = "rl", lifetime_s: float = 2700
    ) -> tuple[str, str]:
        """Expiry of a shared access signature of a container, and the signature."""
        now = datetime.now(UTC)
        fields = {
            "st": (now - timedelta(days=1)).strftime(_FORMAT),
            "se": (now + timedelta(seconds=lifetime_s)).strftime(_FORMAT),
            "sp": permissions,
            "sv": _VERSION,
            "sr": "c",
        }
        lines = (
            *(fields[name] for name in ("sp", "st", "se")),
            f"/blob/{self.name}/{container}",
            *("", "", ""),  # stored policy, addresses, protocols
            *(fields[name] for name in ("sv", "sr")),
            *[""] * 7,  # snapshot, encryption scope and headers of the answer
        )
        fields["sig"] = self._signature("\n".join(lines))
        token = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        return fields["se"], token

    def _signature(self, text: str) -> str:
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()
