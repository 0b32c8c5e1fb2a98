"""What this reader does not decode comes from rasterio, over the same bytes and credentials."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams, RasterSource

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError, RejectedCredentialError
from geostack_dagster.stack.reader.batch import PixelRequest, read_batch
from geostack_dagster.stack.reader.byte_file import ByteFile, RemoteBlocks
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.decimate import read_window
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.pixels import PixelReader
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.reader.window import Window

CASES = {
    "lerc of interleaved bands": {"compress": "LERC", "interleave": "pixel", "predictor": None},
    "WebP": {"compress": "WEBP", "predictor": None, "dtype": "uint8", "WEBP_LOSSLESS": True},
    "12 bits": {"nbits": 12, "predictor": None},
}


@pytest.mark.parametrize("name", CASES)
def test_odd_codings_come_from_rasterio(tiff, pixels, tmp_path, name):
    options = dict(CASES[name])
    values = (pixels(300, 280)[None] % 4000).astype(options.pop("dtype", "uint16"))
    path = tiff(tmp_path / "odd.tif", np.repeat(values, 3, axis=0), nodata=None, **options)
    reader, href = CogReader(ByteSource()), Href(str(path))
    found = wait(read_window(reader, href, Window(7, 290, 11, 200), band=2))
    np.testing.assert_array_equal(found, values[0, 7:290, 11:200])
    assert reader.fallbacks[href]


def test_jpeg2000_that_is_placed_by_geotiff_keys_comes_from_rasterio(server, pixels):
    values = pixels(400, 300)
    path, transform = server.folder / "image.jp2", Affine(60, 0, 300_000, 0, -60, 5_200_020)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", width=300, height=400, count=1, dtype="uint16",
        crs="EPSG:32632", transform=transform, QUALITY="100", REVERSIBLE="YES",
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)
    grid = GeoBox((100, 120), transform * Affine.translation(200, 50), "EPSG:32632")
    request = PixelRequest(
        sources=(RasterSource(server.href("image.jp2")),),
        grid=grid,
        cfg=RasterLoadParams("uint16", fill_value=0),
    )
    batch = read_batch(PixelReader(ByteSource()), [request])
    expected = np.zeros((100, 120), np.uint16)
    expected[:, :100] = values[50:150, 200:300]
    np.testing.assert_array_equal(batch.arrays[0], expected)
    assert batch.fallbacks == {server.href("image.jp2"): "JPEG 2000 with a place stated as GeoJP2"}
    assert all(seen.headers.get("range") for seen in server.seen)


def test_a_credential_that_dies_under_rasterio_is_named(server, fault, tiff, pixels):
    values = pixels(600, 600)[None].repeat(3, axis=0).astype("uint8")
    path = tiff(server.folder / "webp.tif", values, compress="WEBP", predictor=None, nodata=None)
    path.write_bytes(path.read_bytes() + bytes(1_000_000))
    reader, href = (
        CogReader(ByteSource(_Signer(), policy=FetchPolicy(attempts=1))),
        server.href("webp.tif"),
    )
    wait(reader.header(href))
    server.rule = lambda seen: fault(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
    with pytest.raises(RejectedCredentialError, match="AuthenticationFailed"):
        wait(read_window(reader, href))


def test_what_rasterio_cannot_read_either_is_an_asset_error(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    with pytest.raises(AssetError, match="cannot be read by rasterio either"):
        wait(CogReader(ByteSource()).header(Href(str(path))))


def test_a_byte_file_reads_what_a_file_does(server):
    content = np.random.default_rng(0).bytes(1_200_000)
    (server.folder / "b.bin").write_bytes(content)
    file = ByteFile(RemoteBlocks(ByteSource(), server.href("b.bin")))
    assert file.seek(-10, 2) == len(content) - 10
    assert file.read() == content[-10:]
    assert file.read(5) == b""
    file.seek(300_000)
    assert file.read(600_000) == content[300_000:900_000]
    assert file.tell() == 900_000
    before = len(server.seen)
    file.seek(300_001)
    assert file.read(100) == content[300_001:300_101]
    assert len(server.seen) == before  # blocks are kept


class _Signer:
    def scope(self, href):
        return "scope"

    def sign(self, href):
        from geostack_dagster.auth.signer import SignedRequest
        from geostack_dagster.domain.hrefs import SignedHref

        return SignedRequest(SignedHref(href))

    def credential(self, href):
        return None

    def forget(self, href, refused):
        return False
