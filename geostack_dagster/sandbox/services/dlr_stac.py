"""DLR's EOC Geoservice: the catalogue; files lie on another host, see `dlr_download`."""

from geostack_dagster.sandbox.dialects import DLR
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue


def dlr_stac(setting: Setting) -> Service:
    """Catalogue."""
    return Service(hosts=(DLR.host,), app=catalogue(setting, DLR))
