"""From the pixels of a source to the pixels of the ask: gather or warp, calibrate, mark, convert.

The order matters. Missing pixels are found by the source's own marker before anything changes the
values, and are marked anew at the end, so no calibration can turn nodata into data.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.warp
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.warp import resampling_s2rio
from odc.loader.types import RasterLoadParams

from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.placement import Placement
from geostack_dagster.stack.reader.rule import Calibrate, SourceRule, Valid

_MISSING_INT = np.iinfo(np.int32).min


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """Which values mean a missing pixel, before and after, and the type asked for."""

    source: float | None
    target: float | None
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, header: Header, cfg: RasterLoadParams, rule: SourceRule) -> "Marking":
        """By odc-loader's rules (override, file, fallback; fill value, NaN, source), ours first."""
        dtype = np.dtype(cfg.dtype or header.main.dtype)
        found = (rule.nodata, cfg.src_nodata_override, header.nodata, cfg.src_nodata_fallback)
        stored = np.dtype(header.main.dtype)
        source = next((value for value in found if value is not None and fits(value, stored)), None)
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

    def missing(self, pixels: Raw) -> Valid | None:
        """Where the source marks nothing; None if it never does."""
        if self.source is None or math.isnan(self.source):
            return np.isnan(pixels) if pixels.dtype.kind == "f" else None
        found: Valid = pixels == pixels.dtype.type(self.source)
        return found | np.isnan(pixels) if pixels.dtype.kind == "f" else found


def gather(pixels: Raw, placement: Placement, marking: Marking, calibrate: Calibrate | None) -> Raw:
    """Pixels of the grid's part, from those of the window."""
    inside = None
    if placement.map is not None:
        pixels, inside = placement.map.take(pixels), placement.map.inside
    if calibrate is not None:
        missing = marking.missing(pixels)
        valid = np.ones(pixels.shape, bool) if missing is None else ~missing
        return _calibrated(pixels, valid if inside is None else valid & inside, marking, calibrate)
    found = _converted(pixels, marking)
    if inside is not None:
        found[~inside] = marking.fill
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a window lies, where its pixels go, and by which kernel."""

    place: Affine
    crs: str
    part: GeoBox
    resampling: str


def warp(pixels: Raw, frame: Frame, marking: Marking, calibrate: Calibrate | None) -> Raw:
    """Pixels of a part of the grid by GDAL's own warper, from a window in memory."""
    dtype, marker = marking.dtype, marking.target
    if calibrate is not None:
        dtype, marker = _with_marker(pixels.dtype)
    out = np.full(frame.part.shape.yx, 0 if marker is None else marker, dtype)
    rasterio.warp.reproject(
        np.ascontiguousarray(pixels),
        out,
        src_transform=frame.place,
        src_crs=frame.crs,
        src_nodata=marking.source,
        dst_transform=frame.part.transform,
        dst_crs=str(frame.part.crs),
        dst_nodata=marker,
        resampling=resampling_s2rio(frame.resampling),
    )
    if calibrate is None:
        return out
    valid = ~np.isnan(out) if dtype.kind == "f" else out != marker
    return _calibrated(out, valid, marking, calibrate)


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


def fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a type can hold a number; a marker that it cannot hold marks nothing."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _converted(pixels: Raw, marking: Marking) -> Raw:
    if marking.unchanged and pixels.dtype == marking.dtype:
        return pixels
    missing = None if marking.target is None else marking.missing(pixels)
    found = cast(pixels, marking.dtype)
    if missing is not None:
        found[missing] = marking.fill
    return found


def _calibrated(pixels: Raw, valid: Valid, marking: Marking, calibrate: Calibrate) -> Raw:
    found = cast(calibrate(pixels, valid), marking.dtype)
    found[~valid] = marking.fill
    return found


def _with_marker(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], float]:
    """A type that holds all numbers of `dtype` and one more, and that one: for missing pixels."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return np.dtype(np.int32), _MISSING_INT
    return np.dtype(np.float64 if dtype != np.float32 else np.float32), math.nan
