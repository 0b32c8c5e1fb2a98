"""Where a grid lies on the globe: its outline as RFC 7946 wants it, and its pixels in metres."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from shapely import Polygon, box, transform
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from geostack_dagster.domain.aoi import BBox
from geostack_dagster.domain.grid import Grid

_EDGE_POINTS = 21  # straight edges of a projected grid bend in degrees
_TOLERANCE_DEGREES = 1e-6  # 0.1 m: drops the points an edge did not need
_DECIMALS = 7  # 1 cm
_METRES_PER_DEGREE = 111_195.0  # on a sphere of 6371 km


def footprint(grid: Grid) -> tuple[dict[str, Any], BBox]:
    """GeoJSON geometry and bbox of the grid's outline [degrees].

    Split at the antimeridian, where the bbox then has west > east. A grid around a pole gets the
    cap down to its lowest latitude.
    """
    ring = _unwrapped(_outline(grid))
    if abs(ring[-1, 0] - ring[0, 0]) > 180:  # the outline went round: a pole lies inside
        south, north = float(ring[:, 1].min()), float(ring[:, 1].max())
        cap = (-180.0, south, 180.0, 90.0) if north > 0 else (-180.0, -90.0, 180.0, north)
        return _geojson([box(*cap)]), _rounded(*cap)
    outline = Polygon(ring).simplify(_TOLERANCE_DEGREES)
    turns = 360 * math.floor((outline.bounds[0] + 180) / 360)
    outline = translate(outline, xoff=-turns)
    west, south, east, north = outline.bounds
    if east <= 180:
        return _geojson([outline]), _rounded(west, south, east, north)
    return _geojson(_split(outline)), _rounded(west, south, east - 360, north)


def outline_on_globe(outline: Mapping[str, Any], crs: str) -> dict[str, Any]:
    """GeoJSON MultiPolygon in longitude and latitude, as RFC 7946 wants it.

    Rings run counter-clockwise around what they enclose, and none crosses the antimeridian.

    Args:
        outline: GeoJSON polygons in the CRS.
        crs: Any that PROJ knows.
    """
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    found = transform(
        shape(dict(outline)), lambda points: np.column_stack(to_degrees.transform(*points.T))
    )
    west, _, east, _ = found.bounds
    parts = [found]
    if east - west > 180:
        parts = _split(
            transform(found, lambda points: np.column_stack([points[:, 0] % 360, points[:, 1]]))
        )
    return dict(mapping(MultiPolygon(_rounded_polygons(parts))))


def _split(outline: BaseGeometry) -> list[BaseGeometry]:
    """The parts west and east of the antimeridian of what reaches beyond 180 degrees."""
    return [
        outline.intersection(box(-180, -90, 180, 90)),
        translate(outline.intersection(box(180, -90, 540, 90)), xoff=-360),
    ]


def pixel_size_m(grid: Grid) -> tuple[float, float]:
    """Width and height of a pixel [m]; on a grid in degrees, those at its middle."""
    crs = CRS.from_user_input(grid.crs)
    if not crs.is_geographic:
        metres = grid.resolution * float(crs.axis_info[0].unit_conversion_factor)
        return metres, metres
    middle = grid.top - grid.height * grid.resolution / 2
    metres = grid.resolution * _METRES_PER_DEGREE
    return metres * math.cos(math.radians(middle)), metres


def _outline(grid: Grid) -> np.ndarray[Any, Any]:
    left, bottom, right, top = grid.bounds
    across = np.linspace(0, 1, _EDGE_POINTS)
    edges = [
        (left + (right - left) * across, np.full_like(across, bottom)),
        (np.full_like(across, right), bottom + (top - bottom) * across),
        (right + (left - right) * across, np.full_like(across, top)),
        (np.full_like(across, left), top + (bottom - top) * across),
    ]
    xs, ys = (np.concatenate(part) for part in zip(*edges, strict=True))
    longitudes, latitudes = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(
        xs, ys
    )
    return np.column_stack([longitudes, latitudes])


def _unwrapped(ring: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.column_stack([np.unwrap(ring[:, 0], period=360), ring[:, 1]])


def _rounded(*bounds: float) -> BBox:
    west, south, east, north = (round(float(value), _DECIMALS) for value in bounds)
    return west, south, east, north


def _geojson(polygons: list[BaseGeometry]) -> dict[str, Any]:
    parts = _rounded_polygons(polygons)
    return dict(mapping(parts[0] if len(parts) == 1 else MultiPolygon(parts)))


def _rounded_polygons(polygons: list[BaseGeometry]) -> list[Polygon]:
    return [
        transform(orient(part), lambda points: np.round(points, _DECIMALS))
        for polygon in polygons
        for part in getattr(polygon, "geoms", [polygon])
        if isinstance(part, Polygon)
    ]
