"""Copernicus Data Space: the catalogue, and the pictures that it shows."""

from starlette.types import ASGIApp

from geostack_dagster.sandbox.dialects import CDSE
from geostack_dagster.sandbox.file_host import FileHost
from geostack_dagster.sandbox.places import QUICKLOOK_HOST
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue
from geostack_dagster.sandbox.switch import by_host


def cdse_stac(setting: Setting) -> Service:
    """Both are open to anyone; products are not, see `copernicus_identity` and `eodata`."""
    hosts: dict[str, ASGIApp] = {
        CDSE.host: catalogue(setting, CDSE),
        QUICKLOOK_HOST: FileHost(setting.vault, QUICKLOOK_HOST),
    }
    return Service(hosts=tuple(hosts), app=by_host(hosts))
