"""OAuth2 bearer tokens: client credentials (Sentinel Hub) or a password (CDSE downloads).

A token is for the hosts it was asked for; it is renewed before it expires, and on a refusal.

Source: RFC 6749, sections 4.3, 4.4 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import override

from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.exchange import Answer, TokenRequest, ask
from geostack_dagster.auth.resolution import Secret, Settings
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref, locate
from geostack_dagster.domain.item import number
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

_REFUSED = {400, 401, 403}  # invalid_client may be 400 or 401, invalid_grant is 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """How a token is asked for: the form, and the variables that fill it."""

    service: str
    token_url: str
    form: Mapping[str, str]
    """Fixed fields, such as `grant_type`."""
    variables: Mapping[str, str]
    """Form field: variable that holds it."""
    registration: str
    """Where a client or account comes from, for the message when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Signer(BrokeredSigner):
    """Sends a bearer token to hosts that match one of `hosts`."""

    hosts: tuple[str, ...]
    grant: Grant

    @override
    def scope(self, href: Href) -> str:
        """The token service: one token serves all its hosts.

        Raises:
            ConfigurationError: If the token must not go to the href's host.
        """
        location = locate(href)
        if location.scheme != "https" or not any(
            fnmatchcase(location.host, pattern) for pattern in self.hosts
        ):
            raise ConfigurationError(
                f"a token of {self.grant.service} is for https on {', '.join(self.hosts)}, "
                f"not for {location.scheme}://{location.host}"
            )
        return self.grant.token_url

    @override
    def _fetch(self, href: Href) -> Credential:
        return _token(self.grant, _filled(self.grant, self.settings))

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        bearer = {"Authorization": f"Bearer {credential.values['access_token']}"}
        return SignedRequest(SignedHref(href), bearer, credential=credential)


def _filled(grant: Grant, settings: Settings) -> Mapping[str, Secret]:
    found = {field: settings.find(name) for field, name in grant.variables.items()}
    missing = [grant.variables[field] for field, secret in found.items() if secret is None]
    if missing:
        raise MissingCredentialError(
            f"{grant.service} asks for a login: set {' and '.join(missing)}. {grant.registration}"
        )
    return {field: secret for field, secret in found.items() if secret is not None}


def _token(grant: Grant, secrets: Mapping[str, Secret]) -> Credential:
    answer = ask(
        TokenRequest(
            service=grant.service,
            url=grant.token_url,
            method="POST",
            form={**grant.form, **{field: secret.value for field, secret in secrets.items()}},
        )
    )
    document = answer.document if isinstance(answer.document, dict) else {}
    if answer.status in _REFUSED:
        raise _refusal(grant, secrets, answer)
    token, lifetime_s = document.get("access_token"), number(document.get("expires_in"))
    if answer.status != 200 or not isinstance(token, str) or lifetime_s is None:
        raise ServiceError(
            f"{grant.service} answered {answer.status} without a token", status=answer.status
        )
    return Credential(
        values={"access_token": token},
        expires_at=datetime.now(UTC) + timedelta(seconds=lifetime_s),
        source=", ".join(sorted({secret.source for secret in secrets.values()})),
    )


def _refusal(
    grant: Grant, secrets: Mapping[str, Secret], answer: Answer
) -> RejectedCredentialError:
    document = answer.document if isinstance(answer.document, dict) else {}
    reason = document.get("error", "no reason given")
    tried = ", ".join(secret.source for secret in secrets.values())
    return RejectedCredentialError(
        f"{grant.service} answered {answer.status} ({reason}); tried {tried}"
    )
