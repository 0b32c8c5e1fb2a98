"""Requester-pays buckets of AWS: named as such, and signed with the reader's own AWS keys."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from geostack_dagster.auth.anonymous import s3_url
from geostack_dagster.auth.broker import BROKER, Broker
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.auth.sigv4 import S3Keys, signed_headers
from geostack_dagster.domain.hrefs import Href, SignedHref, locate
from geostack_dagster.errors import MissingCredentialError

_ID, _SECRET, _SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_SCOPE = "requester-pays:aws"


@dataclass(frozen=True, slots=True)
class RequesterPaysSigner:
    """Signs `s3://bucket/key` for an account that agrees to pay for the transfer."""

    region_of: Callable[[str], str]
    settings: Settings = field(default_factory=Settings)
    broker: Broker = BROKER

    def scope(self, href: Href) -> str:
        """The bucket."""
        return locate(href).bucket

    def sign(self, href: Href) -> SignedRequest:
        """The bucket's https address with headers that are valid for 15 minutes.

        Raises:
            MissingCredentialError: If there are no AWS keys.
        """
        values = self.credential(href).values
        region = self.region_of(locate(href).host)
        url = s3_url(href, region)
        headers = signed_headers(
            url,
            S3Keys(
                key_id=values["access_key_id"],
                secret=values["secret_access_key"],
                token=values.get("token"),
                region=region,
            ),
            now=datetime.now(UTC),
            extra={"x-amz-request-payer": "requester"},
        )
        return SignedRequest(SignedHref(url), headers)

    def credential(self, href: Href) -> Credential:
        """AWS keys, as `access_key_id`, `secret_access_key` and perhaps `token`."""
        return self.broker.credential(_SCOPE, lambda: _find(href, self.settings))

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """Look the keys up again; True if they have changed."""
        held = self.credential(href)
        return self.broker.forget(_SCOPE, held) and self.credential(href).values != held.values


def _find(href: Href, settings: Settings) -> Credential:
    key_id, secret, session = (settings.find(name) for name in (_ID, _SECRET, _SESSION))
    if key_id is None or secret is None:
        raise MissingCredentialError(
            f"{locate(href).bucket} is a requester pays bucket: reading it needs an AWS account, "
            f"which is charged for the transfer. Set {_ID} and {_SECRET} (and {_SESSION} for "
            "temporary keys), or use a collection of open data"
        )
    values = {"access_key_id": key_id.value, "secret_access_key": secret.value}
    if session is not None:
        values["token"] = session.value
    return Credential(values=values, expires_at=None, source=key_id.source)
