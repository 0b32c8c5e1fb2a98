"""Items of EnMAP's Level-0 quicklooks at DLR: pictures of what Level-2A holds, and no data.

A search that names no collection returns them among the others.
"""

from datetime import timedelta

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.dlr_links import EXTENSIONS, extension, footprint, links, offset
from geostack_dagster.sandbox.enmap_scenes import Scene
from geostack_dagster.sandbox.places import DLR_HOST

COLLECTION = "ENMAP_HSI_L0_QL"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# Key, what follows the id in the file's name, media type, roles.
_QUICKLOOKS = (
    ("THUMBNAIL", "QL_VNIR_THUMBNAIL.png", "image/png", ("thumbnail",)),
    ("OVERVIEW", "QL_VNIR_OVERVIEW.png", "image/png", ("overview",)),
    ("VNIR", "QL_VNIR_COG.TIF", _COG, ("visual",)),
    ("SWIR", "QL_SWIR_COG.TIF", _COG, ("visual",)),
    ("QUALITY_CLOUD", "QL_QUALITY_CLOUD_COG.TIF", _COG, ("quality", "cloud")),
    ("QUALITY_CLOUDSHADOW", "QL_QUALITY_CLOUDSHADOW_COG.TIF", _COG, ("quality", "cloud-shadow")),
    ("QUALITY_CIRRUS", "QL_QUALITY_CIRRUS_COG.TIF", _COG, ("quality", "cloud-cirrus")),
    ("QUALITY_CLASSES", "QL_QUALITY_CLASSES_COG.TIF", _COG, ("quality", "classes")),
    ("QUALITY_SNOW", "QL_QUALITY_SNOW_COG.TIF", _COG, ("quality", "snow-ice")),
    ("QUALITY_HAZE", "QL_QUALITY_HAZE_COG.TIF", _COG, ("quality", "haze")),
    ("PIXELMASK_VNIR", "QL_PIXELMASK_VNIR.TIF", "image/tiff;", ("quality", "data-mask")),
    ("PIXELMASK_SWIR", "QL_PIXELMASK_SWIR.TIF", "image/tiff;", ("quality", "data-mask")),
    ("TESTFLAGS_SWIR", "QL_QUALITY_TESTFLAGS_SWIR.TIF", "image/tiff;", ("quality", "testflags")),
    ("TESTFLAGS_VNIR", "QL_QUALITY_TESTFLAGS_VNIR.TIF", "image/tiff;", ("quality", "testflags")),
)
_DESCRIBED = {
    "THUMBNAIL": ("Thumbnail", "Thumbnail derived from VNIR"),
    "OVERVIEW": ("Overview", "Overview derived from VNIR"),
}


def quicklook_item(scene: Scene) -> Item:
    """The Item of a scene's Level-0 quicklooks."""
    name = _level0_id(scene)
    folder = f"https://{DLR_HOST}/ENMAP/files/L0/{scene.start:%Y/%m/%d}"
    filed = offset(scene.published - timedelta(minutes=19))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            *EXTENSIONS,
            extension("sat/v1.0.0"),
            extension("version/v1.1.0"),
        ],
        "id": name,
        "collection": COLLECTION,
        "geometry": footprint(scene),
        "bbox": list(scene.bbox),
        "properties": {
            "version": "01.04.02",
            "created": filed,
            "updated": filed,
            "datetime": offset(scene.start),
            "start_datetime": offset(scene.start),
            "end_datetime": offset(scene.end),
            "platform": "EnMAP",
            "constellation": "EnMAP",
            "proj:epsg": 4326,
            "sat:absolute_orbit": scene.orbit,
            "sat:orbit_state": "DESCENDING",
            "eo:cloud_cover": scene.cloud_cover,
            "eo:snow_cover": 0,
            "processing:facility": "NZ",
            "processing:level": "0",
            "dims:identifier": None,
            "enmap:cirrus_cover": 0.0,
            "enmap:cloud_shadow": 5.0,
            "enmap:datatakeID": scene.datatake,
            "enmap:haze_cover": 0.0,
            "enmap:noncloud_shadow": 0.0,
            "enmap:water_cover": 2.0,
        },
        "assets": {
            key: {
                "title": _DESCRIBED.get(key, (key,))[0],
                "description": _DESCRIBED.get(key, (key, "description"))[1],
                "href": f"{folder}/{name}-{suffix}",
                "type": media,
                "roles": list(roles),
            }
            for key, suffix, media, roles in _QUICKLOOKS
        },
        "links": links(COLLECTION, name),
    }


def _level0_id(scene: Scene) -> str:
    made = scene.processed - timedelta(hours=1, minutes=48, seconds=58)
    return scene.id.replace("____L2A", "_____L0").rpartition("_")[0] + f"_{made:%Y%m%dT%H%M%SZ}"
