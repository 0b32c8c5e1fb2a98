"""The batch planner: every tile once, the first valid pixel stays, failures are told."""

import itertools
from functools import partial

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams, RasterSource

from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    ServiceError,
)
from geostack_dagster.stack.reader.batch import PixelRequest, read_batch
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.ranges import Coalescing
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.reader.tile_cache import TileCache
from geostack_dagster.stack.reader.tile_index import read_index, write_index

CFG = RasterLoadParams("uint16", fill_value=0)
UTM = Affine(10, 0, 600_000, 0, -10, 5_000_040)
SEPARATE = FetchPolicy(coalescing=Coalescing(gap_bytes=0, max_bytes=1), attempts=2, backoff_s=0.01)


def part(rows: slice, columns: slice) -> GeoBox:
    shape = rows.stop - rows.start, columns.stop - columns.start
    return GeoBox(shape, UTM * Affine.translation(columns.start, rows.start), "EPSG:32632")


def request(href, grid, cfg=CFG, *, out=None, **source) -> PixelRequest:
    return PixelRequest(sources=(RasterSource(href, **source),), grid=grid, cfg=cfg, out=out)


@pytest.fixture
def reader():
    return PixelReader(ByteSource(policy=SEPARATE))


@pytest.fixture
def scene(server, served, pixels):
    return server.href("scene.tif"), pixels(915, 850)


def test_no_tile_is_fetched_twice(reader, server, scene):
    href, values = scene
    grids = [part(slice(r, r + 200), slice(c, c + 200))
             for r, c in itertools.product((60, 190, 300), (10, 150))]  # fmt: skip
    batch = read_batch(reader, [request(href, grid) for grid in grids])
    for grid, found in zip(grids, batch.arrays, strict=True):
        column = round((grid.transform.c - 600_000) / 10)
        row = round((5_000_040 - grid.transform.f) / 10)
        np.testing.assert_array_equal(found, values[row : row + 200, column : column + 200])
    asked = [seen.range for seen in server.seen]
    assert len(asked) == len(set(asked))
    assert len(asked) == 2 + 4 * 3  # two parts of a header, overviews last; then each tile


def test_bytes_are_those_of_the_tiles(server, scene):
    href, _ = scene
    reader = PixelReader(ByteSource())
    header = wait(reader.cogs.header(href))
    read_batch(reader, [request(href, part(slice(130, 600), slice(140, 500)))])
    tiles = [header.main.tile_number(r, c, 0) for r in range(1, 5) for c in range(1, 4)]
    needed = int(header.main.counts[tiles].sum())
    # Neighbours in a row travel together, over the few bytes that lie between them.
    fetched = sum(seen.sent for seen in server.seen[1:])
    assert needed <= fetched <= needed + 64 * 1024 * len(server.seen)


def test_results_can_be_written_in_place(reader, scene):
    href, values = scene
    out = np.full((2, 300, 300), 9, np.uint16)
    made = read_batch(
        reader,
        [
            request(href, part(slice(0, 300), slice(0, 300)), out=out[0]),
            request(href, part(slice(800, 1100), slice(-100, 200)), out=out[1]),
        ],
    )
    np.testing.assert_array_equal(out[0], values[:300, :300])
    np.testing.assert_array_equal(out[1, :115, 100:], values[800:, :200])
    assert not out[1, 115:].any()
    assert not out[1, :, :100].any()
    assert made.arrays[0] is not None


def test_the_first_valid_pixel_stays(reader, server, tiff):
    first = np.array([[[1, 0, 0, 4]]], np.uint16).repeat(8, axis=1)
    second = np.array([[[7, 8, 0, 9]]], np.uint16).repeat(8, axis=1)
    for name, values in (("one.tif", first), ("two.tif", second)):
        tiff(server.folder / name, values, blockxsize=16, blockysize=16)
    sources = tuple(RasterSource(server.href(name)) for name in ("one.tif", "two.tif"))
    grid = part(slice(0, 8), slice(0, 5))
    found = read_batch(reader, [PixelRequest(sources=sources, grid=grid, cfg=CFG)]).arrays[0]
    np.testing.assert_array_equal(found[0], [1, 8, 0, 4, 0])


def test_no_source_is_all_fill(reader):
    grid = part(slice(0, 4), slice(0, 3))
    cfg = RasterLoadParams("float32")
    found = read_batch(reader, [PixelRequest(sources=(), grid=grid, cfg=cfg)]).arrays[0]
    assert found.dtype == np.float32
    assert np.isnan(found).all()


def add(pixels, valid, *, shift):
    return np.where(valid, pixels.astype(np.int32) + shift, 12345).astype(np.uint16)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633"])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_calibration_leaves_missing_pixels_missing(reader, server, tiff, crs, resampling):
    values = np.full((1, 200, 200), 500, np.uint16)
    values[0, 40:80, 40:80] = 0
    tiff(server.folder / "holes.tif", values)
    grid = part(slice(-20, 220), slice(-20, 220)).to_crs(crs)
    cfg = RasterLoadParams("uint16", fill_value=0, resampling=resampling)
    rule = SourceRule(calibrate=partial(add, shift=1000))
    found = read_batch(
        reader, [request(server.href("holes.tif"), grid, cfg, driver_data=rule)]
    ).arrays[0]
    assert set(np.unique(found)) == {0, 1500}
    plain = read_batch(reader, [request(server.href("holes.tif"), grid, cfg)]).arrays[0]
    np.testing.assert_array_equal(found == 0, plain == 0)


