"""EnMAP Level-2A Items as DLR's EOC Geoservice writes them.

Numbers are strings, `view:sun_azimuth` is half a turn off, nodata stands in the
properties alone. Statistics of quicklooks are made up; those of flags follow from the cloud cover.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.providers.enmap_bands import BANDS
from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.dlr_links import EXTENSIONS, extension, footprint, links, offset
from geostack_dagster.sandbox.enmap_files import file_name
from geostack_dagster.sandbox.enmap_scenes import NODATA, PIXEL_M, SHAPE, Scene
from geostack_dagster.sandbox.places import DLR_HOST

COLLECTION = "ENMAP_HSI_L2A"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_JSON = "application/json"
_SHARE_SEEN = 0.68  # of a map's pixels
# Key, title, description, roles, number of bands with statistics; None for no statistics at all.
_IMAGES: tuple[tuple[str, str, str, tuple[str, ...], int | None], ...] = (
    (
        "vnir",
        "Quicklook VNIR",
        "Vear Near Infrared (VNIR) quicklook in orthorectified geometry",
        ("overview", "visual"),
        4,
    ),
    (
        "swir",
        "Quicklook SWIR",
        "Short-wave Infrared quicklook in orthorectified geometry",
        ("overview",),
        4,
    ),
    ("quality_classes", "Quality classes", "Classes quality layer", ("quality",), 1),
    ("quality_cloud", "Quality cloud", "Cloud quality layer", ("quality", "cloud"), 1),
    (
        "quality_cloud_shadow",
        "Quality cloud shadow",
        "Cloud shadow quality layer",
        ("quality", "cloud-shadow"),
        1,
    ),
    ("quality_haze", "Quality haze", "Haze quality layer", ("quality", "haze"), 1),
    ("quality_cirrus", "Quality cirrus", "Cirrus quality layer", ("quality", "cirrus"), 1),
    ("quality_snow", "Quality snow", "Snow quality layer", ("quality", "snow"), 1),
    ("quality_testflags", "Quality test flags", "Test flags quality layer", ("quality",), 1),
    (
        "defective_pixel_mask",
        "Defective pixel mask",
        "Defective pixel mask layer",
        ("quality", "data-mask"),
        None,
    ),
)


def enmap_item(scene: Scene, *, without: tuple[str, ...] = ()) -> Item:
    """The Level-2A Item of a scene; `without` names assets that it lacks."""
    assets = {key: asset for key, asset in _assets(scene).items() if key not in without}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [*EXTENSIONS, extension("scientific/v1.0.0"), extension("sat/v1.0.0")],
        "id": scene.id,
        "collection": COLLECTION,
        "geometry": footprint(scene),
        "bbox": list(scene.bbox),
        "properties": _properties(scene),
        "assets": assets,
        "links": [
            {"href": COLLECTION, "rel": "collection", "type": _JSON},
            {
                "href": f"/geoservice/repository/{scene.folder.replace('/files', '')}/"
                f"{scene.id}_stac.json",
                "rel": "self",
                "type": _JSON,
            },
            *links(COLLECTION, scene.id),
        ],
    }


def _properties(scene: Scene) -> dict[str, Any]:
    zenith, azimuth = scene.sun
    filed, made = offset(scene.published), scene.processed
    cloud = str(scene.cloud_cover)
    return {
        "version": "01.04.02",
        "created": filed,
        "updated": filed,
        "datetime": f"{scene.start:%Y-%m-%dT%H:%M:%SZ}",
        "start_datetime": f"{scene.start:%Y-%m-%dT%H:%M:%S.%fZ}",
        "end_datetime": f"{scene.end:%Y-%m-%dT%H:%M:%S.%fZ}",
        "platform": "enmap",
        "proj:epsg": None,
        "sat:relative_orbit": str(scene.orbit),
        "sat:orbit_state": "DESCENDING",
        "eo:cloud_cover": cloud,
        "eo:snow_cover": "0",
        "view:sun_azimuth": round(azimuth + 180, 6),
        "view:sun_elevation": round(90 - zenith, 6),
        "processing:facility": "NZ",
        "processing:level": "L2A",
        "eop:sensorType": "OPTICAL",
        "card4l:eastern_geometric_accuracy": -999.0,
        "card4l:geometric_accuracy_radial_rmse": -999.0,
        "card4l:northern_geometric_accuracy": -999.0,
        "card4l:specification": "SR",
        "card4l:specification_version": "5.0",
        **_enmap_properties(scene),
        "enmap:processingDate": f"{made:%Y-%m-%dT%H:%M:%S}.589889Z",
        "enmap:sunAzimuthAngle": f"{azimuth:.6f}",
        "enmap:sunElevationAngle": f"{90 - zenith:.6f}",
        "eo:instrument": "HSI",
        "sci:citation": (
            f"DLR ({made:%Y}): EnMAP L0 Product {scene.datatake}_01_L0_"
            f"{scene.start + timedelta(hours=11):%Y%m%dT%H%M%S}_010402_{made:%Y%m%d} doi: "
            "10.15489/rlyibn8gjc58 Processed to level 2A (version: 010402, parameters: "
            "U0BLNNTS330G)"
        ),
    }


def _enmap_properties(scene: Scene) -> Mapping[str, str]:
    """What DLR copies from the product's metadata, all as text."""
    is_cloudy = scene.cloud_cover >= 30
    quality = "2" if is_cloudy else "0"
    across = 16 * noise.unit_of("across", scene.id) - 8
    fixed = {
        "SWIRAorSWIRBSelected": "SWIRA",
        "acquisitionConfiguration": "earth",
        "acquisitionType": "EARTH",
        "alongOffNadirAngle": "0.0938657939914",
        "archivedVersion": "01.04.02",
        "biomeType": "Temperate Broadleaf and Mixed Forests",
        "cirrus_cover": "0",
        "cloud_shadow": "5",
        "compressionType": "COMPRESSED",
        "defectivePixelsSWIR": "12",
        "defectivePixelsVNIR": "2",
        "haze_cover": "0",
        "imageID": f"{19927 - scene.orbit % 900:010d}",
        "instrumentStatusOK": "true",
        "missionPhase": "routine",
        "nodata": str(NODATA),
        "non_cloud_shadow": "0",
        "numberOfTiles": "01",
        "overallQualitySWIR": "0",
        "overallQualityVNIR": "0",
        "ozoneValue": "330",
        "phase": "routine",
        "productScreeningFailedGroups": "TEMPERATURE",
        "productScreeningResultStatus": "WARNING",
        "saturationCrosstalkSWIR": "0",
        "saturationCrosstalkVNIR": "0",
        "sceneAOT": "140",
        "sceneAtmospericParameters": "0",
        "sceneSunglint": "0",
        "sceneTerrain": "0",
        "sceneWV": "2291",
        "season": "summer" if scene.bbox[1] > 0 else "winter",
        "status": "NOMINAL",
        "statusSWIR": "on",
        "statusVNIR": "on",
        "swirNumberChannelsMissing": "0",
        "tileID": "01",
        "vnirNumberChannelsMissing": "0",
        "water_cover": "2",
    }
    stated = fixed | {
        "acrossOffNadirAngle": f"{across:.11f}",
        "datatakeID": scene.datatake,
        "orbitNo": str(scene.orbit),
        "overallQuality": quality,
        "qualityAtmosphere": quality,
        "sceneAzimuthAngle": f"{scene.azimuth_deg:.10f}",
    }
    return {f"enmap:{name}": value for name, value in stated.items()}


