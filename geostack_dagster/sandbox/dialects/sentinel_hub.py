"""Sentinel Hub's Catalog on CDSE: collections and dates required, filters on cloud cover alone."""

from collections.abc import Sequence
from typing import Any

from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect
from geostack_dagster.sandbox.dialects.specs import CQL2, FEATURES, FILTER, QUERYABLES, STAC
from geostack_dagster.sandbox.grammar import NONE, Grammar
from geostack_dagster.sandbox.paging import Ask, Link, NextNumber, Page

_BASE = "https://sh.dataspace.copernicus.eu/api/v1/catalog/1.0.0"
_ROOT = f"{_BASE}/"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_DOCUMENTATION = "https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/ApiReference"
_TITLES = {"sentinel-2-l1c": "Sentinel 2 L1C", "sentinel-2-l2a": "Sentinel 2 L2A"}


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    here = ask.href if ask.method == "POST" else ask.link("self")["href"]
    return [{"href": here, "rel": "self", "type": _GEOJSON}, *steps]


def _counts(page: Page, ask: Ask) -> dict[str, Any]:
    context = {"limit": ask.limit, "returned": len(page.records)}
    return {"context": ({"next": page.stop} if page.has_more else {}) | context}


def _landing(names: Sequence[str]) -> list[Link]:
    search = {"rel": "search", "type": _GEOJSON, "title": "STAC search"}
    return [
        {"href": _ROOT, "rel": "root", "type": _JSON},
        {"href": _ROOT, "rel": "self", "type": _JSON},
        {"href": f"{_BASE}/collections", "rel": "data", "type": _JSON},
        {
            "href": f"{_BASE}/conformance",
            "rel": "conformance",
            "type": _JSON,
            "title": "STAC conformance classes implemented by this server",
        },
        *({"href": f"{_BASE}/search"} | search | {"method": method} for method in ("GET", "POST")),
        {"href": f"{_BASE}/queryables", "rel": QUERYABLES, "type": "application/schema+json"},
        *(
            {
                "href": f"{_BASE}/collections/{name}",
                "rel": "child",
                "type": _JSON,
                "title": _TITLES.get(name, name),
            }
            for name in names
        ),
        {
            "href": f"{_DOCUMENTATION}/openapi.v1.yaml",
            "rel": "service-desc",
            "type": 'application/vnd.oai.openapi;version="3.1"',
            "title": "OpenAPI service description",
        },
        {
            "href": f"{_DOCUMENTATION}.html#tag/catalog_core",
            "rel": "service-doc",
            "type": "text/html",
            "title": "OpenAPI service documentation",
        },
    ]


def _error(status: int, kind: str, text: str) -> Any:
    return {"code": str(status), "description": text}  # `CatalogException` of its API description


SENTINEL_HUB = Dialect(
    slug="sentinel_hub",
    host="sh.dataspace.copernicus.eu",
    path="/api/v1/catalog/1.0.0",
    id="sentinel-hub",
    title="Sentinel Hub STAC catalog",
    description="STAC v1.0.0 implementation by Sentinel Hub",
    conformance=(
        f"{FEATURES}/core",
        f"{FEATURES}/oas30",
        f"{FEATURES}/geojson",
        f"{STAC}/core",
        f"{STAC}/collections",
        f"{STAC}/ogcapi-features",
        f"{STAC}/ogcapi-features#fields",
        f"{STAC}/ogcapi-features#context",
        f"{STAC}/ogcapi-features#filter",
        f"{STAC}/item-search",
        f"{STAC}/item-search#fields",
        f"{STAC}/item-search#context",
        f"{STAC}/item-search#filter",
        f"{FILTER}/conf/filter",
        f"{FILTER}/conf/features-filter",
        f"{CQL2}/conf/cql2-text",
        f"{CQL2}/conf/cql2-json",
        f"{CQL2}/conf/basic-cql2",
    ),
    grammar=Grammar(
        filter=frozenset({"eo:cloud_cover"}),
        operators=frozenset({"=", "<>", "<", "<=", ">", ">=", "between", "and"}),
        sort=NONE,
        refused=("query", "sortby"),
        required=("collections", "datetime"),
        largest_page=100,
    ),
    paging=NextNumber(),
    frame=_framed,
    counts=_counts,
    landing=_landing,
    errors=_error,
    root_href=_ROOT,
    collections={name: CollectionFacts(title=title) for name, title in _TITLES.items()},
)
