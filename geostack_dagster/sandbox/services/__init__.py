"""Every twin of the sandbox: one function each, that makes it over the common setting."""

from geostack_dagster.sandbox.service import MakeService
from geostack_dagster.sandbox.services.amazon_s3 import amazon_s3
from geostack_dagster.sandbox.services.earth_search import earth_search
from geostack_dagster.sandbox.services.planetary_computer import planetary_computer

SERVICES: tuple[MakeService, ...] = (
    planetary_computer,
    earth_search,
    amazon_s3,
)
