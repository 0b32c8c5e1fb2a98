"""Headers against rasterio, and pixels of every coding that this reader claims."""

import itertools
import struct
import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.decimate import read_window
from geostack_dagster.stack.reader.header import parse
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.segments import MissingBytes, Segments
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.window import Window

BANDS, HEIGHT, WIDTH = 3, 70, 85
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "float32", "float64")
LAYOUTS = tuple(itertools.product(("PIXEL", "BAND"), (True, False)))
LERC_LACKS = ("uint64", "int64", "float16")


def cases():
    for codec, predictor in (
        *itertools.product(("LZW", "DEFLATE", "ZSTD"), (1, 2, 3)),
        *itertools.product(("NONE", "PACKBITS", "LZMA", "LERC", "LERC_DEFLATE", "LERC_ZSTD"), (1,)),
    ):
        for dtype in INTEGERS + FLOATS:
            if predictor == 3 and dtype not in ("float32", "float64"):  # GDAL writes no other
                continue
            if codec.startswith("LERC") and dtype in LERC_LACKS:
                continue
            yield codec, predictor, dtype


def gradient(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    steps = rng.integers(0, 3 if dtype in ("int8", "float16") else 120, (BANDS, HEIGHT, WIDTH))
    return steps.cumsum(axis=2).astype(dtype)


def encoded(values: np.ndarray, **options) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", width=WIDTH, height=HEIGHT, count=len(values),
                dtype=values.dtype, **options,
            ) as dataset:  # fmt: skip
                dataset.write(values)
            return bytes(memory.getbuffer())


