"""How one source comes to lie on one grid: which level, which window of it, and by what means.

Decided by the geometry alone, so a placement serves all bands and dates that share it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, override

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.loader.types import RasterLoadParams
from pyproj import Transformer

from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.reader import overview
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.pixelmap import (
    AxisMap,
    Floats,
    Locate,
    PixelMap,
    map_axes,
    map_points,
)
from geostack_dagster.stack.reader.window import Window

_NEAREST_SHIFT_PX, _KERNEL_SHIFT_PX = 0.9, 0.05  # as odc-loader: how far off a paste may be
_SAME_PX = 1e-6  # by how much pixels of one grid may miss those of another and be called the same
_BULGE_PX = 16  # how far a window's true outline may lie beyond the points probed
_RADIUS_PX = {"bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3}
_PROBES = 33
_EMPTY = Window(0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A window of a level for a part of a grid.

    With a `map` pixels are gathered by it; without one they are pasted as they are, or warped if
    `kernel` is set.
    """

    level: int
    window: Window
    part: Window
    """Rows and columns of the grid that the source reaches."""
    map: PixelMap | AxisMap | None = None
    kernel: bool = False

    @property
    def empty(self) -> bool:
        """Whether the source does not reach the grid."""
        return self.window.empty or self.part.empty

    @property
    def nbytes(self) -> int:
        """Memory held by the map [bytes]."""
        if isinstance(self.map, PixelMap):
            return self.map.index.nbytes + (
                0 if self.map.inside is None else self.map.inside.nbytes
            )
        return 0


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a placement depends on; equal for files that share a grid and overviews."""

    source: GeoBox
    levels: tuple[tuple[int, int], ...]
    grid: GeoBox
    nearest: bool
    resampling: str
    use_overviews: bool

    @classmethod
    def of(
        cls, header: Header, grid: GeoBox, cfg: RasterLoadParams, crs: str | None = None
    ) -> "Geometry":
        """The geometry of a file on a grid; `crs` is for a file that states none.

        Raises:
            AssetError: If the file's place on the ground is not known.
        """
        source = header.geobox if crs is None else header.geobox_in(crs)
        if source is None:
            raise AssetError(
                "it has no affine transform or no CRS (ground control points are not supported); "
                "warp it first",
                reason=Reason.NO_PLACE,
            )
        return cls(
            source,
            tuple(level.shape for level in header.levels),
            grid,
            cfg.resampling == "nearest",
            cfg.resampling,
            cfg.use_overviews,
        )

    @override
    def __hash__(self) -> int:
        """Of the numbers only: hashing a CRS writes it out as WKT each time."""
        places = self.source.transform, self.grid.shape.yx, self.grid.transform
        return hash((self.levels, places, self.resampling, self.use_overviews))

    def overviews(self) -> list[int]:
        """Reduction of each overview."""
        width = self.levels[0][1]
        return [int(0.5 + width / level[1]) for level in self.levels[1:]]


def lay(geometry: Geometry) -> Placement | None:
    """The placement of a grid whose pixels are pixels of the image, found at once; else None."""
    if geometry.source.crs != geometry.grid.crs:
        return None
    relation = ~geometry.source.transform * geometry.grid.transform
    rows, columns = geometry.grid.shape.yx
    row, column = round(relation.f), round(relation.c)
    off = [abs(relation.a - 1) * columns, abs(relation.e - 1) * rows]
    off += [abs(relation.b) * rows, abs(relation.d) * columns]
    off += [abs(relation.c - column), abs(relation.f - row)]
    if max(off) > _SAME_PX:
        return None
    window = Window(row, row + rows, column, column + columns).clip(geometry.levels[0])
    return Placement(level=0, window=window, part=window.shift(-row, -column))


def place(geometry: Geometry) -> Placement:
    """The placement, as odc-loader's rasterio driver would choose it, but mapped by exact PROJ."""
    shift = _NEAREST_SHIFT_PX if geometry.nearest else _KERNEL_SHIFT_PX
    found = compute_reproject_roi(geometry.source, geometry.grid, ttol=shift)
    if found.paste_ok and found.read_shrink == 1:
        return Placement(level=0, window=_window(found.roi_src), part=_window(found.roi_dst))
    level = 0
    if geometry.use_overviews and found.read_shrink > 1:
        level = overview.for_shrink(found.read_shrink, geometry.overviews())
    if not geometry.nearest:
        return _warped(geometry, level)
    relation = ~_transform(geometry, level) * geometry.grid.transform
    if geometry.source.crs == geometry.grid.crs and relation.b == relation.d == 0:
        axes, part = map_axes(relation, geometry.grid.shape.yx, geometry.levels[level])
        return Placement(level=level, window=axes.window, part=part, map=axes)
    return _gathered(geometry, level)


