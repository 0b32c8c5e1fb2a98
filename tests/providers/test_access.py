import pickle

import numpy as np
import pytest

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme, SignedRequest
from geostack_dagster.domain.hrefs import SignedHref, canonical
from geostack_dagster.errors import ConfigurationError, MissingCredentialError
from geostack_dagster.providers import PROVIDERS
from geostack_dagster.providers.access import asset_href, gdal_source, signer_for

COG = canonical("https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif")


@pytest.mark.parametrize(
    ("slug", "href", "scheme"),
    [
        ("earth_search", COG, AuthScheme.ANONYMOUS),
        ("earth_search", "s3://sentinel-cogs/a/B04.tif", AuthScheme.ANONYMOUS),
        ("earth_search", "s3://sentinel-s2-l2a/tiles/B04.jp2", AuthScheme.REQUESTER_PAYS),
        ("earth_search", "s3://usgs-landsat/x.TIF", AuthScheme.REQUESTER_PAYS),
        ("planetary_computer", "https://a.blob.core.windows.net/c/k.tif", AuthScheme.SAS),
        (
            "planetary_computer",
            "https://planetarycomputer.microsoft.com/api/data/v1/item/tilejson.json?item=x",
            AuthScheme.ANONYMOUS,
        ),
        (
            "planetary_computer",
            "https://ai4edatasetspublicassets.blob.core.windows.net/assets/x.png",
            AuthScheme.ANONYMOUS,
        ),
        ("planetary_computer", "abfs://c@a.dfs.core.windows.net/k", AuthScheme.SAS),
    ],
)
def test_each_href_has_its_scheme(slug, href, scheme):
    assert signer_for(PROVIDERS[slug]).scheme(canonical(href)) is scheme


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_unknown_host_is_named_with_the_provider(slug):
    signer = signer_for(PROVIDERS[slug])
    with pytest.raises(ConfigurationError, match=rf"{slug} keeps no assets at https://elsewhere"):
        signer.sign(canonical("https://elsewhere.example/B04.tif"))


def test_open_data_in_a_bucket_is_read_over_https():
    request = signer_for(PROVIDERS["earth_search"]).sign(canonical("s3://sentinel-cogs/a/B04.tif"))
    assert request.url == COG


def test_requester_pays_names_the_bucket_and_the_keys(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(MissingCredentialError, match="requester pays"):
        signer_for(PROVIDERS["earth_search"]).sign(canonical("s3://usgs-landsat/x.TIF"))


def test_a_signer_travels_as_its_slug():
    settings = Settings(arguments={"PC_SDK_SUBSCRIPTION_KEY": "hush"})
    signer = signer_for(PROVIDERS["planetary_computer"], settings)
    pickled = pickle.dumps(signer)
    assert b"hush" not in pickled
    assert "hush" not in repr(signer)
    assert pickle.loads(pickled).slug == "planetary_computer"
    assert pickle.loads(pickled).settings == Settings()


def test_a_signed_request_does_not_travel():
    with pytest.raises(TypeError, match="must not be pickled"):
        pickle.dumps(SignedRequest(SignedHref("https://a/k?sig=1")))


@pytest.mark.parametrize(
    "member",
    [
        {"xarray:storage_options": {"account_name": "acct"}},
        {"table:storage_options": {"account_name": "acct"}},
        {"xarray:open_kwargs": {"storage_options": {"account_name": "acct"}}},
        {"xarray:open_kwargs": {"backend_kwargs": {"storage_options": {"account_name": "acct"}}}},
    ],
)
def test_a_bare_abfs_href_gets_its_assets_account(member):
    assert asset_href({"href": "abfs://era5/x.zarr", **member}) == (
        "abfs://era5@acct.dfs.core.windows.net/x.zarr"
    )


@pytest.mark.parametrize(
    ("asset", "href"),
    [
        ({"href": "abfs://era5/x.zarr"}, "abfs://era5/x.zarr"),
        ({"href": f"{COG}?sig=abcdefghijklmnopqr", "xarray:storage_options": None}, COG),
        ({}, ""),
    ],
)
def test_other_hrefs_are_only_made_canonical(asset, href):
    assert asset_href(asset) == href


@pytest.fixture
def raster(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    path = tmp_path / "unique.tif"
    pixels = np.arange(256 * 256, dtype="uint16").reshape(256, 256)
    profile = {"driver": "GTiff", "width": 256, "height": 256, "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32632", "transform": from_origin(600000, 5000000, 10, 10)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)
    return path, pixels


def _read(request: SignedRequest) -> np.ndarray:
    import rasterio

    path, options = gdal_source(request)
    with rasterio.Env(**options), rasterio.open(path) as file:
        return file.read(1)


def test_gdal_opens_a_request_with_its_headers(store, raster):
    path, pixels = raster
    store.content = path.read_bytes()
    # A SigV4 Authorization header has commas and spaces.
    store.wanted = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=AK/2/x, SignedHeaders=host;x, Signature=ab",
        "x-amz-date": "20240101T000000Z",
    }
    request = SignedRequest(SignedHref(f"{store.url}/key.tif"), store.wanted)
    np.testing.assert_array_equal(_read(request), pixels)
    assert store.refused == []
    assert {command for command, _ in store.asked} == {"GET"}
    assert {asked for _, asked in store.asked} == {"/key.tif"}, "no side-car files are asked for"


def test_a_refusal_by_gdal_is_not_remembered_when_headers_are_renewed(store, raster):
    import rasterio

    path, pixels = raster
    store.content, store.wanted = path.read_bytes(), {"Authorization": "Bearer new"}
    url = SignedHref(f"{store.url}/key.tif")
    with pytest.raises(rasterio.errors.RasterioIOError):
        _read(SignedRequest(url, {"Authorization": "Bearer old"}))
    np.testing.assert_array_equal(_read(SignedRequest(url, store.wanted)), pixels)


def test_gdal_headers_stay_in_their_scope(store, raster):
    import rasterio

    path, _ = raster
    store.content, store.wanted = path.read_bytes(), {"Authorization": "Bearer new"}
    _read(SignedRequest(SignedHref(f"{store.url}/a.tif"), store.wanted))
    with pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(f"/vsicurl/{store.url}/b.tif")


def test_gdal_reads_a_local_file(raster):
    path, pixels = raster
    for url in (str(path), path.as_uri()):
        np.testing.assert_array_equal(_read(SignedRequest(SignedHref(url))), pixels)
