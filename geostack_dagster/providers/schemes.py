"""Each auth scheme as the providers use it: which variables, hosts and endpoints."""

from collections.abc import Callable, Mapping

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.auth.basic import BasicSigner
from geostack_dagster.auth.earthdata import EarthdataAccess, EarthdataS3Signer, EarthdataSigner
from geostack_dagster.auth.oauth2 import Grant, OAuth2Signer
from geostack_dagster.auth.requester_pays import RequesterPaysSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.s3_keys import S3KeysSigner
from geostack_dagster.auth.sas import SasSigner
from geostack_dagster.auth.signer import AuthScheme, Signer
from geostack_dagster.domain.hrefs import locate
from geostack_dagster.providers.provider import Provider


def _anonymous(provider: Provider, settings: Settings) -> Signer:
    return AnonymousSigner(provider.region_of)


def _sas(provider: Provider, settings: Settings) -> Signer:
    return SasSigner(settings=settings)


def _requester_pays(provider: Provider, settings: Settings) -> Signer:
    return RequesterPaysSigner(region_of=provider.region_of, settings=settings)


def _s3_keys(provider: Provider, settings: Settings) -> Signer:
    return S3KeysSigner(
        endpoint=provider.endpoints["s3"],
        region="default",
        id_variable="CDSE_ACCESS_KEY_ID",
        secret_variable="CDSE_SECRET_ACCESS_KEY",  # noqa: S106 (a variable's name)
        registration="Make them at https://eodata-s3keysmanager.dataspace.copernicus.eu.",
        settings=settings,
    )


def _oauth2(provider: Provider, settings: Settings) -> Signer:
    hosts, grant = _GRANTS[provider.slug]
    return OAuth2Signer(hosts=hosts, grant=grant(provider.endpoints["token"]), settings=settings)


def _earthdata(provider: Provider, settings: Settings) -> Signer:
    bearer = EarthdataSigner(login_url=provider.endpoints["login"], settings=settings)
    keys = EarthdataS3Signer(
        bearer=bearer, credentials_url=provider.endpoints["s3credentials"], settings=settings
    )
    return EarthdataAccess(
        bearer=bearer, s3=keys, data_host=locate(provider.endpoints["data"]).host
    )


def _basic(provider: Provider, settings: Settings) -> Signer:
    return BasicSigner(
        hosts=frozenset({"download.geoservice.dlr.de"}),
        user_variable="ENMAP_USERNAME",
        password_variable="ENMAP_PASSWORD",  # noqa: S106 (a variable's name)
        registration="Register at https://sso.eoc.dlr.de (EOC Geoservice).",
        settings=settings,
    )


def _client(token_url: str) -> Grant:
    return Grant(
        service="Sentinel Hub",
        token_url=token_url,
        form={"grant_type": "client_credentials"},
        variables={"client_id": "SH_CLIENT_ID", "client_secret": "SH_CLIENT_SECRET"},
        registration="Make an OAuth client in the CDSE dashboard, user settings.",
    )


def _download(token_url: str) -> Grant:
    return Grant(
        service="Copernicus Data Space",
        token_url=token_url,
        form={"grant_type": "password", "client_id": "cdse-public"},
        variables={"username": "CDSE_USERNAME", "password": "CDSE_PASSWORD"},
        registration="Accounts are free at https://dataspace.copernicus.eu.",
    )


_GRANTS: Mapping[str, tuple[tuple[str, ...], Callable[[str], Grant]]] = {
    "sentinel_hub": (("sh.dataspace.copernicus.eu", "services.sentinel-hub.com"), _client),
    "cdse": (("download.dataspace.copernicus.eu", "zipper.dataspace.copernicus.eu"), _download),
}
SIGNERS: Mapping[AuthScheme, Callable[[Provider, Settings], Signer]] = {
    AuthScheme.ANONYMOUS: _anonymous,
    AuthScheme.SAS: _sas,
    AuthScheme.REQUESTER_PAYS: _requester_pays,
    AuthScheme.S3_KEYS: _s3_keys,
    AuthScheme.OAUTH2: _oauth2,
    AuthScheme.EARTHDATA: _earthdata,
    AuthScheme.BASIC: _basic,
}
"""How each scheme's signer is made for a provider."""
