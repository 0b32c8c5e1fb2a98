"""Where an AOI lies in sensor geometry, and which bands lie in windows of wavelength."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import scale, translate
from shapely.geometry import shape as geometry_of
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.swath import Windows
from geostack_dagster.errors import AssetError, ConfigurationError

_TURN, _HALF_TURN = 360.0, 180.0
_METRES_PER_DEGREE = 111_320.0
_REACH = 0.75  # of a pixel's spacing: an AOI smaller than a pixel still meets its nearest ones
_SPACING_SAMPLE = 101

type Angles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spans:
    """Lines and columns, each from start to stop."""

    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """An area on a plane around its middle: degrees of latitude both ways, no antimeridian."""

    area: BaseGeometry
    longitude: float
    shrink: float
    """Length of a degree of longitude in degrees of latitude."""

    @classmethod
    def of(cls, aoi: AOI, margin_m: float = 0.0) -> Self:
        """The AOI and so much ground around it [m]."""
        longitude, latitude = aoi.centre
        shrink = max(math.cos(math.radians(latitude)), 1e-3)
        area = _plane(aoi.geometry, longitude, shrink)
        return cls(area.buffer(margin_m / _METRES_PER_DEGREE), longitude, shrink)

    def share(self, footprint: Mapping[str, Any]) -> float:
        """About how much of a granule's columns the area takes.

        Args:
            footprint: Of the granule, GeoJSON; its shorter side counts as its width.
        """
        width = _sides(_plane(footprint, self.longitude, self.shrink))[0]
        return 1.0 if width == 0 else min(_sides(self.area)[1] / width, 1.0)

    def spans(self, longitude: Angles, latitude: Angles) -> Spans | None:
        """Lines and columns that hold every pixel of the area; None if no pixel is in it.

        Args:
            longitude: `y x` [degrees]; NaN or fill where unknown.
            latitude: `y x` [degrees].
        """
        x = ((longitude - self.longitude + _HALF_TURN) % _TURN - _HALF_TURN) * self.shrink
        y = np.asarray(latitude, np.float64)
        known = (np.abs(longitude) <= _TURN) & (np.abs(y) <= _HALF_TURN / 2)
        area = self.area.buffer(_REACH * _spacing(x, y, known))
        west, south, east, north = area.bounds
        candidates = known & (x >= west) & (x <= east) & (y >= south) & (y <= north)
        inside = np.zeros(candidates.shape, np.bool_)
        shapely.prepare(area)
        inside[candidates] = shapely.contains_xy(area, x[candidates], y[candidates])
        if not inside.any():
            return None
        return Spans(_span(inside.any(axis=1)), _span(inside.any(axis=0)))


def band_spans(wavelengths: Angles, windows: Windows, name: str) -> tuple[tuple[int, int], ...]:
    """Spans of the bands whose centre lies in any window; all bands if there is no window.

    Args:
        wavelengths: Centre of each band [nm].
        windows: [nm]
        name: Of the file, for messages.

    Raises:
        ConfigurationError: If no band lies there.
        AssetError: If the file's wavelengths are not in nm.
    """
    if not windows:
        return ((0, wavelengths.size),)
    if wavelengths.size and np.nanmax(wavelengths) < 100:
        raise AssetError(
            f"{name} states wavelengths up to {np.nanmax(wavelengths):g}; they are not in nm"
        )
    wanted = np.zeros(wavelengths.shape, np.bool_)
    for low, high in windows:
        wanted |= (wavelengths >= low) & (wavelengths <= high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    if not edges.size:
        asked = ", ".join(f"{low:g} to {high:g} nm" for low, high in windows)
        raise ConfigurationError(
            f"no band of {name} lies in {asked}; its bands go from {np.nanmin(wavelengths):g} to "
            f"{np.nanmax(wavelengths):g} nm"
        )
    return tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))


def _plane(geometry: Mapping[str, Any], longitude: float, shrink: float) -> BaseGeometry:
    parts = [_near(part, longitude) for part in _polygons(geometry_of(dict(geometry)))]
    whole = shapely.union_all(parts)
    return scale(translate(whole, xoff=-longitude), xfact=shrink, yfact=1.0, origin=(0.0, 0.0))


def _sides(area: BaseGeometry) -> tuple[float, float]:
    """Shorter and longer side of the smallest rectangle around an area, however it lies."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(area))
    if len(corners) < 4:
        return 0.0, 0.0
    lengths = np.hypot(*np.diff(corners[:3], axis=0).T)
    return float(lengths.min()), float(lengths.max())


def _polygons(area: BaseGeometry) -> list[BaseGeometry]:
    return list(getattr(area, "geoms", [area]))


def _near(part: BaseGeometry, longitude: float) -> BaseGeometry:
    """A part of an area, turned to the side of the antimeridian where the area's middle is."""
    west, _, east, _ = part.bounds
    return translate(part, xoff=_TURN * round((longitude - (west + east) / 2) / _TURN))


def _spacing(x: Angles, y: Angles, known: NDArray[np.bool_]) -> float:
    """Distance between neighbouring pixels, the larger of both ways [degrees of latitude]."""
    found = [0.0]
    for axis in (0, 1):
        step = [max(size // _SPACING_SAMPLE, 1) for size in x.shape]
        step[axis] = 1
        sample = tuple(slice(None, None, one) for one in step)
        both = np.logical_and(*_neighbours(known[sample], axis))
        apart = np.hypot(np.diff(x[sample], axis=axis), np.diff(y[sample], axis=axis))[both]
        if apart.size:
            found.append(float(np.median(apart)))
    return max(found)


def _neighbours(values: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.bool_], ...]:
    return (
        np.take(values, range(values.shape[axis] - 1), axis=axis),
        np.take(values, range(1, values.shape[axis]), axis=axis),
    )


def _span(hits: NDArray[np.bool_]) -> tuple[int, int]:
    where = np.flatnonzero(hits)
    return int(where[0]), int(where[-1]) + 1
