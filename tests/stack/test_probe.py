import json
from datetime import UTC, datetime

import pytest

from geostack_dagster.auth.signer import Credential
from geostack_dagster.errors import (
    AssetError,
    CredentialError,
    IntegrityError,
    ServiceError,
)
from geostack_dagster.stack.probe import probe

TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789"
EXPIRY = datetime(2031, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def content(kit):
    return kit.tiff(kit.unique(512, 512))


def test_it_reports_what_a_header_says(kit, archive, content):
    archive.tokens = {TOKEN}
    href = archive.put("/closed/a.tif", content)

    class Expiring(kit.signer):
        def credential(self, href):
            return Credential(values={}, expires_at=EXPIRY, source="test")

    (report,) = probe(kit.recipe([kit.item(assets={"B04": href})]), Expiring(archive, TOKEN))
    header = report.header
    assert (header.driver, header.dtype, header.nodata) == ("GTiff", "uint16", 0.0)
    assert header.projection.crs == "EPSG:32632"
    assert header.projection.shape == (512, 512)
    assert header.block == (128, 128)
    assert header.compression == "DEFLATE"
    assert header.overviews == (2, 4)
    assert report.scope == f"{archive.root}/closed"
    assert report.expires_at == EXPIRY
    assert 0 < report.bytes_read <= len(content)
    assert report.seconds > 0
    assert report.contradictions == ()
    text = json.dumps(report.to_json())
    assert TOKEN not in text
    assert "2031-01-02" in text


def test_one_asset_of_each_container_is_opened(kit, archive, content):
    archive.tokens = {TOKEN}
    hrefs = [archive.put(f"/{box}/{n}.tif", content) for box in ("one", "two") for n in range(3)]
    items = [kit.item(str(n), {"B04": href}) for n, href in enumerate(hrefs)]
    reports = probe(kit.recipe(items), kit.signer(archive, TOKEN))
    assert [report.item for report in reports] == ["0", "3"]
    touched = {path.partition("?")[0] for _, path, _ in archive.requests}
    assert touched == {"/one/0.tif", "/two/0.tif"}


WRONG = {
    "proj says EPSG:32633": {"proj:code": "EPSG:32633", "proj:transform": None},
    "proj:shape is": {"proj:shape": [1024, 512]},
    "proj:transform is": {"proj:transform": [10.0, 0, 600100.0, 0, -10.0, 5000000.0]},
}


@pytest.mark.parametrize("text", WRONG)
def test_metadata_that_would_misplace_pixels_is_an_error(kit, archive, content, text):
    href = archive.put("/open/a.tif", content)
    recipe = kit.recipe([kit.item(assets={"B04": href}, asset=WRONG[text])])
    with pytest.raises(IntegrityError, match=text):
        probe(recipe, kit.signer())
    (report,) = probe(recipe, kit.signer(), strict=False)
    assert len(report.contradictions) == 1


def test_other_disagreements_are_warnings_that_name_both(kit, archive):
    content = kit.tiff(kit.unique(512, 512, dtype="int16"), nodata=-9999)
    href = archive.put("/open/a.tif", content)
    stated = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
    (report,) = probe(kit.recipe([kit.item(assets={"B04": href}, asset=stated)]), kit.signer())
    assert any("uint16" in text and "int16" in text for text in report.warnings)
    assert any("nodata is 0.0" in text and "-9999" in text for text in report.warnings)


def test_doubts_about_the_radiometry_are_repeated(kit, archive, content):
    href = archive.put("/open/a.tif", content)
    item = kit.item(assets={"B04": href}, properties={"s2:processing_baseline": None})
    (report,) = probe(kit.recipe([item]), kit.signer())
    assert any("no processing baseline" in text for text in report.warnings)


def test_wrong_credentials_missing_files_and_busy_archives(kit, archive, content):
    href = archive.put("/closed/a.tif", content)
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    with pytest.raises(CredentialError):
        probe(recipe, kit.signer(archive, TOKEN))
    archive.tokens = {TOKEN}
    archive.files["/closed/a.tif"] = content[:200]
    with pytest.raises(AssetError, match=r"a\.tif"):
        probe(recipe, kit.signer(archive, TOKEN))
    archive.files["/closed/a.tif"] = b"<html>login</html>" * 9
    with pytest.raises(AssetError, match=r"a\.tif"):
        probe(recipe, kit.signer(archive, TOKEN))
    del archive.files["/closed/a.tif"]
    with pytest.raises(AssetError, match="404"):
        probe(recipe, kit.signer(archive, TOKEN))
    archive.permanent["/closed/a.tif"] = (503, {"Retry-After": "999"}, b"")
    with pytest.raises(ServiceError):
        probe(recipe, kit.signer(archive, TOKEN))


def test_local_files(kit, write, signer):
    path = write("a.tif", kit.unique(512, 512))
    (report,) = probe(kit.recipe([kit.item(assets={"B04": path})]), signer)
    assert report.scope == ""
    assert report.expires_at is None


def test_nothing_to_probe(kit, signer):
    assert probe(kit.recipe([]), signer) == []
