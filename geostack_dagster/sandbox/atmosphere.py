"""Sunlight and clear air between 380 and 2500 nm, as smooth as a spectrometer sees them."""

import numpy as np
from numpy.typing import NDArray

type Floats64 = NDArray[np.float64]

# Optical depth of absorption bands seen vertically: centre, standard deviation [nm], depth.
_VAPOUR = (
    (720, 6, 0.05), (820, 8, 0.06), (940, 18, 0.35), (1135, 25, 0.45), (1380, 40, 3.5),
    (1875, 45, 3.5), (2600, 90, 0.9),
)  # fmt: skip
_OTHERS = ((762, 3, 0.35), (1605, 10, 0.03), (2010, 12, 0.35), (2060, 10, 0.25))
_SCATTERED_UP = 0.12  # share of what air scatters out of the beam that the sensor gets


def irradiance(wavelength_nm: Floats64, distance_au: float) -> Floats64:
    """Of the sun above the air [uW cm-2 nm-1]: a black body of 5778 K."""
    metres = wavelength_nm * 1e-9
    radiated = 1.1910e-16 / metres**5 / (np.exp(0.0143878 / (metres * 5778.0)) - 1)
    return np.asarray(radiated * 6.794e-5 * 1e-7 / distance_au**2)


def transmittance(wavelength_nm: Floats64, air_mass: float, vapour: float = 1.0) -> Floats64:
    """Down and up again; `vapour` is the water vapour over that of a standard day."""
    depth = _scattering(wavelength_nm) + _absorption(wavelength_nm, _OTHERS)
    depth += vapour * _absorption(wavelength_nm, _VAPOUR)
    return np.asarray(np.exp(-air_mass * depth))


def path_reflectance(wavelength_nm: Floats64, air_mass: float) -> Floats64:
    """What the air itself sends to the sensor, as a reflectance of the top of the atmosphere."""
    scattered = 1 - np.exp(-air_mass * _scattering(wavelength_nm))
    absorbed = np.exp(-air_mass * _absorption(wavelength_nm, _VAPOUR))
    return np.asarray(_SCATTERED_UP * scattered * absorbed)


def _scattering(wavelength_nm: Floats64) -> Floats64:
    ratio = wavelength_nm / 550
    return np.asarray(0.09 * ratio**-4 + 0.1 * ratio**-1.3)


def _absorption(
    wavelength_nm: Floats64, features: tuple[tuple[float, float, float], ...]
) -> Floats64:
    centre, width, depth = np.array(features, np.float64).T
    return np.asarray(np.exp(-0.5 * ((wavelength_nm[:, None] - centre) / width) ** 2) @ depth)
