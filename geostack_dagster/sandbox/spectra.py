"""Surface reflectance of the world's land covers through the year, from 380 to 2500 nm.

Values are typical of the literature at Sentinel-2's band centres; elsewhere a spectrum
has the shape of its kind (water in leaves, cellulose, hydroxyl, ice), drawn through these values.
Vegetated covers go from a dormant to a green spectrum with a double-logistic season. Some covers
have a variant that only an imaging spectrometer can tell: it differs where Sentinel-2 is blind.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.noise import unit_of

type Spectra = NDArray[np.float64]

WAVELENGTHS_NM: Mapping[str, float] = {
    "B01": 442.7,
    "B02": 492.4,
    "B03": 559.8,
    "B04": 664.6,
    "B05": 704.1,
    "B06": 740.5,
    "B07": 782.8,
    "B08": 832.8,
    "B8A": 864.7,
    "B09": 945.1,
    "B11": 1613.7,
    "B12": 2202.4,
}
_CENTRES = tuple(WAVELENGTHS_NM.values())
# Wavelengths [nm] between Sentinel-2's bands, with the band that each is told relative to.
_BETWEEN = (
    (375, "B01"), (975, "B09"), (1080, "B09"), (1190, "B09"), (1265, "B09"), (1450, "B11"),
    (1540, "B11"), (1680, "B11"), (1790, "B11"), (1930, "B12"), (2040, "B12"), (2120, "B12"),
    (2300, "B12"), (2400, "B12"), (2510, "B12"),
)  # fmt: skip
# Reflectance at these wavelengths over that of the band, by kind of spectrum.
_SHAPES: Mapping[str, tuple[float, ...]] = {
    "green": (0.9, 0.96, 1.03, 0.94, 1.0, 0.45, 0.86, 1.02, 0.9, 0.25, 0.66, 0.93, 0.86, 0.66,
              0.45),
    "dry": (0.75, 1.01, 1.06, 1.05, 1.12, 0.82, 0.97, 1.0, 0.95, 0.84, 0.98, 0.97, 0.94, 0.87,
            0.76),
    "mineral": (0.75, 1.02, 1.08, 1.12, 1.15, 0.93, 0.99, 1.01, 1.02, 0.95, 1.05, 1.04, 0.97, 0.93,
                0.88),
    "water": (1.05, 0.8, 0.7, 0.5, 0.45, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "ice": (1.0, 0.99, 0.93, 0.86, 0.7, 1.1, 0.6, 1.3, 1.5, 0.4, 0.3, 0.8, 1.05, 0.85, 0.65),
    "cloud": (1.0, 1.0, 1.0, 0.98, 0.98, 0.75, 0.85, 1.03, 1.0, 0.8, 0.85, 0.97, 0.98, 0.87, 0.75),
}  # fmt: skip
_HALF_YEAR = 182.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """Green-up and senescence, days of a northern year."""

    start: float
    end: float
    pace: float = 9.0
    """Days in which the logistic changes by a factor e."""
    least: float = 0.0
    """Greenness in the dormant season."""

    def greenness(self, day: date, *, south: bool) -> float:
        """Between `least` and 1 on a date; southern years are half a year behind.

        `g = 1 / (1 + exp(-(t - s) / a)) - 1 / (1 + exp(-(t - e) / a))`, with s and e of each year
        up to 5 days early or late.
        """
        t = (day.timetuple().tm_yday + (_HALF_YEAR if south else 0)) % 365.25
        shift = 10 * unit_of("season", day.year, south) - 5
        rise = 1 / (1 + math.exp(-(t - self.start - shift) / self.pace))
        fall = 1 / (1 + math.exp(-(t - self.end - shift) / self.pace))
        return self.least + (1 - self.least) * (rise - fall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A land cover: its spectra, its season and the scene class a perfect classifier gives it."""

    name: str
    reflectance: tuple[float, ...]
    """Dormant or constant, at `WAVELENGTHS_NM`."""
    green: tuple[float, ...] | None = None
    season: Season | None = None
    scl: int = 5
    kind: str = "dry"
    """Shape of its dormant or constant spectrum."""

    def spectrum(self, wavelengths_nm: Spectra, greenness: float) -> Spectra:
        """Reflectance at some wavelengths."""
        dormant = drawn(self.reflectance, self.kind, wavelengths_nm)
        if self.green is None:
            return dormant
        return dormant + greenness * (drawn(self.green, "green", wavelengths_nm) - dormant)

    def greenness(self, day: date, *, south: bool) -> float:
        """Greenness on a date; 0 for a cover without season."""
        return 0.0 if self.season is None else self.season.greenness(day, south=south)

    def scene_class(self, day: date, *, south: bool) -> int:
        """SCL code: 4 when green enough, else the cover's own."""
        green_enough = 0.4
        return 4 if self.greenness(day, south=south) > green_enough else self.scl


