"""Planetary Computer: stac-fastapi over pgstac."""

from collections.abc import Sequence

from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect, plain_landing
from geostack_dagster.sandbox.dialects.specs import CQL2, FEATURES, FILTER, STAC, STAC_RC2
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.paging import Ask, KeyTokens, Link

_BASE = "https://planetarycomputer.microsoft.com/api/stac/v1"
_ROOT = f"{_BASE}/"


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    return [
        *steps,
        {"rel": "root", "type": "application/json", "href": _ROOT},
        {"rel": "self", "type": "application/json", "href": ask.href},
    ]


def _landing(names: Sequence[str]) -> list[Link]:
    return plain_landing(_BASE, _ROOT, names)


PLANETARY_COMPUTER = Dialect(
    slug="planetary_computer",
    host="planetarycomputer.microsoft.com",
    path="/api/stac/v1",
    id="microsoft-pc",
    title="Microsoft Planetary Computer STAC API",
    description="Searchable spatiotemporal metadata describing Earth science datasets hosted by "
    "the Microsoft Planetary Computer",
    conformance=(
        f"{STAC}/item-search#sort",
        f"{STAC}/item-search",
        f"{FEATURES}/geojson",
        f"{FILTER}/conf/filter",
        f"{STAC_RC2}/item-search#filter",
        f"{FEATURES}/core",
        f"{STAC}/ogcapi-features",
        f"{STAC}/core",
        f"{CQL2}/conf/basic-cql2",
        f"{CQL2}/conf/cql2-json",
        f"{STAC}/collections",
        f"{FEATURES}/oas30",
        f"{STAC}/item-search#query",
        f"{STAC}/item-search#fields",
        f"{CQL2}/conf/cql2-text",
    ),
    grammar=Grammar(largest_page=1000),
    paging=KeyTokens(),
    frame=_framed,
    landing=_landing,
    not_found="NotFoundError",
    root_href=_ROOT,
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
