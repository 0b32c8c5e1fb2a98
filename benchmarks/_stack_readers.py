"""Readers of a stack: every peer in the settings that its own pages recommend, and in better."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
from _cog_scene import BANDS, EPSG, LEFT, ORIGIN, RESOLUTION, SIZE, TOP, Scene
from affine import Affine
from odc.geo.geobox import GeoBox

THREADS = 32


def items(base: str, scene: Scene) -> list[Any]:
    import pystac

    box = scene.grid.boundingbox.to_crs("EPSG:4326")
    bbox = [box.left - 0.5, box.bottom - 0.5, box.right + 0.5, box.top + 0.5]
    made = []
    for day in range(scene.dates):
        item = pystac.Item(
            id=f"scene-{day:02d}",
            geometry={
                "type": "Polygon",
                "coordinates": [[
                    [bbox[0], bbox[1]], [bbox[2], bbox[1]], [bbox[2], bbox[3]],
                    [bbox[0], bbox[3]], [bbox[0], bbox[1]],
                ]],
            },
            bbox=bbox,
            datetime=datetime(2024, 6, 1 + day, 10, 0, tzinfo=UTC),
            properties={"proj:epsg": EPSG},
            stac_extensions=[
                "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            ],
        )  # fmt: skip
        for band in BANDS:
            asset = pystac.Asset(
                f"{base}/{day:02d}_{band}.tif",
                media_type="image/tiff; application=geotiff; profile=cloud-optimized",
                roles=["data"],
                extra_fields={
                    "proj:shape": [SIZE, SIZE],
                    "proj:transform": [RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP],
                    "raster:bands": [{"data_type": "uint16", "nodata": 0}],
                },
            )
            item.add_asset(band, asset)
        made.append(item)
    return made


def ours_batch(base: str, scene: Scene, grid: GeoBox, known: Any = None) -> np.ndarray:
    from odc.loader.types import RasterLoadParams, RasterSource

    from geostack_dagster.stack.reader.batch import PixelRequest, read_batch
    from geostack_dagster.stack.reader.pixels import PixelReader
    from geostack_dagster.stack.reader.source import ByteSource

    headers = {f"{base}/{name}": header for name, header in (known or {}).items()}
    out = np.empty((scene.dates, len(BANDS), *grid.shape.yx), np.uint16)
    cfg = RasterLoadParams("uint16", fill_value=0)
    requests = [
        PixelRequest(
            sources=(RasterSource(f"{base}/{day:02d}_{band}.tif"),),
            grid=grid,
            cfg=cfg,
            out=out[day, number],
        )
        for day in range(scene.dates)
        for number, band in enumerate(BANDS)
    ]
    read_batch(PixelReader(ByteSource(), headers), requests)
    return out


def known_headers(base: str, scene: Scene) -> dict[str, Any]:
    from geostack_dagster.stack.reader.cog import CogReader
    from geostack_dagster.stack.reader.loop import wait
    from geostack_dagster.stack.reader.source import ByteSource

    reader = CogReader(ByteSource())
    return {name: wait(reader.header(f"{base}/{name}")) for name in scene.names}


def stacked(loaded: Any) -> np.ndarray:
    return np.stack([loaded[band].values for band in BANDS], axis=1)


def ours_driver(base: str, scene: Scene, grid: GeoBox, **how: Any) -> np.ndarray:
    import odc.stac

    from geostack_dagster.stack.reader.driver import CogDriver

    how = how or {"pool": 48}
    return stacked(
        odc.stac.load(items(base, scene), bands=BANDS, geobox=grid, driver=CogDriver(), **how)
    )


def odc_default(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import odc.stac

    return stacked(odc.stac.load(items(base, scene), bands=BANDS, geobox=grid))


def odc_dask(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import dask
    import odc.stac

    with dask.config.set(scheduler="threads", num_workers=THREADS):
        return stacked(
            odc.stac.load(items(base, scene), bands=BANDS, geobox=grid, chunks={}).compute()
        )


@contextlib.contextmanager
def tuned_gdal() -> Iterator[None]:
    """The settings that GDAL's and odc-stac's own pages recommend for COGs over http."""
    import rasterio

    with rasterio.Env(
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_INGESTED_BYTES_AT_OPEN="32768",
        GDAL_HTTP_MERGE_CONSECUTIVE_RANGES="YES", GDAL_HTTP_MULTIPLEX="YES",
        GDAL_HTTP_VERSION="2", VSI_CACHE="TRUE", VSI_CACHE_SIZE=5000000,
        GDAL_CACHEMAX=512, CPL_VSIL_CURL_CHUNK_SIZE="262144",
    ):  # fmt: skip
        yield


def odc_tuned(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import odc.stac

    with tuned_gdal():
        return stacked(odc.stac.load(items(base, scene), bands=BANDS, geobox=grid, pool=THREADS))


def stackstac_default(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import stackstac

    box = grid.boundingbox
    lazy = stackstac.stack(
        items(base, scene), assets=list(BANDS), epsg=grid.crs.epsg, resolution=RESOLUTION,
        bounds=(box.left, box.bottom, box.right, box.top), dtype="uint16", fill_value=np.uint16(0),
        rescale=False, snap_bounds=False,
    )  # fmt: skip
    return lazy.compute(scheduler="threads").values


def rioxarray_threads(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import rasterio
    import rasterio.warp
    import rioxarray

    box = grid.to_crs(f"EPSG:{EPSG}").boundingbox if grid.crs.epsg != EPSG else grid.boundingbox

    def one(name: str) -> np.ndarray:
        opened = rioxarray.open_rasterio(f"{base}/{name}", lock=False, chunks=None)
        part = opened.rio.clip_box(box.left, box.bottom, box.right, box.top)
        if grid.crs.epsg == EPSG:
            return part.values[0, : grid.shape.y, : grid.shape.x]
        moved = part.rio.reproject(
            str(grid.crs), transform=grid.transform, shape=grid.shape.yx,
            resampling=rasterio.warp.Resampling.nearest,
        )  # fmt: skip
        return moved.values[0]

    def scoped(name: str) -> np.ndarray:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            return one(name)

    with ThreadPoolExecutor(THREADS) as pool:
        return reshaped(list(pool.map(scoped, scene.names)), scene)


def async_geotiff_gathered(base: str, scene: Scene, grid: GeoBox) -> np.ndarray:
    import rasterio.warp
    from async_geotiff import GeoTIFF, Window
    from obstore.store import HTTPStore

    store = HTTPStore(base, client_options={"allow_http": True})
    native = GeoBox((SIZE, SIZE), ORIGIN, f"EPSG:{EPSG}")
    needed = grid if grid.crs == native.crs else grid.to_crs(native.crs)
    corner = ~native.transform * needed.transform
    column, row = round(corner.c) - 1, round(corner.f) - 1
    height, width = (size + 2 for size in needed.shape.yx)
    if grid.crs == native.crs:
        column, row, height, width = column + 1, row + 1, height - 2, width - 2
    window = Window(col_off=column, row_off=row, width=width, height=height)

    def settle(data: np.ndarray) -> np.ndarray:
        if grid.crs == native.crs:
            return data[0]
        out = np.zeros(grid.shape.yx, np.uint16)
        rasterio.warp.reproject(
            data[0], out, src_crs=str(native.crs), dst_crs=str(grid.crs), src_nodata=0,
            src_transform=native.transform * Affine.translation(column, row),
            dst_transform=grid.transform, dst_nodata=0,
        )  # fmt: skip
        return out

    async def one(name: str) -> np.ndarray:
        tiff = await GeoTIFF.open(name, store=store)
        read = await tiff.read(window=window)
        return await asyncio.to_thread(settle, read.data)

    async def gathered() -> list[np.ndarray]:
        return await asyncio.gather(*(one(name) for name in scene.names))

    return reshaped(asyncio.run(gathered()), scene)


PEERS = {
    "odc default": odc_default,
    "odc dask 32": odc_dask,
    "odc tuned 32": odc_tuned,
    "stackstac": stackstac_default,
    "rioxarray 32": rioxarray_threads,
    "async-geotiff": async_geotiff_gathered,
}


def reshaped(arrays: list[np.ndarray], scene: Scene) -> np.ndarray:
    return np.stack(arrays).reshape(scene.dates, len(BANDS), *arrays[0].shape)
