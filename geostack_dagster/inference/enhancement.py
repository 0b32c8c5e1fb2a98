"""Methane enhancement maps: what every retrieval gives, and the hyperspectral one in two passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8
from scipy import ndimage

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.blocks import Sliceable
from geostack_dagster.inference.columns import (
    FATAL,
    ColumnFlag,
    ColumnMaps,
    ColumnOperator,
    Signature,
    Walk,
    column_kernel,
    walk_columns,
)
from geostack_dagster.inference.detection import Detection, detect
from geostack_dagster.inference.matched_filter import MatchedFilter
from geostack_dagster.inference.target import NARROW_NM, Target

LEAST_SENSITIVITY = 0.3
"""Darker pixels turn into noise when divided by their sensitivity."""


class Calibration(StrEnum):
    """What the numbers of an enhancement map may be used for."""

    ABSOLUTE = "absolute"
    """ppm m that add up to kilograms."""
    RELATIVE = "relative, uncalibrated"
    """Patterns only: the input lost gas absorption by atmospheric correction."""
    SPARSE = "sparse, understated"
    """ppm m that say where a plume is: a penalty took its weak parts (MAG1C)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Enhancement:
    """Maps of a scene [ppm m at 273.15 K and 101325 Pa], signed, NaN where unobserved."""

    enhancement: Float64[np.ndarray, "y x"]
    uncertainty: Float64[np.ndarray, "y x"]
    """One standard deviation [ppm m]."""
    sensitivity: Float64[np.ndarray, "y x"]
    calibration: Calibration
    target: str
    """Digest of the target spectrum or band absorption."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What happened: counts, settings, flags; JSON-like."""

    @property
    def corrected(self) -> Float64[np.ndarray, "y x"]:
        """Enhancement over sensitivity, NaN where the pixel is too dark to say."""
        bright = self.sensitivity >= LEAST_SENSITIVITY
        divisor = np.where(bright, self.sensitivity, np.nan)
        return np.asarray(self.enhancement / divisor)


def vertical(
    slant: Enhancement, air_mass_factor: Float[np.ndarray, "y x"], *, reference: float
) -> Enhancement:
    """The enhancement above each pixel, from one along the light's way down and up.

    Args:
        slant: As a filter gives it, whose target was made for one air-mass factor.
        air_mass_factor: 1 / cos SZA + 1 / cos VZA of each pixel.
        reference: Air-mass factor of the target.
    """
    shorter = reference / air_mass_factor
    return replace(
        slant,
        enhancement=slant.enhancement * shorter,
        uncertainty=slant.uncertainty * shorter,
        facts={**slant.facts, "air_mass_factor": float(np.nanmean(air_mass_factor))},
    )


