"""Which chunks a partition owns, and the refusal of everything else before a byte moves.

Zarr accepts a write of half a chunk and two such writers corrupt each other (xarray 8371 and
10501, zarr 3682). A partition owns its slots over the whole grid, so chunks have one owner each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import xarray as xr

from geostack_dagster.cube.schema import CubeSchema
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import ConfigurationError

_OFF_GRID = 1e-3  # of a pixel: coordinates computed in another order differ in the last bits


@dataclass(frozen=True, slots=True)
class Region:
    """One chunk of one slot: its place in the chunk grid and the pixels it covers."""

    slot: int
    row: int
    column: int
    y: slice
    x: slice


def regions(schema: CubeSchema, window: Window) -> Iterator[Region]:
    """Every chunk that the partition owns, slot by slot; partitions tile the cube once."""
    (chunk_y, chunk_x), (height, width) = schema.chunk, schema.grid.shape
    rows, columns = schema.chunks
    for slot in schema.slots(window):
        for row in range(rows):
            for column in range(columns):
                y = slice(row * chunk_y, min((row + 1) * chunk_y, height))
                x = slice(column * chunk_x, min((column + 1) * chunk_x, width))
                yield Region(slot, row, column, y, x)


def require_owned(schema: CubeSchema, window: Window, day: date, y: slice, x: slice) -> None:
    """Refuse a write that is not made of whole chunks of the partition.

    Raises:
        ConfigurationError: If the day is not of the window, or an edge cuts through a chunk.
    """
    if not window.start <= day < window.end:
        raise ConfigurationError(
            f"{day} is not in the partition {window.start} to {window.end} of cube "
            f"{schema.name!r}; a partition writes its own days only"
        )
    for axis, part, chunk, size in zip("yx", (y, x), schema.chunk, schema.grid.shape, strict=True):
        whole = part.start % chunk == 0 and (part.stop % chunk == 0 or part.stop == size)
        if not (whole and 0 <= part.start < part.stop <= size):
            raise ConfigurationError(
                f"{axis} {part.start}:{part.stop} of cube {schema.name!r} is not whole chunks of "
                f"{chunk} within {size} pixels; align the write with the chunks"
            )


def check(schema: CubeSchema, window: Window, data: xr.Dataset) -> list[date]:
    """Solar days of a dataset that may be written into this partition, in its order.

    Raises:
        ConfigurationError: If variables, grid or days are not exactly the cube's.
    """
    _check_variables(schema, data)
    _check_grid(schema, data)
    days = _solar_days(data)
    whole = slice(0, schema.grid.height), slice(0, schema.grid.width)
    for day in days:
        require_owned(schema, window, day, *whole)
    return days


def _check_variables(schema: CubeSchema, data: xr.Dataset) -> None:
    wanted = {variable.name for variable in schema.variables}
    found = {str(name) for name in data.data_vars}
    if wanted != found:
        raise ConfigurationError(
            f"cube {schema.name!r} has variables {sorted(wanted)}, the dataset "
            f"{sorted(found)}; missing {sorted(wanted - found)}, unknown {sorted(found - wanted)}"
        )
    for variable in schema.variables:
        array = data[variable.name]
        if array.dims != ("time", "y", "x"):
            raise ConfigurationError(
                f"{variable.name!r} has dims {array.dims}; a cube is written as time, y, x"
            )
        if not _storable(array.dtype, variable.stored, packed=variable.packed):
            raise ConfigurationError(
                f"{variable.name!r} is {array.dtype} and the cube stores {variable.dtype}; cast "
                "it, or declare scale_factor and add_offset to pack floats"
            )


def _storable(given: np.dtype[Any], stored: np.dtype[Any], *, packed: bool) -> bool:
    if packed and given.kind == "f":
        return True
    return np.can_cast(given, stored, "same_kind" if stored.kind == "f" else "safe")


def _check_grid(schema: CubeSchema, data: xr.Dataset) -> None:
    grid = schema.grid
    half = grid.resolution / 2
    expected = {
        "y": grid.top - half - grid.resolution * np.arange(grid.height),
        "x": grid.left + half + grid.resolution * np.arange(grid.width),
    }
    for axis, centres in expected.items():
        found = np.asarray(data[axis].values if axis in data.coords else [], dtype="float64")
        if found.shape == centres.shape and np.allclose(
            found, centres, rtol=0, atol=grid.resolution * _OFF_GRID
        ):
            continue
        raise ConfigurationError(
            f"the dataset's {axis} axis ({_described(found)}) is not that of cube "
            f"{schema.name!r} ({_described(centres)}; {grid.crs}, {grid.width} x {grid.height} "
            f"pixels of {grid.resolution}); load it on the cube's own grid"
        )


def _described(centres: np.ndarray[Any, np.dtype[Any]]) -> str:
    if centres.size == 0:
        return "absent"
    return f"{centres.size} pixel centres from {centres[0]:.10g} to {centres[-1]:.10g}"


def _solar_days(data: xr.Dataset) -> list[date]:
    times = np.atleast_1d(data["time"].values)
    if times.size == 0:
        return []
    if times.dtype.kind != "M" or np.any(times != times.astype("datetime64[D]")):
        raise ConfigurationError(
            "the time axis must hold solar days at midnight (datetime64); put the instant of "
            "acquisition into SlotRecord.acquired"
        )
    days: list[date] = times.astype("datetime64[D]").tolist()
    if len(set(days)) < len(days):
        raise ConfigurationError("the time axis names a day twice; merge scenes of one solar day")
    return days
