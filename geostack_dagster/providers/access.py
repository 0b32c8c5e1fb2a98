"""Opening a provider's assets: each href goes to the scheme that its provider record names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, override

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.auth.requester_pays import RequesterPaysSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.sas import SasSigner
from geostack_dagster.auth.signer import AuthScheme, Credential, SignedRequest, Signer
from geostack_dagster.domain.hrefs import Href, canonical, locate
from geostack_dagster.domain.item import Asset
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.provider import Provider

_STORAGE_OPTIONS = (
    ("table:storage_options",),
    ("xarray:storage_options",),
    ("xarray:open_kwargs", "storage_options"),
    ("xarray:open_kwargs", "backend_kwargs", "storage_options"),
)


_SIGNERS: Mapping[AuthScheme, Callable[[Provider, Settings], Signer]] = {
    AuthScheme.ANONYMOUS: lambda provider, settings: AnonymousSigner(provider.region_of),
    AuthScheme.SAS: lambda provider, settings: SasSigner(settings=settings),
    AuthScheme.REQUESTER_PAYS: lambda provider, settings: RequesterPaysSigner(
        region_of=provider.region_of, settings=settings
    ),
}


@dataclass(frozen=True, slots=True)
class ProviderSigner:
    """Signs any href of one provider.

    Travels as the provider's slug alone: a worker process that receives one resolves its own
    credentials.
    """

    slug: str
    settings: Settings = field(default_factory=Settings, repr=False, compare=False)

    def scheme(self, href: Href) -> AuthScheme:
        """How `href` is opened.

        Raises:
            ConfigurationError: If the provider keeps no assets on its host.
        """
        provider = provider_named(self.slug)
        scheme = provider.scheme(href)
        if scheme is None:
            location = locate(href)
            raise ConfigurationError(
                f"{self.slug} keeps no assets at {location.scheme}://{location.host} "
                f"({href}); the item belongs to another provider, or the provider record's "
                "`access` needs this host"
            )
        return scheme

    def scope(self, href: Href) -> str:
        """What one credential opens; the empty string for open data."""
        return self._of(href).scope(href)

    def sign(self, href: Href) -> SignedRequest:
        """A request that is valid now.

        Raises:
            ConfigurationError: If the provider keeps no assets on the href's host.
            CredentialError: If the scheme's credential is missing or refused.
            ServiceError: If the token service is busy or down.
        """
        return self._of(href).sign(href)

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """Drop the credential behind a refused request; True if signing again makes sense."""
        return self._of(href).forget(href, refused)

    def credential(self, href: Href) -> Credential | None:
        """The bare credential that opens `href`, for object-store clients; None for open data."""
        return self._of(href).credential(href)

    def _of(self, href: Href) -> Signer:
        scheme = self.scheme(href)
        if scheme not in _SIGNERS:
            raise ConfigurationError(f"{self.slug}: reading by {scheme.value} is not supported")
        return _SIGNERS[scheme](provider_named(self.slug), self.settings)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel as the slug."""
        return (ProviderSigner, (self.slug,))


def signer_for(provider: Provider, settings: Settings | None = None) -> ProviderSigner:
    """Signer of a provider's hrefs."""
    return ProviderSigner(provider.slug, settings or Settings())


def asset_href(asset: Asset) -> Href:
    """Canonical href of an asset, with the storage account that a bare `abfs://` href leaves out.

    Planetary Computer writes `abfs://container/key` and puts the account name in the asset's
    `xarray:storage_options` or `table:storage_options`.
    """
    href = canonical(str(asset.get("href", "")))
    location = locate(href)
    account = _account(asset)
    if location.scheme not in ("abfs", "abfss", "az") or "@" in location.host or account is None:
        return href
    return Href(f"abfs://{location.host}@{account}.dfs.core.windows.net/{location.key}")


def _account(asset: Asset) -> str | None:
    for path in _STORAGE_OPTIONS:
        found: Any = asset
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and isinstance(found.get("account_name"), str):
            return str(found["account_name"])
    return None


def gdal_source(request: SignedRequest) -> tuple[str, dict[str, str]]:
    """Path and scoped options with which GDAL opens a signed request.

    For `rasterio.Env(**options)` around the open and the read, never for the process environment.
    The path may hold a signature: redact what GDAL says about it.
    """
    path = _gdal_path(request.url)
    options = dict(_GDAL_OPTIONS)
    if request.headers:
        # Quotes keep the commas of an Authorization header from splitting it.
        options["GDAL_HTTP_HEADERS"] = ",".join(
            f'"{name}: {value}"' for name, value in request.headers.items()
        )
        # The URL does not change when the headers are renewed: without this a refusal is cached.
        options["CPL_VSIL_CURL_NON_CACHED"] = path
    return path, options


_GDAL_OPTIONS: Mapping[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_VERSION": "2TLS",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_NETRC": "NO",
    # A signature covers GET only, and a bucket that refuses HEAD is common.
    "CPL_VSIL_CURL_USE_HEAD": "NO",
}


def _gdal_path(url: str) -> str:
    location = locate(url)
    if location.scheme == "file":
        return location.key
    return f"/vsicurl/{url}"
