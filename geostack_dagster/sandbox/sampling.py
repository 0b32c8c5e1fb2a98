"""Where the world is sampled: pixel centres in a CRS, and bilinear fields anchored to that CRS.

Every field of the world is defined on a lattice of absolute coordinates and interpolated from it
by element-wise arithmetic, always in the same order. A pixel therefore has the same value to the
last bit whichever tile, window or overview it is rendered in.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geostack_dagster.domain.grid import Grid

type Floats = NDArray[np.floating[Any]]
type Indices = NDArray[np.int64]

_GEODETIC_NODES = 64
"""Fields' lattice cells between two points whose longitude and latitude are computed exactly."""
_DEGREE_SPACING = 360 / 2**19  # 76 m of latitude: a lattice like that of a projected CRS
_METRE_SPACING = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Pixel centres of a north-up raster: `x = x0 + column * dx`, `y = y0 + row * dy`."""

    crs: str
    x0: float
    y0: float
    dx: float
    dy: float
    width: int
    height: int

    @classmethod
    def of(cls, grid: Grid) -> "Axes":
        """Pixel centres of a grid."""
        return cls(
            crs=grid.crs,
            x0=grid.left + grid.resolution / 2,
            y0=grid.top - grid.resolution / 2,
            dx=grid.resolution,
            dy=-grid.resolution,
            width=grid.width,
            height=grid.height,
        )

    def sites(self) -> "Sites":
        """The pixel centres as a mesh of places."""
        return Sites(
            self.crs,
            self.x0 + self.dx * np.arange(self.width),
            self.y0 + self.dy * np.arange(self.height),
        )


@dataclass(frozen=True, slots=True)
class Sites:
    """Places to sample in one CRS: a mesh of columns and rows, or one point for each pixel.

    `x` and `y` are one-dimensional for a mesh (columns, rows) and two-dimensional otherwise.
    """

    crs: str
    x: Floats
    y: Floats

    @property
    def is_mesh(self) -> bool:
        """Whether columns and rows are independent."""
        return self.x.ndim == 1

    def centre_degrees(self) -> tuple[float, float]:
        """Longitude and latitude of the middle [degrees]."""
        middle = float(self.x.min() + self.x.max()) / 2, float(self.y.min() + self.y.max()) / 2
        lon, lat = _to_degrees(self.crs).transform(*middle)
        return float(lon), float(lat)

    def shifted(self, east: float, north: float) -> "Sites":
        """The same places moved [unit of the CRS]."""
        return Sites(self.crs, self.x + east, self.y + north)

    def lattice(self, spacing: float) -> "Lattice":
        """The lattice cells that hold these places."""
        columns, left, tx = _bracket(self.x, spacing)
        rows, low, ty = _bracket(self.y, spacing)
        return Lattice(columns, rows, (left, tx), (low, ty), self.is_mesh)

    def cells(self, size: float, modulus: int) -> tuple[Indices, Indices]:
        """Column and row of the absolute cell of each place, modulo `modulus`."""
        return (
            np.floor(self.x / size).astype(np.int64) % modulus,
            np.floor(self.y / size).astype(np.int64) % modulus,
        )


@dataclass(frozen=True, slots=True)
class Lattice:
    """Lattice columns and rows around some places, and each place's position between them."""

    columns: Indices
    rows: Indices
    across: tuple[Indices, Floats]
    """Left neighbour (its position in `columns`) and fraction."""
    up: tuple[Indices, Floats]
    """Lower neighbour (its position in `rows`) and fraction."""
    is_mesh: bool

    def interpolated(self, nodes: Floats) -> Floats:
        """A field given at the nodes, shape (rows, columns), at the places; along x first."""
        (left, tx), (low, ty) = self.across, self.up
        tx, ty = tx.astype(nodes.dtype), ty.astype(nodes.dtype)
        mixed: Floats
        if self.is_mesh:
            ty = ty[:, None]
            line = nodes[:, left] * (1 - tx) + nodes[:, left + 1] * tx
            mixed = line[low] * (1 - ty) + line[low + 1] * ty
            return mixed
        below = nodes[low, left] * (1 - tx) + nodes[low, left + 1] * tx
        above = nodes[low + 1, left] * (1 - tx) + nodes[low + 1, left + 1] * tx
        mixed = below * (1 - ty) + above * ty
        return mixed


def node_spacing(crs: str) -> float:
    """Lattice spacing of the world's fields [unit of the CRS]: about 80 m."""
    return _DEGREE_SPACING if _parsed(crs).is_geographic else _METRE_SPACING


def node_degrees(crs: str, lattice: Lattice) -> tuple[Floats, Floats]:
    """Longitude and latitude of lattice nodes [degrees], each of shape (rows, columns).

    Exact at every 64th node and bilinear between: off by less than half a metre, and cheap.
    """
    spacing = node_spacing(crs)
    coarse = Sites(crs, lattice.columns * spacing, lattice.rows * spacing).lattice(
        spacing * _GEODETIC_NODES
    )
    lon, lat = _exact(crs, coarse, spacing * _GEODETIC_NODES)
    return coarse.interpolated(lon), coarse.interpolated(lat)


def reprojected(axes: Axes, crs: str) -> Sites:
    """Pixel centres of `axes` as places in another CRS."""
    sites = axes.sites()
    x, y = np.meshgrid(sites.x, sites.y)
    east, north = Transformer.from_crs(axes.crs, crs, always_xy=True).transform(x, y)
    return Sites(crs, np.asarray(east), np.asarray(north))


def _bracket(positions: Floats, spacing: float) -> tuple[Indices, Indices, Floats]:
    """Lattice indices needed, the place of each position's lower neighbour, and its fraction."""
    scaled = positions / spacing
    lower = np.floor(scaled)
    index = lower.astype(np.int64)
    first, last = int(index.min()), int(index.max()) + 1
    if last - first < 4 * index.size:  # dense: sorting would take longer than some idle nodes
        return np.arange(first, last + 1), index - first, scaled - lower
    needed = np.unique(np.concatenate([index.ravel(), index.ravel() + 1]))
    return needed, np.searchsorted(needed, index), scaled - lower


def _exact(crs: str, lattice: Lattice, spacing: float) -> tuple[Floats, Floats]:
    x, y = np.meshgrid(lattice.columns * spacing, lattice.rows * spacing)
    lon, lat = _to_degrees(crs).transform(x, y)
    middle = _central_meridian(crs)
    # Around the CRS's own meridian there is no jump at 180 degrees inside a cell.
    return middle + (np.asarray(lon) - middle + 180) % 360 - 180, np.asarray(lat)


@lru_cache(maxsize=64)
def _parsed(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


@lru_cache(maxsize=64)
def _central_meridian(crs: str) -> float:
    zone = _parsed(crs).utm_zone
    return 0.0 if zone is None else int(zone[:-1]) * 6.0 - 183.0
