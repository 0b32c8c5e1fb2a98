"""JPEG 2000 tile by tile: the same pixels as rasterio's, in as few requests as a COG."""

import asyncio
import struct
from datetime import UTC, datetime
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from affine import Affine

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError
from geostack_dagster.sandbox.cog import RasterSpec
from geostack_dagster.sandbox.jp2 import VirtualJp2
from geostack_dagster.sandbox.objects import TileRenderer, jp2_object
from geostack_dagster.stack.reader import jp2_codec
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.decimate import read_window
from geostack_dagster.stack.reader.jp2 import parse_jp2
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.segments import MissingBytes, Segments
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.tile_index import read_index, write_index
from geostack_dagster.stack.reader.want import Want
from geostack_dagster.stack.reader.window import Window

SCENE = "raster/S2A_T32TLS_20220620_N0400_R60m_B01.jp2"
PLACE = Affine(10, 0, 400_000, 0, -10, 5_000_000)


def written(path: Path, pixels: np.ndarray, **options) -> np.ndarray:
    """Pixels, lossless, by GDAL and OpenJPEG."""
    layers = pixels.reshape(-1, *pixels.shape[-2:])
    profile = {
        "driver": "JP2OpenJPEG",
        "width": layers.shape[2],
        "height": layers.shape[1],
        "count": len(layers),
        "dtype": layers.dtype.name,
        "crs": "EPSG:32632",
        "transform": PLACE,
        "QUALITY": "100",
        "REVERSIBLE": "YES",
        "GeoJP2": "NO",
        **options,
    }
    with rasterio.open(path, "w", **profile) as image:
        image.write(layers)
    return layers


