"""One Dagster resource for each way that archives are opened.

Every field may stay empty: what a resource does not say is looked for in the environment, in dotenv
files and in netrc when bytes are read (`auth.resolution`), so definitions load without any secret.
"""

import os
from collections.abc import Mapping
from functools import reduce
from typing import Any, Self

import dagster as dg
from pydantic import Field, JsonValue

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.providers import Provider

_VARIABLE = "variable"


def _secret(variable: str) -> Any:
    """A field that is masked in the UI and stands for this variable."""
    extra: dict[str, JsonValue] = {"dagster__is_secret": True, _VARIABLE: variable}
    return Field(default=None, repr=False, json_schema_extra=extra)


class Access(dg.ConfigurableResource["Access"]):
    """Credentials of one scheme."""

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Variable that each field stands for."""
        return {
            name: str(field.json_schema_extra[_VARIABLE])
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict)
        }

    @classmethod
    def from_environment(cls) -> Self:
        """The resource whose values are the variables that are set, read when a run starts."""
        known = {name: var for name, var in cls.variables().items() if os.environ.get(var)}
        return cls(**{name: dg.EnvVar(variable) for name, variable in known.items()})

    def settings(self) -> Settings:
        """What was given, under the variables' names; it wins over the environment."""
        found = {variable: getattr(self, name) for name, variable in self.variables().items()}
        return Settings(resource={variable: value for variable, value in found.items() if value})


class Sas(Access):
    """Planetary Computer's shared access signatures; a subscription key raises the limits."""

    subscription_key: str | None = _secret("PC_SDK_SUBSCRIPTION_KEY")


class RequesterPays(Access):
    """An AWS account that pays for what it reads from requester-pays buckets."""

    access_key_id: str | None = _secret("AWS_ACCESS_KEY_ID")
    secret_access_key: str | None = _secret("AWS_SECRET_ACCESS_KEY")
    session_token: str | None = _secret("AWS_SESSION_TOKEN")


class S3Keys(Access):
    """S3 keys of the Copernicus Data Space."""

    access_key_id: str | None = _secret("CDSE_ACCESS_KEY_ID")
    secret_access_key: str | None = _secret("CDSE_SECRET_ACCESS_KEY")


class OAuth2(Access):
    """A Sentinel Hub OAuth client, and a Copernicus login for https downloads."""

    client_id: str | None = _secret("SH_CLIENT_ID")
    client_secret: str | None = _secret("SH_CLIENT_SECRET")
    username: str | None = _secret("CDSE_USERNAME")
    password: str | None = _secret("CDSE_PASSWORD")


class Earthdata(Access):
    """A NASA Earthdata login: a token, or a user name and password, or what earthaccess finds."""

    earthaccess_login: str | None = Field(
        default=None, json_schema_extra={_VARIABLE: "GEOSTACK_EARTHACCESS_LOGIN"}
    )
    """`netrc`, `environment` or `session`, to take the token from an earthaccess login."""
    token: str | None = _secret("EARTHDATA_TOKEN")
    username: str | None = _secret("EARTHDATA_USERNAME")
    password: str | None = _secret("EARTHDATA_PASSWORD")


class Basic(Access):
    """User name and password of DLR's EOC Geoservice."""

    username: str | None = _secret("ENMAP_USERNAME")
    password: str | None = _secret("ENMAP_PASSWORD")


RESOURCES: Mapping[AuthScheme, tuple[str, type[Access]]] = {
    AuthScheme.SAS: ("sas", Sas),
    AuthScheme.REQUESTER_PAYS: ("requester_pays", RequesterPays),
    AuthScheme.S3_KEYS: ("s3_keys", S3Keys),
    AuthScheme.OAUTH2: ("oauth2", OAuth2),
    AuthScheme.EARTHDATA: ("earthdata", Earthdata),
    AuthScheme.BASIC: ("basic", Basic),
}
"""Resource key and class of every scheme that has a credential."""


def access_resources() -> dict[str, Access]:
    """Every resource, with the variables that are set."""
    return {key: kind.from_environment() for key, kind in RESOURCES.values()}


def keys_of(provider: Provider) -> set[str]:
    """Keys of the resources that open a provider's catalogue and assets."""
    schemes = {provider.search_scheme, *(scheme for _, scheme in provider.access)}
    return {RESOURCES[scheme][0] for scheme in schemes if scheme in RESOURCES}


def settings_of(provider: Provider, resources: Any) -> Settings:
    """Credentials that a step was given for a provider, by its resources."""
    given = [getattr(resources, key).settings().resource for key in sorted(keys_of(provider))]
    merged: dict[str, str] = reduce(lambda one, other: {**one, **other}, given, {})
    return Settings(resource=merged)
