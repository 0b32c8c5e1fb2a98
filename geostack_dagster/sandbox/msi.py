"""Sentinel-2's instrument: which satellite came on a day, and what methane and air do to its bands.

Level-2A keeps the darkening by a plume: its processor takes out the gases of a standard atmosphere.
Level-1C is the reflectance of the top of the atmosphere, made of the surface's by one path
reflectance and one transmittance for each band, at all angles and over all ground.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.absorption import AIR_MASS_OF_TABLE, air_mass
from geostack_dagster.sandbox.plumes import Source
from geostack_dagster.sandbox.spectra import WAVELENGTHS_NM
from geostack_dagster.sandbox.sun import sun

type Values = NDArray[np.float32]

CIRRUS_NM = 1373.5
"""Centre of B10, which Level-1C alone has."""
_BANDS = {**WAVELENGTHS_NM, "B10": CIRRUS_NM}
_NAMES = {wavelength: name for name, wavelength in _BANDS.items()}
# Methane in each satellite's bands: optical depth k0 c / (1 + c / cs) of a column c, k0 in
# 1 / (ppm m) and cs in ppm m. From a MODTRAN table seen through ESA's spectral responses.
_METHANE: Mapping[tuple[str, str], tuple[float, float]] = {
    ("S2A", "B11"): (5.06e-7, 1.14e5),
    ("S2A", "B12"): (3.019e-6, 1.28e5),
    ("S2B", "B11"): (4.59e-7, 1.15e5),
    ("S2B", "B12"): (2.324e-6, 1.32e5),
    ("S2C", "B11"): (4.93e-7, 1.12e5),
    ("S2C", "B12"): (2.576e-6, 1.26e5),
}
# Powers of the air mass over that of the table: strong lines inside the bands are saturated.
_POWER_OF_DEPTH, _POWER_OF_BEND = 0.8, 0.65
# Path reflectance and two-way transmittance of a band.
_AIR: Mapping[str, tuple[float, float]] = {
    "B01": (0.098, 0.80),
    "B02": (0.074, 0.84),
    "B03": (0.044, 0.88),
    "B04": (0.027, 0.91),
    "B05": (0.022, 0.91),
    "B06": (0.018, 0.92),
    "B07": (0.015, 0.93),
    "B08": (0.012, 0.93),
    "B8A": (0.010, 0.95),
    "B09": (0.005, 0.55),
    "B10": (0.001, 0.02),
    "B11": (0.002, 0.94),
    "B12": (0.001, 0.91),
}
_FIRST_S2A = date(2024, 6, 3)
_REVISIT_DAYS = 5
# When Sentinel-2 passes over a source [UTC].
_PASSES = {
    "emmental": time(10, 37, 39),
    "rio_cuarto": time(14, 11, 52),
    "korpezhe": time(7, 17, 3),
}


@dataclass(frozen=True, slots=True)
class Msi:
    """One satellite's instrument and the level of its product."""

    satellite: str
    """`S2A`, `S2B` or `S2C`."""
    level: str = "L2A"
    """`L2A` or `L1C`."""

    @classmethod
    def on(cls, day: date, level: str = "L2A") -> "Msi":
        """The instrument that sees the world on a day: both satellites take turns."""
        passes = (day - _FIRST_S2A).days // _REVISIT_DAYS
        return cls(("S2A", "S2B")[passes % 2], level)

    @classmethod
    def of(cls, platform: str, level: str) -> "Msi | None":
        """From a platform as Items state it, such as `sentinel-2a`; None for another one."""
        name = platform.lower().replace("sentinel-", "s").upper()
        return cls(name, level) if (name, "B12") in _METHANE else None

    def is_dimmed(self, wavelength_nm: float) -> bool:
        """Whether methane absorbs in a band."""
        return (self.satellite, _NAMES.get(wavelength_nm, "")) in _METHANE

    def transmittance(
        self, wavelength_nm: float, column_ppm_m: NDArray[np.float64], air_mass_factor: float
    ) -> Values:
        """Share of the light that a column leaves in a band."""
        k0, saturation = _METHANE[self.satellite, _NAMES[wavelength_nm]]
        ratio = air_mass_factor / AIR_MASS_OF_TABLE
        bend = 1 + column_ppm_m * (ratio**_POWER_OF_BEND / saturation)
        depth = k0 * ratio**_POWER_OF_DEPTH * column_ppm_m / bend
        passed: Values = np.exp(-depth).astype(np.float32)
        return passed

    def delivered(self, surface: Values, wavelength_nm: float) -> Values:
        """What the product holds of a band."""
        if self.level != "L1C":
            return surface
        path, passed = _AIR[_NAMES[wavelength_nm]]
        return np.float32(passed) * surface + np.float32(path)


def air_mass_over(source: Source, day: date) -> float:
    """Of Sentinel-2's pass over a source: 1 / cos SZA + 1, seen from straight above."""
    passed = datetime.combine(day, _PASSES[source.name], tzinfo=UTC)
    zenith, _ = sun(*source.degrees, passed)
    return air_mass(zenith, 0.0)