def test_a_source_may_know_better_than_its_file(reader, server, tiff):
    values = np.array([[[1, 2, 3, 4]]], np.uint16).repeat(4, axis=1).repeat(2, axis=0)
    values[1] += 10
    tiff(server.folder / "bare.tif", values, crs=None, nodata=None)
    rule = SourceRule(band=2, nodata=13, crs="EPSG:32632")
    ask = request(server.href("bare.tif"), part(slice(0, 2), slice(0, 4)), driver_data=rule)
    np.testing.assert_array_equal(read_batch(reader, [ask]).arrays[0][0], [11, 12, 0, 14])
    with pytest.raises(AssetError, match="no CRS"):
        read_batch(reader, [request(server.href("bare.tif"), ask.grid)])


def test_failures_are_told_or_raised(reader, server, scene, fault):
    href, values = scene
    grid = part(slice(0, 50), slice(0, 60))
    lenient = RasterLoadParams("uint16", fill_value=0, fail_on_error=False)
    sources = (RasterSource(server.href("gone.tif")), RasterSource(href))
    made = read_batch(reader, [PixelRequest(sources=sources, grid=grid, cfg=lenient)])
    np.testing.assert_array_equal(made.arrays[0], values[:50, :60])
    assert [(unread.href, "does not exist" in unread.reason) for unread in made.unread] == [
        (server.href("gone.tif"), True)
    ]
    with pytest.raises(AssetError, match=r"gone\.tif"):
        read_batch(reader, [PixelRequest(sources=sources, grid=grid, cfg=CFG)])
    server.rule = lambda seen: fault(503)
    with pytest.raises(ServiceError):
        read_batch(reader, [request(server.href("busy.tif"), grid)])
    server.rule = lambda seen: fault(401)
    with pytest.raises(MissingCredentialError):
        read_batch(reader, [request(server.href("closed.tif"), grid, lenient)])


def test_a_file_without_the_band_is_configuration(reader, scene):
    with pytest.raises(ConfigurationError, match="band 3"):
        read_batch(reader, [request(scene[0], part(slice(0, 5), slice(0, 5)), band=3)])


def test_a_replaced_file_is_read_from_its_new_header(reader, server, tiff, pixels):
    grid = part(slice(0, 300), slice(0, 300))
    path = server.folder / "changing.tif"
    reader.cogs._tiles = TileCache(max_bytes=0)
    for size, compress in ((300, "deflate"), (300, "zstd"), (310, "lzw")):
        values = pixels(size, size) + np.uint16(size)
        tiff(path, values[None], compress=compress)
        found = read_batch(reader, [request(server.href("changing.tif"), grid)]).arrays[0]
        np.testing.assert_array_equal(found, values[:300, :300])


def test_a_tile_damaged_on_its_way_is_read_again(server, scene, fault):
    href, values = scene
    reader = PixelReader(ByteSource(policy=SEPARATE))
    hits = []

    def spoil(seen):
        if seen.range[0] > 40_000 and not hits:
            hits.append(seen)
            place = f"bytes {seen.range[0]}-{seen.range[1] - 1}/999999999"
            size = seen.range[1] - seen.range[0]
            return fault(206, b"\0" * size, {"Content-Range": place})
        return None

    server.rule = spoil
    found = read_batch(reader, [request(href, part(slice(0, 300), slice(0, 300)))]).arrays[0]
    np.testing.assert_array_equal(found, values[:300, :300])
    assert hits


def test_a_damaged_file_is_named(server, tiff, pixels):
    path = tiff(server.folder / "damaged.tif", pixels(300, 300)[None])
    data = bytearray(path.read_bytes())
    data[-4000:-2000] = bytes(2000)
    path.write_bytes(data)
    reader = PixelReader(ByteSource())
    with pytest.raises(AssetError, match=r"damaged\.tif.*does not decode"):
        read_batch(
            reader, [request(server.href("damaged.tif"), part(slice(0, 300), slice(0, 300)))]
        )


def test_a_stored_index_saves_the_header_reads(server, scene, tmp_path):
    href, values = scene
    first = PixelReader(ByteSource())
    grid = part(slice(100, 300), slice(100, 300))
    read_batch(first, [request(href, grid)])
    assert write_index(first.cogs.known_headers(), str(tmp_path / "index.parquet")) == 1
    server.seen.clear()
    again = PixelReader(ByteSource(), read_index(str(tmp_path / "index.parquet")))
    found = read_batch(again, [request(href, grid)]).arrays[0]
    np.testing.assert_array_equal(found, values[100:300, 100:300])
    assert all(seen.range[0] > 0 for seen in server.seen)
    assert all("if-match" in seen.headers for seen in server.seen)


def test_an_index_of_a_replaced_file_does_no_harm(server, tiff, pixels, tmp_path):
    path, href = server.folder / "indexed.tif", server.href("indexed.tif")
    tiff(path, pixels(200, 200)[None])
    reader = PixelReader(ByteSource())
    wait(reader.cogs.header(href))
    write_index(reader.cogs.known_headers(), str(tmp_path / "index.parquet"))
    values = pixels(220, 210) + np.uint16(5)
    tiff(path, values[None], compress=None, predictor=None)
    again = PixelReader(ByteSource(), read_index(str(tmp_path / "index.parquet")))
    found = read_batch(again, [request(href, part(slice(0, 220), slice(0, 210)))]).arrays[0]
    np.testing.assert_array_equal(found, values)


def test_a_request_is_checked(server):
    grid = part(slice(0, 5), slice(0, 5))
    with pytest.raises(ConfigurationError, match="out has shape"):
        request(server.href("x.tif"), grid, out=np.zeros((4, 5), np.uint16))
    with pytest.raises(ConfigurationError, match="first valid pixel"):
        request(server.href("x.tif"), grid, RasterLoadParams("uint16", fuser_fqn="numpy.copyto"))
