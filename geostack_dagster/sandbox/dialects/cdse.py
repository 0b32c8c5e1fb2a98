"""Copernicus Data Space: stac-fastapi over pgstac, with counts of what came but not of the whole.

The next link was never recorded: its token is hidden here, so that no client reads it.
"""

from collections.abc import Sequence
from typing import Any

from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect
from geostack_dagster.sandbox.dialects.specs import (
    CQL2,
    FEATURES,
    FILTER,
    OGC,
    QUERYABLES,
    STAC,
    STAC_RC1,
    STAC_RC2,
)
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.paging import Ask, KeyTokens, Link, Page, hidden, revealed

_BASE = "https://stac.dataspace.copernicus.eu/v1"
_ROOT = f"{_BASE}/"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_TITLES = {
    "sentinel-2-l1c": "Sentinel-2 Level-1C",
    "sentinel-2-l2a": "Sentinel-2 Level-2A",
}


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    return [
        *steps,
        {"rel": "root", "type": _JSON, "href": _ROOT},
        {"rel": "self", "type": _JSON, "href": ask.href},
    ]


def _counts(page: Page, ask: Ask) -> dict[str, Any]:
    return {"numberReturned": len(page.records)}


def _landing(names: Sequence[str]) -> list[Link]:
    conformance = "STAC/OGC conformance classes implemented by this server"
    openapi = "application/vnd.oai.openapi+json;version=3.0"
    search: Link = {"rel": "search", "type": _GEOJSON, "title": "STAC search"}
    return [
        {"rel": "self", "type": _JSON, "href": _ROOT},
        {"rel": "root", "type": _JSON, "href": _ROOT},
        {"rel": "data", "type": _JSON, "href": f"{_BASE}/collections"},
        {"rel": "conformance", "type": _JSON, "title": conformance, "href": f"{_BASE}/conformance"},
        *(search | {"href": f"{_BASE}/search", "method": method} for method in ("GET", "POST")),
        {
            "rel": QUERYABLES,
            "type": "application/schema+json",
            "title": "Queryables",
            "href": f"{_BASE}/queryables",
            "method": "GET",
        },
        *(
            {
                "rel": "child",
                "type": _JSON,
                "title": _TITLES.get(name, name),
                "href": f"{_BASE}/collections/{name}",
            }
            for name in names
        ),
        {
            "rel": "service-desc",
            "type": openapi,
            "title": "OpenAPI service description",
            "href": f"{_BASE}/api",
        },
        {
            "rel": "service-doc",
            "type": "text/html",
            "title": "OpenAPI service documentation",
            "href": f"{_BASE}/api.html",
        },
    ]


CDSE = Dialect(
    slug="cdse",
    host="stac.dataspace.copernicus.eu",
    path="/v1",
    # As recorded: the two stand in each other's place.
    id="Copernicus Data Space Ecosystem (CDSE) asset-level STAC catalogue",
    title="cdse-stac",
    description=(
        "A comprehensive and searchable catalog of Earth observation and scientific datasets that "
        "is actively maintained and updated by the Copernicus Data Space Ecosystem. The integrated "
        "STAC (SpatioTemporal Asset Catalog) API, which follows the open STAC specification, "
        "enables users to access detailed asset-level metadata, including spatial information, "
        "temporal coverage, and data specifications. This standardized interface facilitates "
        "efficient data discovery and retrieval across the extensive collection of environmental "
        "and scientific resources. More information: https://documentation.dataspace.copernicus.eu/"
    ),
    stac_version="1.1.0",
    conformance=(
        f"{FILTER}/conf/filter",
        f"{STAC}/collections/extensions/transaction",
        f"{STAC}/ogcapi-features/extensions/transaction",
        f"{CQL2}/conf/cql2-text",
        f"{FEATURES}/oas30",
        f"{STAC}/core",
        f"{STAC_RC2}/item-search#filter",
        f"{STAC_RC1}/collection-search#query",
        f"{STAC}/item-search#sort",
        f"{STAC_RC1}/collection-search",
        f"{FEATURES}/geojson",
        f"{STAC}/ogcapi-features",
        f"{STAC_RC1}/collection-search#filter",
        f"{STAC_RC1}/collection-search#sort",
        f"{STAC}/item-search",
        f"{FEATURES}/core",
        f"{STAC}/item-search#fields",
        f"{FILTER}/conf/features-filter",
        f"{CQL2}/conf/basic-cql2",
        f"{STAC_RC1}/collection-search#fields",
        f"{OGC}/ogcapi-common-2/1.0/conf/simple-query",
        f"{STAC}/collections",
        f"{STAC}/item-search#query",
        f"{CQL2}/conf/cql2-json",
    ),
    grammar=Grammar(
        largest_page=100, refused_page=(100, 429, "Too many items requested in one page")
    ),
    paging=KeyTokens(write=hidden, read=revealed),
    frame=_framed,
    counts=_counts,
    landing=_landing,
    not_found="NotFoundError",
    root_href=_ROOT,
    collections={name: CollectionFacts(title=title) for name, title in _TITLES.items()},
)
