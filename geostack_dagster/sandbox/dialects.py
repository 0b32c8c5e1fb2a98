"""How the catalogues differ, as data: conformance, paging, quirks and error bodies.

One Starlette twin serves all dialects (`stac_api.py`) rather than stac-fastapi with a backend for
each: what matters here is each archive's own paging and its quirks, and those are records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Paging(StrEnum):
    """How a page says where the next one is."""

    TOKEN = "token"
    """pgstac: `token=next:<collection>:<id>`, no link on the last page, a previous link."""
    SEARCH_AFTER = "search-after"
    """stac-server: `next=<datetime>,<id>,<collection>` after every page that is not empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """What a catalogue says about a collection besides its Items."""

    title: str
    license: str = "proprietary"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One catalogue's manners."""

    slug: str
    """Our name of the archive."""
    host: str
    path: str
    id: str
    title: str
    description: str
    conformance: tuple[str, ...]
    paging: Paging
    states_matched: bool
    heeds_filter: bool
    """False where a CQL2 filter is accepted with 200 and ignored."""
    not_found: str
    """`code` of a 404."""
    json_type: str = "application/json"
    geojson_type: str = "application/geo+json"
    page_limit: int = 10
    """Items in a page when the client does not say."""
    max_page: int = 10_000
    max_body: int | None = None
    """Bytes above which the gateway answers 502."""
    root_slash: str = ""
    """What the catalogue appends to its own address in links."""
    collections: Mapping[str, CollectionFacts] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Address of the landing page."""
        return f"https://{self.host}{self.path}"


_API = "https://api.stacspec.org/v1.0.0"
_OGC = "http://www.opengis.net/spec"

PLANETARY_COMPUTER = Dialect(
    slug="planetary_computer",
    host="planetarycomputer.microsoft.com",
    path="/api/stac/v1",
    id="microsoft-pc",
    title="Microsoft Planetary Computer STAC API",
    description="Searchable spatiotemporal metadata describing Earth science datasets hosted by "
    "the Microsoft Planetary Computer",
    conformance=(
        f"{_API}/item-search#sort",
        f"{_API}/item-search",
        f"{_OGC}/ogcapi-features-1/1.0/conf/geojson",
        f"{_OGC}/ogcapi-features-3/1.0/conf/filter",
        "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter",
        f"{_OGC}/ogcapi-features-1/1.0/conf/core",
        f"{_API}/ogcapi-features",
        f"{_API}/core",
        f"{_OGC}/cql2/1.0/conf/basic-cql2",
        f"{_OGC}/cql2/1.0/conf/cql2-json",
        f"{_API}/collections",
        f"{_OGC}/ogcapi-features-1/1.0/conf/oas30",
        f"{_API}/item-search#query",
        f"{_API}/item-search#fields",
        f"{_OGC}/cql2/1.0/conf/cql2-text",
    ),
    paging=Paging.TOKEN,
    states_matched=False,
    heeds_filter=True,
    not_found="NotFoundError",
    max_page=1000,
    root_slash="/",
    collections={
        "sentinel-2-l2a": CollectionFacts(
            title="Sentinel-2 Level-2A",
            extra={
                "msft:container": "sentinel2-l2",
                "msft:storage_account": "sentinel2l2a01",
                "msft:region": "westeurope",
            },
        ),
    },
)

EARTH_SEARCH = Dialect(
    slug="earth_search",
    host="earth-search.aws.element84.com",
    path="/v1",
    id="earth-search-aws",
    title="Earth Search by Element 84",
    description="A STAC API of public datasets on AWS",
    conformance=(
        f"{_API}/core",
        f"{_API}/collections",
        f"{_API}/ogcapi-features",
        f"{_API}/item-search",
        f"{_API}/ogcapi-features#fields",
        f"{_API}/ogcapi-features#sort",
        f"{_API}/ogcapi-features#query",
        f"{_API}/item-search#fields",
        f"{_API}/item-search#sort",
        f"{_API}/item-search#query",
        "https://api.stacspec.org/v0.3.0/aggregation",
        f"{_OGC}/ogcapi-features-1/1.0/conf/core",
        f"{_OGC}/ogcapi-features-1/1.0/conf/oas30",
        f"{_OGC}/ogcapi-features-1/1.0/conf/geojson",
    ),
    paging=Paging.SEARCH_AFTER,
    states_matched=True,
    heeds_filter=False,
    not_found="NotFound",
    json_type="application/json; charset=utf-8",
    geojson_type="application/geo+json; charset=utf-8",
    max_body=6 << 20,  # API Gateway in front of Lambda: large pages answer 502
    collections={
        "sentinel-2-l2a": CollectionFacts(title="Sentinel-2 Level-2A"),
        "sentinel-2-c1-l2a": CollectionFacts(title="Sentinel-2 Collection 1 Level-2A"),
    },
)

DIALECTS = (PLANETARY_COMPUTER, EARTH_SEARCH)
