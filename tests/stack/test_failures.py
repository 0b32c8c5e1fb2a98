"""What can be wrong with an asset, in every loader: a typed error about the canonical href."""

import logging
import threading
import traceback

import numpy as np
import pytest
import rasterio

from geostack_dagster.auth.redaction import RedactingFilter
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    CredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import LOADERS

TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789"
PAGE = b"<!DOCTYPE html><html><body>Sign in with your password</body></html>"


@pytest.fixture(params=LOADERS)
def loader(request):
    return request.param


@pytest.fixture
def content(kit):
    return kit.tiff(kit.unique(512, 512))


def failing(kit, archive, loader, href, caplog):
    """The error of a read with a signature, after a scan of it and of all logs for the latter."""
    caplog.set_level(logging.DEBUG)
    archive.tokens = {TOKEN}
    signer = kit.signer(archive, TOKEN)
    stack = open_stack(
        kit.recipe([kit.item(assets={"B04": href})]),
        signer=signer,
        loader=loader,
        chunks={"y": 200},
    )
    with pytest.raises((AssetError, CredentialError, ServiceError)) as caught:
        stack.B04.compute()
    assert href.rpartition("/")[2] in str(caught.value)
    said = "".join(traceback.format_exception(caught.value))
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert TOKEN not in said
    assert TOKEN not in logged
    assert caught.value.__context__ is None or TOKEN not in repr(caught.value.__context__)
    return caught.value


def test_a_truncated_file(kit, archive, content, loader, caplog):
    href = archive.put("/closed/cut.tif", content[: len(content) // 2])
    error = failing(kit, archive, loader, href, caplog)
    assert isinstance(error, AssetError)
    assert "truncated" in str(error)


def test_a_file_cut_inside_its_header(kit, archive, content, loader, caplog):
    href = archive.put("/closed/stub.tif", content[:150])
    assert isinstance(failing(kit, archive, loader, href, caplog), AssetError)


def test_a_web_page_stored_in_place_of_the_file(kit, archive, loader, caplog):
    href = archive.put("/closed/page.tif", PAGE)
    error = failing(kit, archive, loader, href, caplog)
    assert isinstance(error, AssetError)
    assert "web page" in str(error) or "not a TIFF" in str(error)


def test_a_missing_object(kit, archive, loader, caplog):
    error = failing(kit, archive, loader, f"{archive.root}/closed/gone.tif", caplog)
    assert isinstance(error, AssetError)
    assert "404" in str(error)


def test_a_refusal_that_a_new_credential_does_not_change(kit, archive, content, loader, caplog):
    status = {"odc": 401, "odc_gdal": 403, "stackstac": 403, "rioxarray": 409}[loader]
    href = archive.put("/closed/no.tif", content)
    archive.permanent["/closed/no.tif"] = (status, {}, b"<Error><Code>Nope</Code></Error>")
    error = failing(kit, archive, loader, href, caplog)
    assert isinstance(error, RejectedCredentialError)


def test_an_unsigned_read_of_a_protected_asset(kit, archive, content, loader):
    href = archive.put("/closed/a.tif", content)
    stack = open_stack(
        kit.recipe([kit.item(assets={"B04": href})]), signer=kit.signer(), loader=loader
    )
    with pytest.raises(CredentialError, match="409"):
        stack.B04.compute()


def test_a_busy_archive_says_when_to_come_back(kit, archive, content, loader, caplog):
    status = 429 if loader == "odc" else 503
    href = archive.put("/closed/busy.tif", content)
    archive.permanent["/closed/busy.tif"] = (status, {"Retry-After": "120"}, b"")
    error = failing(kit, archive, loader, href, caplog)
    assert isinstance(error, ServiceError)
    assert error.status == status
    assert error.retry_after_s == 120.0


def test_what_failed_once_is_not_remembered(kit, archive, loader):
    """GDAL keeps a URL's failure for the life of the process; a later read must not see it."""
    pixels = kit.unique(512, 512)
    href = archive.put("/open/later.tif", PAGE)
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    with pytest.raises(AssetError):
        open_stack(recipe, signer=kit.signer(), loader=loader).B04.compute()
    archive.files["/open/later.tif"] = kit.tiff(pixels)
    found = open_stack(recipe, signer=kit.signer(), loader=loader).B04[0].compute()
    np.testing.assert_array_equal(found, pixels)


def test_a_short_hiccup_is_ridden_out(kit, archive, content, loader):
    href = archive.put("/open/hiccup.tif", content)
    archive.faults["/open/hiccup.tif"] = [(503, {}, b"")] * 2
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    assert open_stack(recipe, signer=kit.signer(), loader=loader).B04.compute().any()


def test_a_band_that_the_file_has_not(kit, write, signer, loader):
    from dataclasses import replace

    from geostack_dagster.domain.bands import Band, BandTable
    from geostack_dagster.stack.ask import make_recipe

    provider = kit.provider()
    table = BandTable((Band(name="B9", keys=("B04",), index=9, wavelength_nm=900.0),))
    provider = replace(
        provider, collections={"s2": replace(provider.collections["s2"], bands=table)}
    )
    item = kit.item(assets={"B04": write("one.tif", kit.unique(512, 512))})
    recipe = make_recipe(provider, [item], ask=kit.ask(bands=("B9",)))
    with pytest.raises(
        (AssetError, ConfigurationError), match=r"has 1 bands, band 9|band 9 was asked for"
    ):
        open_stack(recipe, signer=signer, loader=loader).compute()


def test_local_files_that_are_no_rasters(kit, tmp_path, signer, loader):
    (tmp_path / "a.tif").write_bytes(b"not a raster")
    for name in ("a.tif", "absent.tif"):
        recipe = kit.recipe([kit.item(assets={"B04": str(tmp_path / name)})])
        with pytest.raises(AssetError, match=name):
            open_stack(recipe, signer=signer, loader=loader).B04.compute()


def test_an_asset_without_any_crs(kit, write, signer, loader):
    path = write("bare.tif", kit.unique(512, 512), driver="GTiff", crs=None)
    bare = {"proj:shape": None, "proj:transform": None}
    recipe = kit.recipe(
        [kit.item(assets={"B04": path}, asset=bare, properties={"proj:epsg": None})]
    )
    with pytest.raises(AssetError, match="states a CRS"):
        open_stack(recipe, signer=signer, loader=loader)


def test_options_of_a_read_stay_with_the_read(archive, kit, signer):
    """From the main thread too, whose GDAL options rasterio sets for the whole process."""
    from rasterio.env import get_gdal_config

    seen = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        inside.wait(5)
        with rasterio.Env():
            seen["other thread"] = get_gdal_config("GDAL_HTTP_RETRY_DELAY")
        done.set()

    def read(path):
        seen["the read"] = get_gdal_config("GDAL_HTTP_RETRY_DELAY")
        inside.set()
        done.wait(5)
        return path

    thread = threading.Thread(target=other)
    thread.start()
    path = reading(Href(f"{archive.root}/open/x.tif"), signer, read)
    thread.join()
    assert path == f"/vsicurl/{archive.root}/open/x.tif"
    assert seen["the read"] == "0.25"
    assert seen["other thread"] is None


def test_gdal_loggers_are_redacted():
    for name in ("rasterio._env", "rasterio._err", "rasterio._base"):
        filters = logging.getLogger(name).filters
        assert any(isinstance(one, RedactingFilter) for one in filters)
