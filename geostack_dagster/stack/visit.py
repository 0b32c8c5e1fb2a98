"""A visit to all files of a Recipe: what is known of them beforehand, and what was learned.

Headers are asked for together when the visit begins and kept in a tile index when it ends, so that
the next one, for other bands, days or chunks, begins with the tiles.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import dask.array as da
import xarray as xr

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href, basename
from geostack_dagster.engine import Engine
from geostack_dagster.errors import GeostackError
from geostack_dagster.stack.header import completed
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import loader_named, odc
from geostack_dagster.stack.reader.driver import CogDriver, DriverConfig, reader_named
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.loop import submit, wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.source import TransportName
from geostack_dagster.stack.reader.tile_index import write_index
from geostack_dagster.stack.recipe import Recipe
from geostack_dagster.stack.tolerance import Budget, Failure, Tolerance

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What one process has learned on a visit, and what it cost."""

    requests: int = 0
    bytes: int = 0
    headers: Mapping[Href, Header] = field(default_factory=dict)
    """Those that had to be read from their files."""
    fallbacks: Mapping[Href, str] = field(default_factory=dict)
    """Files that rasterio read, and why."""

    def __add__(self, other: "Learned") -> "Learned":
        return Learned(
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
            headers={**self.headers, **other.headers},
            fallbacks={**self.fallbacks, **other.fallbacks},
        )


def learned_here(key: str) -> Learned:
    """What this process has learned on the visit whose driver has this key."""
    reader = reader_named(key)
    if reader is None:
        return Learned()

    async def learned() -> Learned:  # on the loop, where headers are added
        return Learned(
            requests=reader.source.traffic.requests,
            bytes=reader.source.traffic.bytes,
            headers=reader.cogs.learned(),
            fallbacks=dict(reader.cogs.fallbacks),
        )

    return wait(learned())


class Visit:
    """A context in which a Recipe is read; what it learned outlives it, also after a failure.

    Only the COG reader learns: with another loader of the Recipe's choice this is `open_stack`.

    Args:
        recipe: What is going to be read, all of it.
        signer: Opens its hrefs.
        transport: How bytes travel, `obstore` or `fsspec`; decides no pixel.
        index: URL of the tile index; None for none.
        engine: Where the pixels will be computed; None for threads of this process.
        max_soft_errors: Fraction of the Recipe's assets (Item x band) that may be unreadable.
    """

    def __init__(
        self,
        recipe: Recipe,
        signer: Signer,
        *,
        transport: TransportName = "obstore",
        index: str | None = None,
        engine: Engine | None = None,
        max_soft_errors: float = 0.0,
    ) -> None:
        self.recipe, self.signer = recipe, signer
        self.budget = Budget.of(recipe, max_soft_errors)
        self._tolerance = Tolerance(grid=recipe.grid, budget=self.budget)
        self._config = odc.config_for(
            recipe, signer, transport=transport, index=index, tolerance=self._tolerance
        )
        self._engine = engine or Engine()
        self._reader: PixelReader | None = None
        self._elsewhere = Learned()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:  # a cluster that went away would be waited for
                self._gather()
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
            return open_stack(recipe, signer=self.signer, chunks=chunks, tolerance=self._tolerance)
        self._reader = CogDriver(self._config).reader
        headers = submit(self._reader.cogs.prefetch(_hrefs(recipe)))
        recipe = completed(recipe, self.signer, reader=self._reader.cogs, tolerance=self._tolerance)
        if self._engine.is_cluster:
            headers.result()
            self._remember()  # workers find them there
        return open_stack(recipe, signer=self.signer, loader=self._load, chunks=chunks)

    def failures(self) -> list[Failure]:
        """What could not be read so far, here and in other processes, in a fixed order.

        Raises:
            ServiceError: If the cluster does not answer.
        """
        return self._tolerance.failures(self._engine)

    @property
    def facts(self) -> dict[str, int]:
        """What reading cost so far: requests, bytes fetched, and headers among them.

        What other processes did is known once the visit is over.
        """
        if self._reader is None:
            return {}
        learned = self._learned()
        return {
            "requests": learned.requests,
            "bytes_fetched": learned.bytes,
            "headers_read": len(learned.headers),
        }

    @property
    def fallbacks(self) -> list[Mapping[str, Any]]:
        """Files that rasterio had to read, and why: one row for each reason."""
        if self._reader is None:
            return []
        found = dict(self._learned().fallbacks)
        first = {why: basename(href) for href, why in reversed(found.items())}
        counts = Counter(found.values())
        return [
            {"why": why, "files": count, "for_example": first[why]} for why, count in counts.items()
        ]

    def _load(
        self,
        recipe: Recipe,
        signer: Signer,
        *,
        chunks: Mapping[str, int],
        tolerance: Tolerance | None = None,
    ) -> dict[str, da.Array]:
        driver = CogDriver(self._shared_out(), md_parser=odc.parser_for(recipe))
        return odc.load_with(driver, recipe, chunks)

    def _shared_out(self) -> DriverConfig:
        """The configuration for each of the processes that read: a share of the connections."""
        policy = self._config.policy
        share = max(policy.in_flight // self._engine.processes, 1)
        return replace(self._config, policy=replace(policy, in_flight=share))

    def _learned(self) -> Learned:
        return learned_here(self._config.key) + self._elsewhere

    def _gather(self) -> None:
        """Ask the processes of a cluster what they learned."""
        if self._reader is not None:
            found = self._engine.everywhere(partial(learned_here, self._config.key))
            self._elsewhere = sum(found, Learned())

    def _remember(self) -> None:
        reader, index = self._reader, self._config.index
        if reader is None or index is None:
            return
        learned = self._learned().headers
        if learned:
            write_index({**reader.cogs.known_headers(), **learned}, index)


def _hrefs(recipe: Recipe) -> list[Href]:
    found = (source.href for item in recipe.items for source in item.sources.values())
    return list(dict.fromkeys(found))
