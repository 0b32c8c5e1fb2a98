"""Earth Search: stac-server, behind a gateway that breaks large answers."""

from collections.abc import Sequence
from typing import Any

from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect, plain_landing
from geostack_dagster.sandbox.dialects.specs import FEATURES, STAC
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.paging import Ask, Link, Page, SearchAfter

_BASE = "https://earth-search.aws.element84.com/v1"


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    return [*steps, {"rel": "root", "type": "application/json", "href": _BASE}]


def _landing(names: Sequence[str]) -> list[Link]:
    return plain_landing(_BASE, _BASE, names)


def _counts(page: Page, ask: Ask) -> dict[str, Any]:
    returned = len(page.records)
    return {
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "context": {"limit": ask.limit, "matched": page.matched, "returned": returned},
        "numberMatched": page.matched,
        "numberReturned": returned,
    }


EARTH_SEARCH = Dialect(
    slug="earth_search",
    host="earth-search.aws.element84.com",
    path="/v1",
    id="earth-search-aws",
    title="Earth Search by Element 84",
    description="A STAC API of public datasets on AWS",
    conformance=(
        f"{STAC}/core",
        f"{STAC}/collections",
        f"{STAC}/ogcapi-features",
        f"{STAC}/item-search",
        f"{STAC}/ogcapi-features#fields",
        f"{STAC}/ogcapi-features#sort",
        f"{STAC}/ogcapi-features#query",
        f"{STAC}/item-search#fields",
        f"{STAC}/item-search#sort",
        f"{STAC}/item-search#query",
        "https://api.stacspec.org/v0.3.0/aggregation",
        f"{FEATURES}/core",
        f"{FEATURES}/oas30",
        f"{FEATURES}/geojson",
    ),
    grammar=Grammar(langs=()),  # a CQL2 filter is answered with 200 and ignored
    paging=SearchAfter(),
    frame=_framed,
    counts=_counts,
    landing=_landing,
    missing=lambda collection, item: "Not Found",
    json_type="application/json; charset=utf-8",
    geojson_type="application/geo+json; charset=utf-8",
    max_body=6 << 20,  # API Gateway in front of Lambda: large pages answer 502
    root_href=_BASE,
    collections={
        "sentinel-2-l2a": CollectionFacts(title="Sentinel-2 Level-2A"),
        "sentinel-2-c1-l2a": CollectionFacts(title="Sentinel-2 Collection 1 Level-2A"),
    },
)
