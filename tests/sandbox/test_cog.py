"""Virtual COGs are real GeoTIFFs to an independent reader."""

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from geostack_dagster.sandbox.cog import RasterSpec, VirtualCog, Window, encode, encoded_size


def paint(window: Window, dtype: str = "uint16", samples: int = 1):
    """Every pixel its own value, by absolute position."""
    rows = (window.row + np.arange(window.height)) * window.step + window.step // 2
    columns = (window.column + np.arange(window.width)) * window.step + window.step // 2
    values = rows[:, None] * 31 + columns[None] * 17
    if samples > 1:
        values = np.stack([values + 7 * k for k in range(samples)], axis=-1)
    if dtype.startswith("f"):
        values = values / 7 - 5e4
    return (
        values.astype(dtype) if window.sample is None else values.astype(dtype)[..., window.sample]
    )


def written(spec: RasterSpec, start: int = 0, stop: int | None = None) -> bytes:
    layout = VirtualCog(spec)
    parts = []
    for level, index, part in layout.pieces(start, layout.size if stop is None else stop):
        if level is None:
            parts.append(layout.header[part])
        else:
            tile = encode(paint(level.window(index), spec.dtype, spec.samples))
            parts.append(tile.ljust(level.stride, b"\0")[part])
    return b"".join(parts)


def spec(**changes) -> RasterSpec:
    stated = {
        "epsg": 32720,
        "geographic": False,
        "origin": (499_980.0, 6_400_000.0),
        "pixel": (10.0, 10.0),
        "shape": (1300, 1100),
        "tile": 256,
    }
    return RasterSpec(**stated | changes)


def _interleave(stated: RasterSpec) -> str:
    return "pixel" if stated.samples > 1 and not stated.has_planes else "band"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": "uint8", "tile": 512},
        {"dtype": "uint8", "samples": 3},
        {"shape": (200, 100)},
        {"epsg": 4326, "geographic": True, "origin": (7.0, 47.0), "pixel": (1e-4, 1e-4)},
        {"dtype": "float32", "nodata": -9999.0},
        {"dtype": "float32", "samples": 2, "nodata": -9999.0},
        {"dtype": "int16", "samples": 5, "has_planes": True, "nodata": -32768},
        {"dtype": "int16", "samples": 4, "nodata": -32768},
    ],
    ids=[
        *("uint16", "uint8", "colour", "one tile", "degrees"),
        *("float", "floats", "planes", "samples"),
    ],
)
def test_rasterio_reads_what_was_painted(changes):
    stated = spec(**changes)
    height, width = stated.shape
    with MemoryFile(written(stated)) as memory, memory.open() as source:
        assert source.crs.to_epsg() == stated.epsg
        assert source.transform[:6] == pytest.approx(
            (stated.pixel[0], 0, stated.origin[0], 0, -stated.pixel[1], stated.origin[1])
        )
        assert source.nodata == stated.nodata
        assert set(source.dtypes) == {stated.dtype}
        assert source.interleaving.name.lower() == _interleave(stated)
        assert source.block_shapes[0] == (stated.tile, stated.tile)
        found = np.moveaxis(source.read(), 0, -1)
    full = Window(step=1, row=0, column=0, height=height, width=width)
    wanted = paint(full, stated.dtype, stated.samples).reshape(found.shape)
    np.testing.assert_array_equal(found, wanted)


def test_overviews_are_decimations():
    contents = written(spec())
    with MemoryFile(contents) as memory, memory.open() as source:
        assert source.overviews(1) == [2, 4]
    for number, step in enumerate((2, 4)):
        with MemoryFile(contents) as memory, memory.open(overview_level=number) as source:
            found = source.read(1)
        window = Window(step=step, row=0, column=0, height=found.shape[0], width=found.shape[1])
        np.testing.assert_array_equal(found, paint(window))


def test_any_range_is_a_slice_of_the_file():
    stated = spec()
    contents = written(stated)
    assert len(contents) == VirtualCog(stated).size
    random = np.random.default_rng(7)
    for start, length in random.integers(0, len(contents), (50, 2)):
        stop = min(start + length // 20, len(contents))
        assert written(stated, start, stop) == contents[start:stop]


def test_reading_the_head_of_a_file_paints_nothing():
    layout = VirtualCog(spec(shape=(10980, 10980), tile=512))
    assert all(level is None for level, _, _ in layout.pieces(0, 64 << 10))
    assert layout.size > 300e6


def test_a_read_in_blocks_of_gdal_touches_one_tile():
    layout = VirtualCog(spec(shape=(10980, 10980), tile=512))
    level = layout.levels[0]
    for index in (0, 7, level.tiles - 1):
        first = level.start + index * level.stride
        block = 16 << 10
        start = first // block * block
        stop = -(-(first + level.tile_bytes) // block) * block
        touched = {(held.step, n) for held, n, _ in layout.pieces(start, stop) if held}
        assert touched == {(1, index)}


def test_length_of_a_tile_depends_on_its_shape_only():
    random = np.random.default_rng(1)
    for tile in (16, 256, 512):
        pixels = random.integers(0, 65536, (tile, tile), np.uint16)
        assert len(encode(pixels)) == encoded_size(pixels.nbytes) == len(encode(pixels * 0))


def test_rasterio_finds_a_damaged_tile():
    """The stream is real Deflate: a block whose length contradicts itself is an error."""
    contents = bytearray(written(spec(shape=(200, 100))))
    contents[VirtualCog(spec(shape=(200, 100))).levels[0].start + 3] ^= 0xFF
    with (
        MemoryFile(bytes(contents)) as memory,
        memory.open() as source,
        pytest.raises(rasterio.errors.RasterioIOError),
    ):
        source.read()
