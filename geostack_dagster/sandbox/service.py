"""What a twin is: hosts, an application that answers for them, and the account it honours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from geostack_dagster.sandbox.accounts import Accounts
from geostack_dagster.sandbox.archive import Archive
from geostack_dagster.sandbox.lifetime import Lifetime
from geostack_dagster.sandbox.objects import TileRenderer, Vault
from geostack_dagster.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all twins share."""

    world: World
    vault: Vault
    renderer: TileRenderer
    lifetime: Lifetime
    accounts: Accounts = field(repr=False)
    """Credentials that the twins honour, and the keys they sign with."""
    archives: Mapping[str, Archive]
    """By our name of the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One twin."""

    hosts: tuple[str, ...]
    """Host globs that it answers for; `host/path` where it shares a host with other services."""
    app: ASGIApp
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials of the one account that it knows, as a person would export them."""
    withheld: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials that it honours as well, but which would change what other clients do."""


type MakeService = Callable[[Setting], Service]