COVERS = (
    Cover(
        name="forest",
        reflectance=(0.03, 0.04, 0.06, 0.065, 0.1, 0.17, 0.2, 0.22, 0.23, 0.24, 0.2, 0.12),
        green=(0.02, 0.025, 0.045, 0.025, 0.08, 0.25, 0.32, 0.34, 0.35, 0.355, 0.16, 0.07),
        season=Season(start=115, end=295, pace=12, least=0.45),
    ),
    Cover(
        name="grassland",
        reflectance=(0.05, 0.07, 0.11, 0.15, 0.19, 0.22, 0.25, 0.27, 0.28, 0.29, 0.33, 0.24),
        green=(0.025, 0.035, 0.075, 0.045, 0.12, 0.3, 0.37, 0.39, 0.4, 0.4, 0.23, 0.12),
        season=Season(start=80, end=300, pace=14, least=0.45),
    ),
    Cover(
        name="summer crop",
        reflectance=(0.06, 0.08, 0.12, 0.18, 0.21, 0.23, 0.25, 0.27, 0.29, 0.3, 0.36, 0.28),
        green=(0.022, 0.03, 0.07, 0.03, 0.11, 0.35, 0.45, 0.47, 0.48, 0.48, 0.21, 0.1),
        season=Season(start=150, end=260),
    ),
    Cover(
        name="winter crop",
        reflectance=(0.07, 0.09, 0.14, 0.2, 0.23, 0.25, 0.27, 0.29, 0.31, 0.32, 0.37, 0.27),
        green=(0.022, 0.03, 0.065, 0.032, 0.11, 0.33, 0.42, 0.44, 0.45, 0.45, 0.22, 0.11),
        season=Season(start=90, end=178, pace=7),
    ),
    Cover(
        name="bare soil",
        reflectance=(0.07, 0.09, 0.13, 0.18, 0.2, 0.21, 0.22, 0.24, 0.25, 0.26, 0.33, 0.29),
        kind="mineral",
    ),
    Cover(
        name="built-up",
        reflectance=(0.11, 0.12, 0.14, 0.16, 0.17, 0.18, 0.19, 0.2, 0.2, 0.21, 0.24, 0.23),
        kind="mineral",
    ),
    Cover(
        name="water",
        reflectance=(
            0.06,
            0.049,
            0.037,
            0.025,
            0.021,
            0.018,
            0.0155,
            0.0126,
            0.011,
            0.008,
            3e-3,
            2e-3,
        ),
        scl=6,
        kind="water",
    ),
    Cover(
        name="snow",
        reflectance=(0.9, 0.91, 0.9, 0.88, 0.87, 0.86, 0.85, 0.83, 0.8, 0.75, 0.08, 0.05),
        scl=11,
        kind="ice",
    ),
)
_CLOUD = (0.6, 0.6, 0.6, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61, 0.58, 0.45, 0.36)


# Variants of covers: depth, centre and standard deviation [nm] of what sets them apart. None
# reaches the bands of Sentinel-2.
VARIANTS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "summer crop": ((0.07, 2100, 28),),  # residue: cellulose
    "bare soil": ((0.12, 2337, 22),),  # lime: carbonate
    "built-up": ((0.06, 1728, 10), (0.1, 2310, 14)),  # roofs: hydrocarbons
}


@lru_cache(maxsize=4096)
def endmembers(wavelength_nm: float, day: date, *, south: bool) -> tuple[float, ...]:
    """Reflectance of every cover, in the order of `COVERS`."""
    return tuple(
        float(value) for value in spectra(np.array([wavelength_nm]), day, south=south)[:, 0]
    )


def spectra(wavelengths_nm: Spectra, day: date, *, south: bool) -> Spectra:
    """Reflectance of every cover, in the order of `COVERS`; shape (cover, wavelength)."""
    return np.stack(
        [cover.spectrum(wavelengths_nm, cover.greenness(day, south=south)) for cover in COVERS]
    )


def variant(cover: str, spectrum: Spectra, wavelengths_nm: Spectra) -> Spectra:
    """The spectrum of a cover's variant."""
    found = spectrum
    for depth, centre, width in VARIANTS[cover]:
        found = found * (1 - depth * np.exp(-0.5 * ((wavelengths_nm - centre) / width) ** 2))
    return found


def cloud_reflectance(wavelength_nm: float) -> float:
    """Reflectance of an opaque cloud."""
    return float(cloud_spectrum(np.array([wavelength_nm]))[0])


def cloud_spectrum(wavelengths_nm: Spectra) -> Spectra:
    """Reflectance of an opaque cloud."""
    return drawn(_CLOUD, "cloud", wavelengths_nm)


def drawn(values: tuple[float, ...], kind: str, wavelengths_nm: Spectra) -> Spectra:
    """A spectrum of some kind through values at `WAVELENGTHS_NM`; smooth and without overshoot."""
    return np.asarray(_curve(values, kind)(wavelengths_nm))


@lru_cache(maxsize=64)
def _curve(values: tuple[float, ...], kind: str) -> Callable[[Spectra], Spectra]:
    from scipy.interpolate import PchipInterpolator

    known = dict(zip(WAVELENGTHS_NM, values, strict=True))
    between = {
        float(wavelength): factor * known[band]
        for (wavelength, band), factor in zip(_BETWEEN, _SHAPES[kind], strict=True)
    }
    nodes = sorted((between | dict(zip(_CENTRES, values, strict=True))).items())
    curve: Callable[[Spectra], Spectra] = PchipInterpolator(*zip(*nodes, strict=True))
    return curve
