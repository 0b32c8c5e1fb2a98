"""Archives made of third-party servers: objects, and the token services that go with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.services.aws import Cloud
from tests.services.azure import Account
from tests.services.issuer import Issuer

ACCOUNT = "sentinel2l2a01"


@dataclass(frozen=True, slots=True)
class BlobArchive:
    """Azurite with the token endpoint that Planetary Computer has, in its recorded shape."""

    account: Account
    tokens: Issuer
    network: Mapping[str, str] = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The network, and where tokens are asked for."""
        return {**self.network, "PC_SDK_SAS_URL": f"http://127.0.0.1:{self.tokens.port}/token"}

    def reset(self) -> None:
        """Give honest tokens and forget who asked."""
        self.tokens.asked.clear()
        self.give()

    def give(
        self, lifetime_s: float = 2700, promised_s: float | None = None, **stated: Any
    ) -> None:
        """From now on give tokens of this lifetime, whatever the answer promises.

        `container` is the one they are for instead of the one asked for, `permissions` what they
        allow, and `spoil` changes the token.
        """
        spoil = stated.pop("spoil", lambda token: token)
        container = stated.pop("container", None)

        def give(path: str) -> dict[str, str]:
            asked = container or path.rpartition("/")[2]
            expiry, token = self.account.token(asked, lifetime_s=lifetime_s, **stated)
            if promised_s is not None:
                expiry = (datetime.now(UTC) + timedelta(seconds=promised_s)).isoformat()
            return {"msft:expiry": expiry, "token": spoil(token)}

        self.tokens.give = give


@dataclass(frozen=True, slots=True)
class AwsArchive:
    """moto with the `s3credentials` endpoint of a NASA data centre, which asks its STS."""

    cloud: Cloud
    keys: Issuer
    environment: Mapping[str, str] = field(repr=False)

    def reset(self) -> None:
        """Give honest keys for an hour and forget who asked."""
        self.keys.asked.clear()
        self.give("anything")

    def give(self, bucket: str, *, lifetime_s: float = 3600, **changed: str) -> None:
        """From now on give temporary keys that open a bucket."""

        def give(path: str) -> dict[str, str]:
            made = self.cloud.session(bucket)
            expiry = datetime.now(UTC) + timedelta(seconds=lifetime_s)
            return {
                "accessKeyId": made.key_id,
                "secretAccessKey": made.secret,
                "sessionToken": made.token or "",
                "expiration": expiry.strftime("%Y-%m-%d %H:%M:%S+00:00"),
                **changed,
            }

        self.keys.give = give
