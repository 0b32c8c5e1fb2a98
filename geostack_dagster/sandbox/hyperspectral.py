"""What a pixel of an imaging spectrometer looks at: shares of pure spectra, vapour, methane.

A spectrum is linear in the shares, so a scene of any number of bands is one matrix product. On top
of Sentinel-2's covers some have a variant that only many bands can tell (`spectra.VARIANTS`), and
the water vapour of the day is uneven: clutter for a retrieval, no methane.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise, weather
from geostack_dagster.sandbox.ground import terrain
from geostack_dagster.sandbox.sampling import Sites, node_degrees, node_spacing
from geostack_dagster.sandbox.spectra import (
    COVERS,
    VARIANTS,
    Spectra,
    cloud_spectrum,
    spectra,
    variant,
)

_LEVEL = 15  # of the fields of variants: coarsest octave 1.2 km
_VAPOUR_LEVEL = 13
_VAPOUR_SPREAD = np.float32(0.008)
_VARIED = tuple((index, cover.name) for index, cover in enumerate(COVERS) if cover.name in VARIANTS)


@dataclass(frozen=True, slots=True)
class Composition:
    """Of the pixels of some places on a day."""

    shares: NDArray[np.float32]
    """Shape (spectrum, y, x), in the order of `pure_spectra`; brightness and shade included."""
    vapour: NDArray[np.float32]
    """Water vapour over that of a standard day, less 1."""
    column_ppm_m: NDArray[np.float64] | None
    """Methane above the background that light passes; what a cloud covers is not seen."""

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        column = 0 if self.column_ppm_m is None else self.column_ppm_m.nbytes
        return self.shares.nbytes + self.vapour.nbytes + column


def composition(sites: Sites, day: date, column_ppm_m: NDArray[np.float64] | None) -> Composition:
    """What is at places on a day.

    Args:
        sites: Pixel centres.
        day: Solar day.
        column_ppm_m: Methane above the background, the mean of each pixel.
    """
    covers = terrain(sites).shares
    shares = np.empty((len(COVERS) + len(_VARIED) + 1, *covers.shape[1:]), np.float32)
    shares[: len(COVERS)] = covers
    for row, (index, name) in enumerate(_VARIED, len(COVERS)):
        field = _field(sites, _LEVEL, noise.seed_of("variant", name))
        part = np.clip(np.float32(0.4) + np.float32(0.25) * field, 0, 1)
        shares[row] = covers[index] * part
        shares[index] -= shares[row]
    sky = weather.sky(sites, day)
    shares[-1] = 0 if sky is None else sky.opacity
    if sky is not None:
        shares[:-1] *= sky.shade * (1 - sky.opacity)
        column_ppm_m = None if column_ppm_m is None else column_ppm_m * (1 - sky.opacity)
    vapour = _VAPOUR_SPREAD * _field(sites, _VAPOUR_LEVEL, noise.seed_of("vapour", day))
    return Composition(shares, vapour.astype(np.float32), column_ppm_m)


def pure_spectra(wavelengths_nm: Spectra, day: date, *, south: bool) -> Spectra:
    """Reflectance of the covers, the variants of some, and cloud; shape (spectrum, wavelength)."""
    covers = spectra(wavelengths_nm, day, south=south)
    variants = [variant(name, covers[index], wavelengths_nm) for index, name in _VARIED]
    return np.stack([*covers, *variants, cloud_spectrum(wavelengths_nm)])


def _field(sites: Sites, level: int, seed: int) -> NDArray[np.float32]:
    """Smooth random field of mean 0 and variance 1 at places."""
    lattice = sites.lattice(node_spacing(sites.crs))
    lon, lat = node_degrees(sites.crs, lattice)
    field = lattice.interpolated(noise.fractal(lon, lat, level, seed))
    return ((field - np.float32(0.5)) / np.float32(noise.FRACTAL_SPREAD)).astype(np.float32)
