"""Bands of a collection that no record describes, read off the Item itself."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import Asset, Item, assets, number, pixel_format, properties

_RASTER_TYPES = (
    *(
        "image/tiff",
        "image/jp2",
        "image/vnd.stac.geotiff",
        "application/x-hdf",
        "application/x-hdf5",
    ),
    *("application/netcdf", "application/x-netcdf", "application/vnd+zarr"),
)
_RASTER_SUFFIXES = {".tif", ".tiff", ".jp2", ".nc", ".nc4", ".hdf", ".h5", ".zarr", ".vrt", ".img"}
_PICTURE_ROLES = {"thumbnail", "overview", "metadata"}
_NANOMETRES_FROM = 100.0  # centre wavelengths are micrometres in STAC, nanometres in EnMAP


def is_raster(asset: Asset) -> bool:
    """Whether an asset holds pixels to read: by its type, else by its file name.

    Thumbnails, overviews and metadata are not, unless their bands are described.
    """
    if any(isinstance(asset.get(name), list) for name in ("raster:bands", "eo:bands", "bands")):
        return True
    roles = asset.get("roles")
    if isinstance(roles, list) and _PICTURE_ROLES.intersection(map(str, roles)):
        return False
    media = asset.get("type")
    if isinstance(media, str) and media:
        return media.lower().startswith(_RASTER_TYPES)
    name = basename(str(asset.get("href", "")))
    return PurePosixPath(name.lower()).suffix in _RASTER_SUFFIXES


def band_table(item: Item, *, without: frozenset[str] = frozenset()) -> BandTable:
    """One band for each channel of each raster asset, in the order of the Item.

    A single-band asset gives a band named after its key; others are `key:channel`. Assets whose
    keys are in `without` are left out.
    """
    found = [
        band
        for key, asset in assets(item).items()
        if key not in without and is_raster(asset)
        for band in _channels(item, key, asset)
    ]
    return BandTable(tuple(found))


def _channels(item: Item, key: str, asset: Asset) -> Iterator[Band]:
    described = _described(item, asset)
    for index, entry in enumerate(described):
        centre, width = _nanometres(entry, "center_wavelength"), _width(entry)
        stored = pixel_format(asset, index)
        yield Band(
            name=key if len(described) == 1 else f"{key}:{entry.get('name') or index + 1}",
            keys=(key,),
            common_name=_text(entry.get("common_name") or entry.get("eo:common_name")),
            wavelength_nm=centre,
            fwhm_nm=width,
            resolution_m=_resolution(item, asset, entry),
            dtype=stored.dtype or "unknown",
            nodata=stored.nodata,
            index=index + 1,
            categorical=any(f"classification:{kind}" in asset for kind in ("classes", "bitfields")),
        )


def _described(item: Item, asset: Asset) -> list[Mapping[str, Any]]:
    """Facts of each channel, from the longest of the lists that may describe them."""
    lists = [asset.get(name) for name in ("eo:bands", "bands", "raster:bands")]
    entries = [[_entry(item, e) for e in found] for found in lists if isinstance(found, list)]
    if not any(entries):
        return [{}]
    longest = max(len(found) for found in entries)
    return [
        {
            name: value
            for found in reversed(entries)
            if i < len(found)
            for name, value in found[i].items()
        }
        for i in range(longest)
    ]


def _entry(item: Item, entry: object) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    # STAC before 1.0 listed the bands once, in the properties, and assets pointed at them.
    shared = properties(item).get("eo:bands")
    if isinstance(entry, int) and isinstance(shared, list) and 0 <= entry < len(shared):
        return shared[entry] if isinstance(shared[entry], Mapping) else {}
    return {}


def _nanometres(entry: Mapping[str, Any], name: str) -> float | None:
    stated = entry.get(name)
    value = number(entry.get(f"eo:{name}") if stated is None else stated)
    if value is None:
        return None
    return value if value >= _NANOMETRES_FROM else value * 1000


def _width(entry: Mapping[str, Any]) -> float | None:
    # A width has no magnitude of its own to tell its unit by: it has that of its wavelength.
    centre = number(entry.get("center_wavelength", entry.get("eo:center_wavelength")))
    width = number(entry.get("full_width_half_max", entry.get("eo:full_width_half_max")))
    if width is None or centre is None:
        return None
    return width if centre >= _NANOMETRES_FROM else width * 1000


def _resolution(item: Item, asset: Asset, entry: Mapping[str, Any]) -> float | None:
    stated = (entry.get("spatial_resolution"), asset.get("gsd"), properties(item).get("gsd"))
    return next((value for value in map(number, stated) if value is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
