"""Sentinel-2 Items as Planetary Computer writes them."""

from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.acquisition import BANDS, Acquisition, Processing, stamp
from geostack_dagster.sandbox.world import World

_API = "https://planetarycomputer.microsoft.com/api"
_COLLECTION = "sentinel-2-l2a"
_BLOBS = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# Number in titles, description, common name, pixel [m].
_BANDS = {
    "B01": ("1", "Coastal aerosol", "coastal", 60),
    "B02": ("2", "Blue", "blue", 10),
    "B03": ("3", "Green", "green", 10),
    "B04": ("4", "Red", "red", 10),
    "B05": ("5", "Vegetation red edge 1", "rededge", 20),
    "B06": ("6", "Vegetation red edge 2", "rededge", 20),
    "B07": ("7", "Vegetation red edge 3", "rededge", 20),
    "B08": ("8", "NIR", "nir", 10),
    "B09": ("9", "Water vapor", None, 60),
    "B11": ("11", "SWIR (1.6)", "swir16", 20),
    "B12": ("12", "SWIR (2.2)", "swir22", 20),
    "B8A": ("8A", "Vegetation red edge 4", "rededge", 20),
}
_OTHERS = {
    "AOT": ("AOT", 10, "Aerosol optical thickness (AOT)"),
    "SCL": ("SCL", 20, "Scene classfication map (SCL)"),
    "WVP": ("WVP", 10, "Water vapour (WVP)"),
    "visual": ("TCI", 10, "True color image"),
}
_ORDER = (
    "AOT", "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B11", "B12", "B8A",
    "SCL", "WVP", "visual",
)  # fmt: skip


def planetary_item(acquisition: Acquisition, processing: Processing, world: World) -> Item:
    """The Item of one processing of one acquisition."""
    tile = acquisition.tile
    name = (
        f"{acquisition.platform}_MSIL2A_{stamp(acquisition.datatake)}_"
        f"R{tile.relative_orbit:03d}_T{tile.name}_{stamp(acquisition.generated(processing))}"
    )
    return {
        "id": name,
        "bbox": acquisition.bbox(),
        "type": "Feature",
        "links": _links(name),
        "assets": _assets(acquisition, processing, name),
        "geometry": acquisition.geometry(),
        "collection": _COLLECTION,
        "properties": _properties(acquisition, processing, world),
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
            "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
        ],
        "stac_version": "1.0.0",
    }


def _properties(acquisition: Acquisition, processing: Processing, world: World) -> dict[str, Any]:
    zenith, azimuth = acquisition.sun
    return {
        # The start of the datatake, the same for all tiles of the pass.
        "datetime": f"{acquisition.datatake:%Y-%m-%dT%H:%M:%S}.024000Z",
        "platform": f"Sentinel-{acquisition.platform[1:]}",
        "proj:epsg": acquisition.tile.epsg,
        "instruments": ["msi"],
        "s2:mgrs_tile": acquisition.tile.name,
        "constellation": "Sentinel 2",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": acquisition.tile.relative_orbit,
        "s2:mean_solar_zenith": round(zenith, 12),
        "s2:mean_solar_azimuth": round(azimuth, 12),
        **acquisition.esa_properties(processing),
        **acquisition.statistics(world),
    }


def _links(name: str) -> list[dict[str, str]]:
    collection = f"{_API}/stac/v1/collections/{_COLLECTION}"
    json_type = "application/json"
    return [
        {"rel": "collection", "type": json_type, "href": collection},
        {"rel": "parent", "type": json_type, "href": collection},
        {"rel": "root", "type": json_type, "href": f"{_API}/stac/v1/"},
        {"rel": "self", "type": "application/geo+json", "href": f"{collection}/items/{name}"},
        {
            "rel": "license",
            "href": "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice",
        },
        {
            "rel": "preview",
            "href": f"{_API}/data/v1/item/map?collection={_COLLECTION}&item={name}",
            "title": "Map of item",
            "type": "text/html",
        },
    ]


def _assets(acquisition: Acquisition, processing: Processing, name: str) -> dict[str, Any]:
    tile, day = acquisition.tile, acquisition.day
    safe = (
        f"{_BLOBS}/{tile.zone}/{tile.latitude_band}/{tile.square}/{day:%Y/%m/%d}/"
        f"{acquisition.product(processing)}.SAFE"
    )
    granule = (
        f"{safe}/GRANULE/L2A_T{tile.name}_A{acquisition.orbit:06d}_{stamp(acquisition.datastrip)}"
    )
    images = f"{granule}/IMG_DATA"
    assets = {key: _image(acquisition, images, key) for key in _ORDER}
    strip = f"{stamp(acquisition.generated(processing))}_S{stamp(acquisition.datastrip)}"
    centre = f"2{acquisition.platform[-1]}PS"
    for key, href, title in (
        ("safe-manifest", f"{safe}/manifest.safe", "SAFE manifest"),
        ("granule-metadata", f"{granule}/MTD_TL.xml", "Granule metadata"),
        ("inspire-metadata", f"{safe}/INSPIRE.xml", "INSPIRE metadata"),
        ("product-metadata", f"{safe}/MTD_MSIL2A.xml", "Product metadata"),
        (
            "datastrip-metadata",
            f"{safe}/DATASTRIP/DS_{centre}_{strip}/MTD_DS.xml",
            "Datastrip metadata",
        ),
    ):
        assets[key] = {
            "href": href,
            "type": "application/xml",
            "roles": ["metadata"],
            "title": title,
        }
    query = (
        f"collection={_COLLECTION}&item={name}&assets=visual&asset_bidx=visual%7C1%2C2%2C3"
        "&nodata=0&format=png"
    )
    assets["tilejson"] = {
        "title": "TileJSON with default rendering",
        "href": f"{_API}/data/v1/item/tilejson.json?{query}",
        "type": "application/json",
        "roles": ["tiles"],
    }
    assets["rendered_preview"] = {
        "title": "Rendered preview",
        "rel": "preview",
        "href": f"{_API}/data/v1/item/preview.png?{query}",
        "roles": ["overview"],
        "type": "image/png",
    }
    return assets


def _image(acquisition: Acquisition, images: str, key: str) -> dict[str, Any]:
    tile = acquisition.tile
    if key in _BANDS:
        number, description, _, pixel = _BANDS[key]
        file, title = key, f"Band {number} - {description} - {pixel}m"
    else:
        file, pixel, title = _OTHERS[key]
    size = 109_800 // pixel
    left, top = tile.origin
    prefix = f"{images}/R{pixel}m/T{tile.name}_{stamp(acquisition.datatake)}"
    asset: dict[str, Any] = {
        "href": f"{prefix}_{file}_{pixel}m.tif",
        "proj:bbox": list(tile.bbox_m),
        "proj:shape": [size, size],
        "proj:transform": [float(pixel), 0.0, left, 0.0, -float(pixel), top],
        "gsd": float(pixel),
        "type": _COG,
        "roles": ["data"],
        "title": title,
    }
    if key in _BANDS:
        asset["eo:bands"] = [_eo_band(key)]
    elif key == "visual":
        asset["eo:bands"] = [_eo_band(name) for name in ("B04", "B03", "B02")]
    return asset


def _eo_band(key: str) -> dict[str, Any]:
    number, description, common_name, _ = _BANDS[key]
    centre, width = BANDS[key]
    named = {} if common_name is None else {"common_name": common_name}
    return {
        "name": key,
        **named,
        "description": f"Band {number} - {description}",
        "center_wavelength": centre,
        "full_width_half_max": width,
    }