def by_rasterio(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(data) as memory, memory.open() as dataset:
            return dataset.read()


def by_us(path, data: bytes, window: Window | None = None) -> np.ndarray:
    path.write_bytes(data)
    reader, href = CogReader(ByteSource()), Href(str(path))
    header = wait(reader.header(href))
    assert header.unsupported is None, header.unsupported
    bands = range(1, header.main.samples + 1)
    return np.stack([wait(read_window(reader, href, window, band=band)) for band in bands])


def check(path, values: np.ndarray, **options) -> None:
    data = encoded(values, **options)
    truth, found = by_rasterio(data), by_us(path, data)
    assert found.dtype == truth.dtype
    np.testing.assert_array_equal(found, truth)
    part = Window(13, 50, 29, 61)
    np.testing.assert_array_equal(by_us(path, data, part), truth[:, 13:50, 29:61])


@pytest.mark.parametrize(("codec", "predictor", "dtype"), list(cases()))
def test_every_coding_and_layout(tmp_path, codec, predictor, dtype):
    values = gradient(dtype)
    if dtype in FLOATS and codec.startswith("LERC"):
        values[:, 3:9, 4:20] = np.nan
    for interleave, tiled in LAYOUTS:
        if codec.startswith("LERC") and interleave == "PIXEL":
            continue  # read by rasterio: see test_fallback
        shape = {"blockxsize": 32, "blockysize": 16} if tiled else {"blockysize": 9}
        options = {"predictor": predictor} if predictor > 1 else {}
        check(
            tmp_path / "x.tif", values, compress=codec, interleave=interleave, tiled=tiled,
            **shape, **options,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("big", ["YES", "NO"])
def test_both_byte_orders_and_bigtiff(tmp_path, dtype, big):
    for order, codec in itertools.product(("LITTLE", "BIG"), ("NONE", "DEFLATE", "ZSTD")):
        for predictor in (1, 2, 3) if codec != "NONE" else (1,):
            if predictor == 3 and not dtype.startswith("float"):
                continue
            options = {"predictor": predictor} if predictor > 1 else {}
            check(
                tmp_path / "x.tif", gradient(dtype), compress=codec, endianness=order,
                bigtiff=big, tiled=True, blockxsize=32, blockysize=32, **options,
            )  # fmt: skip


@pytest.mark.parametrize("photometric", ["YCBCR", "RGB"])
@pytest.mark.parametrize("tiled", [True, False])
def test_jpeg_in_both_colour_models(tmp_path, photometric, tiled):
    shape = {"blockxsize": 32, "blockysize": 32} if tiled else {"blockysize": 16}
    check(
        tmp_path / "x.tif", gradient("uint8"), compress="JPEG", interleave="PIXEL",
        photometric=photometric, tiled=tiled, **shape,
    )  # fmt: skip
    check(tmp_path / "y.tif", gradient("uint8")[:1], compress="JPEG", tiled=tiled, **shape)


def test_sparse_tiles_are_nodata(tmp_path):
    for nodata, expected in ((7, 7), (None, 0)):
        data = _sparse(nodata)
        assert (wait_counts(data) == 0).sum() > 5
        truth, found = by_rasterio(data), by_us(tmp_path / "s.tif", data)
        np.testing.assert_array_equal(found, truth)
        assert found[0, 60, 60] == expected


def _sparse(nodata) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", width=WIDTH, height=HEIGHT, count=1, dtype="uint16", tiled=True,
                blockxsize=16, blockysize=16, sparse_ok=True, nodata=nodata, compress="deflate",
            ) as dataset:  # fmt: skip
                dataset.write(np.full((1, 16, 16), 9, np.uint16), window=((0, 16), (0, 16)))
            return bytes(memory.getbuffer())


def wait_counts(data: bytes) -> np.ndarray:
    return parse(Segments(data)).main.counts


def test_a_header_is_read_in_pieces(tiff, pixels, tmp_path):
    path = tiff(tmp_path / "x.tif", pixels(900, 900)[None], overviews=(2, 4), blockxsize=16,
                blockysize=16)  # fmt: skip
    data, asked = path.read_bytes(), []
    segments = Segments(data[:64])
    while True:
        try:
            header = parse(segments)
            break
        except MissingBytes as missing:
            asked.append(missing.start)
            segments.add(missing.start, data[missing.start : missing.stop])
    assert [level.width for level in header.levels] == [900, 450, 225]
    assert len(asked) == len(set(asked)) > 3


@pytest.mark.parametrize(
    "options",
    [
        {"crs": "EPSG:32632"},
        {"crs": "EPSG:4326", "transform": Affine(0.1, 0, -20, 0, -0.1, 40)},
        {"crs": "EPSG:3035"},
        {"crs": "+proj=laea +lat_0=48 +lon_0=9 +datum=WGS84"},
        {"crs": "EPSG:2263"},  # US survey feet
        {"transform": Affine(3, 4, 100, 4, -3, 200)},
        {"AREA_OR_POINT": "Point"},
        {"nodata": -9999.0, "dtype": "float32"},
        {"nodata": float("nan"), "dtype": "float64"},
        {"nodata": 0, "dtype": "uint8"},
    ],
)
def test_place_and_nodata_are_rasterios(tiff, tmp_path, options):
    options = dict(options)
    values = np.zeros((2, 40, 50), options.pop("dtype", "uint16"))
    point = options.pop("AREA_OR_POINT", None)
    path = tiff(tmp_path / "x.tif", values, predictor=1, **options)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 2.0), (0.0, -1.5)
        if point:
            dataset.update_tags(AREA_OR_POINT=point)
    header = parse(Segments(path.read_bytes()))
    with rasterio.open(path) as dataset:
        assert header.transform == pytest.approx(tuple(dataset.transform)[:6], rel=1e-15)
        assert rasterio.CRS.from_user_input(header.crs) == dataset.crs
        assert header.nodata == dataset.nodata or np.isnan([header.nodata, dataset.nodata]).all()
        assert (header.scales, header.offsets) == (dataset.scales, dataset.offsets)


def test_masks_are_told_from_overviews(tiff, pixels, tmp_path):
    path = tiff(tmp_path / "x.tif", pixels(300, 300)[None], nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(300, dtype=bool))
        dataset.build_overviews([2])
    header = parse(Segments(path.read_bytes()))
    assert ([level.width for level in header.levels], len(header.masks)) == ([300, 150], 2)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<!DOCTYPE html><html>", "not a TIFF"),
        (b"II\x2a\x00\x00\x00\x00\x00", "no directory"),
        (struct.pack("<2sHIHI", b"II", 42, 8, 0, 8), "loop"),
        (struct.pack("<2sHIH", b"II", 42, 8, 60000), "damaged"),
    ],
)
def test_what_is_no_tiff_is_refused(tmp_path, data, says):
    path = tmp_path / "x.tif"
    path.write_bytes(data + bytes(64))
    with pytest.raises(AssetError, match=says):
        wait(CogReader(ByteSource()).header(Href(str(path))))


def test_a_header_that_points_beyond_the_end_is_truncated(tiff, pixels, tmp_path):
    path = tiff(tmp_path / "x.tif", pixels(2000, 2000)[None], blockxsize=16, blockysize=16)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(AssetError, match="truncated"):
        wait(CogReader(ByteSource()).header(Href(str(path))))
