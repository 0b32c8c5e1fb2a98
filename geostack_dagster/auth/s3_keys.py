"""S3 keys of an archive's own object store, at its own endpoint, path-style.

Only the archive's own variables are looked at: AWS keys that happen to be in the environment are
for another store, and sending them there both fails and gives them away.
"""

from dataclasses import dataclass
from typing import override
from urllib.parse import quote

from geostack_dagster.auth import sigv4
from geostack_dagster.auth.anonymous import SAFE_IN_KEY
from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, locate
from geostack_dagster.errors import ConfigurationError, MissingCredentialError


@dataclass(frozen=True, slots=True, kw_only=True)
class S3KeysSigner(BrokeredSigner):
    """Signs `s3://bucket/key` for `https://ENDPOINT/bucket/key`."""

    endpoint: str
    """Such as `https://eodata.dataspace.copernicus.eu`."""
    region: str
    id_variable: str
    secret_variable: str
    registration: str

    @override
    def scope(self, href: Href) -> str:
        """The endpoint: one pair of keys opens all its buckets.

        Raises:
            ConfigurationError: If the href is not `s3://`.
        """
        location = locate(href)
        if location.scheme != "s3":
            raise ConfigurationError(
                f"{self.id_variable} opens s3:// addresses at {self.endpoint}, not {href}"
            )
        return self.endpoint

    @override
    def _fetch(self, href: Href) -> Credential:
        key_id = self.settings.find(self.id_variable)
        secret = self.settings.find(self.secret_variable)
        if key_id is None or secret is None:
            absent = self.settings.absent(self.id_variable, self.secret_variable)
            raise MissingCredentialError(
                f"{self.endpoint} asks for S3 keys: set {absent}. {self.registration}"
            )
        return Credential(
            values={"access_key_id": key_id.value, "secret_access_key": secret.value},
            expires_at=None,
            source=f"{key_id.source} and {secret.source}",
        )

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        location = locate(href)
        url = f"{self.endpoint}/{location.host}/{quote(location.key, safe=SAFE_IN_KEY)}"
        return sigv4.request(url, credential, region=self.region)
