"""Virtual netCDF-4 files: real HDF5 metadata around arrays that are computed when asked for.

h5py writes the file once, with the large variables contiguous and allocated but never filled: a
sparse file of gigabytes that takes kilobytes of disk. What lies around their bytes is kept; the
bytes themselves are painted block by block. Any reader of HDF5 finds an ordinary file.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Values = NDArray[Any]
type Paint = Callable[[slice, slice], Values]
"""Values of some rows and columns of a variable, whole along any further dimension."""

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable{:>10d}"
_PROPERTIES = "version=2,netcdf=4.9.2,hdf5=1.14.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable; either `values` are written or `paint` makes them."""

    name: str
    """With its group, as in `location/lon`."""
    dimensions: tuple[str, ...]
    dtype: str = "<f4"
    fill: float | None = -9999
    attributes: Mapping[str, str] = field(default_factory=dict)
    values: Values | Sequence[str] | None = None
    paint: Paint | None = None
    block: tuple[int, int] = (64, 4096)
    """Rows and columns that are painted together."""


@dataclass(frozen=True, slots=True)
class Region:
    """The bytes of a painted variable."""

    variable: Variable
    offset: int
    shape: tuple[int, int]
    """Rows and columns; whatever lies along further dimensions is part of an element."""
    element: int
    """Bytes."""

    @property
    def stop(self) -> int:
        """Offset of the first byte behind."""
        return self.offset + self.shape[0] * self.shape[1] * self.element

    def render(self, row: int, column: int) -> bytes:
        """All bytes of one block, by its row and column among blocks."""
        assert self.variable.paint is not None
        rows, columns = self._span(0, row), self._span(1, column)
        values = self.variable.paint(rows, columns)
        return np.ascontiguousarray(values, self.variable.dtype).tobytes()

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, slice]]:
        """Parts of blocks that make up bytes start..stop of the file: block row, column, slice."""
        at, end = max(start, self.offset) - self.offset, min(stop, self.stop) - self.offset
        line = self.shape[1] * self.element
        while at < end:
            row, within = divmod(at, line)
            column = within // self.element // self.variable.block[1]
            rows, columns = self._span(0, row // self.variable.block[0]), self._span(1, column)
            until = min(end, row * line + columns.stop * self.element)
            width = (columns.stop - columns.start) * self.element
            first = (row - rows.start) * width + within - columns.start * self.element
            yield row // self.variable.block[0], column, slice(first, first + until - at)
            at = until

    def _span(self, axis: int, number: int) -> slice:
        size = self.variable.block[axis]
        return slice(number * size, min((number + 1) * size, self.shape[axis]))


@dataclass(frozen=True, kw_only=True)
class VirtualNetcdf:
    """The layout of a netCDF-4 file."""

    dimensions: Mapping[str, int]
    attributes: Mapping[str, Any]
    variables: tuple[Variable, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._built[0]

    def pieces(self, start: int, stop: int) -> Iterator[bytes | tuple[Region, int, int, slice]]:
        """What makes up bytes start..stop: bytes, or a region with block row, column and slice."""
        for part in self._built[1]:
            if isinstance(part, Region):
                for row, column, piece in part.pieces(start, stop):
                    yield part, row, column, piece
            else:
                offset, content = part
                held = content[max(start - offset, 0) : max(stop - offset, 0)]
                if held:
                    yield held

    @cached_property
    def _built(self) -> tuple[int, list[Region | tuple[int, bytes]]]:
        """Size, and the parts of the file in order: painted regions, and the bytes between."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "skeleton.nc"
            regions = sorted(self._write(path), key=lambda region: region.offset)
            size = path.stat().st_size
            parts: list[Region | tuple[int, bytes]] = []
            with path.open("rb") as file:
                at = 0
                for region in regions:
                    file.seek(at)
                    parts += [(at, file.read(region.offset - at)), region]
                    at = region.stop
                file.seek(at)
                parts.append((at, file.read()))
        return size, parts

    def _write(self, path: Path) -> list[Region]:
        import h5py

        with h5py.File(path, "w", track_order=True) as file:
            _annotate(file, {"_NCProperties": _PROPERTIES, **self.attributes})
            for number, (name, length) in enumerate(self.dimensions.items()):
                scale = file.create_dataset(name, (length,), ">f4")
                scale.make_scale(_NO_VARIABLE.format(length))
                scale.attrs["_Netcdf4Dimid"] = np.int32(number)
            regions = []
            for variable in self.variables:
                data = self._create(file, variable)
                for axis, name in enumerate(variable.dimensions):
                    data.dims[axis].attach_scale(file[name])
                if variable.fill is not None:
                    data.attrs["_FillValue"] = np.array([variable.fill], variable.dtype)
                _annotate(data, variable.attributes)
                if variable.paint is not None:
                    regions.append(_region(data, variable))
        return regions

    def _create(self, file: Any, variable: Variable) -> Any:
        """The HDF5 dataset of a variable."""
        import h5py

        group_name, _, name = variable.name.rpartition("/")
        group = file.require_group(group_name) if group_name else file
        if variable.dtype == "str":
            return group.create_dataset(name, data=variable.values, dtype=h5py.string_dtype())
        if variable.values is not None:
            data = np.asarray(variable.values, variable.dtype)
            return group.create_dataset(name, data=data, fillvalue=variable.fill)
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_layout(h5py.h5d.CONTIGUOUS)
        create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        create.set_fill_value(np.array(variable.fill, variable.dtype))
        create.set_obj_track_times(False)
        create.set_attr_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
        shape = tuple(self.dimensions[dimension] for dimension in variable.dimensions)
        kind = h5py.h5t.py_create(np.dtype(variable.dtype), logical=True)
        space = h5py.h5s.create_simple(shape)
        return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, create))


def _region(data: Any, variable: Variable) -> Region:
    rows, columns = data.shape[:2]
    element = int(np.prod(data.shape[2:], dtype=np.int64)) * data.dtype.itemsize
    return Region(variable, data.id.get_offset(), (rows, columns), element)


def _annotate(target: Any, attributes: Mapping[str, Any]) -> None:
    """Attributes as netCDF writes them: text as fixed-length ASCII."""
    for name, value in attributes.items():
        target.attrs[name] = np.bytes_(value) if isinstance(value, str) else value
