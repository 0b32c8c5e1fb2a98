"""NASA's CMR: the search for granules and collections; CMR-STAC on its host is another twin."""

from geostack_dagster.sandbox.cmr_api import CmrTwin
from geostack_dagster.sandbox.service import Service, Setting


def cmr(setting: Setting) -> Service:
    """Everything below `/search`."""
    twin = CmrTwin(setting.archives, setting.vault, setting.accounts.earthdata)
    return Service(hosts=("cmr.earthdata.nasa.gov/search",), app=twin.app())