def _assets(scene: Scene) -> dict[str, Any]:
    spectral = {
        **_file(scene, "image", "Spectral Image"),
        "description": "Earth image measurement data covering 1 tile (30x30km) in orthorectified "
        "geometry",
        **_placed(scene),
        "eo:bands": [
            {
                "name": number,
                "center_wavelength": centre,
                "full_width_half_max": width,
                "enmap:gain_of_band": 0.0001,
                "enmap:offset_of_band": 0,
            }
            for number, (centre, width) in enumerate(BANDS, start=1)
        ],
        "roles": ["data"],
    }
    found: dict[str, Any] = {
        "metadata": {
            **_file(scene, "metadata", "Metadata", "application/xml"),
            "description": "Original XML metadata",
            "roles": ["metadata"],
        },
        "image": spectral,
        "thumbnail": {
            **_file(scene, "thumbnail", "Thumbnail VNIR", "image/jpeg"),
            "description": "Visible Near Infrared (VNIR) thumbnail in orthorectified geometry",
            "roles": ["thumbnail"],
        },
    }
    for key, title, description, roles, bands in _IMAGES:
        layers = {} if bands is None else {"raster:bands": _statistics(scene, key, bands)}
        found[key] = {
            **_file(scene, key, title),
            "description": description,
            **layers,
            **_placed(scene),
            "roles": list(roles),
        }
    return found


def _file(scene: Scene, key: str, title: str, media: str = _COG) -> dict[str, Any]:
    href = f"https://{DLR_HOST}/{scene.folder}/{file_name(scene, key)}"
    return {"href": href, "type": media, "title": title}


def _placed(scene: Scene) -> dict[str, Any]:
    left, bottom, right, top = scene.bbox_m
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    return {
        "proj:epsg": scene.epsg,
        "proj:shape": list(SHAPE),
        "proj:transform": [PIXEL_M, 0.0, left, 0.0, -PIXEL_M, top, 0.0, 0.0, 1.0],
        "proj:geometry": {"type": "Polygon", "coordinates": [ring]},
        "proj:bbox": [left, bottom, right, top],
    }


def _statistics(scene: Scene, key: str, count: int) -> list[dict[str, Any]]:
    """`raster:bands` of a layer of bytes."""
    shares = {"quality_cloud": scene.cloud_cover / 100, "quality_classes": scene.cloud_cover / 200}
    greatest = 255 if count > 1 else 1
    mean = shares.get(key, 0.0) if count == 1 else 90.0
    share = mean / greatest
    pixels = SHAPE[0] * SHAPE[1]
    high = round(pixels * share)
    classes = {"nodata": 3.0} if key == "quality_classes" else {}
    band = {
        "data_type": "uint8",
        "scale": 1.0,
        "offset": 0.0,
        "sampling": "area",
        **classes,
        "statistics": {
            "mean": mean,
            "minimum": 0,
            "maximum": greatest if high else 0,
            "stddev": greatest * math.sqrt(share * (1 - share)),
            "valid_percent": 100 * _SHARE_SEEN,
        },
        "histogram": {
            "count": 11,
            "min": 0.0,
            "max": float(greatest),
            "buckets": [pixels - high, *([0] * 8), high],
        },
    }
    return [band] * count
