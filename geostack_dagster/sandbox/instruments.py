"""Bands and noise of the imaging spectrometers that look at the world."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.providers.enmap_bands import BANDS
from geostack_dagster.sandbox.absorption import MethaneBands

type Floats64 = NDArray[np.float64]

_EMIT_BANDS = 285
# EMIT's centres [nm] as a Chebyshev series over the bands: its table of 2022-08-17 to 0.01 nm.
_EMIT_CENTRES = (
    1437.9901, 1056.5196, -1.1886, -0.4859, 0.1302, -0.0583, 0.0237, -0.0104, 0.0054,
)  # fmt: skip
_EMIT_FWHM_NM = (8.415, 8.805)  # of the first and last band; linear to 0.004 nm
# Noise of EMIT: sqrt(b + L) times a [uW cm-2 sr-1 nm-1]; a falls from the visible to the SWIR.
_NOISE_OFFSET = 0.267
_NOISE_NM, _NOISE_A = (380.0, 900.0, 1300.0, 2500.0), (4.2e-3, 3.4e-3, 1.74e-3, 1.74e-3)


@cache
def emit_bands() -> MethaneBands:
    """EMIT's 285 bands, from short to long wavelengths."""
    place = np.linspace(-1, 1, _EMIT_BANDS)
    return MethaneBands(
        wavelength_nm=np.asarray(np.polynomial.chebyshev.chebval(place, _EMIT_CENTRES), np.float64),
        fwhm_nm=np.interp(place, (-1.0, 1.0), _EMIT_FWHM_NM),
    )


@cache
def enmap_bands() -> MethaneBands:
    """EnMAP's 224 bands, both detectors interleaved by wavelength."""
    centres, widths = np.array(BANDS).T
    return MethaneBands(wavelength_nm=centres, fwhm_nm=widths)


def emit_noise(radiance: NDArray[np.float32], wavelength_nm: Floats64) -> NDArray[np.float32]:
    """Standard deviation of radiance [uW cm-2 sr-1 nm-1], the bands last."""
    a = np.interp(wavelength_nm, _NOISE_NM, _NOISE_A).astype(np.float32)
    sigma: NDArray[np.float32] = a * np.sqrt(np.maximum(radiance, 0) + np.float32(_NOISE_OFFSET))
    return sigma
