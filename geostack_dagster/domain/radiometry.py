"""From digital numbers to physical values, with the reason and the evidence for every item.

`value = DN * scale + offset`, applied where `DN != nodata`. For Sentinel-2 the offset depends on
who processed the pixels and with which baseline, never on the acquisition date: a 2020 scene
reprocessed in 2023 has the offset, and Earth Search subtracted it from its COGs already while
still stating it in `raster:bands` (earth-search issues 9, 66 and 71).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.item import Asset, Item, is_finite, number, pixel_format, properties

_SENTINEL2_SCALE = 1e-4
_SENTINEL2_OFFSET = -0.1
_OFFSET_BASELINE = 4.0
_ANCILLARY_SCALE = 1e-3
_BASELINE_IN_NAME = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{2})(\d{2})_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """A calibration and why it was chosen."""

    scale: float
    offset: float
    reason: str
    evidence: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "scale": self.scale,
            "offset": self.offset,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Radiometry written by `to_json`."""
        return cls(**{**document, "warnings": tuple(document["warnings"])})


type RadiometryRule = Callable[[Item, Asset, Band], Radiometry]

CLASS_CODES = Radiometry(
    scale=1.0, offset=0.0, reason="class codes are not calibrated", evidence={}
)


def stated(item: Item, asset: Asset, band: Band) -> Radiometry:
    """What the metadata states (`raster:bands`, `bands` or `raster:scale`), else DN as they are."""
    if band.categorical:
        return CLASS_CODES
    found = pixel_format(asset, band.index - 1)
    if found.scale is None and found.offset is None:
        return Radiometry(
            scale=1.0,
            offset=0.0,
            reason="no scale or offset stated: values are taken as they are",
            evidence={},
            warnings=(f"{band.name}: the item states no scale or offset",),
        )
    return Radiometry(
        scale=1.0 if found.scale is None else found.scale,
        offset=0.0 if found.offset is None else found.offset,
        reason="as the item states",
        evidence={"scale": found.scale, "offset": found.offset},
    )


def sentinel2(item: Item, asset: Asset, band: Band) -> Radiometry:
    """Sentinel-2 reflectance [1]: `R = (DN + A) / 10000`, A = -1000 or 0.

    In order of trust: Earth Search's `earthsearch:boa_offset_applied`, the offset that the asset
    states, the processing baseline (offset from 04.00 on).
    """
    if band.categorical:
        return CLASS_CODES
    if band.wavelength_nm is None:
        return _sentinel2_ancillary(asset, band)
    flag = properties(item).get("earthsearch:boa_offset_applied")
    found = pixel_format(asset, band.index - 1)
    baseline = processing_baseline(item)
    evidence = {
        "earthsearch:boa_offset_applied": flag,
        "offset": found.offset,
        "processing_baseline": baseline,
    }
    offset, reason = _sentinel2_offset(flag, found.offset, baseline)
    return Radiometry(
        scale=_SENTINEL2_SCALE,
        offset=offset,
        reason=reason,
        evidence={name: value for name, value in evidence.items() if value is not None},
        warnings=_sentinel2_warnings(flag, found.offset, baseline),
    )


def _sentinel2_ancillary(asset: Asset, band: Band) -> Radiometry:
    """AOT and WVP [cm]: 1000 counts to the unit and no offset, whatever reflectance has.

    CDSE stated reflectance's scale and offset on them until 2025 or so, and 0.001 since.
    """
    found = pixel_format(asset, band.index - 1)
    warning = (
        f"{band.name}: the asset states scale {found.scale} and offset {found.offset}; "
        "Sentinel-2 codes it with 0.001 and no offset"
    )
    agrees = found.scale in (None, _ANCILLARY_SCALE) and not found.offset
    return Radiometry(
        scale=_ANCILLARY_SCALE,
        offset=0.0,
        reason="AOT and WVP are coded with 1000 counts to the unit",
        evidence={"scale": found.scale, "offset": found.offset},
        warnings=() if agrees else (warning,),
    )


def sentinel2_harmonised(item: Item, asset: Asset, band: Band) -> Radiometry:
    """Reflectance that the service harmonised already (Sentinel Hub's `harmonizeValues`)."""
    if band.categorical:
        return CLASS_CODES
    if band.wavelength_nm is None:
        return _sentinel2_ancillary(asset, band)
    return Radiometry(
        scale=_SENTINEL2_SCALE,
        offset=0.0,
        reason="harmonised by the service: the offset is subtracted already",
        evidence={"harmonizeValues": True},
    )


def processing_baseline(item: Item) -> str | None:
    """Processing baseline such as `05.11`, from any of the three places archives put it.

    A property of its own (Planetary Computer, Earth Search), `processing:version` (CDSE), or only
    the product name: `_N0511_`.
    """
    found = properties(item)
    for name in ("s2:processing_baseline", "processing:version"):
        if is_finite(found.get(name)):
            return str(found[name])
    for product in (found.get("s2:product_uri"), item.get("id")):
        if isinstance(product, str) and (named := _BASELINE_IN_NAME.match(product)):
            return f"{named[1]}.{named[2]}"
    return None


def _sentinel2_offset(
    flag: object, stated_offset: float | None, baseline: str | None
) -> tuple[float, str]:
    if flag is True:
        return 0.0, "the archive subtracted the offset from the pixels"
    if stated_offset is not None and (flag is None or baseline is None):
        return stated_offset, "the asset states its offset"
    if baseline is None:
        return 0.0, "no baseline and no stated offset: assumed to have none"
    if (number(baseline) or 0.0) >= _OFFSET_BASELINE:
        return _SENTINEL2_OFFSET, f"processing baseline {baseline} has the -1000 offset"
    return 0.0, f"processing baseline {baseline} precedes the offset (04.00)"


def _sentinel2_warnings(
    flag: object, stated_offset: float | None, baseline: str | None
) -> tuple[str, ...]:
    found = []
    if flag is True and stated_offset:
        found.append(
            f"raster:bands states offset {stated_offset:g}, but boa_offset_applied is true: "
            "applying both would subtract twice"
        )
    if baseline is None:
        found.append("the item states no processing baseline")
    return tuple(found)
