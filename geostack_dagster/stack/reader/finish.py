"""From the pixels of a source to the pixels of the ask: gather or warp, shift, nodata, type.

The order matters. Missing pixels are found by the source's own marker before anything changes the
values, and are marked anew at the end, so no calibration can turn nodata into data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.warp
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.warp import resampling_s2rio
from odc.loader.types import RasterLoadParams

from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.placement import Placement

type Transform = Callable[[Raw], Raw]
"""A calibration of whole arrays; must not mind what it makes of missing pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """Which values mean a missing pixel, before and after, and the type asked for."""

    source: float | None
    target: float | None
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, header: Header, cfg: RasterLoadParams) -> "Marking":
        """By odc-loader's rules: the override, the file, the fallback; fill value, NaN, source."""
        dtype = np.dtype(cfg.dtype or header.main.dtype)
        source = cfg.src_nodata_override
        if source is None:
            source = cfg.src_nodata_fallback if header.nodata is None else header.nodata
        target = cfg.fill_value
        if target is None:
            target = math.nan if dtype.kind == "f" else source
        return cls(source=source, target=target, dtype=dtype)

    @property
    def fill(self) -> Any:
        """What stands where no source reaches, as a scalar of the type."""
        return self.dtype.type(0 if self.target is None else self.target)

    @property
    def unchanged(self) -> bool:
        """Whether missing pixels keep their value."""
        if self.source is None or self.target is None:
            return self.source is None
        return self.source == self.target or (math.isnan(self.source) and math.isnan(self.target))

    def missing(self, pixels: Raw) -> NDArray[np.bool_] | None:
        """Where the source marks nothing; None if it never does."""
        is_float = pixels.dtype.kind == "f"
        if self.source is None or math.isnan(self.source):
            return np.isnan(pixels) if is_float else None
        found = pixels == pixels.dtype.type(self.source) if _fits(self.source, pixels) else None
        if is_float and found is not None:
            found |= np.isnan(pixels)
        return found


def settle(pixels: Raw, marking: Marking, transform: Transform | None) -> Raw:
    """Pixels in the type asked for, calibrated, with missing ones marked as asked."""
    if transform is None and marking.unchanged and pixels.dtype == marking.dtype:
        return pixels
    missing = marking.missing(pixels)
    if transform is not None:
        pixels = transform(pixels)
    pixels = cast(pixels, marking.dtype)
    if missing is not None and marking.target is not None:
        if not pixels.flags.writeable:
            pixels = pixels.copy()
        pixels[missing] = marking.fill
    return pixels


def gather(pixels: Raw, placement: Placement, marking: Marking, transform: Transform | None) -> Raw:
    """Pixels of the grid's part, from those of the window."""
    if placement.map is None:
        return settle(pixels, marking, transform)
    found = settle(placement.map.take(pixels), marking, transform)
    if placement.map.inside is not None:
        found[~placement.map.inside] = marking.fill
    return found


def warp(
    pixels: Raw,
    placement: Placement,
    *,
    header: Header,
    grid: GeoBox,
    cfg: RasterLoadParams,
    transform: Transform | None,
) -> Raw:
    """Pixels of the grid's part by GDAL's own warper, from a window in memory."""
    marking = Marking.of(header, cfg)
    marker = marking.source
    if transform is not None:
        values = transform(pixels)
        missing = marking.missing(pixels)
        if missing is not None:
            marker = marking.target
            if marker is not None:
                values[missing] = marker
        pixels = values
    part = grid[placement.part.slices]
    out = np.full(placement.part.shape, marking.fill, marking.dtype)
    place = header.level_transform(placement.level)
    rasterio.warp.reproject(
        np.ascontiguousarray(pixels),
        out,
        src_transform=place * Affine.translation(placement.window.left, placement.window.top),
        src_crs=header.crs,
        src_nodata=marker,
        dst_transform=part.transform,
        dst_crs=str(grid.crs),
        dst_nodata=marking.target,
        resampling=resampling_s2rio(cfg.resampling),
    )
    return out


def cast(pixels: Raw, dtype: np.dtype[Any]) -> Raw:
    """The same values in another type, as GDAL converts: rounded half away from zero, clamped."""
    if pixels.dtype == dtype or np.can_cast(pixels.dtype, dtype, "safe") or dtype.kind == "f":
        return pixels.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    if pixels.dtype.kind == "f":
        rounded = np.trunc(pixels + np.copysign(0.5, pixels))
        return np.nan_to_num(rounded, nan=0).clip(limits.min, limits.max).astype(dtype)
    found = np.iinfo(pixels.dtype)
    low, high = max(limits.min, found.min), min(limits.max, found.max)
    return pixels.clip(low, high).astype(dtype)


def _fits(value: float, pixels: Raw) -> bool:
    if pixels.dtype.kind == "f":
        return True
    limits = np.iinfo(pixels.dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
