"""CMR-STAC for LP DAAC: a thin layer over CMR, which knows time, place and a range of cloud cover.

Read off nasa/cmr-stac: unknown parameters and operators are ignored, `lt` counts as `lte`, granules
without cloud cover fall out of a query for it, holes of polygons are ignored, polygons that run
clockwise break it, and so does the link to the next page of a polygon of more than 100 positions.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import shapely
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.item import number
from geostack_dagster.sandbox.catalogue import BadRequestError, Record
from geostack_dagster.sandbox.dialects.dialect import CollectionFacts, Dialect
from geostack_dagster.sandbox.dialects.specs import FEATURES, OGC, STAC
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.paging import Ask, Cursor, Link, Page

PROVIDER = "LPCLOUD"
STAC_ROOT = "https://cmr.earthdata.nasa.gov/stac"
_BASE = f"{STAC_ROOT}/{PROVIDER}"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_LARGEST_LIMIT = 5000
_BROKEN = (
    "Oops! Something has gone wrong. We have been alerted and are working to resolve the problem. "
    "Please try your request again later."
)
_NO_GEOMETRY = (
    "Invalid intersects parameter detected. Please verify all intersects are a valid GeoJSON "
    "geometry."
)
_TITLES = {
    "EMITL1BRAD_001": "EMIT L1B At-Sensor Calibrated Radiance and Geolocation Data 60 m V001",
    "EMITL2BCH4ENH_002": "EMIT L2B Methane Enhancement Data 60 m V002",
    "EMITL2BCH4PLM_002": "EMIT L2B Estimated Methane Plume Complexes 60 m V002",
}


def _framed(ask: Ask, steps: list[Link]) -> list[Link]:
    here = ask.href if ask.method == "POST" else ask.link("self")["href"]
    return [
        {"rel": "self", "href": here, "type": _GEOJSON, "title": "This search"},
        {"rel": "root", "href": STAC_ROOT, "type": _JSON, "title": "Root Catalog"},
        {"rel": "parent", "href": _BASE, "type": _JSON, "title": "Provider Catalog"},
        *steps,
    ]


def _counts(page: Page, ask: Ask) -> dict[str, Any]:
    returned = len(page.records)
    return {"context": {"returned": returned, "limit": ask.limit, "matched": page.matched}}


def _landing(names: Sequence[str]) -> list[Link]:
    data = {"href": f"{_BASE}/collections", "type": _JSON, "title": "Provider Collections"}
    search = {"href": f"{_BASE}/search", "type": _GEOJSON, "title": "Provider Item Search"}
    api = "https://api.stacspec.org/v1.0.0"
    return [
        {"rel": "self", "href": _BASE, "type": _GEOJSON, "title": "Provider Catalog"},
        {"rel": "root", "href": STAC_ROOT, "type": _JSON, "title": "Root Catalog"},
        {"rel": "parent", "href": STAC_ROOT, "type": _JSON, "title": "Root Catalog"},
        *({"rel": "data", **data, "method": method} for method in ("GET", "POST")),
        {
            "rel": "conformance",
            "href": f"{_BASE}/conformance",
            "type": _JSON,
            "title": "Conformance Classes",
        },
        {
            "rel": "service-desc",
            "href": f"{api}/openapi.yaml",
            "type": "application/yaml",
            "title": "OpenAPI Doc",
        },
        {
            "rel": "service-doc",
            "href": f"{api}/index.html",
            "type": "text/html",
            "title": "HTML documentation",
        },
        *({"rel": "search", **search, "method": method} for method in ("GET", "POST")),
        *(
            {
                "rel": "child",
                "href": f"{_BASE}/collections/{name}",
                "title": _TITLES.get(name, name),
                "type": _JSON,
            }
            for name in names
        ),
    ]


def _error(status: int, kind: str, text: str) -> Any:
    return {"errors": [_BROKEN if status >= 500 else text]}


def _missing(collection: str, item: str | None) -> str:
    if item is None:
        return f"Collection with ID [{collection}] in provider [{PROVIDER}] not found."
    return f"Could not find item with ID [{item}] in collection [{collection}]"


def _age(record: Record) -> Any:
    """CMR's own order: provider, start, number of the granule."""
    return record.moment, record.key