def _gathered(geometry: Geometry, level: int) -> Placement:
    locate, shape = _locator(geometry, level), geometry.levels[level]
    part = _reached(locate, geometry.grid.shape.yx, shape)
    if part.empty:
        return Placement(level=level, window=_EMPTY, part=_EMPTY)
    points = map_points(locate, part, shape)
    return Placement(level=level, window=points.window, part=part, map=points)


def _reached(locate: Locate, grid: tuple[int, int], level: tuple[int, int]) -> Window:
    """Part of the grid that a level may reach: cells of a coarse mesh that touch it.

    odc-geo's own region is found from the outline alone; that loses a source beyond the
    antimeridian, and slivers along bent edges.
    """
    ys, xs = (np.linspace(0, size, _PROBES) for size in grid)
    columns, rows = (
        found.reshape(_PROBES, _PROBES)
        for found in locate(*(axis.ravel() for axis in np.meshgrid(xs, ys)))
    )
    touched = _cells_within(rows, level[0]) & _cells_within(columns, level[1])
    down, across = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    if down.size == 0:
        return _EMPTY
    return Window(
        math.floor(ys[down[0]]),
        math.ceil(ys[down[-1] + 1]),
        math.floor(xs[across[0]]),
        math.ceil(xs[across[-1] + 1]),
    )


def _cells_within(places: Floats, size: int) -> NDArray[np.bool_]:
    """Which cells of a mesh may lie within `0..size`; a cell may bulge by an eighth of its own."""
    finite = np.isfinite(places)
    low = np.where(finite, places, np.inf)
    high = np.where(finite, places, -np.inf)
    lowest = np.minimum.reduce([low[:-1, :-1], low[1:, :-1], low[:-1, 1:], low[1:, 1:]])
    highest = np.maximum.reduce([high[:-1, :-1], high[1:, :-1], high[:-1, 1:], high[1:, 1:]])
    known = np.isfinite(lowest) & np.isfinite(highest)
    slack = np.where(known, (highest - np.where(known, lowest, 0)) / 8, 0) + 2
    found: NDArray[np.bool_] = known & (lowest - slack < size) & (highest + slack > 0)
    return found


def _warped(geometry: Geometry, level: int) -> Placement:
    """A window that holds all that a kernel can reach from any pixel of the part."""
    locate = _locator(geometry, level)
    part = _reached(locate, geometry.grid.shape.yx, geometry.levels[level])
    if part.empty:
        return Placement(level=level, window=_EMPTY, part=_EMPTY)
    rows, columns = part.shape
    xs, ys = np.meshgrid(
        np.linspace(part.left, part.right, _PROBES), np.linspace(part.top, part.bottom, _PROBES)
    )
    found = locate(xs.ravel(), ys.ravel())
    edges = []
    for places, count, size in zip(
        found, (columns, rows), geometry.levels[level][::-1], strict=True
    ):
        known = places[np.isfinite(places)]
        if known.size == 0:
            return Placement(level=level, window=_EMPTY, part=_EMPTY)
        scale = max(1.0, (known.max() - known.min()) / max(count, 1))
        margin = math.ceil(_RADIUS_PX.get(geometry.resampling, 1) * scale) + _BULGE_PX
        low, high = math.floor(max(known.min(), 0)), math.ceil(min(known.max(), size))
        edges.append((low - margin, high + margin))
    (left, right), (top, bottom) = edges
    if right <= left or bottom <= top:
        return Placement(level=level, window=_EMPTY, part=_EMPTY)
    window = Window(top, bottom, left, right).clip(geometry.levels[level])
    return Placement(level=level, window=window, part=part, kernel=True)


def _locator(geometry: Geometry, level: int) -> Locate:
    """Source pixel of a grid pixel: grid affine, PROJ, inverse affine of the level."""
    forward, back = geometry.grid.transform, ~_transform(geometry, level)
    source, grid = geometry.source.crs, geometry.grid.crs
    transformer = None if source == grid else _transformer(str(grid), str(source))
    middle = None
    if source is not None and source.geographic:
        bounds = geometry.source.boundingbox
        middle = (bounds.left + bounds.right) / 2

    def locate(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        x = forward.a * columns + forward.b * rows + forward.c
        y = forward.d * columns + forward.e * rows + forward.f
        if transformer is not None:
            x, y = transformer.transform(x, y)
        if middle is not None:
            # PROJ answers within -180 to 180, an image may go on beyond the antimeridian.
            x = middle + (x - middle + 180) % 360 - 180
        return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f

    return locate


def _transform(geometry: Geometry, level: int) -> Affine:
    (height, width), (rows, columns) = geometry.levels[0], geometry.levels[level]
    return geometry.source.transform * Affine.scale(width / columns, height / rows)


@lru_cache(maxsize=256)
def _transformer(grid: str, source: str) -> Transformer:
    return Transformer.from_crs(grid, source, always_xy=True)


def _window(roi: Any) -> Window:
    rows, columns = roi
    return Window(rows.start, rows.stop, columns.start, columns.stop)
