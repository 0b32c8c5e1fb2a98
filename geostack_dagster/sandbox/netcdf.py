"""Virtual netCDF-4 files as objects of a store."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from geostack_dagster.sandbox.hdf5 import VirtualNetcdf
from geostack_dagster.sandbox.objects import TileRenderer


@dataclass(frozen=True, slots=True)
class NetcdfObject:
    """A virtual netCDF-4 file whose variables a renderer paints."""

    name: str
    layout: VirtualNetcdf
    renderer: TileRenderer
    modified: datetime
    content_type: str = "application/x-netcdf"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.layout.size

    @property
    def etag(self) -> str:
        """Digest of the name: the values are a function of it."""
        return hashlib.md5(f"{self.name}|{self.size}".encode()).hexdigest()

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes start..stop, block by block."""
        for piece in self.layout.pieces(start, stop):
            if isinstance(piece, bytes):
                yield piece
            else:
                region, row, column, part = piece
                block = await self.renderer.tile(
                    f"{self.name}|{region.variable.name}",
                    row,
                    column,
                    partial(region.render, row, column),
                )
                yield memoryview(block)[part]
