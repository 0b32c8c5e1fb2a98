"""The geometry look-up table of a part of a granule."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from geostack_dagster.stack.swath.recipe import Part

type _Table = Int[np.ndarray, "north east"]


@dataclass(frozen=True, slots=True)
class GeometryTable:
    """Column and line of each map pixel, 1-based; 0 where there is none, negative if filled in."""

    x: _Table
    y: _Table
    geotransform: tuple[float, ...]
    """GDAL's: left, width, 0, top, 0, -height [degrees]."""


def cropped(
    x: _Table, y: _Table, geotransform: tuple[float, ...], part: Part
) -> GeometryTable | None:
    """The table of a part, on the smallest map that holds it; None if no map pixel is of it.

    Args:
        x: Column of the whole granule at each map pixel, 1-based; 0 where there is none.
        y: Line, likewise.
        geotransform: Of the whole map.
        part: Lines and columns that are kept; the result counts from their first.
    """
    kept = (x != 0) & (y != 0)
    for table, (start, stop) in ((x, part.columns), (y, part.rows)):
        kept &= (np.abs(table) > start) & (np.abs(table) <= stop)
    if not kept.any():
        return None
    (top, bottom), (left, right) = (_span(kept.any(axis=axis)) for axis in (1, 0))
    frame = slice(top, bottom), slice(left, right)
    a, b, c, d, e, f = geotransform
    moved = (a + left * b + top * c, b, c, d + left * e + top * f, e, f)
    return GeometryTable(
        _shifted(x[frame], part.columns[0], kept[frame]),
        _shifted(y[frame], part.rows[0], kept[frame]),
        moved,
    )


def _shifted(table: _Table, first: int, kept: np.ndarray) -> _Table:
    return np.where(kept, np.sign(table) * (np.abs(table) - first), 0).astype(np.int32)


def _span(hits: np.ndarray) -> tuple[int, int]:
    where = np.flatnonzero(hits)
    return int(where[0]), int(where[-1]) + 1
