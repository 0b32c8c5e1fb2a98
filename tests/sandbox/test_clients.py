"""Unmodified clients work with nothing but the environment set."""

import asyncio
import ssl
from datetime import datetime

import numpy as np
import pytest

from geostack_dagster.domain.grid import Grid
from geostack_dagster.sandbox.world import World
from tests.sandbox.conftest import EARTH_SEARCH, EMMENTAL, PLANETARY

pytestmark = pytest.mark.filterwarnings("ignore:Support for class-based `config`")  # PC's SDK
WINDOW = ((9300, 9364), (800, 872))
GRID = Grid(crs="EPSG:32632", resolution=10, left=407_960, top=5_207_040, width=72, height=64)


def search(api: str):
    import pystac_client

    client = pystac_client.Client.open(api)
    found = client.search(
        collections=["sentinel-2-l2a"], bbox=EMMENTAL, datetime="2024-06-28", limit=1
    )
    (item,) = found.items()
    return item


@pytest.fixture
def planetary(in_sandbox):
    """Its tokens must not outlive the sandbox that made them."""
    from planetary_computer import sas

    sas.TOKEN_CACHE.clear()
    yield search(f"{PLANETARY}/stac/v1")
    sas.TOKEN_CACHE.clear()


@pytest.fixture
def earth_search(in_sandbox):
    return search(EARTH_SEARCH)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    moment = datetime.fromisoformat("2024-06-28T10:37:00Z")
    return World().reflectance("B04", GRID, moment)


def agrees(pixels: np.ndarray, truth: np.ndarray, offset: float) -> bool:
    return float(np.abs(pixels * 1e-4 + offset - truth).max()) < 0.01


def test_rasterio_reads_signed_blobs(planetary, truth):
    import planetary_computer
    import rasterio

    href = planetary.assets["B04"].href
    with rasterio.open(planetary_computer.sign(href)) as source:
        assert source.shape == (10980, 10980)
        assert source.overviews(1) == [2, 4, 8, 16]
        assert agrees(source.read(1, window=WINDOW), truth, -0.1)
    with pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(href)


@pytest.mark.parametrize("style", ["https", "vsis3"])
def test_rasterio_reads_public_cogs(earth_search, truth, style):
    import rasterio

    href = earth_search.assets["red"].href
    if style == "vsis3":
        href = href.replace(
            "https://sentinel-cogs.s3.us-west-2.amazonaws.com", "/vsis3/sentinel-cogs"
        )
    with rasterio.Env(AWS_NO_SIGN_REQUEST="YES"), rasterio.open(href) as source:
        assert source.block_shapes == [(1024, 1024)]
        assert agrees(source.read(1, window=WINDOW), truth, 0.0)


def test_rasterio_is_refused_where_the_requester_pays(earth_search):
    import rasterio

    href = earth_search.assets["red-jp2"].href.replace("s3://", "/vsis3/")
    with (
        rasterio.Env(AWS_NO_SIGN_REQUEST="YES"),
        pytest.raises(rasterio.errors.RasterioIOError, match="AccessDenied"),
    ):
        rasterio.open(href)


def test_obstore_reads_blobs_with_its_own_credential_provider(planetary):
    from obstore.auth.planetary_computer import PlanetaryComputerCredentialProvider
    from obstore.store import AzureStore

    href = planetary.assets["B04"].href
    account, container = "sentinel2l2a01", "sentinel2-l2"
    store = AzureStore(
        container,
        account_name=account,
        credential_provider=PlanetaryComputerCredentialProvider(
            account_name=account, container_name=container
        ),
    )
    key = href.partition(f"/{container}/")[2]
    assert bytes(store.get_range(key, start=0, end=4)) == b"II*\0"
    assert store.head(key)["size"] > 300e6


def test_obstore_reads_public_buckets(earth_search):
    from obstore.store import S3Store

    store = S3Store("sentinel-cogs", region="us-west-2", skip_signature=True)
    key = earth_search.assets["red"].href.partition(".amazonaws.com/")[2]
    assert bytes(store.get_range(key, start=0, end=4)) == b"II*\0"
    listed = store.list_with_delimiter(key.rpartition("/")[0])["objects"]
    assert key in {entry["path"] for entry in listed}


def test_obstore_is_told_the_region(earth_search):
    from obstore.exceptions import GenericError
    from obstore.store import S3Store

    store = S3Store("sentinel-cogs", region="eu-central-1", skip_signature=True)
    with pytest.raises(GenericError):
        store.head("whatever.tif")


@pytest.mark.parametrize("api", [f"{PLANETARY}/stac/v1", EARTH_SEARCH])
def test_rustac_searches(in_sandbox, api):
    import rustac

    found = rustac.search_sync(api, collections=["sentinel-2-l2a"], bbox=EMMENTAL, limit=3)
    assert len({item["id"] for item in found}) == (9 if api == EARTH_SEARCH else 8)


def test_aiohttp_trusts_its_environment(in_sandbox):
    import aiohttp

    async def status() -> int:
        # Its default context read SSL_CERT_FILE when it was imported, perhaps in another sandbox.
        trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context())
        async with (
            aiohttp.ClientSession(trust_env=True, connector=trusted) as session,
            session.get(EARTH_SEARCH) as answer,
        ):
            return answer.status

    assert asyncio.run(status()) == 200


def test_httpx_and_urllib(in_sandbox):
    import urllib.request

    import httpx

    assert httpx.get(EARTH_SEARCH).status_code == 200
    with urllib.request.urlopen(EARTH_SEARCH) as answer:
        assert answer.status == 200


def test_odc_stac_loads_the_truth(earth_search, truth):
    import odc.stac
    from odc.geo.geobox import GeoBox

    box = GeoBox.from_bbox(
        (GRID.left, GRID.top - 640, GRID.left + 720, GRID.top), crs=GRID.crs, resolution=10
    )
    loaded = odc.stac.load([earth_search], bands=["red"], geobox=box)
    assert agrees(loaded["red"].values[0], truth, 0.0)
