"""Sentinel-2 Items as Earth Search writes them in `sentinel-2-l2a`."""

from datetime import timedelta
from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.acquisition import BANDS, Acquisition, Processing
from geostack_dagster.sandbox.world import World

_API = "https://earth-search.aws.element84.com/v1"
_COLLECTION = "sentinel-2-l2a"
_FOLDER = "sentinel-s2-l2a-cogs"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# File, title, common name, pixel [m].
_BANDS = {
    "blue": ("B02", "Blue (band 2)", "blue", 10),
    "coastal": ("B01", "Coastal aerosol (band 1)", "coastal", 60),
    "green": ("B03", "Green (band 3)", "green", 10),
    "nir": ("B08", "NIR 1 (band 8)", "nir", 10),
    "nir08": ("B8A", "NIR 2 (band 8A)", "nir08", 20),
    "nir09": ("B09", "NIR 3 (band 9)", "nir09", 60),
    "red": ("B04", "Red (band 4)", "red", 10),
    "rededge1": ("B05", "Red edge 1 (band 5)", "rededge", 20),
    "rededge2": ("B06", "Red edge 2 (band 6)", "rededge", 20),
    "rededge3": ("B07", "Red edge 3 (band 7)", "rededge", 20),
    "swir16": ("B11", "SWIR 1 (band 11)", "swir16", 20),
    "swir22": ("B12", "SWIR 2 (band 12)", "swir22", 20),
}
_COLUMNS = {
    "aot": ("AOT", "Aerosol optical thickness (AOT)", {}),
    "wvp": ("WVP", "Water vapour (WVP)", {"unit": "cm"}),
}
_ORDER = (
    "aot", "blue", "coastal", "granule_metadata", "green", "nir", "nir08", "nir09", "red",
    "rededge1", "rededge2", "rededge3", "scl", "swir16", "swir22", "thumbnail",
    "tileinfo_metadata", "visual", "wvp",
)  # fmt: skip
_WITHOUT_JP2 = ("granule_metadata", "thumbnail", "tileinfo_metadata")
_BITS = {"bits_per_sample": 15}


