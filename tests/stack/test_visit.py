"""Visits to a Recipe's files: headers are read once and for all, and what happened is said."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geostack_dagster.errors import AssetError, CredentialError
from geostack_dagster.stack.chips import ChipAt, ChipReader
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.reader.source import FetchPolicy
from geostack_dagster.stack.reader.tile_index import read_index
from geostack_dagster.stack.visit import Visit

HEADER = "bytes=0-32767"


@pytest.fixture
def index(tmp_path):
    return str(tmp_path / "recipes/day.tiles.parquet")


@pytest.fixture
def tagged(archive):
    archive.tagged = True
    return archive


@pytest.fixture
def recipe(kit, tagged):
    hrefs = {
        name: tagged.put(f"/open/{name}.tif", kit.tiff(kit.unique(512, 512, first=first)))
        for name, first in (("B04", 1), ("B08", 7))
    }
    return kit.recipe([kit.item("A", hrefs)], bands=("B04", "B08"))


def headers(archive):
    found = [path for _, path, asked in archive.requests if asked == HEADER]
    archive.requests.clear()
    return found


def read(recipe, signer, index, **how):
    with Visit(recipe, signer, index=index) as visit:
        return visit.open(**how).compute(), visit.facts


def test_the_next_visit_begins_with_the_tiles(recipe, signer, index, tagged, kit):
    first, facts = read(recipe, signer, index)
    assert sorted(headers(tagged)) == ["/open/B04.tif", "/open/B08.tif"]
    assert facts["headers_read"] == 2
    written = Path(index).stat().st_mtime_ns

    again, facts = read(recipe, signer, index, chunks={"y": 200, "x": 300})
    assert headers(tagged) == []
    assert facts["headers_read"] == 0
    np.testing.assert_array_equal(again.B08, first.B08)
    np.testing.assert_array_equal(again.B04, kit.unique(512, 512, first=1)[None])
    assert Path(index).stat().st_mtime_ns == written


def test_headers_are_asked_for_together_and_once(kit, tagged, signer, index):
    items = [
        kit.item(
            f"I{day}",
            {"B04": tagged.put(f"/open/{day}.tif", kit.tiff(kit.unique(512, 512)))},
            when=f"2024-06-{day:02d}T10:30:00Z",
        )
        for day in range(1, 25)
    ]
    tagged.latency_s = 0.05
    with Visit(kit.recipe(items), signer, index=index) as visit:
        visit.open().B04.compute(scheduler="synchronous")
    assert len(headers(tagged)) == 24
    assert tagged.most_at_once >= 6  # one chunk at a time asks for one header, then for tiles
    assert len(read_index(index)) == 24


def test_an_archive_that_refuses_is_not_asked_for_everything(kit, archive, signer, index):
    items = [
        kit.item(f"I{number}", {"B04": archive.put(f"/closed/{number}.tif", b"")},
                 when=f"2024-06-{number % 28 + 1:02d}T10:30:00Z")
        for number in range(400)
    ]  # fmt: skip
    archive.latency_s = 0.01
    with Visit(kit.recipe(items), signer, index=index) as visit, pytest.raises(CredentialError):
        visit.open().B04[0].compute()
    assert len(archive.requests) < 3 * FetchPolicy().in_flight


def test_other_readers_begin_with_the_tiles_as_well(recipe, signer, index, tagged, kit):
    read(recipe, signer, index)
    tagged.requests.clear()
    reader = ChipReader(recipe, bands=["B08"], signer=signer, index=index)
    chips = reader.codes([ChipAt(date(2024, 6, 3), 100, 90)], size=(40, 30))
    assert headers(tagged) == []
    np.testing.assert_array_equal(chips[0, 0], kit.unique(512, 512, first=7)[100:140, 90:120])


def test_a_replaced_file_is_read_anew_and_remembered(recipe, signer, index, tagged, kit):
    read(recipe, signer, index)
    pixels = kit.unique(512, 512, first=500)
    tagged.put("/open/B08.tif", kit.tiff(pixels, compress="zstd"))
    tagged.requests.clear()

    found, facts = read(recipe, signer, index)
    np.testing.assert_array_equal(found.B08, pixels[None])
    assert headers(tagged) == ["/open/B08.tif"]
    assert facts["headers_read"] == 1

    found, _ = read(recipe, signer, index)
    np.testing.assert_array_equal(found.B08, pixels[None])
    assert headers(tagged) == []


def test_what_was_learned_outlives_a_failure(recipe, signer, index, tagged):
    del tagged.files["/open/B08.tif"]
    with pytest.raises(AssetError, match=r"B08\.tif"):
        read(recipe, signer, index)
    assert [href.rpartition("/")[2] for href in read_index(index)] == ["B04.tif"]


def test_an_index_that_is_none_is_made_anew(recipe, signer, index, tagged, caplog):
    Path(index).parent.mkdir()
    Path(index).write_bytes(b"not a table")
    read(recipe, signer, index)
    assert "is no tile index" in caplog.text
    assert len(read_index(index)) == 2


def test_files_without_a_tag_are_not_trusted_to_stay(recipe, signer, index, tagged):
    tagged.tagged = False
    read(recipe, signer, index)
    assert read_index(index) == {}
    assert len(headers(tagged)) == 2
    read(recipe, signer, index)
    assert len(headers(tagged)) == 2


def test_no_signature_is_kept(kit, archive, index):
    archive.tagged = True
    archive.tokens.add("secret-token")
    signer = kit.signer(archive, token="secret-token")
    href = archive.put("/closed/B04.tif", kit.tiff(kit.unique(512, 512)))
    read(kit.recipe([kit.item("A", {"B04": href})]), signer, index)
    assert list(read_index(index)) == [href]
    assert b"secret-token" not in Path(index).read_bytes()


def test_what_rasterio_had_to_read_is_said(kit, tagged, signer, index):
    pixels = kit.unique(512, 512) % 4000 + 1
    path, corner = Path(index).with_name("B04.odd"), rasterio.Affine(*kit.grid.transform)
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="GTiff", width=512, height=512, count=1, dtype="uint16", crs=kit.grid.crs,
        transform=corner, nbits=12,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    odd = tagged.put("/open/B04.odd", path.read_bytes())
    plain = tagged.put("/open/B08.tif", kit.tiff(pixels))
    items = [kit.item("A", {"B04": odd, "B08": plain})]
    with Visit(kit.recipe(items, bands=("B04", "B08")), signer, index=index) as visit:
        found = visit.open().compute()
        (row,) = visit.fallbacks
    np.testing.assert_array_equal(found.B04, found.B08)
    assert row == {"why": "12 bits of sample format 1", "files": 1, "for_example": "B04.odd"}
    assert list(read_index(index)) == [plain]


@pytest.mark.parametrize("loader", ["odc_gdal", "stackstac"])
def test_other_loaders_read_as_they_do(recipe, signer, index, loader, kit):
    found, facts = read(replace(recipe, loader=loader), signer, index)
    np.testing.assert_array_equal(found.B04, kit.unique(512, 512, first=1)[None])
    assert facts == {}
    assert not Path(index).exists()


@pytest.mark.parametrize("transport", ["obstore", "fsspec"])
def test_either_transport_gives_the_stack(recipe, signer, transport):
    wanted = open_stack(recipe, signer=signer).compute()
    with Visit(recipe, signer, transport=transport) as visit:
        assert visit.open().compute().equals(wanted)