@pytest.fixture
def smooth():
    """No two pixels alike that are near; compresses well."""
    rows, columns = np.mgrid[:700, :500]
    return ((rows * 31 + columns * 17 + rows * columns // 13) % 4001).astype("uint16")


LAYOUTS = {
    "one tile": {},
    "tiles": {"BLOCKXSIZE": 256, "BLOCKYSIZE": 128},
    "tiles off the code blocks": {"BLOCKXSIZE": 192, "BLOCKYSIZE": 96},
    "tile lengths": {"BLOCKXSIZE": 256, "BLOCKYSIZE": 128, "TLM": "YES"},
    "tile parts": {"BLOCKXSIZE": 256, "BLOCKYSIZE": 128, "TILEPARTS": "RESOLUTIONS"},
    "parts and lengths": {
        "BLOCKXSIZE": 256,
        "BLOCKYSIZE": 128,
        "TILEPARTS": "RESOLUTIONS",
        "TLM": "YES",
    },
    "precincts": {"PROGRESSION": "RPCL", "PRECINCTS": "{128,128},{64,64}", "BLOCKXSIZE": 256},
    "12 bits": {"NBITS": 12, "BLOCKXSIZE": 256, "BLOCKYSIZE": 256},
    "lossy": {"REVERSIBLE": "NO", "QUALITY": "20", "BLOCKXSIZE": 256, "BLOCKYSIZE": 256},
    "bare codestream": {"CODEC": "J2K", "BLOCKXSIZE": 256, "BLOCKYSIZE": 256},
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_what_rasterio_reads(tmp_path, smooth, layout):
    options = dict(LAYOUTS[layout])
    ending = "j2k" if options.pop("CODEC", "") else "jp2"
    path = tmp_path / f"image.{ending}"
    written(path, smooth, **options)
    reader, href = CogReader(ByteSource()), Href(str(path))
    header = wait(reader.header(href))
    assert header.unsupported is None
    with rasterio.open(path) as image:
        assert header.overviews == image.overviews(1)
        if ending == "jp2":
            assert header.transform == tuple(image.transform)[:6]
            assert header.crs == f"EPSG:{image.crs.to_epsg()}"
        window = Window(90, 613, 130, 499)
        found = wait(read_window(reader, href, window))
        np.testing.assert_array_equal(found, image.read(1)[window.slices])
    for number, level in enumerate(header.levels[1:]):
        with rasterio.open(path, overview_level=number) as image:
            assert image.shape == level.shape


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_and_colours(tmp_path, smooth, count):
    path = tmp_path / "colours.jp2"
    layers = written(
        path, np.stack([smooth // (8 * n + 16) for n in range(count)]).astype("uint8"),
        BLOCKXSIZE=256, BLOCKYSIZE=256, YCC="YES" if count == 3 else "NO",
    )  # fmt: skip
    reader, href = CogReader(ByteSource()), Href(str(path))
    for band in range(count):
        found = wait(read_window(reader, href, Window(3, 700, 5, 500), band=band + 1))
        np.testing.assert_array_equal(found, layers[band, 3:, 5:])
    assert reader.fallbacks == {}


def test_levels_of_the_recorded_scene_are_gdals(shared_fixtures):
    path = shared_fixtures / SCENE
    reader, href = CogReader(ByteSource()), Href(str(path))
    header = wait(reader.header(href))
    assert header.main.tile_width == 192
    assert header.overviews == [2, 4, 8, 16]
    for number, level in enumerate(header.levels):
        options = {} if number == 0 else {"overview_level": number - 1}
        with rasterio.open(path, **options) as image:
            truth = image.read(1)
        out = np.empty(level.shape, level.dtype)
        whole = Window(0, level.height, 0, level.width)
        wait(reader.fill(href, header, [Want(number, whole, 0, out)]))
        np.testing.assert_array_equal(out, truth)


REFUSED = {
    "GeoJP2": {"GeoJP2": "YES"},
    "not stated in UTM": {"crs": "EPSG:3035"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_sure_is_left_to_rasterio(tmp_path, smooth, reason):
    path = tmp_path / "image.jp2"
    layers = written(path, smooth, **REFUSED[reason])
    reader, href = CogReader(ByteSource()), Href(str(path))
    found = wait(read_window(reader, href, Window(0, 50, 0, 60)))
    np.testing.assert_array_equal(found, layers[0, :50, :60])
    assert reason in reader.fallbacks[href]


def test_signed_values_are_left_to_rasterio(tmp_path, smooth):
    path = tmp_path / "signed.jp2"
    layers = written(path, smooth.astype("int16") - 2000)
    reader, href = CogReader(ByteSource()), Href(str(path))
    np.testing.assert_array_equal(wait(read_window(reader, href)), layers[0])
    assert "signed" in reader.fallbacks[href]


def _scene_pixels() -> np.ndarray:
    rows, columns = np.mgrid[:3100, :3100]
    return ((rows * 7 + columns * 13) % 97 + 1).astype("uint16")


@pytest.fixture(scope="module")
def scenes() -> dict[bool, bytes]:
    """A file as ESA writes them, with and without the lengths of its tiles."""
    pixels, renderer = _scene_pixels(), TileRenderer(1 << 28)
    spec = RasterSpec(
        epsg=32632, geographic=False, origin=(4e5, 5e6), pixel=(10.0, 10.0), shape=pixels.shape
    )

    def paint(window):
        return pixels[window.row :, window.column :][: window.height, : window.width]

    async def content(has_lengths: bool) -> bytes:
        layout = VirtualJp2(spec, lambda window: False, has_lengths)
        stored = jp2_object("scene", layout, paint, renderer, datetime(2024, 6, 3, tzinfo=UTC))
        return b"".join([bytes(piece) async for piece in stored.read(0, stored.size)])

    found = {has_lengths: asyncio.run(content(has_lengths)) for has_lengths in (True, False)}
    renderer.close()
    return found


@pytest.fixture
def safe(server, scenes):
    """Serve one of them; gives its href and pixels."""

    def safe(name: str, *, has_lengths: bool) -> tuple[Href, np.ndarray]:
        (server.folder / name).write_bytes(scenes[has_lengths])
        return server.href(name), _scene_pixels()

    return safe


@pytest.mark.parametrize("has_lengths", [True, False], ids=["lengths", "chain"])
def test_only_the_tiles_touched_are_fetched(server, safe, has_lengths):
    href, pixels = safe("scene.jp2", has_lengths=has_lengths)
    reader = CogReader(ByteSource())
    wait(reader.header(href))
    opened = len(server.seen)
    assert opened <= (2 if has_lengths else 2 + 16)
    window = Window(1000, 1060, 2100, 2140)  # across two tiles in a column
    found = wait(read_window(reader, href, window))
    np.testing.assert_array_equal(found, pixels[window.slices])
    asked = [_span(seen.headers["range"]) for seen in server.seen[opened:]]
    assert len(asked) == 2
    header = wait(reader.header(href))
    tiles = {(int(header.main.offsets[n]), int(header.main.counts[n])) for n in (2, 6)}
    assert {(start, stop - start) for start, stop in asked} == tiles


def _span(asked: str) -> tuple[int, int]:
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


def test_a_small_file_is_fetched_whole_for_its_chain(server, shared_fixtures):
    (server.folder / "small.jp2").write_bytes((shared_fixtures / SCENE).read_bytes())
    reader = CogReader(ByteSource())
    header = wait(reader.header(server.href("small.jp2")))
    assert len(header.main.offsets) == 100
    assert len(server.seen) == 2


def test_a_tile_index_saves_the_chain(server, safe, tmp_path):
    href, pixels = safe("scene.jp2", has_lengths=False)
    reader = CogReader(ByteSource())
    wait(reader.header(href))
    assert write_index(reader.known_headers(), str(tmp_path / "index.parquet")) == 1
    server.seen.clear()
    again = CogReader(ByteSource(), read_index(str(tmp_path / "index.parquet")))
    window = Window(10, 20, 30, 40)
    np.testing.assert_array_equal(wait(read_window(again, href, window)), pixels[window.slices])
    assert len(server.seen) == 1


def test_a_tile_is_decoded_once_for_all_chunks(server, safe, monkeypatch):
    href, pixels = safe("scene.jp2", has_lengths=True)
    calls, decode = [], imagecodecs.jpeg2k_decode

    def counted(*arguments, **options):
        calls.append(1)
        return decode(*arguments, **options)

    monkeypatch.setattr(jp2_codec.imagecodecs, "jpeg2k_decode", counted, raising=False)
    reader = CogReader(ByteSource())
    for left in range(0, 900, 300):
        window = Window(2100, 2200, left, left + 300)
        np.testing.assert_array_equal(
            wait(read_window(reader, href, window)), pixels[window.slices]
        )
    assert len(calls) == 1


def test_damage_is_an_error_that_says_so(shared_fixtures):
    content = (shared_fixtures / SCENE).read_bytes()
    random = np.random.default_rng(11)
    for _ in range(300):
        broken = bytearray(content[:4000] + content[4000:9000])
        at = int(random.integers(12, 3000))
        broken[at : at + 4] = random.bytes(4)
        try:
            parse_jp2(Segments(bytes(broken)), size=len(content))
        except (AssetError, MissingBytes):
            continue


def test_a_chain_that_leads_nowhere_is_found(shared_fixtures, tmp_path):
    content = bytearray((shared_fixtures / SCENE).read_bytes())
    first = content.index(b"\xff\x90\x00\x0a")
    struct.pack_into(">I", content, first + 6, 130)  # longer than the tile-part is
    path = tmp_path / "broken.jp2"
    path.write_bytes(content)
    with pytest.raises(AssetError, match=r"broken\.jp2: a tile does not begin"):
        wait(CogReader(ByteSource()).header(Href(str(path))))


def test_a_tile_that_does_not_decode_is_an_asset_error(shared_fixtures, tmp_path):
    content = bytearray((shared_fixtures / SCENE).read_bytes())
    reader, whole = CogReader(ByteSource()), Href(str(shared_fixtures / SCENE))
    main = wait(reader.header(whole)).main
    start = int(main.offsets[48])
    content[start + 12 : start + 14] = b"\xff\x91"  # no such marker may stand there
    path = tmp_path / "broken.jp2"
    path.write_bytes(content)
    with pytest.raises(AssetError, match="does not decode"):
        wait(read_window(CogReader(ByteSource()), Href(str(path)), Window(800, 900, 1500, 1700)))
