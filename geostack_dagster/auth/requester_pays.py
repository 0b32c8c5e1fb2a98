"""Requester-pays buckets of AWS: named as such, and signed with the reader's own AWS keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import override

from geostack_dagster.auth import sigv4
from geostack_dagster.auth.anonymous import s3_url
from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, locate
from geostack_dagster.errors import MissingCredentialError

_ID, _SECRET, _SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequesterPaysSigner(BrokeredSigner):
    """Signs `s3://bucket/key` for an account that agrees to pay for the transfer."""

    region_of: Callable[[str], str]

    @override
    def scope(self, href: Href) -> str:
        """The bucket."""
        return locate(href).bucket

    @override
    def _fetch(self, href: Href) -> Credential:
        key_id, secret, session = (self.settings.find(name) for name in (_ID, _SECRET, _SESSION))
        if key_id is None or secret is None:
            raise MissingCredentialError(
                f"{self.scope(href)} is a requester pays bucket: reading it needs an AWS account, "
                f"which is charged for the transfer. Set {_ID} and {_SECRET} (and {_SESSION} for "
                "temporary keys), or use a collection of open data"
            )
        values = {"access_key_id": key_id.value, "secret_access_key": secret.value}
        if session is not None:
            values["token"] = session.value
        return Credential(values=values, expires_at=None, source=key_id.source)

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        region = self.region_of(locate(href).host)
        payer = {"x-amz-request-payer": "requester"}
        return sigv4.request(s3_url(href, region), credential, region=region, extra=payer)
