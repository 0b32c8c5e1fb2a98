"""Pixel grids: a CRS, a resolution and an origin that neighbours share.

Rasters have dims `time, band, y, x` (row 0 in the north); the spectral axis comes last in
`inference` kernels. Grids are anchored at the CRS origin, so all grids of one CRS and one
resolution align, and a 10 m or 20 m UTM grid coincides with Sentinel-2's and HLS's own pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

_UTM_ZONE_DEGREES = 6.0
_MAX_UTM_SPAN_DEGREES = 2 * _UTM_ZONE_DEGREES
_UTM_NORTH_LIMIT, _UTM_SOUTH_LIMIT = 84.0, -80.0
_ARCTIC, _ANTARCTIC = "EPSG:3413", "EPSG:3031"
_POLAR_FROM = 60.0
# south, north, west, east [degrees] and zone: as MGRS, and so Sentinel-2's tiles, have it.
_UTM_EXCEPTIONS = (
    (56.0, 64.0, 3.0, 12.0, 32),
    (72.0, 84.0, 0.0, 9.0, 31),
    (72.0, 84.0, 9.0, 21.0, 33),
    (72.0, 84.0, 21.0, 33.0, 35),
    (72.0, 84.0, 33.0, 42.0, 37),
)
# west, south, east, north [degrees], CRS and region: what people use there.
_EQUAL_AREA = (
    ((-12.0, 34.0, 45.0, 72.0), "EPSG:3035", "Europe"),
    ((-128.0, 23.0, -65.0, 50.0), "EPSG:5070", "the United States"),
    ((110.0, -45.0, 155.0, -9.0), "EPSG:3577", "Australia"),
)
_EDGE_POINTS = 21  # vertices added along each edge before projecting: straight edges bend
_EDGE_STEP_DEGREES = 0.25
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
    """CRS for an AOI: the one it asks for, else that of the archives' own pixels there.

    The UTM zone of its centre, with the exceptions for Norway and Svalbard: Sentinel-2 and HLS
    deliver their tiles in those zones. Polar stereographic (EPSG:3413, EPSG:3031) for what reaches
    beyond 84 degrees north or 80 south, where UTM ends.

    Raises:
        ConfigurationError: If the AOI is too wide for one UTM zone, or does not lie where the CRS
            that it asks for is of use.
    """
    if aoi.crs is not None:
        require_crs(aoi, aoi.crs)
        return aoi.crs
    west, south, east, north = aoi.bbox
    if north > _UTM_NORTH_LIMIT:
        return _ARCTIC
    if south < _UTM_SOUTH_LIMIT:
        return _ANTARCTIC
    span = east - west if west < east else east - west + 360
    if span > _MAX_UTM_SPAN_DEGREES:
        raise ConfigurationError(
            f"AOI {aoi.name!r} is {span:.1f} degrees wide, too wide for one UTM zone; choose a CRS "
            f"({_advice(aoi)}) as property `crs` of its GeoJSON Feature or with `geostack aoi add "
            "--crs`, for one pipeline as `grid.crs`, or split the AOI"
        )
    longitude, latitude = aoi.centre
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + utm_zone(longitude, latitude)}"


def utm_zone(longitude: float, latitude: float) -> int:
    """UTM zone of a place [degrees]: 6 degrees wide, but for 32V and Svalbard's 31X to 37X."""
    zone = min(int((longitude + 180) // _UTM_ZONE_DEGREES) + 1, 60)
    for south, north, west, east, exception in _UTM_EXCEPTIONS:
        if south <= latitude < north and west <= longitude < east:
            return exception
    return zone


def require_crs(aoi: AOI, crs: str) -> None:
    """Refuse a CRS that is unknown, or of no use where the AOI lies.

    Raises:
        ConfigurationError: If it is; the message names the AOI and the CRS.
    """
    _projected_bounds(aoi, crs)


def _advice(aoi: AOI) -> str:
    """Equal-area and polar CRSs that hold the AOI, the most special first."""
    _, south, _, north = aoi.bbox
    if south >= _POLAR_FROM or north <= -_POLAR_FROM:
        return f"{_ARCTIC if south > 0 else _ANTARCTIC} there"
    longitude, latitude = aoi.centre
    for (west, low, east, high), crs, name in _EQUAL_AREA:
        if west <= longitude <= east and low <= latitude <= high:
            return f"{crs} for {name}, EPSG:6933 world-wide"
    return "EPSG:6933, equal-area, world-wide"


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
    vertices = [position for ring in aoi.unwrapped_rings() for position in _densified(ring)]
    longitudes, latitudes = zip(*vertices, strict=True)
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


def _densified(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The ring with vertices along its edges: a parallel is an arc in a polar CRS."""
    points = []
    for (x0, y0), (x1, y1) in pairwise(ring):
        steps = max(_EDGE_POINTS, math.ceil(max(abs(x1 - x0), abs(y1 - y0)) / _EDGE_STEP_DEGREES))
        points += [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps)]
    return [*points, ring[-1]]
