"""How the catalogues differ, as data: conformance, paging, grammar, quirks and error bodies.

One Starlette twin serves all dialects (`stac_api.py`) rather than stac-fastapi with a backend for
each: what matters here is each archive's own paging and its quirks, and those are records.
"""

from geostack_dagster.sandbox.dialects.cdse import CDSE
from geostack_dagster.sandbox.dialects.cmr_stac import CMR_STAC
from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect
from geostack_dagster.sandbox.dialects.dlr import DLR
from geostack_dagster.sandbox.dialects.earth_search import EARTH_SEARCH
from geostack_dagster.sandbox.dialects.planetary_computer import PLANETARY_COMPUTER
from geostack_dagster.sandbox.dialects.sentinel_hub import SENTINEL_HUB

DIALECTS = (PLANETARY_COMPUTER, EARTH_SEARCH, CDSE, SENTINEL_HUB, CMR_STAC, DLR)

__all__ = [
    "CDSE",
    "CMR_STAC",
    "DIALECTS",
    "DLR",
    "EARTH_SEARCH",
    "PLANETARY_COMPUTER",
    "SENTINEL_HUB",
    "CollectionFacts",
    "Dialect",
]
