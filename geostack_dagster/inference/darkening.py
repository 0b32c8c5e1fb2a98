"""How much a methane column darkens the short-wave bands of each Sentinel-2."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float64

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.absorption import REFERENCE_AIR_MASS_FACTOR

type Method = Literal["sbmp", "mbsp", "mbmp"]

_AMF_OF_ABSORPTION, _AMF_OF_SATURATION = 0.80, 0.645
_LOWEST_DEG = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BandAbsorption:
    r"""Optical depth of a band, $\tau = k_0 c / (1 + c / c_s)$, c in ppm m."""

    k0: float
    """[1 / (ppm m)]"""
    saturation_ppm_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorption:
    """Methane absorption in B11 and B12 of one satellite, at an air-mass factor of 2.09.

    Fitted to a MODTRAN table seen through the satellite's spectral responses (0.5 % up to 16,000
    ppm m). That table's geometry is undocumented: 2.09 is where it meets a line-by-line
    calculation over HITRAN, for S2A and S2B alike, and the powers of the air-mass factor are
    those of that calculation between 2 and 4.
    """

    b11: BandAbsorption
    b12: BandAbsorption

    @property
    def digest(self) -> str:
        """Fingerprint of the numbers that decide a column."""
        bands = [(band.k0, band.saturation_ppm_m) for band in (self.b11, self.b12)]
        return fingerprint(
            [bands, REFERENCE_AIR_MASS_FACTOR, _AMF_OF_ABSORPTION, _AMF_OF_SATURATION]
        )


ABSORPTION: Mapping[str, Absorption] = {
    "S2A": Absorption(
        b11=BandAbsorption(k0=5.06e-7, saturation_ppm_m=1.14e5),
        b12=BandAbsorption(k0=3.019e-6, saturation_ppm_m=1.28e5),
    ),
    "S2B": Absorption(
        b11=BandAbsorption(k0=4.59e-7, saturation_ppm_m=1.15e5),
        b12=BandAbsorption(k0=2.324e-6, saturation_ppm_m=1.32e5),
    ),
    "S2C": Absorption(
        b11=BandAbsorption(k0=4.93e-7, saturation_ppm_m=1.12e5),
        b12=BandAbsorption(k0=2.576e-6, saturation_ppm_m=1.26e5),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What decides how a change of reflectance becomes a column."""

    platform: str
    """`S2A`, `S2B` or `S2C`."""
    solar_zenith_deg: float
    view_zenith_deg: float

    def __post_init__(self) -> None:
        angles = (self.solar_zenith_deg, self.view_zenith_deg)
        if not all(0 <= angle < _LOWEST_DEG for angle in angles):
            raise IntegrityError(
                f"zenith angles {angles[0]:g} (sun) and {angles[1]:g} (view) degrees make no light "
                f"path; they must lie between 0 and {_LOWEST_DEG:g}"
            )

    @property
    def air_mass_factor(self) -> float:
        """1 / cos SZA + 1 / cos VZA."""
        angles = (self.solar_zenith_deg, self.view_zenith_deg)
        return sum(1 / math.cos(math.radians(angle)) for angle in angles)

    @property
    def absorption(self) -> Absorption:
        """Of the platform.

        Raises:
            ConfigurationError: If the platform is none of the three.
        """
        try:
            return ABSORPTION[self.platform]
        except KeyError:
            raise ConfigurationError(
                f"no methane absorption for platform {self.platform!r}; known: "
                f"{', '.join(ABSORPTION)}. They differ by up to 36 %, so none is assumed"
            ) from None


def fractional_change(
    column_ppm_m: Float64[Array, "*shape"], geometry: Geometry, method: Method = "mbmp"
) -> Float64[Array, "*shape"]:
    """Relative change of B12 (SBMP) or of B12 / B11 (MBSP, MBMP) under a column: negative."""
    absorption, ratio = geometry.absorption, geometry.air_mass_factor / REFERENCE_AIR_MASS_FACTOR

    def depth(band: BandAbsorption) -> Float64[Array, "*shape"]:
        bend = column_ppm_m * (ratio**_AMF_OF_SATURATION / band.saturation_ppm_m)
        return jnp.asarray(band.k0 * ratio**_AMF_OF_ABSORPTION * column_ppm_m / (1.0 + bend))

    other = 0.0 if method == "sbmp" else depth(absorption.b11)
    change: Array = jnp.expm1(other - depth(absorption.b12))
    return change


def steepness_at_zero(geometry: Geometry, method: Method) -> float:
    """Darkening per ppm m of a weak column."""
    ratio = math.pow(geometry.air_mass_factor / REFERENCE_AIR_MASS_FACTOR, _AMF_OF_ABSORPTION)
    other = 0.0 if method == "sbmp" else geometry.absorption.b11.k0
    return ratio * (geometry.absorption.b12.k0 - other)
