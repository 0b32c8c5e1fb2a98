"""NASA Earthdata: a bearer token over https, or S3 keys for an hour in AWS us-west-2.

One login serves both. A bearer goes to Earthdata's own hosts only: a protected file answers with a
redirect to another host, which must not see it (and refuses a request that carries it).

Recorded shapes: `find_or_create_token` gives `{"access_token", "expiration_date": "11/19/2024"}`, a
wrong login 401 `{"error": "invalid_credentials"}`; `s3credentials` gives keys and an `expiration`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, override

from geostack_dagster.auth import sigv4
from geostack_dagster.auth.anonymous import s3_url
from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.earthaccess_login import earthaccess_credential
from geostack_dagster.auth.exchange import Answer, TokenRequest, ask
from geostack_dagster.auth.expiry import given_expiry, jwt_expiry
from geostack_dagster.auth.region import in_region
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref, canonical, locate
from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.errors import (
    LICENCE,
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

_TOKEN, _USER, _PASSWORD = "EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"
EARTHACCESS_LOGIN = "GEOSTACK_EARTHACCESS_LOGIN"
"""Set it to `netrc`, `environment` or `session` to take the token from an earthaccess login."""
_REGION = "us-west-2"
_REGISTRATION = "Accounts are free at https://urs.earthdata.nasa.gov."
_NOT_LOGGED_IN = {301, 302, 303, 307, 401}
_HOSTS = ("*.earthdata.nasa.gov", "*.earthdatacloud.nasa.gov")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthdataSigner(BrokeredSigner):
    """Bearer tokens for Earthdata's https hosts; holds `access_token`."""

    login_url: str = "https://urs.earthdata.nasa.gov"
    hosts: tuple[str, ...] = _HOSTS

    @override
    def scope(self, href: Href) -> str:
        """The login address: one token serves all of Earthdata.

        Raises:
            ConfigurationError: If a bearer must not go to the href's host.
        """
        location = locate(href)
        if location.scheme != "https" or not any(
            fnmatchcase(location.host, pattern) for pattern in self.hosts
        ):
            raise ConfigurationError(
                f"an Earthdata token is for https on {', '.join(self.hosts)}, not for "
                f"{location.scheme}://{location.host}"
            )
        return self.login_url

    @override
    def _fetch(self, href: Href) -> Credential:
        strategy = self.settings.find(EARTHACCESS_LOGIN)
        if strategy is not None:
            return earthaccess_credential(strategy.value, self.login_url)
        token = self.settings.find(_TOKEN)
        if token is None:
            return self._exchanged()
        expires_at = jwt_expiry(token.value)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise RejectedCredentialError(
                f"the Earthdata token in {token.source} expired at {expires_at.isoformat()}; "
                f"make another in your profile at {self.login_url}"
            )
        return Credential(
            values={"access_token": token.value}, expires_at=expires_at, source=token.source
        )

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        bearer = {"Authorization": f"Bearer {credential.values['access_token']}"}
        return SignedRequest(SignedHref(href), bearer, credential=credential)

    def _exchanged(self) -> Credential:
        """A token for a user name and password."""
        host = locate(self.login_url).host
        found = self.settings.login(host, user=_USER, password=_PASSWORD)
        if found is None:
            raise MissingCredentialError(
                f"Earthdata asks for a login: set {self._wanted(host)}. {_REGISTRATION}"
            )
        user, password = found
        service = "Earthdata Login"
        answer = ask(
            TokenRequest(
                service=service,
                url=f"{self.login_url}/api/users/find_or_create_token",
                method="POST",
                headers={"Accept": "application/json"},
                login=(user.value, password.value),
            )
        )
        document = _document(answer)
        if answer.status in (401, 403):
            reason = document.get("error", "no reason given")
            raise RejectedCredentialError(
                f"{service} answered {answer.status} ({reason}); tried {user.source} and "
                f"{password.source}"
            )
        token = document.get("access_token")
        if answer.status != 200 or not isinstance(token, str):
            raise ServiceError(
                f"{service} answered {answer.status} without a token", status=answer.status
            )
        return Credential(
            values={"access_token": token},
            expires_at=given_expiry(token, document.get("expiration_date"), skew=answer.skew),
            source=user.source,
            is_renewed_early=False,
        )

    def _wanted(self, host: str) -> str:
        """What would make a login: the missing half of it, or any way if there is neither half."""
        absent = self.settings.absent(_USER, _PASSWORD)
        if " and " not in absent:
            return absent
        return f"{absent}, or {_TOKEN}, or add {host} to your netrc file"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthdataS3Signer(BrokeredSigner):
    """Temporary S3 keys of a data centre; they work in AWS us-west-2 only."""

    bearer: EarthdataSigner
    credentials_url: str

    @override
    def scope(self, href: Href) -> str:
        """The data centre's `s3credentials` address."""
        return self.credentials_url

    @override
    def _fetch(self, href: Href) -> Credential:
        address = canonical(self.credentials_url)
        asked = self.bearer.sign(address)
        answer = self._asked_with(asked)
        # A token of a user name and password may have been revoked since it was fetched.
        if answer.status in _NOT_LOGGED_IN and self.bearer.forget(address, asked):
            asked = self.bearer.sign(address)
            answer = self._asked_with(asked)
        source = asked.credential.source if asked.credential else "Earthdata Login"
        return _keys(answer, self.credentials_url, source)

    def _asked_with(self, bearer: SignedRequest) -> Answer:
        return ask(
            TokenRequest(
                service=f"{locate(self.credentials_url).host} s3credentials",
                url=self.credentials_url,
                headers={**bearer.headers, "Accept": "application/json"},
            )
        )

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        return sigv4.request(s3_url(href, _REGION), credential, region=_REGION)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthdataAccess:
    """Earthdata's protected files: S3 inside us-west-2, https with a bearer everywhere else.

    Both addresses of a file are understood, whichever an Item names:
    `s3://BUCKET/KEY` and `https://DATA_HOST/BUCKET/KEY`.
    """

    bearer: EarthdataSigner
    s3: EarthdataS3Signer
    data_host: str
    """Such as `data.lpdaac.earthdatacloud.nasa.gov`."""

    def scope(self, href: Href) -> str:
        """What one credential opens, by the way that is taken from here."""
        signer, address = self._way(href)
        return signer.scope(address)

    def sign(self, href: Href) -> SignedRequest:
        """A request that is valid now; raises as `BrokeredSigner.sign` does."""
        signer, address = self._way(href)
        return signer.sign(address)

    def credential(self, href: Href) -> Credential:
        """The bearer token or the S3 keys."""
        signer, address = self._way(href)
        return signer.credential(address)

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """Replace the credential behind a refused request; True if there is another to try."""
        signer, address = self._way(href)
        return signer.forget(address, refused)

    def _way(self, href: Href) -> tuple[BrokeredSigner, Href]:
        location = locate(href)
        inside = in_region(_REGION, self.bearer.settings)
        if location.scheme == "s3":
            if inside:
                return self.s3, href
            return self.bearer, Href(f"https://{self.data_host}/{location.host}/{location.key}")
        if inside and location.host == self.data_host:
            return self.s3, Href(f"s3://{location.key}")
        return self.bearer, href


