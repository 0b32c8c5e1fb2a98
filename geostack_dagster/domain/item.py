"""Reading facts off a STAC Item, whatever dialect its archive writes.

An Item here is its JSON document. Archives put the same fact in different places (item or asset,
`proj:epsg` or `proj:code`, `raster:bands` or `raster:scale`); these functions look in all of them
and never invent what is not there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, SupportsFloat

from geostack_dagster.errors import IntegrityError

type Item = Mapping[str, Any]
type Asset = Mapping[str, Any]

_AFFINE_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Projection:
    """Pixel grid of an asset as its metadata states it; any part may be unknown."""

    crs: str | None
    shape: tuple[int, int] | None
    transform: tuple[float, ...] | None

    @property
    def is_complete(self) -> bool:
        """Whether a reader can place every pixel without opening the file."""
        return None not in (self.crs, self.shape, self.transform)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Data type, nodata and linear calibration that an asset's metadata states."""

    dtype: str | None
    nodata: float | None
    scale: float | None
    offset: float | None


def item_id(item: Item) -> str:
    """Id of the Item, or a placeholder that says it has none."""
    return str(item.get("id") or "(item without id)")


def properties(item: Item) -> Mapping[str, Any]:
    """The properties object; empty when absent."""
    found = item.get("properties")
    return found if isinstance(found, Mapping) else {}


def assets(item: Item) -> Mapping[str, Asset]:
    """The assets object, without entries that are not objects."""
    found = item.get("assets")
    if not isinstance(found, Mapping):
        return {}
    return {key: asset for key, asset in found.items() if isinstance(asset, Mapping)}


def moment(item: Item) -> datetime:
    """Acquisition instant in UTC: `datetime`, or `start_datetime` where that is null.

    Raises:
        IntegrityError: If neither is a readable date-time.
    """
    stated = properties(item)
    for name in ("datetime", "start_datetime"):
        parsed = parse_datetime(stated.get(name))
        if parsed is not None:
            return parsed
    raise IntegrityError(
        f"item {item_id(item)} has no readable datetime or start_datetime; it cannot be placed on "
        "the time axis"
    )


def parse_datetime(value: object) -> datetime | None:
    """Parse an RFC 3339 date-time; None when absent or unreadable. Naive means UTC."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.upper())  # RFC 3339 allows a lower-case t and z
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: the year 1 in a zone ahead of UTC
        return None


def projection(item: Item, asset: Asset) -> Projection:
    """Projection facts, asset level before item level (HLS and PC state them on the item)."""
    stated = properties(item)
    code = _text(_first(asset, stated, "proj:code")) or _epsg(_first(asset, stated, "proj:epsg"))
    shape = _first(asset, stated, "proj:shape")
    transform = _first(asset, stated, "proj:transform")
    return Projection(
        crs=code or _text(_first(asset, stated, "proj:wkt2")) or None,
        shape=(int(float(shape[0])), int(float(shape[1]))) if _numbers(shape, at_least=2) else None,
        transform=(
            tuple(float(value) for value in transform[:_AFFINE_LENGTH])
            if _numbers(transform, at_least=_AFFINE_LENGTH)
            else None
        ),
    )


def pixel_format(asset: Asset, band: int = 0) -> PixelFormat:
    """Format of one band: `raster:bands`, then STAC 1.1 `bands`, then the asset itself."""
    layers = [
        entries[band]
        for entries in (asset.get("raster:bands"), asset.get("bands"))
        if isinstance(entries, list) and len(entries) > band and isinstance(entries[band], Mapping)
    ]
    layers.append(asset)
    return PixelFormat(
        dtype=_text(_among(layers, "data_type")),
        nodata=number(_among(layers, "nodata", "enmap:nodata")),
        scale=number(_among(layers, "scale", "raster:scale")),
        offset=number(_among(layers, "offset", "raster:offset")),
    )


def number(value: object) -> float | None:
    """A number, also when written as a string ("72", "nan"); None for anything else."""
    if isinstance(value, bool):
        return None
    # Protocols are slow to check: only what is none of the kinds of JSON is asked.
    if not isinstance(value, float | int | str) and not isinstance(value, SupportsFloat):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):  # overflow: JSON has integers of any length
        return None


def is_finite(value: object) -> bool:
    """Whether it is a number (also as a string) that is neither NaN nor infinite."""
    found = number(value)
    return found is not None and math.isfinite(found)


def _first(asset: Asset, stated: Mapping[str, Any], name: str) -> Any:
    found = asset.get(name)
    return stated.get(name) if found is None else found


def _among(layers: list[Mapping[str, Any]], *names: str) -> object:
    for layer in layers:
        for name in names:
            if layer.get(name) is not None:
                found: object = layer[name]
                return found
    return None


def _epsg(value: object) -> str | None:
    code = number(value)
    return f"EPSG:{int(code)}" if code is not None and code.is_integer() and code > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _numbers(value: object, *, at_least: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) >= at_least
        and all(is_finite(entry) for entry in value[:at_least])
    )
