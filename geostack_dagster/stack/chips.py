"""Chips: small windows of a Recipe, many in one plan, for training and for a look.

A window through a lazy stack costs a plan and a task graph of its own, and headers if the stack is
new. Here a Recipe is opened once; all chips of a call make one plan, in which no tile is fetched
twice, of whose tiles only the rows that are needed are decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams, RasterSource

from geostack_dagster.auth.signer import Signer
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.access import signer_for
from geostack_dagster.providers.provider import PixelSource
from geostack_dagster.stack.encoding import values_of
from geostack_dagster.stack.header import completed
from geostack_dagster.stack.loaders import odc, pixels_read_by
from geostack_dagster.stack.reader.batch import PixelRequest, read_batch
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.source import ByteSource, TransportName
from geostack_dagster.stack.reader.tile_index import recalled
from geostack_dagster.stack.recipe import Recipe, TargetBand


@dataclass(frozen=True, slots=True)
class ChipAt:
    """Where a chip lies: a day of the Recipe, and a first row and column on its grid."""

    day: date
    row: int
    column: int


class ChipReader:
    """A Recipe opened for chips; headers and connections are kept from call to call.

    Args:
        recipe: Of files; what a service renders comes chunk by chunk.
        bands: Which of its bands, in which order; None takes all.
        signer: Opens the hrefs; None takes the Recipe's provider with credentials found here.
        transport: How bytes travel, `obstore` or `fsspec`.
        index: URL of a tile index, which saves reading headers.

    Raises:
        ConfigurationError: If the Recipe lacks a band, or its pixels come from a service.
        AssetError, CredentialError, ServiceError: If metadata leaves the projection to a header
            that cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        bands: Sequence[str] | None = None,
        signer: Signer | None = None,
        transport: TransportName = "obstore",
        index: str | None = None,
    ) -> None:
        if pixels_read_by(recipe.loader) is not PixelSource.FILES:
            raise ConfigurationError(
                f"{recipe.provider} renders its pixels; read them with open_stack, not as chips"
            )
        self.bands = recipe.select(bands)
        signer = signer or signer_for(provider_named(recipe.provider))
        remote = ByteSource(signer, transport=transport, policy=odc.policy_for(recipe))
        self._reader = PixelReader(remote, recalled(index))
        self.recipe = completed(recipe, signer, reader=self._reader.cogs)
        self._days = frozenset(recipe.days)

    def read(
        self, places: Sequence[ChipAt], *, size: tuple[int, int] = (256, 256)
    ) -> NDArray[np.float32]:
        """Values, NaN where there is none, shape (chip, band, y, x); class codes included.

        Raises:
            ConfigurationError: If a chip leaves the Recipe's grid, or its days.
            AssetError, CredentialError, ServiceError: As every read.
        """
        shape = (len(places), *size)
        codes = [np.empty(shape, band.encoding.dtype) for band in self.bands]
        self._fill(places, codes)
        values = np.empty((len(places), len(self.bands), *size), np.float32)
        for position, band in enumerate(self.bands):
            values[:, position] = values_of(codes[position], band.encoding)
        return values

    def codes(
        self, places: Sequence[ChipAt], *, size: tuple[int, int] = (256, 256)
    ) -> NDArray[Any]:
        """The same in the bands' common encoding.

        Raises:
            ConfigurationError: If the bands are coded in different dtypes; otherwise as `read`.
        """
        kinds = {band.encoding.dtype for band in self.bands}
        if len(kinds) > 1:
            raise ConfigurationError(
                f"the bands are coded in several dtypes ({', '.join(sorted(kinds))}); read chips "
                "of each kind apart, or their values"
            )
        found = np.empty((len(places), len(self.bands), *size), kinds.pop())
        self._fill(places, [found[:, position] for position in range(len(self.bands))])
        return found

    def _fill(self, places: Sequence[ChipAt], codes: Sequence[NDArray[Any]]) -> None:
        grids = [self._grid(place, codes[0].shape[1:]) for place in places]
        read_batch(
            self._reader,
            [
                self._request(places[chip], band, grids[chip], codes[position][chip])
                for chip, (position, band) in product(range(len(places)), enumerate(self.bands))
            ],
        )

    def _grid(self, place: ChipAt, size: tuple[int, ...]) -> GeoBox:
        grid, (rows, columns) = self.recipe.grid, size
        if place.day not in self._days:
            raise ConfigurationError(f"the recipe has no items of {place.day} for a chip")
        inside = 0 <= place.row <= grid.height - rows and 0 <= place.column <= grid.width - columns
        if not inside:
            raise ConfigurationError(
                f"a chip of {rows} x {columns} pixels at row {place.row}, column {place.column} "
                f"leaves the grid of {grid.height} x {grid.width}"
            )
        corner = Affine(*grid.transform) * Affine.translation(place.column, place.row)
        return GeoBox((rows, columns), corner, grid.crs)

    def _request(
        self, place: ChipAt, band: TargetBand, grid: GeoBox, out: NDArray[Any]
    ) -> PixelRequest:
        encoding = band.encoding
        return PixelRequest(
            sources=tuple(
                RasterSource(source.href, driver_data=odc.rule_of(source, encoding))
                for source in self.recipe.on_day(place.day, band.name)
            ),
            grid=grid,
            cfg=RasterLoadParams(
                encoding.dtype, fill_value=encoding.fill, resampling=band.resampling
            ),
            out=out,
        )
