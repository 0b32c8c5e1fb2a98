"""The batch planner: all sources of a partition in one plan, each tile fetched once.

odc-loader shows its driver one chunk of one source at a time. The planner sees everything, so all
headers travel together and then all tiles; fetching, decoding and gathering onto the grid overlap.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams, RasterSource

from geostack_dagster.domain.hrefs import Href, canonical
from geostack_dagster.errors import ConfigurationError, IntegrityError, ServiceError
from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.finish import cast
from geostack_dagster.stack.reader.loop import decode_pool, run, together, wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.usage import Reached, Usage
from geostack_dagster.stack.reader.window import Window

_FILES_AT_ONCE = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRequest:
    """One array: a grid filled from sources, of which the first valid pixel stays."""

    sources: tuple[RasterSource, ...]
    grid: GeoBox
    cfg: RasterLoadParams
    out: Raw | None = field(default=None, repr=False)
    """Filled in place if given; of the grid's shape and the type of `cfg`."""

    def __post_init__(self) -> None:
        if self.cfg.fuser_fqn is not None:
            raise ConfigurationError(
                f"a batch keeps the first valid pixel; {self.cfg.fuser_fqn} needs odc's own loop"
            )
        if self.out is not None and self.out.shape != tuple(self.grid.shape.yx):
            raise ConfigurationError(
                f"out has shape {self.out.shape}, the grid {tuple(self.grid.shape.yx)}"
            )


@dataclass(frozen=True, slots=True)
class Unread:
    """A source that could not be read, and why; its pixels are missing from the array."""

    href: Href
    band: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The arrays asked for, in order, and what has to be said about them."""

    arrays: list[Raw] = field(repr=False)
    unread: tuple[Unread, ...]
    """Only with `fail_on_error` off; for the ledger."""
    fallbacks: dict[Href, str]
    """Files that rasterio read instead, and why; for the metadata."""


def read_batch(reader: PixelReader, requests: Sequence[PixelRequest]) -> Batch:
    """All arrays, from one plan; blocks the calling thread.

    Args:
        reader: Where pixels come from.
        requests: What is wanted; requests may share files and tiles. A source may carry a
            `SourceRule` as its `driver_data`.

    Raises:
        AssetError, ServiceError: From sources whose request has `fail_on_error` on.
        CredentialError: Always; an archive that refuses access is no missing pixel.
        ConfigurationError: If a file has no such band.
    """
    return wait(_Plan(reader, requests).run())


class _Plan:
    """The requests turned round: what every file has to give to whom."""

    def __init__(self, reader: PixelReader, requests: Sequence[PixelRequest]) -> None:
        self.reader, self.requests = reader, requests
        self.reached: dict[tuple[int, int], Reached] = {}
        self.unread: list[Unread] = []
        self.files: dict[Href, list[tuple[tuple[int, int], Usage]]] = {}
        self.waiting = [len(request.sources) for request in requests]
        self.arrays: list[Any] = [None] * len(requests)
        self.places = asyncio.Semaphore(_FILES_AT_ONCE)
        for number, request in enumerate(requests):
            alone = len(request.sources) == 1
            for rank, source in enumerate(request.sources):
                href, rule = canonical(source.uri), SourceRule.of(source)
                usage = Usage(
                    band=rule.band or source.band,
                    grid=request.grid,
                    cfg=request.cfg,
                    rule=rule,
                    out=request.out if alone else None,
                )
                self.files.setdefault(href, []).append(((number, rank), usage))

    async def run(self) -> Batch:
        """Read all files, each array as soon as its last source is there."""
        for number, request in enumerate(self.requests):
            if not request.sources:
                self.arrays[number] = _composed(request, [])
        await together(self._file(href) for href in self.files)
        used = {
            href: reason
            for href, reason in self.reader.cogs.fallbacks.items()
            if href in self.files
        }
        return Batch(arrays=self.arrays, unread=tuple(self.unread), fallbacks=used)

    async def _file(self, href: Href) -> None:
        uses = self.files[href]
        async with self.places:
            try:
                found = await self.reader.read(href, [usage for _, usage in uses])
            except (IntegrityError, ServiceError) as error:
                if any(usage.cfg.fail_on_error for _, usage in uses):
                    raise
                found = []
                self.unread += [Unread(href, usage.band, str(error)) for _, usage in uses]
        self.reached.update(zip((key for key, _ in uses), found, strict=False))
        for (number, _), _ in uses:
            self.waiting[number] -= 1
            if self.waiting[number] == 0:
                await self._compose(number)

    async def _compose(self, number: int) -> None:
        request = self.requests[number]
        ranks = range(len(request.sources))
        layers = [
            self.reached.pop((number, rank)) for rank in ranks if (number, rank) in self.reached
        ]
        if len(ranks) == 1 and layers and layers[0].pixels.shape == tuple(request.grid.shape.yx):
            self.arrays[number] = layers[0].pixels  # all there is to do
            return
        self.arrays[number] = await run(lambda: _composed(request, layers), decode_pool())


def _composed(request: PixelRequest, layers: Sequence[Reached]) -> Raw:
    """The array of a request: the layers in order, the first valid pixel stays."""
    shape = tuple(request.grid.shape.yx)
    dtype = np.dtype(request.cfg.dtype or (layers[0].pixels.dtype if layers else "float32"))
    fill = blank(request.cfg, dtype)
    if len(request.sources) == 1 and layers:
        return _framed(request, layers[0], fill)
    out = request.out if request.out is not None else np.empty(shape, dtype)
    out[...] = fill
    for layer in layers:
        target = out[layer.part.slices]
        missing = np.isnan(target) if fill != fill else target == fill  # noqa: PLR0124 (NaN)
        np.copyto(target, cast(layer.pixels, dtype), where=missing)
    return out


def _framed(request: PixelRequest, layer: Reached, fill: Any) -> Raw:
    """A single source with the fill around it."""
    rows, columns = request.grid.shape.yx
    part, out = layer.part, request.out
    if out is None:
        if part == Window(0, rows, 0, columns):
            return layer.pixels
        out = np.full((rows, columns), fill, layer.pixels.dtype)
        out[part.slices] = layer.pixels
        return out
    out[: part.top], out[part.bottom :] = fill, fill
    out[part.top : part.bottom, : part.left] = fill
    out[part.top : part.bottom, part.right :] = fill
    return out


def blank(cfg: RasterLoadParams, dtype: "np.dtype[Any]") -> Any:
    """What stands where no source has a valid pixel, by odc-loader's rules."""
    if cfg.fill_value is not None:
        return dtype.type(cfg.fill_value)
    if dtype.kind == "f":
        return dtype.type(math.nan)
    marker = cfg.src_nodata_override
    marker = cfg.src_nodata_fallback if marker is None else marker
    return dtype.type(0 if marker is None else marker)
