"""Tiles of which only the first rows are wanted: equal to whole ones, damage told if it counts."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.stack.reader.codec import DamagedTileError, decompress
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.decimate import read_window
from geostack_dagster.stack.reader.level import Compression, Level
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.window import Window

NONE = np.zeros(0, np.uint64)
LEVEL = Level(
    width=64,
    height=64,
    tile_width=64,
    tile_height=64,
    samples=1,
    dtype="uint16",
    compression=Compression.DEFLATE,
    offsets=NONE,
    counts=NONE,
)


def tile(period: int) -> np.ndarray:
    """Values that repeat, so that deflate copies over long distances and short ones."""
    return (np.arange(64 * 64, dtype=np.uint32) % period * 40503 % 65521).astype(np.uint16)


@given(st.integers(1, 64), st.integers(1, 5000), st.integers(1, 9))
def test_the_first_rows_are_those_of_the_whole_tile(wanted, period, effort):
    values = tile(period)
    data = zlib.compress(values.tobytes(), effort)
    found = decompress(LEVEL, data, 64, wanted=wanted)
    assert found.shape[0] >= wanted
    np.testing.assert_array_equal(found[:wanted, :, 0], values.reshape(64, 64)[:wanted])


def test_damage_is_told_where_it_lies_in_what_is_wanted():
    data = bytearray(zlib.compress(tile(5000).tobytes()))
    cut = bytes(data[: len(data) // 2])
    assert decompress(LEVEL, cut, 64, wanted=5).shape == (5, 64, 1)
    for damaged in (cut, b"\0" * len(data)):
        with pytest.raises(DamagedTileError):
            decompress(LEVEL, damaged, 64, wanted=40)
    data[-1] ^= 1  # of the checksum at the end
    with pytest.raises(DamagedTileError):
        decompress(LEVEL, bytes(data), 64, wanted=64)


@pytest.mark.parametrize(
    "layout", [{}, {"tiled": False, "blockysize": 64}], ids=["tiles", "strips"]
)
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(
    "coding", [("uint16", 1), ("uint16", 2), ("float32", 2), ("float32", 3)], ids=str
)
def test_windows_that_end_early_in_a_tile(server, tiff, pixels, layout, bands, coding):
    dtype, predictor = coding
    values = np.stack([pixels(200, 210, dtype) + band for band in range(bands)])
    if layout:
        layout = {**layout, "blockxsize": None}
    tiff(
        server.folder / "early.tif", values, predictor=predictor, interleave="pixel",
        nodata=None, **layout,
    )  # fmt: skip
    reader = CogReader(ByteSource())
    for top, bottom in ((0, 1), (3, 60), (130, 140), (0, 200)):
        window = Window(top, bottom, 5, 170)
        found = wait(read_window(reader, server.href("early.tif"), window, band=bands))
        np.testing.assert_array_equal(found, values[-1, top:bottom, 5:170])