def _ids(name: str) -> tuple[str, ...]:
    """A collection id and its form of the first version of CMR-STAC, `.v` for `_`."""
    return tuple(dict.fromkeys((name, name.replace(".v", "_"))))


def _area(geometry: object) -> BaseGeometry:
    """Outer rings only; CMR refuses those that run clockwise."""
    if not isinstance(geometry, Mapping):
        raise BadRequestError(_NO_GEOMETRY)
    try:
        stated = {**geometry, "coordinates": _numbers(geometry.get("coordinates"))}
        shape = shapely.from_geojson(json.dumps(stated))
    except (GEOSException, TypeError, ValueError) as error:
        raise BadRequestError(_NO_GEOMETRY) from error
    return shapely.union_all([_filled(part) for part in shapely.get_parts(shape)])


def _numbers(coordinates: Any) -> Any:
    """Coordinates that a query string brought as text, or as an object where it is too long."""
    if isinstance(coordinates, Mapping):
        raise BadRequestError("a polygon in a query string has too many positions", 500)
    if isinstance(coordinates, list):
        return [_numbers(inner) for inner in coordinates]
    return float(coordinates)


def _filled(part: BaseGeometry) -> BaseGeometry:
    if not isinstance(part, shapely.Polygon):
        return part
    if not part.exterior.is_ccw:
        raise BadRequestError("points must be provided in counter-clockwise order", 500)
    return shapely.Polygon(part.exterior)


def _at_most(found: Any, wanted: Any) -> bool:
    limit = number(wanted)
    return limit is None or found <= limit


def _at_least(found: Any, wanted: Any) -> bool:
    limit = number(wanted)
    return limit is None or found >= limit


CMR_STAC = Dialect(
    slug="lpcloud",
    host="cmr.earthdata.nasa.gov",
    path=f"/stac/{PROVIDER}",
    id=PROVIDER,
    title=f"{PROVIDER} STAC Catalog",
    description=f"Root STAC catalog for {PROVIDER}",
    stac_version="1.1.0",
    conformance=(
        f"{STAC}/core",
        f"{STAC}/item-search",
        f"{STAC}/ogcapi-features",
        f"{STAC}/item-search#fields",
        f"{STAC}/item-search#features",
        f"{STAC}/item-search#query",
        f"{STAC}/item-search#sort",
        f"{STAC}/item-search#context",
        f"{FEATURES}/core",
        f"{FEATURES}/oas30",
        f"{FEATURES}/geojson",
        f"{STAC}/collection-search",
        f"{STAC}/collection-search#free-text",
        f"{STAC}/collection-search#sort",
        f"{OGC}/ogcapi-common-1/1.0/conf/simple-query",
    ),
    grammar=Grammar(
        query=frozenset({"eo:cloud_cover"}),
        comparisons={"lt": _at_most, "lte": _at_most, "gt": _at_least, "gte": _at_least},
        ignores_operators=True,
        langs=(),
        sort=frozenset({"startDate", "endDate", "id", "title", "eo:cloud_cover", "datetime"}),
        area=_area,
        ids_of=_ids,
        page=20,
        largest_page=100,
        refused_page=(_LARGEST_LIMIT, 400, f"Limit must be between 0 and {_LARGEST_LIMIT}"),
    ),
    paging=Cursor(PROVIDER),
    order=_age,
    is_newest_first=False,
    frame=_framed,
    counts=_counts,
    landing=_landing,
    errors=_error,
    missing=_missing,
    json_type="application/json; charset=utf-8",
    geojson_type="application/geo+json; charset=utf-8",
    root_href=STAC_ROOT,
    collections={name: CollectionFacts(title=title) for name, title in _TITLES.items()},
)
