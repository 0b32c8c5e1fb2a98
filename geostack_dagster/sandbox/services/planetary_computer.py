"""Planetary Computer: the catalogue and the token service."""

from starlette.types import ASGIApp

from geostack_dagster.sandbox.blob import HOST_SUFFIX, BlobTwin
from geostack_dagster.sandbox.dialects import PLANETARY_COMPUTER
from geostack_dagster.sandbox.sas import SasAuthority
from geostack_dagster.sandbox.sas_api import sas_routes
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue
from geostack_dagster.sandbox.switch import by_host


def planetary_computer(setting: Setting) -> Service:
    """Catalogue, tokens, and the storage accounts that the tokens open."""
    authority = SasAuthority(setting.lifetime)
    app = catalogue(setting, PLANETARY_COMPUTER)
    app.router.routes.extend(sas_routes(authority, PLANETARY_COMPUTER))
    hosts: dict[str, ASGIApp] = {PLANETARY_COMPUTER.host: app}
    hosts[f"*{HOST_SUFFIX}"] = BlobTwin(setting.vault, authority)
    return Service(hosts=tuple(hosts), app=by_host(hosts))
