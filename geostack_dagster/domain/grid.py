"""Pixel grids: a CRS, a resolution and an origin that neighbours share.

Rasters have dims `time, band, y, x` (row 0 in the north); the spectral axis comes last in
`inference` kernels. Grids are anchored at the CRS origin, so all grids of one CRS and one
resolution align, and a 10 m or 20 m UTM grid coincides with Sentinel-2's and HLS's own pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

_UTM_ZONE_DEGREES = 6.0
_MAX_UTM_SPAN_DEGREES = 2 * _UTM_ZONE_DEGREES
_UTM_NORTH_LIMIT, _UTM_SOUTH_LIMIT = 84.0, -80.0
_EDGE_POINTS = 21  # vertices added along each edge before projecting: straight edges bend
_MAX_PIXELS = 20_000 * 20_000
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """An exact pixel grid; `left` and `top` are the outer corner of the first pixel."""

    crs: str
    resolution: float
    """Pixel size [unit of the CRS]."""
    left: float
    top: float
    width: int
    height: int

    @classmethod
    def covering(cls, aoi: AOI, *, crs: str, resolution: float) -> Self:
        """Smallest anchored grid that covers the AOI.

        Raises:
            ConfigurationError: If the AOI does not project into the CRS, or the grid would be
                larger than 20,000 x 20,000 pixels.
        """
        if not 0 < resolution < math.inf:
            raise ConfigurationError(f"resolution must be positive, not {resolution}")
        left, bottom, right, top = _projected_bounds(aoi, crs)
        # A vertex on a pixel edge, up to rounding in the projection, adds no extra pixel.
        first, last = (
            math.floor(left / resolution + 1e-6),
            math.ceil(right / resolution - 1e-6),
        )
        low, high = math.floor(bottom / resolution + 1e-6), math.ceil(top / resolution - 1e-6)
        width, height = max(last - first, 1), max(high - low, 1)
        if width * height > _MAX_PIXELS:
            raise ConfigurationError(
                f"AOI {aoi.name!r} needs {width} x {height} pixels of {resolution} in {crs}; "
                "split it into several AOIs or choose a coarser resolution"
            )
        return cls(
            crs=crs,
            resolution=resolution,
            left=first * resolution,
            top=high * resolution,
            width=width,
            height=height,
        )

    def expanded(self, margin_m: float) -> Self:
        """The grid with so much ground on every side, in whole pixels; still aligned.

        In a geographic CRS a degree counts as 111 km both ways: a little less east and west.
        """
        from pyproj import CRS

        crs = CRS.from_user_input(self.crs)
        unit_m = crs.axis_info[0].unit_conversion_factor
        if crs.is_geographic:
            unit_m = _METRES_PER_DEGREE
        pixels = math.ceil(margin_m / (self.resolution * unit_m))
        return replace(
            self,
            left=self.left - pixels * self.resolution,
            top=self.top + pixels * self.resolution,
            width=self.width + 2 * pixels,
            height=self.height + 2 * pixels,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients a, b, c, d, e, f as in `proj:transform`."""
        return (self.resolution, 0.0, self.left, 0.0, -self.resolution, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top [unit of the CRS]."""
        return (
            self.left,
            self.top - self.height * self.resolution,
            self.left + self.width * self.resolution,
            self.top,
        )

    def geobox(self) -> "GeoBox":
        """The same grid as an `odc.geo` GeoBox."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, Affine(*self.transform), self.crs)

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Grid written by `to_json`."""
        return cls(**document)


def choose_crs(aoi: AOI) -> str:
    """CRS for an AOI: the UTM zone of its centre, or polar stereographic beyond UTM's limits.

    Raises:
        ConfigurationError: If the AOI is too wide for one UTM zone; name a CRS instead.
    """
    longitude, latitude = aoi.centre
    if latitude > _UTM_NORTH_LIMIT:
        return "EPSG:3413"
    if latitude < _UTM_SOUTH_LIMIT:
        return "EPSG:3031"
    west, _, east, _ = aoi.bbox
    span = east - west if west < east else east - west + 360
    if span > _MAX_UTM_SPAN_DEGREES:
        raise ConfigurationError(
            f"AOI {aoi.name!r} is {span:.1f} degrees wide, too wide for one UTM zone; set "
            "`grid.crs` to a national or equal-area CRS (EPSG:6933 world-wide), or split the AOI"
        )
    zone = min(int((longitude + 180) // _UTM_ZONE_DEGREES) + 1, 60)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def _projected_bounds(aoi: AOI, crs: str) -> tuple[float, float, float, float]:
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError

    try:
        target = CRS.from_user_input(crs)
    except CRSError as error:
        raise ConfigurationError(f"unknown CRS {crs!r}; write it like EPSG:32632") from error
    if not _is_near(aoi, target):
        raise ConfigurationError(
            f"AOI {aoi.name!r} (bbox {aoi.bbox}) lies outside the area of {crs}; choose another "
            "`grid.crs`"
        )
    longitudes, latitudes = zip(*_densified(aoi.unwrapped()), strict=True)
    if target.is_geographic:
        xs, ys = longitudes, latitudes
    else:
        xs, ys = Transformer.from_crs("EPSG:4326", target, always_xy=True).transform(
            longitudes, latitudes
        )
    if not all(math.isfinite(value) for value in (*xs, *ys)):
        raise ConfigurationError(
            f"AOI {aoi.name!r} (bbox {aoi.bbox}) lies outside {crs}; choose another `grid.crs`"
        )
    return min(xs), min(ys), max(xs), max(ys)


def _is_near(aoi: AOI, crs: "CRS") -> bool:
    """Whether the AOI meets the CRS's area of use, give or take a UTM zone.

    Far outside it a projection still gives finite numbers, on a grid bent beyond use.
    """
    area = crs.area_of_use
    if area is None:
        return True
    west, south, east, north = aoi.bbox
    widths = (east - west) % 360, (area.east - area.west) % 360 or 360.0
    gaps = (area.west - west) % 360 - widths[0], (west - area.west) % 360 - widths[1]
    apart = max(min(gaps), south - area.north, area.south - north)
    return apart <= _UTM_ZONE_DEGREES


def _densified(vertices: list[tuple[float, float]]) -> list[tuple[float, float]]:
    points = []
    for (x0, y0), (x1, y1) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        steps = range(_EDGE_POINTS)
        points += [
            (x0 + (x1 - x0) * k / _EDGE_POINTS, y0 + (y1 - y0) * k / _EDGE_POINTS) for k in steps
        ]
    return points
