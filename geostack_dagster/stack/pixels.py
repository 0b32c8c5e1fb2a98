"""Pixels of one open raster on a target grid, with what is valid among them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_is_empty
from odc.geo.warp import resampling_s2rio

from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.encoding import Pixels, Valid
from geostack_dagster.stack.recipe import Source

type Window = tuple[slice, slice]
"""Rows and columns."""

# Nearest means the pixel in which the target's centre lies, so a shift below one pixel is only
# rounding; other kernels interpolate any shift that is visible.
_SHIFT_NEAREST, _SHIFT = 0.9, 0.05
_MISSING_INT = np.iinfo(np.int32).min


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """How an image falls on a target grid."""

    source: Window
    target: Window
    shrink: int
    """Whole number of image pixels along one target pixel."""
    is_aligned: bool
    """Whether target pixels are image pixels, or every `shrink`-th."""

    @property
    def is_empty(self) -> bool:
        """Whether the two do not overlap."""
        return bool(roi_is_empty(self.source) or roi_is_empty(self.target))


def footprint(image: GeoBox, target: GeoBox, resampling: str) -> Footprint:
    """Where an image of this grid falls on the target."""
    shift = _SHIFT_NEAREST if resampling == "nearest" else _SHIFT
    found = compute_reproject_roi(image, target, ttol=shift)
    return Footprint(
        source=_plain(found.roi_src),
        target=_plain(found.roi_dst),
        shrink=max(1, int(found.read_shrink)),
        is_aligned=bool(found.paste_ok),
    )


def geobox_of(dataset: Any, source: Source) -> GeoBox:
    """Pixel grid of an open raster that has the source's band.

    Raises:
        AssetError: If the file states no CRS, or has no such band.
    """
    check_band(dataset, source)
    crs = dataset.crs if dataset.crs is not None else source.projection.crs
    if crs is None:
        raise AssetError(
            f"{source.href} states no CRS; it cannot be placed on a grid", reason=Reason.NO_PLACE
        )
    return GeoBox((dataset.height, dataset.width), dataset.transform, str(crs))


def check_band(dataset: Any, source: Source) -> None:
    """Make sure that an open raster has the source's band.

    Raises:
        AssetError: If it has not.
    """
    if source.index > dataset.count:
        raise AssetError(
            f"{source.href} has {dataset.count} bands, band {source.index} was wanted; the band "
            "table does not fit this product",
            reason=Reason.NO_BAND,
        )


def overview_for(dataset: Any, source: Source, found: Footprint) -> int | None:
    """Index of the coarsest overview that is no coarser than the target; None for full size."""
    if found.shrink == 1:
        return None  # rasterio reads the list of overviews with the interpreter locked
    overviews = dataset.overviews(source.index)
    fitting = [level for level, factor in enumerate(overviews) if factor <= found.shrink]
    return fitting[-1] if fitting else None


def read_onto(
    path: str, source: Source, target: GeoBox, *, resampling: str
) -> tuple[Window, Pixels, Valid]:
    """The part of `target` that the image covers, its digital numbers, and which are valid.

    Reads the image's own pixels where the grids coincide (or those of an overview), and lets GDAL
    warp the nearest finer overview where they do not.
    """
    with rasterio.open(path, sharing=False) as dataset:
        found = footprint(geobox_of(dataset, source), target, resampling)
        if found.is_empty:
            return _nothing(dataset.dtypes[source.index - 1])
        level = overview_for(dataset, source, found)
        if level is None:
            return _read(dataset, source, target, found, resampling)
    with rasterio.open(path, sharing=False, overview_level=level) as dataset:
        found = footprint(geobox_of(dataset, source), target, resampling)
        if found.is_empty:
            return _nothing(dataset.dtypes[source.index - 1])
        return _read(dataset, source, target, found, resampling)


def nodata_of(dataset: Any, source: Source) -> float | None:
    """What marks a missing pixel: the Item's or the band table's word before the file's.

    A number that the file's dtype cannot hold marks nothing.
    """
    dtype = np.dtype(dataset.dtypes[source.index - 1])
    for nodata in (source.nodata, dataset.nodatavals[source.index - 1]):
        if nodata is not None and (dtype.kind == "f" or _fits(nodata, dtype)):
            return float(nodata)
    return None


def valid_in(pixels: Pixels, nodata: float | None) -> Valid:
    """True where a digital number is not nodata (and not NaN)."""
    valid = np.ones(pixels.shape, bool) if nodata is None else pixels != nodata
    return valid & ~np.isnan(pixels) if pixels.dtype.kind == "f" else valid


def with_marker(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], float]:
    """A dtype that holds all numbers of `dtype` and one more, and that one: for missing pixels."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return np.dtype(np.int32), _MISSING_INT
    return np.dtype(np.float64 if dtype != np.float32 else np.float32), np.nan


def _fits(number: float, dtype: np.dtype[Any]) -> bool:
    bounds = np.iinfo(dtype)
    return float(number).is_integer() and bounds.min <= number <= bounds.max


def _read(
    dataset: Any, source: Source, target: GeoBox, found: Footprint, resampling: str
) -> tuple[Window, Pixels, Valid]:
    nodata = nodata_of(dataset, source)
    if found.is_aligned and found.shrink == 1:
        rows, columns = found.source
        pixels = dataset.read(source.index, window=(_span(rows), _span(columns)))
        return found.target, pixels, valid_in(pixels, nodata)
    dtype, marker = with_marker(np.dtype(dataset.dtypes[source.index - 1]))
    area = target[found.target]
    warped = np.full(area.shape, marker, dtype)
    rasterio.warp.reproject(
        rasterio.band(dataset, source.index),
        warped,
        src_nodata=nodata,
        dst_crs=str(area.crs),
        dst_transform=area.transform,
        dst_nodata=marker,
        resampling=resampling_s2rio(resampling),
    )
    return found.target, warped, valid_in(warped, marker)


def _nothing(dtype: str) -> tuple[Window, Pixels, Valid]:
    return (slice(0, 0), slice(0, 0)), np.empty((0, 0), dtype), np.empty((0, 0), bool)


def _plain(window: Any) -> Window:
    rows, columns = window
    return slice(rows.start, rows.stop), slice(columns.start, columns.stop)


def _span(part: slice) -> tuple[int, int]:
    return part.start, part.stop
