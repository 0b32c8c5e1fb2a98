"""The synthetic world: surface reflectance and scene class as pure functions of place and time.

Land cover is a smooth random field with mixed edges, vegetation follows the season, clouds, their
shadows and plumes of methane belong to the solar day, so all archives see the same overpass the
same way. Nothing is stored: any tile, window, overview or grid samples the same world, to the last
bit.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import solar_day
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.sandbox import plumes, weather
from geostack_dagster.sandbox.cache import ByteCache
from geostack_dagster.sandbox.ground import Terrain, terrain
from geostack_dagster.sandbox.hyperspectral import composition, pure_spectra
from geostack_dagster.sandbox.msi import Msi, air_mass_over
from geostack_dagster.sandbox.sampling import Axes, Sites, reprojected
from geostack_dagster.sandbox.spectra import (
    COVERS,
    WAVELENGTHS_NM,
    cloud_reflectance,
    endmembers,
)

type Reflectance = NDArray[np.float32]

_UNCLASSIFIED = 7
_CACHE_BYTES = 256 << 20
# Native pixel of each Sentinel-2 layer [m].
NATIVE_M = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12", "SCL"), 20),
    **dict.fromkeys(("B01", "B09"), 60),
}
_FALSE_NORTHING_M = 10_000_000
_NORTH, _SOUTH = "EPSG:326", "EPSG:327"


class World:
    """Truth for scoring, and the source of every pixel that the twins serve."""

    def __init__(self, cache_bytes: int = _CACHE_BYTES) -> None:
        self._grounds = ByteCache[Axes, Terrain](cache_bytes, lambda held: held.shares.nbytes)
        self._skies = ByteCache[tuple[Axes, date], weather.Sky | None](
            cache_bytes // 2, lambda held: 0 if held is None else 2 * held.opacity.nbytes
        )

    def reflectance(
        self, band: str, grid: Grid, moment: datetime, msi: Msi | None = None
    ) -> Reflectance:
        """What a perfect reader with nearest resampling finds, before noise, shape (y, x).

        A band coarser than the grid is evaluated at the centre of the native Sentinel-2 pixel
        that holds the grid point. Cloud, shadow and the day's methane are part of the truth.

        Args:
            band: As in `B04`.
            grid: Any grid.
            moment: Of the overpass.
            msi: Satellite and level; the satellite of the day and Level-2A if None.
        """
        sites = _native(Axes.of(grid), NATIVE_M[band])
        sky = weather.sky(sites, _day(sites, moment))
        seen = _Look(WAVELENGTHS_NM[band], moment, msi or Msi.on(_day(sites, moment)))
        return _mixed(sites, terrain(sites), sky, seen)

    def spectrum(
        self, grid: Grid, wavelengths_nm: NDArray[np.float64], moment: datetime
    ) -> NDArray[np.float32]:
        """Reflectance as an imaging spectrometer sees it, without methane; shape (y, x, band)."""
        axes = Axes.of(grid)
        sites = axes.sites() if _is_utm(axes.crs) else reprojected(axes, _nearby_crs(axes))
        day = _day(sites, moment)
        pure = pure_spectra(wavelengths_nm, day, south=_is_south(sites)).astype(np.float32)
        return np.moveaxis(composition(sites, day, None).shares, 0, -1) @ pure

    def methane(self, grid: Grid, moment: datetime, *, samples: int = 4) -> NDArray[np.float64]:
        """Column of methane above the background, the mean of each pixel [ppm m], shape (y, x).

        Vertical, at 273.15 K and 101325 Pa, also where a cloud hides it. `samples` points to a
        side of each pixel; 20 m apart they miss nothing.
        """
        axes = Axes.of(grid)

        def place(down: float, right: float) -> Sites:
            return replace(axes, x0=axes.x0 + right * axes.dx, y0=axes.y0 + down * axes.dy).sites()

        day = _day(axes.sites(), moment)
        found = plumes.pixel_means(place, day, samples=samples)
        return np.zeros((grid.height, grid.width)) if found is None else found

    def emissions(self, day: date) -> tuple[plumes.Emission, ...]:
        """Every source that emits on a solar day: place, rate [t/h], wind 10 m above ground."""
        return plumes.emissions(day)

    def scl(self, grid: Grid, moment: datetime) -> NDArray[np.uint8]:
        """Scene classes at the native 20 m pixels that hold the grid points, shape (y, x)."""
        sites = _native(Axes.of(grid), NATIVE_M["SCL"])
        return _classes(sites, terrain(sites), weather.sky(sites, _day(sites, moment)), moment)

    def sample(
        self, axes: Axes, wavelength_nm: float, moment: datetime, msi: Msi | None = None
    ) -> Reflectance:
        """Reflectance at pixel centres, whatever the native pixel is; for rendering.

        As `msi` delivers it; of the bare surface if None.
        """
        look = _Look(wavelength_nm, moment, msi)
        return _mixed(axes.sites(), self._ground(axes), self._sky(axes, moment), look)

    def classify(self, axes: Axes, moment: datetime) -> NDArray[np.uint8]:
        """Scene classes at pixel centres; for rendering."""
        return _classes(axes.sites(), self._ground(axes), self._sky(axes, moment), moment)

    def opacity(self, axes: Axes, moment: datetime) -> Reflectance:
        """Cloud opacity at pixel centres, 0 to 1; for rendering."""
        sky = self._sky(axes, moment)
        return np.zeros((axes.height, axes.width), np.float32) if sky is None else sky.opacity

    def _ground(self, axes: Axes) -> Terrain:
        return self._grounds.get(axes, lambda: terrain(axes.sites()))

    def _sky(self, axes: Axes, moment: datetime) -> weather.Sky | None:
        sites = axes.sites()
        day = _day(sites, moment)
        return self._skies.get((axes, day), lambda: weather.sky(sites, day))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of the world."""

    wavelength_nm: float
    moment: datetime
    msi: Msi | None


