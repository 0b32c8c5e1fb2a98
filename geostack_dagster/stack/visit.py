"""A visit to all files of a Recipe: what is known of them beforehand, and what was learned.

Headers are asked for together when the visit begins and kept in a tile index when it ends, so that
the next one, for other bands, days or chunks, begins with the tiles.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import dask.array as da
import xarray as xr

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.errors import GeostackError
from geostack_dagster.stack.header import completed
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import loader_named, odc
from geostack_dagster.stack.reader.driver import CogDriver
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.loop import submit, wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.source import TransportName
from geostack_dagster.stack.reader.tile_index import write_index
from geostack_dagster.stack.recipe import Recipe

_log = logging.getLogger(__name__)


class Visit:
    """A context in which a Recipe is read; what it learned outlives it, also after a failure.

    Only the COG reader learns: with another loader of the Recipe's choice this is `open_stack`.

    Args:
        recipe: What is going to be read, all of it.
        signer: Opens its hrefs.
        transport: How bytes travel, `obstore` or `fsspec`; decides no pixel.
        index: URL of the tile index; None for none.
    """

    def __init__(
        self,
        recipe: Recipe,
        signer: Signer,
        *,
        transport: TransportName = "obstore",
        index: str | None = None,
    ) -> None:
        self.recipe, self.signer = recipe, signer
        self._config = odc.config_for(recipe, signer, transport=transport, index=index)
        self._reader: PixelReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._remember()
        except GeostackError as failure:  # a cache: the pixels matter, and the read's own failure
            _log.warning("headers will be read again next time: %s", failure)

    def open(self, *, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
        """The Recipe as `open_stack` gives it; headers are on their way when it returns.

        Raises:
            AssetError, CredentialError, ServiceError: If metadata leaves the projection to a
                header that cannot be read.
        """
        recipe = self.recipe
        if loader_named(recipe.loader) is not odc.load or not recipe.items:
            return open_stack(recipe, signer=self.signer, chunks=chunks)
        self._reader = CogDriver(self._config).reader
        submit(self._reader.cogs.prefetch(_hrefs(recipe)))
        recipe = completed(recipe, self.signer, reader=self._reader.cogs)
        return open_stack(recipe, signer=self.signer, loader=self._load, chunks=chunks)

    @property
    def facts(self) -> dict[str, int]:
        """What reading cost so far: requests, bytes fetched, and headers among them."""
        if self._reader is None:
            return {}
        traffic = self._reader.source.traffic
        return {
            "requests": traffic.requests,
            "bytes_fetched": traffic.bytes,
            "headers_read": len(self._learned()),
        }

    @property
    def fallbacks(self) -> list[Mapping[str, Any]]:
        """Files that rasterio had to read, and why: one row for each reason."""
        if self._reader is None:
            return []
        found = dict(self._reader.cogs.fallbacks)
        first = {why: basename(href) for href, why in reversed(found.items())}
        counts = Counter(found.values())
        return [
            {"why": why, "files": count, "for_example": first[why]} for why, count in counts.items()
        ]

    def _load(
        self, recipe: Recipe, signer: Signer, *, chunks: Mapping[str, int]
    ) -> dict[str, da.Array]:
        driver = CogDriver(self._config, md_parser=odc.parser_for(recipe))
        return odc.load_with(driver, recipe, chunks)

    def _learned(self) -> dict[Href, Header]:
        reader = self._reader

        async def learned() -> dict[Href, Header]:  # on the loop, where headers are added
            return {} if reader is None else reader.cogs.learned()

        return wait(learned())

    def _remember(self) -> None:
        if self._reader is not None and self._config.index is not None and self._learned():
            write_index(self._reader.cogs.known_headers(), self._config.index)


def _hrefs(recipe: Recipe) -> list[Href]:
    found = (source.href for item in recipe.items for source in item.sources.values())
    return list(dict.fromkeys(found))