def _keys(answer: Answer, url: str, source: str) -> Credential:
    document = _document(answer)
    values = {
        "access_key_id": document.get("accessKeyId"),
        "secret_access_key": document.get("secretAccessKey"),
        "token": document.get("sessionToken"),
    }
    expiry = parse_datetime(document.get("expiration"))
    if answer.status == 200 and expiry is not None and all(values.values()):
        return Credential(
            values={name: str(value) for name, value in values.items()},
            expires_at=answer.local(expiry),
            source=f"{locate(url).host} for {source}",
        )
    if answer.status in {*_NOT_LOGGED_IN, 403} or answer.document is None:
        raise RejectedCredentialError(_refusal(answer, url, source))
    raise ServiceError(f"{url} answered {answer.status} without S3 keys", status=answer.status)


def _refusal(answer: Answer, url: str, source: str) -> str:
    text = json.dumps(_document(answer)).lower()
    if "eula" in text:
        link = _document(answer).get("resolution_url") or "your Earthdata profile"
        return f"{url}: the {LICENCE} yet; accept it at {link}"
    return (
        f"{url} answered {answer.status} and no S3 keys; tried {source}. A redirect or a login "
        "page means that the token has expired or was revoked"
    )


def _document(answer: Answer) -> dict[str, Any]:
    """The answer's JSON object, or the first of several: Earthdata Login lists tokens as well."""
    found = answer.document
    if isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, dict) else {}
