"""What a backfill would read, before it runs: partitions, Items, requests, bytes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from geostack_dagster.catalog.snapshot import take_snapshot
from geostack_dagster.domain.days import Cadence, Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import Item
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import ask_of
from geostack_dagster.pipeline.workspace import Pin
from geostack_dagster.providers.provider import PixelSource
from geostack_dagster.stack.ask import make_recipe
from geostack_dagster.stack.recipe import Recipe, Source

# Headers are not opened here. 512 pixels are what GDAL's COG driver writes by default, and deflate
# with a predictor leaves about 0.7 of a Sentinel-2 reflectance tile.
_TILE_PX = 512
_COMPRESSION = 0.7
_COALESCED_BYTES = 1 << 20
_CHUNKS_READ = 2  # chunks of the cube, each way, that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPlan:
    """One partition's share of a backfill."""

    date: str
    aoi: str
    items: int
    assets: int
    requests: int
    """Estimated: one for each header, and coalesced tile reads."""
    bytes: int
    """Estimated, as they travel."""
    processing_units: float = 0.0
    """Estimated, where a service renders the pixels and counts them."""


def plan_backfill(spec: PipelineSpec, pins: Sequence[Pin], window: Window) -> list[PartitionPlan]:
    """Plans of every partition of the window that has Items, by AOI and date.

    One search for each AOI; no pixel is read.

    Raises:
        ServiceError: If the catalogue does not answer.
    """
    return [plan for pin in pins for plan in _plans(spec, pin, window)]


def partition_dates(window: Window, cadence: Cadence) -> list[str]:
    """First day of every partition that touches the window."""
    day = window.start
    if cadence is Cadence.WEEKLY:
        day -= timedelta(days=(day.weekday() + 1) % 7)  # Dagster's weeks begin on Sunday
    elif cadence is Cadence.MONTHLY:
        day = day.replace(day=1)
    keys = []
    while day < window.end:
        keys.append(day.isoformat())
        day = Window.of(keys[-1], cadence).end
    return keys


def _plans(spec: PipelineSpec, pin: Pin, window: Window) -> Iterable[PartitionPlan]:
    start, end = window.utc(pin.aoi.centre[0])
    query = ItemQuery(
        collections=(spec.collection,),
        aoi=pin.aoi,
        start=start,
        end=end,
        predicates=spec.predicates,
        page_limit=spec.page_limit,
    )
    items = take_snapshot(spec.provider, query, client=spec.search_client).items
    for key in partition_dates(window, spec.cadence):
        partition = Partition(spec.name, pin.aoi.name, key, spec.cadence)
        plan = _PLANNERS[spec.record.geometry](spec, partition, pin, items)
        if plan is not None:
            yield plan


def _plan_grid(
    spec: PipelineSpec, partition: Partition, pin: Pin, items: Sequence[Item]
) -> PartitionPlan | None:
    recipe = make_recipe(spec.provider, items, ask=ask_of(spec, partition, pin))
    return _PLANS[spec.provider.pixels](recipe, partition, spec) if recipe.items else None


def _plan_swath(
    spec: PipelineSpec, partition: Partition, pin: Pin, items: Sequence[Item]
) -> PartitionPlan | None:
    from geostack_dagster.pipeline.swath.plan import plan_granules

    return plan_granules(spec, partition, pin, items)


_PLANNERS = {Geometry.GRID: _plan_grid, Geometry.SWATH: _plan_swath}


def _plan_files(recipe: Recipe, partition: Partition, spec: PipelineSpec) -> PartitionPlan:
    sources = [source for item in recipe.items for source in item.sources.values()]
    tiles = [_tiles(source, recipe.grid) for source in sources]
    sizes = [
        math.ceil(count * _TILE_PX**2 * np.dtype(source.dtype or "u2").itemsize * _COMPRESSION)
        for count, source in zip(tiles, sources, strict=True)
    ]
    return PartitionPlan(
        date=partition.date,
        aoi=partition.aoi,
        items=len(recipe.items),
        assets=len(sources),
        requests=sum(1 + math.ceil(size / _COALESCED_BYTES) for size in sizes),
        bytes=sum(sizes),
    )


def _plan_renderings(recipe: Recipe, partition: Partition, spec: PipelineSpec) -> PartitionPlan:
    """One request for each day and each part of the grid that is read at once."""
    from geostack_dagster.stack.process_api.rendering import renderings

    asked = [
        piece
        for day in recipe.days
        for whole in renderings(recipe, day, recipe.grid)
        for _, _, piece in whole.pieces(spec.chunk * _CHUNKS_READ)
    ]
    pixels = [one.grid.width * one.grid.height * (len(one.bands) + 1) for one in asked]
    return PartitionPlan(
        date=partition.date,
        aoi=partition.aoi,
        items=len(recipe.items),
        assets=len(recipe.items),
        requests=len(asked),
        bytes=sum(math.ceil(2 * count * _COMPRESSION) for count in pixels),
        processing_units=round(sum(one.units for one in asked), 3),
    )


_PLANS: Mapping[PixelSource, Callable[[Recipe, Partition, PipelineSpec], PartitionPlan]] = {
    PixelSource.FILES: _plan_files,
    PixelSource.PROCESS_API: _plan_renderings,
}


def _tiles(source: Source, grid: Grid) -> int:
    """Internal tiles of a file that the grid touches."""
    stated = source.projection
    if stated.shape is None or stated.transform is None or stated.crs is None:
        return math.ceil(grid.height / _TILE_PX) * math.ceil(grid.width / _TILE_PX)
    from rasterio.warp import transform_bounds

    left, bottom, right, top = transform_bounds(grid.crs, stated.crs, *grid.bounds)
    width, _, west, _, height, north = stated.transform[:6]
    columns = _span((left - west) / width, (right - west) / width, stated.shape[1])
    rows = _span((top - north) / height, (bottom - north) / height, stated.shape[0])
    return rows * columns


def _span(first: float, last: float, size: int) -> int:
    low, high = max(math.floor(first + 1e-6), 0), min(math.ceil(last - 1e-6), size)
    return 0 if low >= high else (high - 1) // _TILE_PX - low // _TILE_PX + 1
