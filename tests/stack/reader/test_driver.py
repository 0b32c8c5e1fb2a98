"""The reader under odc-stac: direct, under dask, pickled, multi-band, lenient."""

import asyncio
import datetime as dt
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cloudpickle
import numpy as np
import odc.stac
import pystac
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterBandMetadata, RasterGroupMetadata, RasterLoadParams, RasterSource

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.codec import DamagedTileError
from geostack_dagster.stack.reader.driver import CogDriver, DriverConfig
from geostack_dagster.stack.reader.ranges import Coalescing
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.source import FetchPolicy
from geostack_dagster.stack.reader.tile_cache import TileCache

UTM = Affine(10, 0, 600_000, 0, -10, 5_000_040)
BANDS = ("red", "nir")


def grid_of(rows: slice, columns: slice, crs: str = "EPSG:32632") -> GeoBox:
    shape = rows.stop - rows.start, columns.stop - columns.start
    made = GeoBox(shape, UTM * Affine.translation(columns.start, rows.start), "EPSG:32632")
    return made if crs == "EPSG:32632" else made.to_crs(crs)


@pytest.fixture
def items(server, tiff, pixels):
    """Two days of two bands; each file differs by a constant."""
    made = []
    for day in range(2):
        item = pystac.Item(
            id=f"day-{day}", geometry=None, bbox=None, properties={"proj:epsg": 32632},
            datetime=dt.datetime(2024, 6, 1 + day, 10, tzinfo=dt.UTC),
            stac_extensions=[
                "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            ],
        )  # fmt: skip
        for number, band in enumerate(BANDS):
            name = f"d{day}-{band}.tif"
            if not (server.folder / name).exists():
                tiff(
                    server.folder / name, pixels(500, 480)[None] // 2 + np.uint16(10 * day + number)
                )
            item.add_asset(
                band,
                pystac.Asset(
                    server.href(name),
                    media_type="image/tiff; application=geotiff",
                    roles=["data"],
                    extra_fields={
                        "proj:shape": [500, 480],
                        "proj:transform": list(UTM)[:6],
                        "raster:bands": [{"data_type": "uint16", "nodata": 0}],
                    },
                ),
            )
        made.append(item)
    return made


def as_files(item, server):
    """The same Item with local hrefs, for the peer."""
    found = item.clone()
    for asset in found.assets.values():
        asset.href = str(server.folder / asset.href.rpartition("/")[2])
    return found


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633"])
@pytest.mark.parametrize("how", [{}, {"pool": 8}, {"chunks": {"x": 200, "y": 150}}])
def test_odc_stac_loads_through_it(items, server, crs, how):
    grid = grid_of(slice(-20, 380), slice(30, 430), crs)
    mine = odc.stac.load(items, bands=BANDS, geobox=grid, driver=CogDriver(), **how)
    theirs = odc.stac.load([as_files(item, server) for item in items], bands=BANDS, geobox=grid)
    for band in BANDS:
        found, truth = mine[band].values, theirs[band].values
        assert (found.dtype, found.shape) == (truth.dtype, truth.shape)
        if crs == "EPSG:32632":
            np.testing.assert_array_equal(found, truth)
        else:  # GDAL's approximate warp is the one that errs: see test_pixelmap
            assert (found != truth).mean() < 0.05
            assert ((found == 0) == (truth == 0)).mean() > 0.99


def test_no_credential_and_no_connection_travels(items):
    driver = CogDriver(DriverConfig(key="travelling"))
    grid = grid_of(slice(0, 300), slice(0, 300))
    lazy = odc.stac.load(
        items, bands=BANDS, geobox=grid, driver=driver, chunks={"x": 128, "y": 128}
    )
    graph = cloudpickle.dumps(lazy)
    assert b"ObstoreTransport" not in graph
    again = pickle.loads(pickle.dumps(driver))
    assert again.config == driver.config
    assert again.reader is driver.reader  # one per process, however often it is unpickled
    found = cloudpickle.loads(graph).red.compute(scheduler="threads")
    direct = odc.stac.load(items, bands=["red"], geobox=grid, driver=CogDriver())
    np.testing.assert_array_equal(found.values, direct.red.values)


def test_loads_that_differ_in_calibration_differ_in_dask(items):
    grid = grid_of(slice(0, 100), slice(0, 100))
    names = {
        odc.stac.load(
            items, bands=["red"], geobox=grid, chunks={}, driver=CogDriver(DriverConfig(key=key))
        ).red.data.name
        for key in ("one", "two", "two")
    }
    assert len(names) == 2


def double(pixels, valid):
    return np.where(valid, pixels * 2, 7)


class Parser:
    """Gives every source a rule, as the loader of a Recipe does."""

    def extract(self, md):
        return RasterGroupMetadata(
            {(band, 1): RasterBandMetadata(data_type="uint16", nodata=0) for band in BANDS}
        )

    def driver_data(self, md, band_key):
        return SourceRule(calibrate=double)


def test_a_parser_gives_sources_their_calibration(items):
    grid = grid_of(slice(400, 600), slice(0, 100))
    how = {"bands": BANDS, "geobox": grid, "chunks": {"x": 64}}
    plain = odc.stac.load(items, driver=CogDriver(), **how).compute()
    found = odc.stac.load(items, driver=CogDriver(md_parser=Parser()), **how).compute()
    np.testing.assert_array_equal(found.red.values, plain.red.values * 2)
    assert not found.red.values[:, 100:].any()


@pytest.mark.parametrize("layout", [("band", "y", "x"), ("y", "x", "band")])
def test_all_bands_of_a_file_come_in_the_order_asked(server, tiff, layout):
    values = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50) + 1
    tiff(server.folder / "three.tif", values, interleave="pixel")
    meta = RasterBandMetadata("uint16", 0, dims=layout)
    source = RasterSource(server.href("three.tif"), band=0, meta=meta)
    cfg = RasterLoadParams("uint16", fill_value=0, dims=layout, meta=meta)
    driver, grid = CogDriver(), grid_of(slice(0, 40), slice(0, 50))
    roi, found = driver.open(source, None).read(cfg, grid)
    expected = values if layout[0] == "band" else np.moveaxis(values, 0, -1)
    np.testing.assert_array_equal(found, expected)
    assert roi == (slice(0, 40), slice(0, 50))
    out = np.zeros_like(expected)
    driver.open(source, None).read(cfg, grid, dst=out, selection=slice(None))
    np.testing.assert_array_equal(out, expected)
    _, some = driver.open(source, None).read(cfg, grid, selection=slice(1, 3))
    assert some.shape == (expected[1:] if layout[0] == "band" else expected[..., 1:]).shape


