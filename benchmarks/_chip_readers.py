"""Readers of training chips: many small windows of many Items, each peer as its best user reads.

Every reader opens a file once, where its library allows that, and has all chips of the call to plan
with; a call begins cold. Chips come back as (chip, band, y, x).
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from _cog_scene import BANDS, BLOCK, EPSG, HELD, RESOLUTION, Scene
from _stack_readers import THREADS, items, stacked, tuned_gdal
from odc.geo.geobox import GeoBox

SIDE = 256


@dataclass(frozen=True)
class Chip:
    """A window of one Item."""

    day: int
    first: tuple[int, int]
    """First row and column in the file."""

    @property
    def grid(self) -> GeoBox:
        return Scene(1, SIDE, self.first).grid

    @property
    def names(self) -> list[str]:
        return [f"{self.day:02d}_{band}.tif" for band in BANDS]


def random_chips(count: int, dates: int) -> list[Chip]:
    """Windows anywhere in the part of the files that holds data."""
    rng = np.random.default_rng(11)
    low, high = HELD.start * BLOCK, HELD.stop * BLOCK - SIDE
    days, places = rng.integers(0, dates, count), rng.integers(low, high, (count, 2))
    return [
        Chip(int(day), (int(row), int(column)))
        for day, (row, column) in zip(days, places, strict=True)
    ]


def ours(base: str, chips: Sequence[Chip], known: Any = None) -> np.ndarray:
    from odc.loader.types import RasterLoadParams, RasterSource

    from geostack_dagster.stack.reader.batch import PixelRequest, read_batch
    from geostack_dagster.stack.reader.pixels import PixelReader
    from geostack_dagster.stack.reader.source import ByteSource

    headers = {f"{base}/{name}": header for name, header in (known or {}).items()}
    cfg = RasterLoadParams("uint16", fill_value=0)
    out = np.empty((len(chips), len(BANDS), SIDE, SIDE), np.uint16)
    requests = [
        PixelRequest(
            sources=(RasterSource(f"{base}/{name}"),), grid=grid, cfg=cfg, out=out[number, band]
        )
        for number, (chip, grid) in enumerate((chip, chip.grid) for chip in chips)
        for band, name in enumerate(chip.names)
    ]
    read_batch(PixelReader(ByteSource(), headers), requests)
    return out


def odc_threads(base: str, chips: Sequence[Chip]) -> np.ndarray:
    """A load per chip, 32 at a time."""
    import odc.stac

    made = items(base, Scene(_dates(chips), SIDE))

    def one(chip: Chip) -> np.ndarray:
        with tuned_gdal():
            return stacked(odc.stac.load([made[chip.day]], bands=BANDS, geobox=chip.grid))

    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(one, chips)))


def odc_dask(base: str, chips: Sequence[Chip]) -> np.ndarray:
    """A lazy load per chip, all computed as one graph by 32 threads."""
    import dask
    import odc.stac

    made = items(base, Scene(_dates(chips), SIDE))
    with tuned_gdal(), dask.config.set(scheduler="threads", num_workers=THREADS):
        lazy = [
            odc.stac.load([made[chip.day]], bands=BANDS, geobox=chip.grid, chunks={})
            for chip in chips
        ]
        return np.concatenate([stacked(one) for one in dask.compute(*lazy)])


def stackstac_lazy(base: str, chips: Sequence[Chip]) -> np.ndarray:
    """One lazy array in the files' own blocks; chips are slices of it, computed together."""
    import dask
    import stackstac

    whole = Scene(_dates(chips), BLOCK * (HELD.stop - HELD.start), (HELD.start * BLOCK,) * 2)
    box = whole.grid.boundingbox
    lazy = stackstac.stack(
        items(base, whole), assets=list(BANDS), epsg=EPSG, resolution=RESOLUTION,
        bounds=(box.left, box.bottom, box.right, box.top), dtype="uint16", fill_value=np.uint16(0),
        rescale=False, snap_bounds=False, chunksize=BLOCK,
    ).data  # fmt: skip
    parts = []
    for chip in chips:
        row, column = (place - HELD.start * BLOCK for place in chip.first)
        parts.append(lazy[chip.day, :, row : row + SIDE, column : column + SIDE])
    with tuned_gdal(), dask.config.set(scheduler="threads", num_workers=THREADS):
        return np.stack(dask.compute(*parts))


def rioxarray_threads(base: str, chips: Sequence[Chip]) -> np.ndarray:
    """Each file opened once, 32 windows at a time."""
    import rioxarray

    def open_one(name: str) -> Any:
        with tuned_gdal():
            return rioxarray.open_rasterio(f"{base}/{name}", lock=False, chunks=None, cache=False)

    def one(ask: tuple[str, Chip]) -> np.ndarray:
        name, chip = ask
        row, column = chip.first
        with tuned_gdal():
            part = opened[name].isel(y=slice(row, row + SIDE), x=slice(column, column + SIDE))
            return part.values[0]

    names = sorted({name for chip in chips for name in chip.names})
    with ThreadPoolExecutor(THREADS) as pool:
        opened = dict(zip(names, pool.map(open_one, names), strict=True))
        asks = [(name, chip) for chip in chips for name in chip.names]
        return _shaped(list(pool.map(one, asks)))


def async_geotiff_gathered(base: str, chips: Sequence[Chip]) -> np.ndarray:
    """Each file opened once, all windows at a time."""
    from async_geotiff import GeoTIFF, Window
    from obstore.store import HTTPStore

    store = HTTPStore(base, client_options={"allow_http": True})
    names = sorted({name for chip in chips for name in chip.names})

    async def gathered() -> list[np.ndarray]:
        found = await asyncio.gather(*(GeoTIFF.open(name, store=store) for name in names))
        opened = dict(zip(names, found, strict=True))

        async def one(name: str, chip: Chip) -> np.ndarray:
            row, column = chip.first
            window = Window(col_off=column, row_off=row, width=SIDE, height=SIDE)
            return (await opened[name].read(window=window)).data[0]

        return await asyncio.gather(*(one(name, chip) for chip in chips for name in chip.names))

    return _shaped(asyncio.run(gathered()))


PEERS = {
    "odc threads 32": odc_threads,
    "odc dask 32": odc_dask,
    "stackstac": stackstac_lazy,
    "rioxarray 32": rioxarray_threads,
    "async-geotiff": async_geotiff_gathered,
}


def _dates(chips: Sequence[Chip]) -> int:
    return max(chip.day for chip in chips) + 1


def _shaped(arrays: list[np.ndarray]) -> np.ndarray:
    return np.stack(arrays).reshape(-1, len(BANDS), SIDE, SIDE)
