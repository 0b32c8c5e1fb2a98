"""What kind of file an asset is: archives leave data without a type, and mislabel pictures."""

from collections.abc import Mapping

from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import Asset

GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
JP2, JPEG, PNG = "image/jp2", "image/jpeg", "image/png"
JSON, XML, ZIP = "application/json", "application/xml", "application/zip"
UNKNOWN = "application/octet-stream"
_SUFFIXES: Mapping[str, str] = {
    "tif": GEOTIFF,
    "tiff": GEOTIFF,
    "jp2": JP2,
    "jpg": JPEG,
    "jpeg": JPEG,
    "png": PNG,
    "json": JSON,
    "geojson": JSON,
    "xml": XML,
    "safe": XML,
    "html": "text/html",
    "txt": "text/plain",
    "zip": ZIP,
}
_PICTURES = (JPEG, PNG)
_WRITTEN = ("json", "xml", "text", "zip")


def media_of(asset: Asset) -> str:
    """Media type: as stated, else as the name of the file says; the latter first for pictures."""
    stated = asset.get("type")
    named = _SUFFIXES.get(basename(str(asset.get("href"))).rpartition(".")[2].lower(), UNKNOWN)
    if not isinstance(stated, str) or (stated in _PICTURES and named in _PICTURES):
        return named
    return stated


def is_image(asset: Asset) -> bool:
    """Whether it is of a type that the world paints."""
    media = media_of(asset)
    return "tiff" in media or media == JP2


def is_picture(asset: Asset) -> bool:
    """Whether it is a picture to look at."""
    return media_of(asset) in _PICTURES


def is_written(asset: Asset) -> bool:
    """Whether it is a document for which a few words can stand."""
    return any(kind in media_of(asset) for kind in _WRITTEN)