def _mixed(sites: Sites, ground: Terrain, sky: weather.Sky | None, look: _Look) -> Reflectance:
    wavelength_nm, day = look.wavelength_nm, _day(sites, look.moment)
    parts = endmembers(wavelength_nm, day, south=_is_south(sites))
    total: Reflectance = ground.shares[0] * np.float32(parts[0])
    scratch = np.empty_like(total)
    for share, part in zip(ground.shares[1:], parts[1:], strict=True):
        np.multiply(share, np.float32(part), out=scratch)
        total += scratch
    if look.msi is not None and look.msi.is_dimmed(wavelength_nm):
        for active in plumes.near(sites, day):
            air = air_mass_over(active.source, day)
            total *= look.msi.transmittance(wavelength_nm, active.column(sites), air)
    if sky is not None:
        total *= sky.shade
        np.subtract(np.float32(cloud_reflectance(wavelength_nm)), total, out=scratch)
        scratch *= sky.opacity
        total += scratch
    return total if look.msi is None else look.msi.delivered(total, wavelength_nm)


def _classes(
    sites: Sites, ground: Terrain, sky: weather.Sky | None, moment: datetime
) -> NDArray[np.uint8]:
    day, south = _day(sites, moment), _is_south(sites)
    codes = [cover.scene_class(day, south=south) for cover in COVERS]
    bare = np.array([*codes, _UNCLASSIFIED], np.uint8)[ground.dominant]
    return bare if sky is None else sky.classes(bare)


def _native(axes: Axes, pixel_m: float) -> Sites:
    """Centres of the native pixels that hold each point; their grid starts at the equator."""
    sites = axes.sites()
    if not _is_utm(axes.crs):
        sites = reprojected(axes, _nearby_crs(axes))
    equator = _FALSE_NORTHING_M if sites.crs.startswith(_SOUTH) else 0
    column = np.floor(sites.x / pixel_m)
    row = np.floor((equator - sites.y) / pixel_m)  # rows run south, as in the files
    return Sites(sites.crs, (column + 0.5) * pixel_m, equator - (row + 0.5) * pixel_m)


def _nearby_crs(axes: Axes) -> str:
    """UTM zone of the middle."""
    lon, lat = axes.sites().centre_degrees()
    nearby = AOI.from_bbox("centre", (lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01))
    return choose_crs(nearby)


def _is_utm(crs: str) -> bool:
    return crs.startswith((_NORTH, _SOUTH))


def _is_south(sites: Sites) -> bool:
    if _is_utm(sites.crs):
        return sites.crs.startswith(_SOUTH)
    return sites.centre_degrees()[1] < 0


def _day(sites: Sites, moment: datetime) -> date:
    return solar_day(moment, sites.centre_degrees()[0])
