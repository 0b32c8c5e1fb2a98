"""DLR EOC Geoservice: GeoServer's STAC, with filters as text alone and classes written `/req/`."""

from collections.abc import Sequence
from typing import Any

from geostack_dagster.sandbox.catalogue import Record
from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect
from geostack_dagster.sandbox.dialects.specs import CQL2, FEATURES, FILTER, QUERYABLES, STAC
from geostack_dagster.sandbox.grammar import NONE, Grammar
from geostack_dagster.sandbox.paging import Ask, Link, Page, StartIndex

_BASE = "https://geoservice.dlr.de/eoc/ogc/stac/v1"
_JSON, _GEOJSON, _HTML = "application/json", "application/geo+json", "text/html"
_YAML, _SCHEMA = "application/x-yaml", "application/schema+json"
_OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
_SORTABLES = QUERYABLES.replace("queryables", "sortables")
_ECQL = "http://geoserver.org/spec/ecql/1.0/req"
# What, relation, path, media types.
_SECTIONS = (
    ("API definition for this endpoint", "service-desc", "/openapi", (_OPENAPI, _YAML)),
    ("API definition for this endpoint", "service-doc", "/openapi", (_HTML,)),
    ("Conformance declaration", "conformance", "/conformance", (_JSON, _YAML, _HTML)),
    ("Collections Metadata", "data", "/collections", (_JSON, _HTML)),
    ("Root Catalog", "root", "", (_JSON,)),
    ("Queryables", QUERYABLES, "/queryables", (_SCHEMA, _HTML)),
    ("Sortables", _SORTABLES, "/sortables", (_SCHEMA, _HTML)),
)


def _href(path: str, media: str) -> str:
    encoded = media.replace("/", "%2F").replace("+", "%2B").replace(";", "%3B").replace("=", "%3D")
    return f"{_BASE}{path}?f={encoded}"


def _landing(names: Sequence[str]) -> list[Link]:
    links: list[Link] = [
        {"href": _href("/", _JSON), "rel": "self", "type": _JSON, "title": "This document"}
    ]
    for what, rel, path, medias in _SECTIONS:
        links += (
            {"href": _href(path, media), "rel": rel, "type": media, "title": f"{what} as {media}"}
            for media in medias
        )
    links += (
        {
            "href": _href("/search", media),
            "rel": "search",
            "type": media,
            "title": f"Items as {media}",
            "method": method,
        }
        for method in ("GET", "POST")
        for media in (_GEOJSON, _HTML)
    )
    links += (
        {"href": f"{_BASE}/collections/{name}", "rel": "child", "type": _JSON} for name in names
    )
    return links


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    here: Link = {"type": _GEOJSON, "rel": "self", "method": ask.method}
    if ask.method == "POST":
        return [here | {"merge": True, "href": ask.href}, *steps]
    return [here | {"href": ask.link("self")["href"]}, *steps]


def _counts(page: Page, ask: Ask) -> dict[str, Any]:
    return {
        "numberMatched": page.matched,
        "numberReturned": len(page.records),
        "stac_version": "1.0.0",
    }


def _age(record: Record) -> Any:
    """By the exact start: `datetime` is cut to the second on L2A and is not on L0."""
    return record.start, record.key


def _error(status: int, kind: str, text: str) -> Any:
    return {"type": kind, "title": text}


DLR = Dialect(
    slug="enmap",
    host="geoservice.dlr.de",
    path="/eoc/ogc/stac/v1",
    id="GeoserverSTACLandingPage",
    title="EOC EO Products Service",
    description="Provides interoperable access to metadata from EO collections and products of "
    "DLR's Earth Observation Center (EOC).",
    conformance=(
        f"{FEATURES}/core",
        f"{FEATURES}/oas30",
        f"{FEATURES}/html",
        f"{FEATURES}/geojson",
        f"{STAC}/collections",
        f"{STAC}/core",
        f"{STAC}/ogcapi-features",
        f"{STAC}/item-search",
        f"{STAC}/item-search#filter",
        f"{STAC}/item-search#sort",
        f"{STAC}/item-search#fields",
        f"{FILTER}/req/features-filter",
        f"{FILTER}/req/filter",
        f"{_ECQL}/gs-ecql",
        f"{_ECQL}/ecql-text",
        f"{CQL2}/req/basic-cql2",
        f"{CQL2}/req/advanced-comparison-operators",
        f"{CQL2}/req/arithmetic",
        f"{CQL2}/req/property-property",
        f"{CQL2}/req/basic-spatial-operators",
        f"{CQL2}/req/spatial-operators",
        f"{CQL2}/req/functions",
        f"{CQL2}/req/cql2-text",
    ),
    grammar=Grammar(
        query=NONE,
        langs=("cql2-text", "ecql-text", "gs-ecql"),
        reads_numbers=True,  # as GeoTools converts what it compares
        page=20,
        largest_page=1000,
    ),
    paging=StartIndex(),
    order=_age,
    frame=_framed,
    counts=_counts,
    landing=_landing,
    errors=_error,
    root_href=f"{_BASE}?f=application%2Fjson",
    collections={
        "ENMAP_HSI_L0_QL": CollectionFacts(title="EnMAP HSI L0 quicklooks"),
        "ENMAP_HSI_L2A": CollectionFacts(title="EnMAP HSI L2A"),
    },
)
