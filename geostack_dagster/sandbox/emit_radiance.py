r"""Radiance that EMIT's sensor records of a granule, in sensor geometry.

$$L = \Big[ \big(\rho \, T + \rho_{path}\big) \frac{E_0 \cos\theta_s}{\pi} \Big]
      \, T_{CH_4} \, g_{col,b} + N(0, \sigma(L))$$

with detectors that have a gain (0.2 %) and a wavelength of their own across the track (smile, up
to 0.3 nm at the edges): what makes a matched filter go column by column. Noise is a slice of one
table that starts where the pixel's own hash says, so any part of a granule has the same bytes
whichever part is asked for first.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from geostack_dagster.sandbox import atmosphere, noise, plumes
from geostack_dagster.sandbox.absorption import air_mass
from geostack_dagster.sandbox.cache import ByteCache
from geostack_dagster.sandbox.emit_scenes import Granule
from geostack_dagster.sandbox.hyperspectral import Composition, composition, pure_spectra
from geostack_dagster.sandbox.instruments import emit_bands, emit_noise
from geostack_dagster.sandbox.sampling import Sites
from geostack_dagster.sandbox.sun import distance_au

type Radiance = NDArray[np.float32]

_SMILE_NM = 0.3
_GAIN = 2e-3
_NUDGE_NM, _NUDGE_VAPOUR = 0.15, 0.02
_NOISE_COUNT = 1 << 21
_SAMPLES = 3  # to a side of a pixel of 60 m: plumes are never finer than 20 m
VIEW_ZENITH_DEG = 4.0
"""Of all granules, in the middle of the swath."""
_COMPOSITIONS = ByteCache[Granule, Composition](96 << 20, lambda held: held.nbytes)


def methane_column(granule: Granule) -> NDArray[np.float64] | None:
    """Enhancement of every pixel in sensor geometry [ppm m]; None where the day has none."""
    swath = granule.swath
    lines, columns = np.mgrid[: swath.lines, : swath.columns].astype(np.float64)

    def place(down: float, right: float) -> Sites:
        return swath.sites(lines + down, columns + right)

    return plumes.pixel_means(place, granule.day, samples=_SAMPLES)


def composition_of(granule: Granule) -> Composition:
    """What every pixel of a granule looks at."""
    return _COMPOSITIONS.get(granule, lambda: _composed(granule))


@dataclass(frozen=True, kw_only=True)
class EmitView:
    """A granule as the detectors see it."""

    granule: Granule

    def radiance(self, lines: slice, columns: slice) -> Radiance:
        """Radiance [uW cm-2 sr-1 nm-1] of some lines and columns, shape (line, column, band)."""
        light = self.light(lines, columns)
        bands = emit_bands().wavelength_nm
        sigma = emit_noise(light, bands)
        sigma *= self._noise(lines, columns, bands.size)
        light += sigma
        return light

    def light(self, lines: slice, columns: slice) -> Radiance:
        """The same before noise."""
        scene = composition_of(self.granule)
        shares = np.moveaxis(scene.shares[:, lines, columns], 0, -1)
        shape = shares.shape[:2]
        smile = self._smile[columns][None, :, None]
        parts = np.concatenate(
            [
                shares,
                shares * smile,
                shares * scene.vapour[lines, columns, None],
                np.ones((*shape, 1), np.float32),
            ],
            axis=-1,
        )
        light = (parts.reshape(-1, parts.shape[-1]) @ self._spectra).reshape(*shape, -1)
        self._absorb(light, lines, columns)
        light *= self._gains[columns]
        return light

    def _absorb(self, light: Radiance, lines: slice, columns: slice) -> None:
        """Take out what the methane absorbs, in place."""
        column = composition_of(self.granule).column_ppm_m
        if column is None:
            return
        column = column[lines, columns]
        inside = column > 0
        if inside.any():
            methane = emit_bands()
            passed = methane.transmittance(column[inside], self.air_mass_factor)
            part = light[:, :, methane.absorbing]
            part[inside] *= passed.astype(np.float32)

    @property
    def air_mass_factor(self) -> float:
        """1 / cos SZA + 1 / cos VZA."""
        return air_mass(self.granule.sun[0], VIEW_ZENITH_DEG)

    @cached_property
    def _spectra(self) -> NDArray[np.float32]:
        """Radiance of the pure spectra, per nm of smile, per part of vapour, and of the air."""
        bands = emit_bands().wavelength_nm
        longer, shorter = self._pure(bands + _NUDGE_NM), self._pure(bands - _NUDGE_NM)
        wetter = self._pure(bands, 1 + _NUDGE_VAPOUR)
        plain = self._pure(bands)
        path = atmosphere.path_reflectance(bands, self.air_mass_factor) * self._sunlight(bands)
        rows = [plain, (longer - shorter) / (2 * _NUDGE_NM), (wetter - plain) / _NUDGE_VAPOUR]
        return np.concatenate([*rows, path[None]]).astype(np.float32)

    def _pure(self, bands: NDArray[np.float64], vapour: float = 1.0) -> NDArray[np.float64]:
        south = self.granule.swath.crs.startswith("EPSG:327")
        passed = atmosphere.transmittance(bands, self.air_mass_factor, vapour)
        pure = pure_spectra(bands, self.granule.day, south=south)
        return np.asarray(pure * (self._sunlight(bands) * passed))

    def _sunlight(self, bands: NDArray[np.float64]) -> NDArray[np.float64]:
        """E0 cos SZA / pi."""
        above = atmosphere.irradiance(bands, distance_au(self.granule.start))
        return np.asarray(above * np.cos(np.radians(self.granule.sun[0])) / np.pi)

    @cached_property
    def _smile(self) -> NDArray[np.float32]:
        place = np.linspace(-1, 1, self.granule.swath.columns)
        return (_SMILE_NM * place**2).astype(np.float32)

    @cached_property
    def _gains(self) -> NDArray[np.float32]:
        """Of each column and band: the same in all granules."""
        shape = self.granule.swath.columns, emit_bands().wavelength_nm.size
        drawn = noise.normals(noise.seed_of("EMIT gain"), shape[0] * shape[1]).reshape(shape)
        gains: NDArray[np.float32] = 1 + np.float32(_GAIN) * drawn
        return gains

    def _noise(self, lines: slice, columns: slice, bands: int) -> NDArray[np.float32]:
        """Standard normal numbers of some pixels, shape (line, column, band)."""
        swath = self.granule.swath
        pixels = np.arange(swath.lines * swath.columns, dtype=np.uint64)
        pixels = pixels.reshape(swath.lines, swath.columns)[lines, columns]
        seed = noise.seed_of("EMIT noise", self.granule.stamp)
        starts = noise.hashed(pixels, seed) % np.uint64(_NOISE_COUNT - bands)
        drawn: NDArray[np.float32] = sliding_window_view(_noise_table(), bands)[starts]
        return drawn


@cache
def _noise_table() -> NDArray[np.float32]:
    return noise.normals(noise.seed_of("EMIT noise"), _NOISE_COUNT)


def _composed(granule: Granule) -> Composition:
    lines, columns = np.mgrid[: granule.swath.lines, : granule.swath.columns].astype(np.float64)
    return composition(granule.swath.sites(lines, columns), granule.day, methane_column(granule))
