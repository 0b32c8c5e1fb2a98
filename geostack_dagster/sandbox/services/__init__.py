"""Every twin of the sandbox: one function each, that makes it over the common setting."""

from geostack_dagster.sandbox.service import MakeService
from geostack_dagster.sandbox.services.amazon_s3 import amazon_s3
from geostack_dagster.sandbox.services.cdse_stac import cdse_stac
from geostack_dagster.sandbox.services.cmr import cmr
from geostack_dagster.sandbox.services.cmr_stac import cmr_stac
from geostack_dagster.sandbox.services.copernicus_identity import copernicus_identity
from geostack_dagster.sandbox.services.dlr_download import dlr_download
from geostack_dagster.sandbox.services.dlr_stac import dlr_stac
from geostack_dagster.sandbox.services.earth_search import earth_search
from geostack_dagster.sandbox.services.earthdata_login import earthdata_login
from geostack_dagster.sandbox.services.eodata import eodata
from geostack_dagster.sandbox.services.lpdaac import lpdaac
from geostack_dagster.sandbox.services.planetary_computer import planetary_computer
from geostack_dagster.sandbox.services.sentinel_hub_catalog import sentinel_hub_catalog
from geostack_dagster.sandbox.services.sentinel_hub_process import sentinel_hub_process

SERVICES: tuple[MakeService, ...] = (
    planetary_computer,
    earth_search,
    amazon_s3,
    lpdaac,
    eodata,
    earthdata_login,
    dlr_download,
    copernicus_identity,
    cdse_stac,
    sentinel_hub_catalog,
    sentinel_hub_process,
    cmr,
    cmr_stac,
    dlr_stac,
)
