"""What all Items of DLR's EOC Geoservice have alike: links, extensions, times, places."""

from datetime import datetime
from typing import Any

from geostack_dagster.sandbox.enmap_scenes import Scene

_API = "https://geoservice.dlr.de/eoc/ogc/stac/v1"
_OSEO = "https://geoservice.dlr.de/eoc/oseo"
_JSON, _GEOJSON, _HTML = "application/json", "application/geo+json", "text/html"


def extension(name: str) -> str:
    """Schema of a STAC extension, as in `eo/v1.1.0`."""
    return f"https://stac-extensions.github.io/{name}/schema.json"


EXTENSIONS = tuple(
    map(extension, ("eo/v1.1.0", "view/v1.0.0", "projection/v1.0.0", "processing/v1.0.0"))
)


def footprint(scene: Scene) -> dict[str, Any]:
    """GeoJSON of what a scene saw."""
    return {"type": "Polygon", "coordinates": [[list(vertex) for vertex in scene.ring]]}


def offset(moment: datetime) -> str:
    """A moment with milliseconds, and an offset instead of a Z."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+00:00"


def links(collection: str, name: str) -> list[dict[str, str]]:
    """Links that the service adds to an Item."""
    here = f"{_API}/collections/{collection}"
    item = f"{here}/items/{name}"
    found = f"parentIdentifier={collection}&identifier={name}&httpAccept=application%2F"
    stated = (
        ("Root", "root", f"{_API}?f=application/json", _JSON),
        ("Parent", "parent", f"{_API}?f=application/json", _JSON),
        ("Self", "self", f"{item}?f=application%2Fgeo%2Bjson", _GEOJSON),
        ("Item", "item", f"{item}?f=application%2Fgeo%2Bjson", _GEOJSON),
        ("Item as HTML", "alternate", f"{item}?f=text%2Fhtml", _HTML),
        ("Items", "items", f"{here}/items?f=application%2Fgeo%2Bjson", _GEOJSON),
        ("Items as HTML", "items", f"{here}/items?f=text%2Fhtml", _HTML),
        ("Collection", "collection", f"{here}?f=application%2Fjson", _JSON),
        ("Collection as HTML", "collection", f"{here}?f=text%2Fhtml", _HTML),
        ("Collections", "collection", f"{_API}/collections?f=application%2Fjson", _JSON),
        ("Collections as HTML", "collection", f"{_API}/collections?f=text%2Fhtml", _HTML),
        ("OpenSearch GeoJSON", "item", f"{_OSEO}/search?{found}geo%2Bjson", _GEOJSON),
        (
            "OpenSearch Atom XML",
            "item",
            f"{_OSEO}/search?{found}atom%2Bxml",
            "application/atom+xml",
        ),
        (
            "OpenSearch O&M XML",
            "item",
            f"{_OSEO}/metadata?parentId={collection}&uid={name}&httpAccept=application%2Fgml%2Bxml",
            "application/gml+xml",
        ),
        (
            "Queryables",
            "http://www.opengis.net/def/rel/ogc/1.0/queryables",
            f"{_API.removesuffix('/v1')}/collections/{collection}/queryables?f=json",
            "application/schema+json",
        ),
    )
    return [
        {"title": title, "rel": rel, "href": href, "type": media}
        for title, rel, href, media in stated
    ]
