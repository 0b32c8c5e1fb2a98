r"""What methane does to light in the world: resolved finer than any instrument's band.

The project's retrieval rests on a table of unit absorption that a spectrometer of 8.6 nm has
smoothed (`inference.absorption`). The world takes that smoothing off, lets the lines inside each
fine step saturate by Malkmus's random-band model,

$$\tau(\lambda, u) = \frac{\pi y}{2} \left( \sqrt{1 + 4 \kappa(\lambda) u / \pi y} - 1 \right),$$

and looks at the transmittance through each instrument's own response. So the forward model is not
the linear one that a retrieval inverts; it meets a radiative-transfer table to 3 % on strong bands
up to 16,000 ppm m. u is the column along the light's way, in units of that table's: the vertical
column times the air-mass factor over 2.09.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

type Floats64 = NDArray[np.float64]

AIR_MASS_OF_TABLE = 2.09
_SMOOTHED_BY_NM = 8.6 / (2 * math.sqrt(2 * math.log(2)))
_FINEST_NM = 0.6
_STEP_NM = 0.5
_REACH_NM = (1560.0, 2600.0)
_SATURATION = 0.5  # y: where half a dozen strong lines share a step
_LARGEST_PPM_M = 400_000.0
_NODES = 160


def air_mass(sun_zenith_deg: float, view_zenith_deg: float) -> float:
    """1 / cos SZA + 1 / cos VZA."""
    return sum(1 / math.cos(math.radians(angle)) for angle in (sun_zenith_deg, view_zenith_deg))


@dataclass(frozen=True, kw_only=True, eq=False)
class MethaneBands:
    """Transmittance of methane as an instrument's bands see it."""

    wavelength_nm: Floats64
    fwhm_nm: Floats64

    @cached_property
    def absorbing(self) -> slice:
        """The bands from the first to the last that methane reaches, in the instrument's order."""
        low, high = _REACH_NM
        sigma = self.fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
        inside = (self.wavelength_nm - 3 * sigma > low) & (self.wavelength_nm + 3 * sigma < high)
        first = int(np.argmax(inside))
        return slice(first, first + int(inside.sum()))

    def transmittance(self, column_ppm_m: Floats64, air_mass_factor: float) -> Floats64:
        """Of vertical columns, shape (n,), in the absorbing bands; shape (n, band)."""
        slant = column_ppm_m * (air_mass_factor / AIR_MASS_OF_TABLE)
        place = np.sqrt(np.clip(slant, 0, _LARGEST_PPM_M) / _LARGEST_PPM_M) * (_NODES - 1)
        node = np.minimum(place.astype(np.int64), _NODES - 2)
        t = (slant - _COLUMNS[node]) / (_COLUMNS[node + 1] - _COLUMNS[node])
        below, above = self._depths[node], self._depths[node + 1]
        return np.asarray(np.exp(-(below + t[:, None] * (above - below))))

    @cached_property
    def _depths(self) -> Floats64:
        """Optical depth of the bands at the columns of the table, shape (column, band)."""
        # It brings JAX: seconds that a sandbox without spectra need not start with.
        from geostack_dagster.inference.absorption import spectral_response

        grid = np.arange(*_REACH_NM, _STEP_NM)
        bands = self.absorbing
        seen = spectral_response(grid, self.wavelength_nm[bands], self.fwhm_nm[bands])
        depth = _COLUMNS[:, None] * _fine_absorption(grid)
        scale = math.pi * _SATURATION / 2
        return np.asarray(-np.log(np.exp(-scale * (np.sqrt(1 + 2 * depth / scale) - 1)) @ seen))


_COLUMNS: Floats64 = _LARGEST_PPM_M * (np.arange(_NODES) / (_NODES - 1)) ** 2


def _fine_absorption(grid_nm: Floats64) -> Floats64:
    """Unit absorption before the smoothing [1 / (ppm m)]: same areas, narrower lines."""
    from geostack_dagster.inference.absorption import methane_surrogate

    centre, smoothed, amplitude = np.asarray(methane_surrogate().lines, np.float64).T
    width = np.sqrt(np.maximum(smoothed**2 - _SMOOTHED_BY_NM**2, _FINEST_NM**2))
    shape = np.exp(-0.5 * ((grid_nm[:, None] - centre) / width) ** 2)
    return np.asarray(1e-5 * shape @ (amplitude * smoothed / width))
