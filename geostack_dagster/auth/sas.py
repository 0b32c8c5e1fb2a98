"""Planetary Computer: a SAS token per storage container, appended to each blob's URL.

`planetary_computer.sas.get_token` is not used: it keeps tokens in a module-level cache that cannot
forget a refused one, retries ten times without heeding Retry-After, and raises `requests` errors
that do not tell a busy service from a refusal. Its conventions are kept: the variables
`PC_SDK_SAS_URL` and `PC_SDK_SUBSCRIPTION_KEY`, its settings file, and the public account that is
never signed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import override
from urllib.parse import urlsplit

from geostack_dagster.auth.brokered import BrokeredSigner
from geostack_dagster.auth.exchange import Answer, TokenRequest, ask
from geostack_dagster.auth.resolution import Secret, Settings
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref, locate
from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    RejectedCredentialError,
    ServiceError,
)

_SERVICE = "Planetary Computer token service"
_TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 (an address)
_SETTINGS_FILE = Path("~/.planetarycomputer/settings.env")
_KEY, _URL = "PC_SDK_SUBSCRIPTION_KEY", "PC_SDK_SAS_URL"
_BLOB, _DFS = ".blob.core.windows.net", ".dfs.core.windows.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class SasSigner(BrokeredSigner):
    """Signs https blob URLs and `abfs://container@account.dfs.core.windows.net/key`.

    No account is needed; a subscription key, where there is one, raises the rate limit. The
    credential holds `sas_token`.
    """

    @override
    def scope(self, href: Href) -> str:
        """`account/container`: what one token opens.

        Raises:
            ConfigurationError: If the href names no account or no container.
        """
        account, container, _ = _blob(href)
        return f"{account}/{container}"

    @override
    def _fetch(self, href: Href) -> Credential:
        return _fetch(self.scope(href), self.settings)

    @override
    def _signed(self, href: Href, credential: Credential) -> SignedRequest:
        account, container, key = _blob(href)
        query = "&".join(filter(None, (urlsplit(href).query, credential.values["sas_token"])))
        url = SignedHref(f"https://{account}{_BLOB}/{container}/{key}?{query}")
        return SignedRequest(url, credential=credential)


def _blob(href: Href) -> tuple[str, str, str]:
    """Account, container and key of a blob, in any of its three notations."""
    location = locate(href)
    if location.scheme in ("abfs", "abfss", "az"):
        container, _, host = location.host.partition("@")
        account, key = host.removesuffix(_DFS).removesuffix(_BLOB), location.key
    else:
        account = location.host.removesuffix(_BLOB) if location.scheme == "https" else ""
        container, _, key = location.key.partition("/")
    if not account or not container or "." in account:
        raise ConfigurationError(
            f"{href} does not name a storage account and a container; write it as "
            f"https://ACCOUNT{_BLOB}/CONTAINER/KEY or abfs://CONTAINER@ACCOUNT{_DFS}/KEY"
        )
    return account, container, key


def _fetch(scope: str, settings: Settings) -> Credential:
    base = settings.find(_URL, dotenv=_SETTINGS_FILE)
    key = settings.find(_KEY, dotenv=_SETTINGS_FILE)
    answer = ask(
        TokenRequest(
            service=_SERVICE,
            url=f"{base.value if base else _TOKEN_URL}/{scope}",
            headers={"Ocp-Apim-Subscription-Key": key.value} if key else {},
        )
    )
    _check(scope, answer, key)
    document = answer.document if isinstance(answer.document, dict) else {}
    expiry, token = parse_datetime(document.get("msft:expiry")), document.get("token")
    if expiry is None or not isinstance(token, str):
        raise ServiceError(f"{_SERVICE} answered without a token and its expiry for {scope}")
    return Credential(
        values={"sas_token": token.lstrip("?")},
        expires_at=answer.local(expiry),
        source=key.source if key else _SERVICE,
    )


def _check(scope: str, answer: Answer, key: Secret | None) -> None:
    if answer.status in (401, 403):
        tried = key.source if key else f"no subscription key ({_KEY} is not set)"
        raise RejectedCredentialError(
            f"{_SERVICE} answered {answer.status} for container {scope}, asked with {tried}"
        )
    if answer.status == 404:
        raise AssetError(
            f"{_SERVICE} knows no container {scope} (404); the href does not belong to the "
            "Planetary Computer, or the collection was withdrawn"
        )
    if answer.status != 200:
        raise ServiceError(
            f"{_SERVICE} answered {answer.status} for container {scope}", status=answer.status
        )
