"""Earth Search: the catalogue; its files lie in Amazon S3."""

from geostack_dagster.sandbox.dialects import EARTH_SEARCH
from geostack_dagster.sandbox.service import Service, Setting
from geostack_dagster.sandbox.services.stac import catalogue


def earth_search(setting: Setting) -> Service:
    """Catalogue."""
    return Service(hosts=(EARTH_SEARCH.host,), app=catalogue(setting, EARTH_SEARCH))
