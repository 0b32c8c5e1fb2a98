"""Sentinel-2 Items as Sentinel Hub's Catalog on CDSE writes them: a scene, and no files."""

from typing import Any

from pyproj import Transformer

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.acquisition import Acquisition, Processing
from geostack_dagster.sandbox.world import World

_API = "https://sh.dataspace.copernicus.eu/api/v1/catalog/1.0.0"
_JSON = "application/json"


def sentinel_hub_l2a_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Level-2A Item of one processing of one acquisition."""
    return _item(acquisition, processing, world, "L2A")


def sentinel_hub_l1c_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Level-1C Item of one processing of one acquisition."""
    return _item(acquisition, processing, world, "L1C")


def _item(acquisition: Acquisition, processing: Processing, world: World, level: str) -> Item:
    product = f"{acquisition.product(processing, level)}.SAFE"
    collection = f"{_API}/collections/sentinel-2-{level.lower()}"
    sensed = acquisition.sensed
    folder = f"Sentinel-2/MSI/{level}/{acquisition.day:%Y/%m/%d}/{product}"
    return {
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
        ],
        "id": product,
        "type": "Feature",
        "geometry": _multi(acquisition.geometry()["coordinates"], "OGC::CRS84"),
        "bbox": acquisition.bbox(),
        "properties": {
            "datetime": f"{sensed:%Y-%m-%dT%H:%M:%S}.{sensed.microsecond // 1000:03d}Z",
            "platform": f"sentinel-2{acquisition.platform[-1].lower()}",
            "instruments": ["msi"],
            "constellation": "sentinel-2",
            "gsd": 10,
            "eo:cloud_cover": round(acquisition.statistics(world)["eo:cloud_cover"], 2),
            "proj:epsg": acquisition.tile.epsg,
            "proj:bbox": list(acquisition.tile.bbox_m),
            "proj:geometry": _multi(_projected(acquisition), f"EPSG::{acquisition.tile.epsg}"),
        },
        "assets": {
            "data": {
                "href": f"s3://EODATA/{folder}/",
                "title": "s3",
                "type": "inode/directory",
            }
        },
        "collection": f"sentinel-2-{level.lower()}",
        "links": [
            {"href": f"{_API}/", "rel": "root", "type": _JSON},
            {
                "href": f"{collection}/items/{product}",
                "rel": "self",
                "type": "application/geo+json",
            },
            {"href": collection, "rel": "parent", "type": _JSON},
            {"href": collection, "rel": "collection", "type": _JSON},
        ],
    }


def _projected(acquisition: Acquisition) -> list[Any]:
    """Rings of the footprint in the tile's CRS [m]."""
    project = Transformer.from_crs(4326, acquisition.tile.epsg, always_xy=True).transform
    ring = acquisition.geometry()["coordinates"][0]
    return [[[float(value) for value in project(lon, lat)] for lon, lat in ring]]


def _multi(rings: list[Any], crs: str) -> dict[str, Any]:
    """A GeoJSON MultiPolygon that names its CRS, as GeoJSON did before RFC 7946."""
    name = {"name": f"urn:ogc:def:crs:{crs}"}
    return {
        "type": "MultiPolygon",
        "crs": {"type": "name", "properties": name},
        "coordinates": [rings],
    }