def earth_search_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Item of one processing of one acquisition."""
    tile, day = acquisition.tile, acquisition.day
    name = f"{acquisition.platform}_{tile.name}_{day:%Y%m%d}_{processing.sequence}_L2A"
    square = f"{int(tile.zone)}/{tile.latitude_band}/{tile.square}"
    path = f"{_FOLDER}/{square}/{day.year}/{day.month}/{name}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": _properties(acquisition, processing, world, path),
        "geometry": acquisition.geometry(),
        "links": _links(name, path),
        "assets": _assets(acquisition, processing, path),
        "bbox": acquisition.bbox(),
        "stac_extensions": [
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/grid/v1.0.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
            "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        ],
        "collection": _COLLECTION,
    }


def _properties(
    acquisition: Acquisition, processing: Processing, world: World, path: str
) -> dict[str, Any]:
    tile = acquisition.tile
    zenith, azimuth = acquisition.sun
    # Processings of one acquisition lie a millisecond apart.
    sensed = acquisition.sensed + timedelta(milliseconds=processing.sequence)
    made = f"{acquisition.generated(processing) + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}.658Z"
    return {
        "created": made,
        "platform": f"sentinel-{acquisition.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:epsg": tile.epsg,
        "mgrs:utm_zone": int(tile.zone),
        "mgrs:latitude_band": tile.latitude_band,
        "mgrs:grid_square": tile.square,
        "grid:code": f"MGRS-{tile.name}",
        "view:sun_azimuth": round(azimuth, 12),
        "view:sun_elevation": round(90 - zenith, 12),
        **acquisition.statistics(world),
        **acquisition.esa_properties(processing),
        "datetime": f"{sensed:%Y-%m-%dT%H:%M:%S}.{sensed.microsecond // 1000:03d}000Z",
        "s2:sequence": str(processing.sequence),
        "earthsearch:s3_path": f"s3://sentinel-cogs/{path}",
        "earthsearch:payload_id": (
            f"roda-sentinel2/workflow-sentinel2-to-stac/{noise.seed_of(path):032x}"
        ),
        "earthsearch:boa_offset_applied": processing.has_offset,
        "processing:software": {"sentinel2-to-stac": "0.1.1"},
        "updated": made,
    }


def _links(name: str, path: str) -> list[dict[str, str]]:
    collection = f"{_API}/collections/{_COLLECTION}"
    item = f"{collection}/items/{name}"
    geojson, json_type = "application/geo+json", "application/json"
    source = f"{_API}/collections/sentinel-2-l1c/items/{name.replace('L2A', 'L1C')}"
    return [
        {"rel": "self", "type": geojson, "href": item},
        {"rel": "canonical", "href": f"s3://sentinel-cogs/{path}/{name}.json", "type": json_type},
        {
            "rel": "license",
            "href": "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice",
        },
        {"rel": "derived_from", "href": source, "type": geojson},
        {"rel": "parent", "type": json_type, "href": collection},
        {"rel": "collection", "type": json_type, "href": collection},
        {"rel": "root", "type": json_type, "href": _API},
        {"rel": "thumbnail", "href": f"{item}/thumbnail"},
    ]


def _assets(acquisition: Acquisition, processing: Processing, path: str) -> dict[str, Any]:
    base = f"https://sentinel-cogs.s3.us-west-2.amazonaws.com/{path}"
    plain = {
        "granule_metadata": {
            "href": f"{base}/granule_metadata.xml",
            "type": "application/xml",
            "roles": ["metadata"],
        },
        "thumbnail": {
            "href": f"{base}/thumbnail.jpg",
            "type": "image/jpeg",
            "title": "Thumbnail image",
            "roles": ["thumbnail"],
        },
        "tileinfo_metadata": {
            "href": f"{base}/tileinfo_metadata.json",
            "type": "application/json",
            "roles": ["metadata"],
        },
    }
    assets = {
        key: plain[key] if key in plain else _image(acquisition, processing, base, key)
        for key in _ORDER
    }
    tile, day = acquisition.tile, acquisition.day
    originals = (
        f"s3://sentinel-s2-l2a/tiles/{int(tile.zone)}/{tile.latitude_band}/{tile.square}/"
        f"{day.year}/{day.month}/{day.day}/{processing.sequence}"
    )
    for key in [key for key in _ORDER if key not in _WITHOUT_JP2]:
        image = assets[key]
        file = str(image["href"]).rpartition("/")[2].replace(".tif", ".jp2")
        assets[f"{key}-jp2"] = image | {"href": f"{originals}/{file}", "type": "image/jp2"}
    return assets


def _image(acquisition: Acquisition, processing: Processing, base: str, key: str) -> dict[str, Any]:
    """The asset of one image file."""
    if key in _BANDS:
        file, title, _, pixel = _BANDS[key]
        offset = -0.1 if processing.has_offset else 0
        return {
            "href": f"{base}/{file}.tif",
            "type": _COG,
            "title": f"{title} - {pixel}m",
            "eo:bands": [_eo_band(key)],
            "gsd": pixel,
            **_projection(acquisition, pixel),
            "raster:bands": [_raster_band(pixel, _BITS) | {"scale": 0.0001, "offset": offset}],
            "roles": ["data", "reflectance"],
        }
    if key == "visual":
        return {
            "href": f"{base}/TCI.tif",
            "type": _COG,
            "title": "True color image",
            "eo:bands": [_eo_band(name) for name in ("red", "green", "blue")],
            **_projection(acquisition, 10),
            "roles": ["visual"],
        }
    if key == "scl":
        file, title = "SCL", "Scene classification map (SCL)"
        raster = _raster_band(20, {}) | {"data_type": "uint8"}
    else:
        file, title, unit = _COLUMNS[key]
        raster = _raster_band(20, _BITS) | unit | {"scale": 0.001, "offset": 0}
    return {
        "href": f"{base}/{file}.tif",
        "type": _COG,
        "title": title,
        **_projection(acquisition, 20),
        "raster:bands": [raster],
        "roles": ["data", "reflectance"],
    }


def _projection(acquisition: Acquisition, pixel: int) -> dict[str, Any]:
    left, top = (int(value) for value in acquisition.tile.origin)
    size = 109_800 // pixel
    return {"proj:shape": [size, size], "proj:transform": [pixel, 0, left, 0, -pixel, top]}


def _raster_band(pixel: int, extra: dict[str, Any]) -> dict[str, Any]:
    return {"nodata": 0, "data_type": "uint16", **extra, "spatial_resolution": pixel}


def _eo_band(key: str) -> dict[str, Any]:
    file, title, common_name, _ = _BANDS[key]
    centre, width = BANDS[file]
    return {
        "name": key,
        "common_name": common_name,
        "description": title,
        "center_wavelength": centre,
        "full_width_half_max": width,
    }
