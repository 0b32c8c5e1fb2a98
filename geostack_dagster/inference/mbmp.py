r"""Methane columns from Sentinel-2's two short-wave bands (Varon 2021).

R11, R12 are top-of-atmosphere reflectances of a pass, primes those of a pass without plume:

- SBMP $\Delta R = (c R_{12} - R'_{12}) / R'_{12}$, $c = \langle R_{12}, R'_{12} \rangle /
  \langle R_{12}, R_{12} \rangle$,
- MBSP $\Delta R = (c R_{12} - R_{11}) / R_{11}$, $c = \langle R_{12}, R_{11} \rangle /
  \langle R_{12}, R_{12} \rangle$,
- MBMP $\Delta R$ = MBSP of the pass minus MBSP of the reference, each with its own c.

c is a number of the scene, fitted over all its clear pixels without plume; fitted per block it
changes the map by 140 to 200 ppm m. The change becomes a column by the absorption of the bands of
that satellite: S2A, S2B and S2C are not interchangeable.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64

from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.inference.blocks import Kernel
from geostack_dagster.inference.darkening import (
    Geometry,
    Method,
    fractional_change,
    steepness_at_zero,
)
from geostack_dagster.inference.enhancement import Calibration, Enhancement

type Reflectance = Float64[np.ndarray, "y x"]
type Fitted = tuple[Reflectance, SceneFit]

SATURATION_PPM_M = 40_000.0
"""Columns beyond are clamped and flagged: the bands hardly darken any more."""

_LEAST_SHARED = 0.05
_OUTLIER = 3.0  # robust standard deviations beyond which a pixel is taken for plume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One overpass on the grid of the scene; NaN where there is no reflectance."""

    b11: Reflectance
    b12: Reflectance
    clear: Bool[np.ndarray, "y x"]
    """True where neither cloud, shadow, water nor defect."""

    @property
    def usable(self) -> Bool[np.ndarray, "y x"]:
        """Clear pixels with light in both bands."""
        lit = (self.b11 > 0) & (self.b12 > 0)
        return np.asarray(self.clear & lit & np.isfinite(self.b11) & np.isfinite(self.b12))


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFit:
    """The scale c of a scene, and the pixels it rests on."""

    scale: float
    pixels: int
    digest: str
    """Of the mask of these pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FractionalChange:
    """Relative darkening by methane, NaN where unusable, and the fits behind it."""

    change: Reflectance
    spread: float
    """Robust standard deviation over the pixels of the fits."""
    fits: tuple[SceneFit, ...]
    method: Method


def single_band(plume: Pass, reference: Pass, *, rounds: int = 3) -> FractionalChange:
    """SBMP: B12 of the pass against B12 of the reference.

    Raises:
        NoDataError: If no pixel is usable in both.
    """
    return _robust(
        lambda kept: [_change(plume.b12, reference.b12, kept)],
        plume.usable & reference.usable,
        rounds,
        "sbmp",
    )


def single_pass(plume: Pass, *, rounds: int = 3) -> FractionalChange:
    """MBSP: B12 against B11 of one pass; useless over varied ground, free of references.

    Raises:
        NoDataError: If no pixel is usable.
    """
    return _robust(lambda kept: [_change(plume.b12, plume.b11, kept)], plume.usable, rounds, "mbsp")


def multi_pass(plume: Pass, references: Sequence[Pass], *, rounds: int = 3) -> FractionalChange:
    """MBMP: MBSP of the pass minus the median MBSP of the references.

    All passes are fitted over the pixels that are usable in the pass and in any reference and that
    show no plume in the difference. A reference that shares less than a twentieth of the pass's
    pixels gives no scale and is left out.

    Raises:
        NoDataError: If no pixel is usable.
        ConfigurationError: If there is no reference.
    """
    if not references:
        raise ConfigurationError("MBMP needs a reference pass; without one use MBSP")
    least = max(1.0, _LEAST_SHARED * float(plume.usable.sum()))
    sharing = [one for one in references if (one.usable & plume.usable).sum() >= least]
    if not sharing:
        raise NoDataError(
            f"none of {len(references)} references shares enough clear pixels with the pass; "
            "choose another pass or AOI"
        )
    usable = plume.usable & np.any([reference.usable for reference in sharing], axis=0)

    def changes(kept: Bool[np.ndarray, "y x"]) -> list[tuple[Reflectance, SceneFit]]:
        fitted = []
        for passed in (plume, *sharing):
            change, fit = _change(passed.b12, passed.b11, kept & passed.usable)
            fitted.append((np.where(passed.usable, change, np.nan), fit))
        return fitted

    return _robust(changes, usable, rounds, "mbmp")


def methane_column(
    fractional: FractionalChange, geometry: Geometry, *, level: str = "L1C"
) -> Enhancement:
    """Columns of methane above the background, signed, with uncertainty and sensitivity.

    The curve of growth is continued oddly through 0, so that noise stays symmetric. Columns
    beyond `SATURATION_PPM_M` are clamped and counted. Surface reflectance (`L2A`) went through a
    correction of gas absorption: its result is marked uncalibrated.
    """
    table = jnp.linspace(0.0, SATURATION_PPM_M, 2001, dtype=jnp.float64)
    darkening = -fractional_change(table, geometry, fractional.method)
    inverted = _inversion()(fractional.change, table, darkening)
    column, slope = (np.asarray(inverted[name]) for name in ("column", "slope"))
    saturated = np.abs(fractional.change) > float(darkening[-1])
    return Enhancement(
        enhancement=column,
        uncertainty=fractional.spread / slope,
        sensitivity=slope / steepness_at_zero(geometry, fractional.method),
        calibration=Calibration.ABSOLUTE if level == "L1C" else Calibration.RELATIVE,
        target=geometry.absorption.digest,
        facts={
            "method": fractional.method,
            "level": level,
            "air_mass_factor": geometry.air_mass_factor,
            "platform": geometry.platform,
            "saturated_pixels": int(saturated.sum()),
            "compilations": _inversion().compilations,
            "scales": [fit.scale for fit in fractional.fits],
            "fit_pixels": [fit.pixels for fit in fractional.fits],
            "fit_masks": [fit.digest for fit in fractional.fits],
        },
    )


@functools.cache
def _inversion() -> Kernel:
    """Columns and their slopes from changes, compiled once per shape of scene."""

    def inverted(
        change: Float64[Array, "y x"],
        table: Float64[Array, " node"],
        darkening: Float64[Array, " node"],
    ) -> dict[str, Array]:
        size = jnp.interp(jnp.abs(change), darkening, table)
        slope = jnp.interp(size, table, jnp.asarray(jnp.gradient(darkening, table)))
        unknown = jnp.isnan(change)
        return {
            "column": jnp.where(unknown, jnp.nan, -jnp.sign(change) * size),
            "slope": jnp.where(unknown, jnp.nan, slope),
        }

    return Kernel(inverted)


def _change(top: Reflectance, bottom: Reflectance, kept: Bool[np.ndarray, "y x"]) -> Fitted:
    """(c top - bottom) / bottom, c of least squares through the origin over the kept pixels.

    Raises:
        NoDataError: If no pixel is kept.
    """
    count = int(kept.sum())
    if not count:
        raise NoDataError("no clear pixel is left to fit a scale; choose another pass or AOI")
    scale = float(top[kept] @ bottom[kept] / (top[kept] @ top[kept]))
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.asarray((scale * top - bottom) / bottom)
    digest = hashlib.sha256(np.packbits(kept).tobytes()).hexdigest()[:20]
    return change, SceneFit(scale=scale, pixels=count, digest=digest)


def _robust(
    changes: Callable[[Bool[np.ndarray, "y x"]], list[Fitted]],
    usable: Bool[np.ndarray, "y x"],
    rounds: int,
    method: Method,
) -> FractionalChange:
    """The change after refits that leave out what departs by more than 3 robust deviations."""
    kept = usable
    for remaining in range(rounds, -1, -1):
        (change, *others), fits = zip(*changes(kept), strict=True)
        if others:
            change = change - _median(others)
        centre = np.median(change[kept])
        spread = 1.4826 * float(np.median(np.abs(change[kept] - centre)))
        if remaining:
            kept = usable & (np.abs(change - centre) <= _OUTLIER * spread)
    return FractionalChange(
        change=np.where(usable, change, np.nan), spread=spread, fits=fits, method=method
    )


def _median(changes: Sequence[Reflectance]) -> Reflectance:
    """Median of the references that are usable at each pixel; NaN where none is."""
    stack = np.stack(changes)
    nowhere = np.isnan(stack).all(axis=0)
    stack[:, nowhere] = 0.0  # an all-NaN median warns
    return np.where(nowhere, np.nan, np.nanmedian(stack, axis=0))