def unobserved(
    shape: tuple[int, int], calibration: Calibration, target: str, *, reason: str
) -> Enhancement:
    """Maps of a scene of which nothing can be said, such as one under cloud."""
    empty = np.full(shape, np.nan)
    return Enhancement(
        enhancement=empty,
        uncertainty=empty,
        sensitivity=empty,
        calibration=calibration,
        target=target,
        facts={"unobserved": reason},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Settings of a hyperspectral retrieval."""

    operator: ColumnOperator = field(default_factory=MatchedFilter)
    windows_nm: Sequence[tuple[float, float]] = NARROW_NM
    calibration: Calibration = Calibration.ABSOLUTE
    """RELATIVE for surface reflectance, such as EnMAP L2A."""
    passes: int = 2
    """Each pass after the first leaves the plumes of the one before out of the statistics."""
    dilation_px: int = 3
    """Added around those plumes: their thin edges bias the background too."""
    outlier: float = 10.0
    """Robust standard deviations at which a column's mean spectrum departs from its neighbours."""
    walk: Walk | None = None
    """How the scene is cut; the operator's own way if None."""

    def __post_init__(self) -> None:
        if self.passes < 1 or self.dilation_px < 0:
            raise ConfigurationError(
                f"a retrieval needs 1 pass or more and a dilation of 0 or more; asked for "
                f"{self.passes} and {self.dilation_px}"
            )


def retrieve_enhancement(
    radiance: Sliceable,
    target: Target,
    retrieval: Retrieval | None = None,
    *,
    usable: Bool[np.ndarray, "y x"] | None = None,
    noise: Any = None,
) -> Enhancement:
    """Enhancement of a scene in sensor geometry, from statistics that leave its plumes out.

    A plume along the flight direction fills a detector's column: left in the background it hides
    half of itself. So a first map is searched for plumes over the whole scene, across columns,
    and the filter is run again without their pixels.

    Args:
        radiance: `(y, x, band)` with y along track, in sensor geometry, never orthorectified
            for an absolute result; all bands of the target.
        target: Unit absorption of these bands.
        retrieval: Settings; `Retrieval()` if None.
        usable: Pixels that may enter statistics: neither cloud, water, flare nor saturated.
        noise: Of the instrument, in all bands of the target; see `Noise`.

    Raises:
        ConfigurationError: If the bands of radiance and target differ in number, the scene has no
            pixel, or `usable` is no mask of it.
    """
    retrieval = retrieval or Retrieval()
    signature = _signature(radiance, target, retrieval, noise)
    shape = (radiance.shape[0], radiance.shape[1])
    clear = np.ones(shape, bool) if usable is None else usable
    if 0 in shape or clear.shape != shape:
        raise ConfigurationError(
            f"a scene of {shape[0]} x {shape[1]} pixels cannot be filtered with a mask of shape "
            f"{clear.shape}; give at least one pixel, and a mask of all"
        )
    background = clear
    maps = walk_columns(
        radiance, retrieval.operator, signature, usable=background, walk=retrieval.walk
    )
    for _ in range(retrieval.passes - 1):
        background = clear & ~_plume_pixels(maps, clear, retrieval.dilation_px)
        maps = walk_columns(
            radiance, retrieval.operator, signature, usable=background, walk=retrieval.walk
        )
    flags = maps.flags | outlier_columns(maps.mean, retrieval.outlier)
    flags |= overconfident_columns(maps.null_sigma)
    bad = (flags & FATAL.value) != 0
    return Enhancement(
        enhancement=np.where(bad, np.nan, maps.enhancement),
        uncertainty=np.where(bad, np.nan, maps.uncertainty),
        sensitivity=np.where(bad, np.nan, maps.sensitivity),
        calibration=retrieval.calibration,
        target=target.digest,
        facts=_facts(maps, flags, background, clear, retrieval),
    )


def outlier_columns(
    mean: Float[np.ndarray, "x band"], threshold: float, *, neighbours: int = 9
) -> UInt8[np.ndarray, " x"]:
    """`ColumnFlag.OUTLIER` where a mean spectrum is unlike the columns beside it, else 0.

    Judged on the ratio to the running median of the neighbours, in the worst band; a departure
    below 5 % is never an outlier. Columns without a mean (NaN, or 0 in all bands) are nobody's
    neighbours: beside a gap, zeros would make outliers of good columns.
    """
    flags = np.zeros(mean.shape[0], np.uint8)
    known = np.isfinite(mean).all(axis=1) & (mean != 0).any(axis=1)
    if known.sum() < neighbours:
        return flags
    mean = mean[known]
    median = ndimage.median_filter(mean, size=(neighbours, 1), mode="nearest")
    departure = np.divide(mean, median, out=np.ones_like(mean), where=median != 0) - 1
    spread = 1.4826 * np.median(np.abs(departure), axis=0)
    unlike = np.abs(departure) > np.maximum(threshold * spread, 0.05)
    flags[known] = np.where(unlike.any(axis=1), ColumnFlag.OUTLIER.value, 0)
    return flags


def overconfident_columns(
    null_sigma: Float64[np.ndarray, " x"], *, least: float = 0.2
) -> UInt8[np.ndarray, " x"]:
    """`ColumnFlag.SINGULAR` where a column claims a noise far below that of the others, else 0.

    A band copied or interpolated from its neighbours leaves the covariance singular; what little
    a ridge adds lets it be inverted, and the filter then believes that it sees without noise.
    """
    usual = _middle(null_sigma)
    if usual is None:
        return np.zeros(null_sigma.size, np.uint8)
    with np.errstate(invalid="ignore"):
        return np.where(null_sigma < least * usual, ColumnFlag.SINGULAR.value, 0).astype(np.uint8)


def _signature(radiance: Sliceable, target: Target, retrieval: Retrieval, noise: Any) -> Signature:
    depth = target.wavelength_nm.size
    if radiance.shape[2] != depth:
        raise ConfigurationError(
            f"radiance of {radiance.shape[2]} bands cannot be filtered with a target of {depth}; "
            "build the target from the wavelengths of this file"
        )
    bands: Int[np.ndarray, " _"] = target.bands(retrieval.windows_nm)
    chosen = None if noise is None else type(noise)(*(part[bands] for part in noise))
    return Signature(bands=bands, unit_absorption=target.unit_absorption[bands], noise=chosen)


def _plume_pixels(
    maps: ColumnMaps, clear: Bool[np.ndarray, "y x"], dilation_px: int
) -> Bool[np.ndarray, "y x"]:
    found = detect(maps.enhancement, maps.uncertainty, clear, Detection(core=4.0, grow=2.0))
    if not dilation_px:
        return found.mask
    disc = np.hypot(*np.mgrid[-dilation_px : dilation_px + 1, -dilation_px : dilation_px + 1])
    return np.asarray(ndimage.binary_dilation(found.mask, disc <= dilation_px))


def _middle(values: Float64[np.ndarray, " x"]) -> float | None:
    """Median of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _facts(
    maps: ColumnMaps,
    flags: UInt8[np.ndarray, " x"],
    background: Bool[np.ndarray, "y x"],
    clear: Bool[np.ndarray, "y x"],
    retrieval: Retrieval,
) -> dict[str, Any]:
    return {
        "columns": {
            flag.name.lower(): int(((flags & flag.value) != 0).sum())
            for flag in ColumnFlag
            if flag.name
        },
        "plume_pixels_left_out": int((clear & ~background).sum()),
        "null_sigma_ppm_m": _middle(maps.null_sigma),
        "regularisation": _middle(maps.strength),
        "passes": retrieval.passes,
        "operator": repr(retrieval.operator),
        "compilations": column_kernel(retrieval.operator).compilations,
    }
