"""Sensor geometry of a push-broom scanner: lines along a track that is not north, and its map.

A line and a column are places on the ground by a rotation, a little skew of the scan and a slow
sway of the platform, so the geometry table is none that a shift could replace.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geostack_dagster.sandbox.sampling import Floats, Sites

_SKEW = 0.02  # along-track step per cross-track step
_SWAY_M, _SWAY_LENGTH_M = 90.0, 9_000.0
_ORTHO_DEGREES = 0.000542232520256367  # 60 m at the equator: EMIT's own map spacing
_ROUNDS = 3  # of the inversion: each leaves 2 % of 6 % of the error


@dataclass(frozen=True, kw_only=True)
class Ortho:
    """A north-up map in degrees (EPSG:4326) that holds a swath."""

    left: float
    top: float
    height: int
    width: int
    degrees: float = _ORTHO_DEGREES

    @property
    def geotransform(self) -> tuple[float, float, float, float, float, float]:
        """As GDAL orders it."""
        return self.left, self.degrees, 0.0, self.top, 0.0, -self.degrees


@dataclass(frozen=True, kw_only=True)
class Swath:
    """One granule's lines and columns on the ground."""

    crs: str
    """UTM zone in which the track is straight."""
    centre: tuple[float, float]
    """Middle of the granule in the CRS [m]."""
    heading_deg: float
    """Direction of flight, clockwise from grid north; columns run to its right."""
    lines: int = 512
    columns: int = 400
    pixel_m: float = 60.0

    @property
    def length_m(self) -> float:
        """From the first line to the one that would follow the last."""
        return self.lines * self.pixel_m

    def moved(self, along_m: float) -> "Swath":
        """The same swath further along its track."""
        sine, cosine = self._direction
        x, y = self.centre
        return replace(self, centre=(x + along_m * sine, y + along_m * cosine))

    def sites(self, lines: Floats, columns: Floats) -> Sites:
        """Places of pixels; both arguments of one shape, 0 being the centre of the first."""
        along = (lines - (self.lines - 1) / 2) * self.pixel_m
        across = (columns - (self.columns - 1) / 2) * self.pixel_m
        u, v = along + _SKEW * across, across + _sway(along)
        sine, cosine = self._direction
        x, y = self.centre
        return Sites(self.crs, x + u * sine + v * cosine, y + u * cosine - v * sine)

    def pixels(self, sites: Sites) -> tuple[Floats, Floats]:
        """Fractional line and column of places in the swath's CRS."""
        sine, cosine = self._direction
        east, north = sites.x - self.centre[0], sites.y - self.centre[1]
        u, v = east * sine + north * cosine, east * cosine - north * sine
        along = u - _SKEW * v
        for _ in range(_ROUNDS):
            along = u - _SKEW * (v - _sway(along))
        across = v - _sway(along)
        return (
            along / self.pixel_m + (self.lines - 1) / 2,
            across / self.pixel_m + (self.columns - 1) / 2,
        )

    def degrees(self, lines: Floats, columns: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude of pixels [degrees]."""
        sites = self.sites(lines, columns)
        lon, lat = self._to_degrees.transform(sites.x, sites.y)
        return np.asarray(lon), np.asarray(lat)

    @cached_property
    def ring(self) -> tuple[tuple[float, float], ...]:
        """Outer corners of the corner pixels [degrees], closed."""
        low, bottom, right = -0.5, self.lines - 0.5, self.columns - 0.5
        lines = np.array([low, bottom, bottom, low, low])
        columns = np.array([low, low, right, right, low])
        lon, lat = self.degrees(lines, columns)
        return tuple((float(x), float(y)) for x, y in zip(lon, lat, strict=True))

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the ring."""
        xs, ys = zip(*self.ring, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @cached_property
    def ortho(self) -> Ortho:
        """The map that just holds every pixel centre."""
        lines, columns = np.meshgrid(
            np.arange(self.lines), np.array([0, self.columns - 1]), indexing="ij"
        )
        ends = np.meshgrid(np.array([0, self.lines - 1]), np.arange(self.columns), indexing="ij")
        lon, lat = self.degrees(
            np.concatenate([lines.ravel(), ends[0].ravel()]).astype(np.float64),
            np.concatenate([columns.ravel(), ends[1].ravel()]).astype(np.float64),
        )
        left, top = float(lon.min()) - _ORTHO_DEGREES / 2, float(lat.max()) + _ORTHO_DEGREES / 2
        return Ortho(
            left=left,
            top=top,
            width=math.ceil((float(lon.max()) - left) / _ORTHO_DEGREES),
            height=math.ceil((top - float(lat.min())) / _ORTHO_DEGREES),
        )

    def nearest(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Line and column of the pixel at places in degrees, and whether there is one."""
        x, y = self._to_degrees.transform(lon, lat, direction="INVERSE")
        line, column = self.pixels(Sites(self.crs, np.asarray(x), np.asarray(y)))
        line, column = np.rint(line), np.rint(column)
        inside = (line >= 0) & (line < self.lines) & (column >= 0) & (column < self.columns)
        return line, column, inside

    @cached_property
    def _direction(self) -> tuple[float, float]:
        return math.sin(math.radians(self.heading_deg)), math.cos(math.radians(self.heading_deg))

    @cached_property
    def _to_degrees(self) -> Transformer:
        return Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)


def _sway(along: Floats) -> Floats:
    swayed: Floats = _SWAY_M * np.sin(2 * np.pi * along / _SWAY_LENGTH_M)
    return swayed
