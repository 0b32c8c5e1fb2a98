"""A granule's arrays as Zarr documents and encoded chunks: columns are cut, lines never.

A column operator needs whole columns (cut along track, its maps change by as much as their noise),
so a chunk of radiance holds every line and every band of some columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends.zarr import FillValueCoder
from zarr.storage import MemoryStore

from geostack_dagster.cube.encode import Pixels, compressor, zarr_codec
from geostack_dagster.cube.keys import Keys
from geostack_dagster.errors import ConfigurationError

DIMS = ("downtrack", "crosstrack", "band")
_CHUNK_BYTES = 32 << 20
_COLUMNS = range(16, 65)
_SIDE = 2048  # of a chunk of anything else

type Chunks = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class GroupTemplate:
    """The documents of a granule's group, and how its values are cut."""

    path: str
    quantity: str
    shape: tuple[int, int, int]
    columns: int
    """Of a chunk of the quantity."""
    documents: Mapping[str, bytes]

    @property
    def blocks(self) -> Iterator[slice]:
        """Columns of each chunk of the quantity."""
        width = self.shape[1]
        return (slice(at, min(at + self.columns, width)) for at in range(0, width, self.columns))

    def chunk(self, block: slice, values: Pixels) -> Chunks:
        """Key and bytes of a chunk of the quantity; nothing where every value is unknown."""
        if np.isnan(values).all():
            return {}
        key = f"{self.path}/{self.quantity}/c/0/{block.start // self.columns}/0"
        lines, _, bands = self.shape
        return {key: _encoded(values, (lines, self.columns, bands))}


def template(path: str, quantity: str, data: xr.Dataset) -> GroupTemplate:
    """Documents and small chunks of a granule; its quantity is left to be written by columns.

    Raises:
        ConfigurationError: If the quantity is not float32 over lines, columns and bands.
    """
    values = data[quantity]
    if values.dims != DIMS or values.dtype != np.float32 or not values.size:
        raise ConfigurationError(
            f"{quantity} of {path} is {values.dtype} over {values.dims} {values.shape}; a granule "
            f"is stored as float32 over {DIMS}, and not empty"
        )
    columns = _columns(values.shape)
    memory = MemoryStore()
    coordinates = " ".join(map(str, data.coords))
    attributes = _plain({**data.attrs, "coordinates": coordinates})
    group = zarr.create_group(memory, path=path, attributes=attributes)
    for name, variable in data.variables.items():
        whole = str(name) == quantity
        _array(group, str(name), variable, columns if whole else None)
    found = Keys(memory, "memory").everything()
    # Groups above are not this granule's to write.
    mine = {key: value for key, value in found.items() if key.startswith(f"{path}/")}
    lines, width, bands = values.shape
    return GroupTemplate(path, quantity, (lines, width, bands), columns, mine)


def _array(group: zarr.Group, name: str, variable: xr.Variable, columns: int | None) -> None:
    dtype = variable.dtype
    # NaN is the fill value of floats; integers have none, their zeros are values.
    fill = np.nan if dtype.kind == "f" else 0
    attributes = _plain(variable.attrs)
    if dtype.kind == "f":
        attributes["_FillValue"] = FillValueCoder.encode(np.nan, dtype)
    cut = (variable.shape[0], columns, variable.shape[2]) if columns else _cut(variable.shape)
    array = group.create_array(
        name,
        shape=variable.shape,
        chunks=cut,
        dtype=dtype.name,
        fill_value=fill,
        dimension_names=[str(dim) for dim in variable.dims],
        attributes=attributes,
        compressors=zarr_codec(dtype),
        filters=None,
    )
    if not columns:
        array[...] = variable.to_numpy()


def _columns(shape: tuple[int, ...]) -> int:
    lines, width, bands = shape
    fit = _CHUNK_BYTES // max(lines * bands * np.dtype(np.float32).itemsize, 1)
    return min(max(fit, _COLUMNS.start), _COLUMNS.stop - 1, width)


def _cut(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(min(size, _SIDE), 1) for size in shape)


def _encoded(values: Pixels, shape: tuple[int, int, int]) -> bytes:
    stored = np.ascontiguousarray(values, dtype="<f4")
    if stored.shape != shape:
        whole = np.full(shape, np.nan, "<f4")
        whole[:, : stored.shape[1]] = stored
        stored = whole
    found: bytes = compressor(stored.dtype).encode(stored)
    return found


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in attrs.items() if value is not None}
