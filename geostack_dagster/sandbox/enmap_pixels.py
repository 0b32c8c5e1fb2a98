"""Surface reflectance as EnMAP's Level-2A processor leaves it, and its quality layers.

The processor takes out the gases of a standard atmosphere, not the methane of a plume: that stays
in the reflectance, by an amount that nobody calibrates. Noise is a share of the signal and a
floor; six bands inside the water vapour hold no data.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise, plumes, weather
from geostack_dagster.sandbox.absorption import air_mass
from geostack_dagster.sandbox.cache import ByteCache
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.enmap_scenes import NODATA, PIXEL_M, SHAPE, Scene
from geostack_dagster.sandbox.hyperspectral import Composition, composition, pure_spectra
from geostack_dagster.sandbox.instruments import enmap_bands
from geostack_dagster.sandbox.sampling import Axes, Sites
from geostack_dagster.sandbox.spectra import COVERS

SCALE = 1e-4
EMPTY_BANDS = range(129, 135)
"""Places, from 0, of the bands without data."""
_RELATIVE_NOISE, _NOISE_FLOOR = 0.005, 6e-4
_NOISE_COUNT = 1 << 20
_SAMPLES = 2  # to a side of a pixel of 30 m: plumes are never finer than 20 m
_VIEW_ZENITH_DEG = 4.0
_SOUTHERN = 32700  # EPSG codes of UTM zones from here on
_THIN, _CLOUDY, _COVERED = 0.05, 0.2, 0.5
_WATER, _SNOW = (
    next(index for index, cover in enumerate(COVERS) if cover.name == name)
    for name in ("water", "snow")
)
OUTSIDE_CLASS = 3
_CLOUD_CLASS, _LAND_CLASS, _WATER_CLASS = 0, 1, 2
_COMPOSITIONS = ByteCache[Scene, Composition](48 << 20, lambda held: held.nbytes)


@dataclass(frozen=True, kw_only=True)
class EnmapView:
    """A scene as the processor delivers it, on its map."""

    scene: Scene

    def reflectance(self, window: Window) -> NDArray[np.int16]:
        """Digital numbers of one band: 10000 times the reflectance, `NODATA` where not seen."""
        rows, columns = window.places
        counts: NDArray[np.int16] = self._counts(window.sample or 0)[rows, columns]
        return counts

    def _counts(self, band: int) -> NDArray[np.int16]:
        """Digital numbers of one band of the whole scene."""
        if band in EMPTY_BANDS:
            return np.full(SHAPE, NODATA, np.int16)
        shares = self._composition.shares
        value = (self._spectra[:, band] @ shares.reshape(shares.shape[0], -1)).reshape(SHAPE)
        self._absorb(value, band)
        sigma = np.sqrt(np.float32(_RELATIVE_NOISE**2) * value**2 + np.float32(_NOISE_FLOOR**2))
        value += sigma * self._noise(band)
        value *= np.float32(1 / SCALE)
        counts = np.clip(np.rint(value), NODATA + 1, -NODATA - 1)
        return np.where(self._seen, counts, np.float32(NODATA)).astype(np.int16)

    def classes(self, window: Window) -> NDArray[np.uint8]:
        """0 where a cloud is, 1 land, 2 water, 3 not seen."""
        rows, columns = window.places
        shares = self._composition.shares[:, rows, columns]
        found = np.where(shares[_WATER] > _COVERED, _WATER_CLASS, _LAND_CLASS)
        found = np.where(shares[-1] >= _CLOUDY, _CLOUD_CLASS, found)
        return np.where(self._seen[rows, columns], found, OUTSIDE_CLASS).astype(np.uint8)

    def flags(self, what: str, window: Window) -> NDArray[np.uint8]:
        """1 where a pixel is a `cloud`, `cloudshadow`, `haze`, `snow`; else 0."""
        rows, columns = window.places
        found = self._flagged(what)[rows, columns] & self._seen[rows, columns]
        return found.astype(np.uint8)

    @property
    def air_mass_factor(self) -> float:
        """1 / cos SZA + 1 / cos VZA."""
        return air_mass(self.scene.sun[0], _VIEW_ZENITH_DEG)

    def _flagged(self, what: str) -> NDArray[np.bool_]:
        shares = self._composition.shares
        opacity = shares[-1]
        if what == "snow":
            return np.asarray(shares[_SNOW] > _COVERED)
        if what == "haze":
            return np.asarray((opacity >= _THIN) & (opacity < _CLOUDY))
        if what == "cloudshadow":
            sky = weather.sky(_sites(self.scene, 0.0, 0.0), self.scene.day)
            shaded = np.zeros(SHAPE, bool) if sky is None else sky.shade < 1
            return np.asarray(shaded & (opacity < _CLOUDY))
        return np.asarray(opacity >= _CLOUDY)

    @property
    def _composition(self) -> Composition:
        return _COMPOSITIONS.get(self.scene, lambda: _composed(self.scene))

    @cached_property
    def _seen(self) -> NDArray[np.bool_]:
        sites = _sites(self.scene, 0.0, 0.0)
        return self.scene.seen(*np.meshgrid(sites.x, sites.y))

    @cached_property
    def _spectra(self) -> NDArray[np.float32]:
        south = self.scene.epsg >= _SOUTHERN
        bands = enmap_bands().wavelength_nm
        return pure_spectra(bands, self.scene.day, south=south).astype(np.float32)

    def _absorb(self, value: NDArray[np.float32], band: int) -> None:
        """Take out of one band what the methane absorbs, in place."""
        absorbing, column = enmap_bands().absorbing, self._composition.column_ppm_m
        if column is not None and absorbing.start <= band < absorbing.stop:
            value[column > 0] *= self._transmittance[:, band - absorbing.start]

    @cached_property
    def _transmittance(self) -> NDArray[np.float32]:
        column = self._composition.column_ppm_m
        assert column is not None
        passed = enmap_bands().transmittance(column[column > 0], self.air_mass_factor)
        return passed.astype(np.float32)

    def _noise(self, band: int) -> NDArray[np.float32]:
        """Standard normal numbers of all pixels: each row starts somewhere in one table."""
        seed = noise.seed_of("EnMAP noise", self.scene.id)
        numbers = np.arange(SHAPE[0], dtype=np.uint64) + np.uint64(band * SHAPE[0])
        starts = noise.hashed(numbers, seed) % np.uint64(_NOISE_COUNT - SHAPE[1])
        drawn: NDArray[np.float32] = sliding_window_view(_noise_table(), SHAPE[1])[starts]
        return drawn


@cache
def _noise_table() -> NDArray[np.float32]:
    return noise.normals(noise.seed_of("EnMAP noise"), _NOISE_COUNT)


def _composed(scene: Scene) -> Composition:
    column = plumes.pixel_means(
        lambda down, right: _sites(scene, down, right), scene.day, samples=_SAMPLES
    )
    return composition(_sites(scene, 0.0, 0.0), scene.day, column)


def _sites(scene: Scene, down: float, right: float) -> Sites:
    """Pixel centres, moved by parts of a pixel."""
    left, top = scene.origin
    return Axes(
        crs=f"EPSG:{scene.epsg}",
        x0=left + (0.5 + right) * PIXEL_M,
        y0=top - (0.5 + down) * PIXEL_M,
        dx=PIXEL_M,
        dy=-PIXEL_M,
        width=SHAPE[1],
        height=SHAPE[0],
    ).sites()
