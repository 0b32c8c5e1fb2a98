"""HTTP Basic over https, for the hosts it was meant for and no other."""

import base64
from dataclasses import dataclass
from typing import override

from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref, locate
from geostack_dagster.errors import ConfigurationError, MissingCredentialError


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicSigner(BrokeredSigner):
    """Sends a user name and password to `hosts`."""

    hosts: frozenset[str]
    user_variable: str
    password_variable: str
    registration: str
    """Where an account comes from, for the message when there is none."""

    @override
    def scope(self, href: Href) -> str:
        """The host.

        Raises:
            ConfigurationError: If the password must not go there: another host, or no TLS.
        """
        location = locate(href)
        if location.scheme != "https" or location.host not in self.hosts:
            raise ConfigurationError(
                f"{self.user_variable} is for https on {', '.join(sorted(self.hosts))}, "
                f"not for {location.scheme}://{location.host}"
            )
        return location.host

    @override
    def _fetch(self, href: Href) -> Credential:
        host = self.scope(href)
        found = self.settings.login(host, user=self.user_variable, password=self.password_variable)
        if found is None:
            absent = self.settings.absent(self.user_variable, self.password_variable)
            raise MissingCredentialError(
                f"{host} asks for a login: set {absent}, or add the host to your netrc file. "
                f"{self.registration}"
            )
        user, password = found
        return Credential(
            values={"username": user.value, "password": password.value},
            expires_at=None,
            source=" and ".join(dict.fromkeys((user.source, password.source))),
        )

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        pair = f"{credential.values['username']}:{credential.values['password']}"
        encoded = base64.b64encode(pair.encode()).decode()
        return SignedRequest(
            SignedHref(href), {"Authorization": f"Basic {encoded}"}, credential=credential
        )