def test_a_lenient_load_leaves_out_what_cannot_be_read(items, server, caplog):
    items[0].assets["red"].href = server.href("gone.tif")
    how = {"bands": BANDS, "geobox": grid_of(slice(0, 64), slice(0, 64)), "driver": CogDriver()}
    found = odc.stac.load(items, fail_on_error=False, **how)
    assert not found.red.values[0].any()
    assert found.red.values[1].all()
    assert "gone.tif" in caplog.text
    with pytest.raises(AssetError, match=r"gone\.tif"):
        odc.stac.load(items, **how)


def test_many_threads_share_one_header_read(items, server):
    driver = CogDriver()
    source = RasterSource(items[0].assets["red"].href)
    cfg = RasterLoadParams("uint16", fill_value=0)
    read = partial(driver.open(source, None).read, cfg, grid_of(slice(0, 100), slice(0, 100)))
    server.delay_s = 0.05
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: read()[1], range(16)))
    assert all(np.array_equal(found[0], other) for other in found)
    assert sum(seen.range[0] == 0 for seen in server.seen) == 1


def test_a_tile_on_the_edge_of_chunks_is_fetched_once(items, server):
    lone = FetchPolicy(coalescing=Coalescing(gap_bytes=0, max_bytes=1))
    lazy = odc.stac.load(
        items, bands=["red"], geobox=grid_of(slice(10, 410), slice(10, 410)),
        driver=CogDriver(DriverConfig(policy=lone)), chunks={"x": 100, "y": 100},
    )  # fmt: skip
    lazy.compute(scheduler="threads", num_workers=8)
    asked = [(seen.path, seen.range) for seen in server.seen]
    assert len(asked) == len(set(asked)) == 2 * (1 + 4 * 4)  # a header and 16 tiles a day


def test_tiles_are_kept_for_a_while_only():
    async def keep() -> list[bool]:
        cache = TileCache(max_bytes=10, max_age_s=0.05)
        keys = [(Href("a"), None, number) for number in range(3)]
        for key in keys:
            cache.arrived(key, cache.expect(key), memoryview(b"12345"))
        kept = [cache.get(key) is not None for key in keys]
        await asyncio.sleep(0.06)
        return [*kept, cache.get(keys[2]) is not None]

    assert asyncio.run(keep()) == [False, True, True, False]


def test_a_reader_whose_partner_fails_reads_by_itself():
    async def partners() -> str:
        cache = TileCache(max_bytes=10)
        key = (Href("a"), None, 0)
        mine = cache.expect(key)
        theirs = cache.get(key)
        cache.give_up([(key, mine)], "that read failed")
        assert cache.get(key) is None
        try:
            await theirs
        except DamagedTileError as error:
            return str(error)

    assert "failed" in asyncio.run(partners())
