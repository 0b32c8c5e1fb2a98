"""What EMIT's archive retrieved from its radiance: enhancement, uncertainty and sensitivity maps.

Not our own retrieval but the archive's, in its numbers: a matched filter's map is the true column
times the pixel's sensitivity (its brightness in the SWIR over that of its column), plus noise of
EMIT's size, weak artefacts of surfaces and stripes. Clouds and water are screened to nodata.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.cache import ByteCache
from geostack_dagster.sandbox.emit_radiance import composition_of
from geostack_dagster.sandbox.emit_scenes import Granule
from geostack_dagster.sandbox.hyperspectral import pure_spectra
from geostack_dagster.sandbox.spectra import COVERS, VARIANTS

type Map = NDArray[np.float32]

NODATA = -9999.0
_SIGMA_PPM_M = 430.0
_FROM_BRIGHTNESS = 0.25  # share of the noise that grows with the light
_STRIPES_PPM_M = 20.0
# Mean error that a full cover of a variant causes [ppm m].
_ARTEFACTS_PPM_M = {"summer crop": 30.0, "bare soil": -50.0, "built-up": 140.0}
_SWIR_NM = 2300.0
_LEAST_SENSITIVITY, _DARKEST = 0.05, 1e-3
_CLOUDY, _WET = 0.2, 0.5
_WATER = next(index for index, cover in enumerate(COVERS) if cover.name == "water")


@dataclass(frozen=True, slots=True)
class Maps:
    """In sensor geometry, `NODATA` where screened."""

    enhancement: Map
    """[ppm m], not divided by the sensitivity."""
    uncertainty: Map
    """One standard deviation of enhancement over sensitivity [ppm m]."""
    sensitivity: Map


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which pixel of the sensor each pixel of the map shows, from 0."""

    line: NDArray[np.int16]
    column: NDArray[np.int16]
    inside: NDArray[np.bool_]
    """False where the swath does not reach."""

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.line.nbytes + self.column.nbytes + self.inside.nbytes

    def ortho(self, values: Map) -> Map:
        """A map of sensor geometry on the ground; `NODATA` outside the swath."""
        return np.where(self.inside, values[self.line, self.column], np.float32(NODATA))


_MAPS = ByteCache[Granule, Maps](48 << 20, lambda held: 3 * held.enhancement.nbytes)
_GEOMETRIES = ByteCache[Granule, Geometry](48 << 20, lambda held: held.nbytes)


def maps_of(granule: Granule) -> Maps:
    """The archive's retrieval of a granule."""
    return _MAPS.get(granule, lambda: _retrieved(granule))


def geometry_of(granule: Granule) -> Geometry:
    """The geometry table of a granule."""
    return _GEOMETRIES.get(granule, lambda: _table(granule))


def _retrieved(granule: Granule) -> Maps:
    scene = composition_of(granule)
    south = granule.swath.crs.startswith("EPSG:327")
    swir = pure_spectra(np.array([_SWIR_NM]), granule.day, south=south)[:, 0]
    light = np.tensordot(swir.astype(np.float32), scene.shares, 1)
    screened = (scene.shares[-1] >= _CLOUDY) | (scene.shares[_WATER] > _WET)
    clear = np.maximum((~screened).sum(axis=0), 1)
    usual = np.maximum(np.where(screened, 0, light).sum(axis=0) / clear, np.float32(_DARKEST))
    sensitivity = np.maximum(light / usual, np.float32(_LEAST_SENSITIVITY)).astype(np.float32)
    spread = np.float32(_SIGMA_PPM_M) * (1 - _FROM_BRIGHTNESS + _FROM_BRIGHTNESS * sensitivity)
    enhancement = spread * _normals("retrieval", granule, sensitivity.shape)
    enhancement += np.float32(_STRIPES_PPM_M) * _normals("stripes", granule, sensitivity.shape[1:])
    for share, size in zip(scene.shares[len(COVERS) : -1], _sizes(), strict=True):
        enhancement += size * (share - share.mean())
    if scene.column_ppm_m is not None:
        enhancement += sensitivity * scene.column_ppm_m.astype(np.float32)
    found = (enhancement, spread / sensitivity, sensitivity)
    return Maps(*(np.where(screened, np.float32(NODATA), layer) for layer in found))


def _sizes() -> list[np.float32]:
    return [np.float32(_ARTEFACTS_PPM_M[cover.name]) for cover in COVERS if cover.name in VARIANTS]


def _normals(what: str, granule: Granule, shape: tuple[int, ...]) -> Map:
    seed = noise.seed_of("EMIT", what, granule.stamp)
    return noise.normals(seed, int(np.prod(shape))).reshape(shape)


def _table(granule: Granule) -> Geometry:
    ortho = granule.swath.ortho
    lon = ortho.left + (np.arange(ortho.width) + 0.5) * ortho.degrees
    lat = ortho.top - (np.arange(ortho.height) + 0.5) * ortho.degrees
    line, column, inside = granule.swath.nearest(*np.meshgrid(lon, lat))
    return Geometry(
        np.where(inside, line, 0).astype(np.int16),
        np.where(inside, column, 0).astype(np.int16),
        inside,
    )
