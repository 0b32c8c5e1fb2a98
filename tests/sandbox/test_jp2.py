"""Virtual JPEG 2000: other people's decoders read what was painted, and paint what they read."""

import asyncio
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from rasterio.abc import FileContainer
from rasterio.io import MemoryFile
from rasterio.windows import Window as Part

from geostack_dagster.domain.grid import Grid
from geostack_dagster.sandbox.archive import Archive
from geostack_dagster.sandbox.cog import RasterSpec, Window
from geostack_dagster.sandbox.jp2 import VirtualJp2
from geostack_dagster.sandbox.objects import Jp2Object, TileRenderer, Vault, jp2_object
from geostack_dagster.sandbox.world import World

STORED = datetime(2024, 6, 3, tzinfo=UTC)


def spec(pixel=10.0, shape=(2200, 1500), **changes) -> RasterSpec:
    return RasterSpec(
        epsg=32720,
        geographic=False,
        origin=(499980.0, 6400000.0),
        pixel=(pixel, pixel),
        shape=shape,
        **changes,
    )


def painted(window: Window, samples: int = 1, dtype: str = "uint16") -> np.ndarray:
    """Neighbours differ, and no two tiles are alike."""
    rows = np.arange(window.row, window.row + window.height)[:, None]
    columns = np.arange(window.column, window.column + window.width)[None]
    pixels = ((rows * 7 + columns * 13 + rows * columns // 97) % 97 + 1).astype(dtype)
    return pixels if samples == 1 else np.stack([pixels] * samples, axis=-1)


@dataclass
class Painter:
    """Remembers what it painted."""

    of: RasterSpec
    windows: list[Window] = field(default_factory=list)

    def __call__(self, window: Window) -> np.ndarray:
        self.windows.append(window)
        return painted(window, self.of.samples, self.of.dtype)

    def tiles(self, size: int) -> set[tuple[int, int]]:
        return {(window.row // size, window.column // size) for window in self.windows}


@pytest.fixture
def renderer():
    found = TileRenderer(1 << 28)
    yield found
    found.close()


@pytest.fixture
def make(renderer):
    def make(of: RasterSpec, *, empty_rows: int = 0, **layout) -> tuple[Jp2Object, Painter]:
        paint = Painter(of)
        plan = VirtualJp2(of, lambda window: window.row < empty_rows, **layout)
        return jp2_object(f"{of}{layout}", plan, paint, renderer, STORED), paint

    return make


def span(stored: Jp2Object, start: int, stop: int) -> bytes:
    async def read() -> bytes:
        return b"".join([bytes(piece) async for piece in stored.read(start, stop)])

    return asyncio.run(read())


class _File(io.RawIOBase):
    def __init__(self, stored: Jp2Object) -> None:
        self._stored, self._at = stored, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._stored.size)[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._stored.size if size < 0 else min(self._at + size, self._stored.size)
        found = span(self._stored, self._at, stop) if stop > self._at else b""
        self._at += len(found)
        return found


class _Folder(FileContainer):
    def __init__(self, stored: Jp2Object) -> None:
        self._stored = stored

    def open(self, path, mode="r", **options):
        return _File(self._stored)

    def isfile(self, path):
        return True

    def isdir(self, path):
        return False

    def ls(self, path):
        return [path]

    def mtime(self, path):
        return 0

    def rm(self, path):
        raise FileNotFoundError(path)

    def size(self, path):
        return self._stored.size


def opened(stored: Jp2Object):
    return rasterio.open("image.jp2", opener=_Folder(stored), sharing=False)


@pytest.fixture
def gdal():
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_NUM_THREADS="1"):
        yield


@pytest.mark.parametrize(
    "of",
    [
        spec(60.0, (830, 610)),
        spec(20.0, (555, 599), dtype="uint8"),
        spec(20.0, (600, 520), dtype="uint8", samples=3),
        spec(10.0, (1100, 1040)),
    ],
    ids=["60m", "classes", "colours", "10m"],
)
def test_two_decoders_see_what_was_painted(make, of):
    stored, _ = make(of)
    data = span(stored, 0, stored.size)
    assert len(data) == stored.size
    whole = painted(
        Window(step=1, row=0, column=0, height=of.shape[0], width=of.shape[1]),
        of.samples,
        of.dtype,
    )
    assert np.array_equal(imagecodecs.jpeg2k_decode(data), whole)
    with MemoryFile(data, ext=".jp2") as memory, memory.open() as dataset:
        found = dataset.read()
        assert dataset.crs.to_epsg() == of.epsg
        assert tuple(dataset.transform)[:6] == (
            *(of.pixel[0], 0.0, of.origin[0]),
            *(0.0, -of.pixel[1], of.origin[1]),
        )
    assert np.array_equal(np.moveaxis(found, 0, -1).squeeze(), whole)


@pytest.mark.parametrize("has_lengths", [True, False], ids=["tlm", "no tlm"])
def test_a_window_paints_the_tiles_that_it_touches_only(make, gdal, has_lengths):
    stored, paint = make(spec(shape=(3500, 3500)), has_lengths=has_lengths)
    with opened(stored) as dataset:
        assert paint.windows == []
        found = dataset.read(1, window=Part(2100, 1000, 50, 60))
    expected = painted(Window(step=1, row=1000, column=2100, height=60, width=50))
    assert np.array_equal(found, expected)
    assert paint.tiles(1024) == {(0, 2), (1, 2)}


def test_tiles_outside_the_footprint_are_small_and_never_painted(make, gdal):
    of = spec(shape=(3000, 2200))
    stored, paint = make(of, empty_rows=2048)
    with opened(stored) as dataset:
        assert not dataset.read(1, window=Part(0, 0, 2200, 2048)).any()
        assert paint.windows == []
        assert dataset.read(1, window=Part(5, 2048, 9, 9)).all()
    assert stored.size < make(of)[0].size / 2


def test_any_range_is_part_of_the_same_file(make):
    stored, _ = make(spec(20.0, (700, 600)), empty_rows=1)
    whole = span(stored, 0, stored.size)
    random = np.random.default_rng(3)
    for start, stop in np.sort(random.integers(0, stored.size, (40, 2)), axis=1):
        assert span(stored, int(start), int(stop)) == whole[start:stop]
    for part in stored.layout.parts:
        edges = (part.start - 1, part.start, part.start + 65536, part.start + part.length)
        for start in edges:
            assert span(stored, start, start + 3) == whole[start : start + 3]


def test_a_tile_that_does_not_fit_is_an_error(make):
    stored, _ = make(spec(20.0, (512, 512)))
    noise = np.random.default_rng(1).integers(0, 32767, (512, 512), np.uint16)
    with pytest.raises(ValueError, match="too many"):
        stored.layout.encode(stored.layout.parts[0], noise)


def test_the_recorded_scene_is_served_in_every_size(shared_fixtures: Path, renderer):
    """Swath edge in 32TNT: two thirds nodata; classes, colours and bands at 10, 20 and 60 m."""
    name = "S2A_MSIL2A_20200703T103031_N0500_R108_T32TNT_20230613T212700.json"
    item = json.loads((shared_fixtures / "items/cdse/sentinel-2-l2a" / name).read_text())
    vault = Vault()
    archive = Archive(vault, renderer, World())
    archive.publish([item])
    assert archive.unrenderable(item) == {}
    for key, bits in {"B02_10m": 15, "B11_20m": 15, "SCL_20m": 8, "B01_60m": 15}.items():
        href = item["assets"][key]["href"]
        stored = vault.find("s3", "eodata", href.removeprefix("s3://eodata/"))
        assert isinstance(stored, Jp2Object)
        assert stored.layout.coding.bits == bits
        assert list(stored.layout.spec.shape) == item["assets"][key]["proj:shape"]
        empty = sum(part.is_empty for part in stored.layout.parts)
        assert 0.5 < empty / len(stored.layout.parts) < 0.7


def test_reflectance_has_the_offset_of_its_baseline(shared_fixtures: Path, renderer, gdal):
    name = "S2A_MSIL2A_20200703T103031_N0500_R108_T32TMT_20230613T212700.json"
    item = json.loads((shared_fixtures / "items/cdse/sentinel-2-l2a" / name).read_text())
    vault, world = Vault(), World()
    Archive(vault, renderer, world).publish([item])
    href = item["assets"]["B09_60m"]["href"]
    stored = vault.find("s3", "eodata", href.removeprefix("s3://eodata/"))
    assert isinstance(stored, Jp2Object)
    with opened(stored) as dataset:
        numbers = dataset.read(1, window=Part(900, 900, 40, 40)).astype(float)
        transform = dataset.transform
    grid = Grid(
        crs="EPSG:32632",
        resolution=60,
        left=transform.c + 900 * 60,
        top=transform.f - 900 * 60,
        width=40,
        height=40,
    )
    truth = world.reflectance("B09", grid, datetime.fromisoformat("2020-07-03T10:30:31+00:00"))
    assert np.abs(numbers * 1e-4 - 0.1 - truth).max() < 0.02 * truth.max() + 1e-4
