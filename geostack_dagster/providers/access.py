"""Opening a provider's assets: each href goes to the scheme that its provider record names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, override

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme, Credential, SignedRequest, Signer
from geostack_dagster.domain.hrefs import Href, canonical, locate
from geostack_dagster.domain.item import Asset
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.gdal import gdal_source
from geostack_dagster.providers.provider import Provider
from geostack_dagster.providers.schemes import SIGNERS

_STORAGE_OPTIONS = (
    ("table:storage_options",),
    ("xarray:storage_options",),
    ("xarray:open_kwargs", "storage_options"),
    ("xarray:open_kwargs", "backend_kwargs", "storage_options"),
)


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
        return SIGNERS[self.scheme(href)](provider_named(self.slug), self.settings)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Travel as the slug."""
        return (ProviderSigner, (self.slug,))


def signer_for(provider: Provider, settings: Settings | None = None) -> ProviderSigner:
    """Signer of a provider's hrefs."""
    return ProviderSigner(provider.slug, settings or Settings())


@dataclass(frozen=True, slots=True)
class SearchHeaders:
    """Gives the headers that authorise a search, fresh ones at each call.

    Equal for the same catalogue and account: connections are kept by it.
    """

    slug: str
    url: str
    mark: str
    """Tells settings apart without holding them."""
    signer: ProviderSigner = field(repr=False, compare=False)

    @classmethod
    def of(cls, provider: Provider, settings: Settings, url: str | None = None) -> Self:
        """Headers for a provider's catalogue, or for one at another address."""
        signer = signer_for(provider, settings)
        return cls(provider.slug, url or provider.stac_url, settings.mark, signer)

    def __call__(self) -> Mapping[str, str]:
        """Headers of a request that is valid now; raises as `ProviderSigner.sign`."""
        return self.signer.sign(Href(self.url)).headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Replace the credential behind refused headers; True if there is another to try."""
        request = self.signer.sign(Href(self.url))
        return request.headers != refused or self.signer.forget(Href(self.url), request)


def search_headers(provider: Provider, settings: Settings) -> SearchHeaders | None:
    """What gives the catalogue's authorising headers with these settings; None to leave it to it.

    Nothing was given, or the catalogue is open: then the search finds its own.
    """
    if not settings.mark or provider.search_scheme is AuthScheme.ANONYMOUS:
        return None
    return SearchHeaders.of(provider, settings)


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


__all__ = [
    "ProviderSigner",
    "SearchHeaders",
    "asset_href",
    "gdal_source",
    "search_headers",
    "signer_for",
]
