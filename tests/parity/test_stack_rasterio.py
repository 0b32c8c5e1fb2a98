"""Loaders against rasterio on images in which no two pixels are equal."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rasterio
import rasterio.warp
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain import radiometry
from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.providers.provider import Collection, FilterDialect, Provider
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import LOADERS

ROWS = COLUMNS = 768
LEFT, TOP, PIXEL = 600_000.0, 5_000_000.0, 10.0
BAND = Band(name="DN", keys=("DN",), dtype="uint16", categorical=True)
PROVIDER = Provider(
    slug="parity",
    title="Parity",
    description="",
    stac_url="https://example.invalid",
    filter_dialect=FilterDialect.NONE,
    collections={
        "c": Collection(id="c", title="c", bands=BandTable((BAND,)), radiometry=radiometry.stated)
    },
    access=(("*", AuthScheme.ANONYMOUS),),
)
SIGNER = AnonymousSigner(lambda bucket: "us-west-2")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A COG with overviews 2 and 4; its pixels count up, so a mismatch says where it came from."""
    pixels = (np.arange(ROWS * COLUMNS, dtype=np.uint32) % 65535 + 1).astype(np.uint16)
    path = tmp_path_factory.mktemp("parity") / "dn.tif"
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=COLUMNS,
        height=ROWS,
        count=1,
        dtype="uint16",
        crs="EPSG:32632",
        transform=rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
        nodata=0,
        blocksize=128,
        compress="deflate",
        overview_resampling="nearest",
        overview_count=2,
    ) as dataset:
        dataset.write(pixels.reshape(ROWS, COLUMNS), 1)
    return path


def grid(resolution, *, crs="EPSG:32632", left=LEFT, top=TOP, size=None):
    width = size or int(COLUMNS * PIXEL / resolution)
    return Grid(crs=crs, resolution=resolution, left=left, top=top, width=width, height=width)


def stacked(image, target, loader, *, resampling="nearest", chunk=4096, band=BAND):
    item = {
        "id": "A",
        "collection": "c",
        "properties": {"datetime": "2024-06-03T10:30:00Z", "proj:code": "EPSG:32632"},
        "assets": {
            "DN": {
                "href": str(image),
                "proj:shape": [ROWS, COLUMNS],
                "proj:transform": [PIXEL, 0, LEFT, 0, -PIXEL, TOP],
            }
        },
    }
    collection = replace(PROVIDER.collections["c"], bands=BandTable((band,)))
    recipe = make_recipe(
        replace(PROVIDER, collections={"c": collection}),
        [item],
        ask=StackAsk(
            collections=("c",),
            bands=("DN",),
            grid=target,
            window=Window(date(2024, 6, 1), date(2024, 7, 1)),
            resampling=resampling,
        ),
    )
    stack = open_stack(recipe, signer=SIGNER, loader=loader, chunks={"y": chunk, "x": chunk})
    return stack.DN[0].compute().to_numpy()


def warped(image, target, *, resampling=Resampling.nearest, level=None, dtype="uint16"):
    """What rasterio makes of the whole grid at once."""
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(image, **options) as dataset:
        out = np.zeros(target.shape, dtype)
        rasterio.warp.reproject(
            rasterio.band(dataset, 1),
            out,
            dst_crs=target.crs,
            dst_transform=rasterio.Affine(*target.transform),
            src_nodata=0,
            dst_nodata=0,
            resampling=resampling,
        )
    return out


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("chunk", [4096, 100])
def test_native_grid(image, loader, chunk):
    with rasterio.open(image) as dataset:
        wanted = dataset.read(1)
    np.testing.assert_array_equal(stacked(image, grid(PIXEL), loader, chunk=chunk), wanted)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_grid_between_pixels_takes_the_pixel_that_holds_the_centre(image, loader):
    with rasterio.open(image) as dataset:
        native = dataset.read(1)
    found = stacked(image, grid(PIXEL, left=LEFT + 33, top=TOP - 27, size=300), loader)
    np.testing.assert_array_equal(found, native[3:303, 3:303])


@pytest.mark.parametrize(
    ("resolution", "level"),
    [(15, None), (19.9, None), (20, 0), (30, 0), (39.9, 0), (40, 1), (60, 1), (80, 1), (100, 1)],
)
def test_each_overview_boundary(image, resolution, level):
    """Just below a boundary the finer level is read, at it the coarser one."""
    target = grid(resolution)
    np.testing.assert_array_equal(stacked(image, target, "odc"), warped(image, target, level=level))


@pytest.mark.parametrize("loader", ["odc", "odc_gdal", "rioxarray"])
@pytest.mark.parametrize("resolution", [20, 40])
def test_whole_multiples_are_the_overview_s_own_pixels(image, loader, resolution):
    with rasterio.open(image, overview_level={20: 0, 40: 1}[resolution]) as dataset:
        wanted = dataset.read(1)
    np.testing.assert_array_equal(stacked(image, grid(resolution), loader, chunk=50), wanted)


OTHER_CRS = {
    "next zone": grid(PIXEL, crs="EPSG:32633", left=127_000.0, top=5_011_000.0, size=900),
    "degrees": grid(1e-4, crs="EPSG:4326", left=10.26, top=45.16, size=1000),
}


@pytest.mark.parametrize(
    "target",
    [
        grid(PIXEL, crs="EPSG:32633", left=129_000.0, top=5_009_000.0, size=400),
        grid(1e-4, crs="EPSG:4326", left=10.29, top=45.13, size=300),
    ],
    ids=["next zone", "degrees"],
)
def test_reprojection_of_one_chunk_inside_the_image_is_rasterio_s(image, target):
    np.testing.assert_array_equal(stacked(image, target, "odc_gdal"), warped(image, target))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", OTHER_CRS)
def test_reprojection_takes_the_right_pixel_or_its_neighbour(image, loader, name):
    """Against exact PROJ: GDAL's approximation may be off by a pixel at a few per cent."""
    target = OTHER_CRS[name]
    found = stacked(image, target, loader, chunk=333).astype(int)
    columns, rows = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    x, y = target.left + columns * target.resolution, target.top - rows * target.resolution
    x, y = Transformer.from_crs(target.crs, "EPSG:32632", always_xy=True).transform(x, y)
    column, row = (x - LEFT) / PIXEL, (TOP - y) / PIXEL
    inside = (column >= 1) & (column < COLUMNS - 1) & (row >= 1) & (row < ROWS - 1)
    with rasterio.open(image) as dataset:
        native = dataset.read(1).astype(int)
    exact = native[row[inside].astype(int), column[inside].astype(int)]
    differ = np.abs(found[inside] - exact)
    assert inside.sum() > 200_000
    assert (differ != 0).mean() < 0.03
    neighbours = np.isin(differ % 65535, [0, 1, 767, 768, 769, 65534, 64766, 64767, 64768])
    assert neighbours.all()
    outside = (column < -1) | (column > COLUMNS + 1) | (row < -1) | (row > ROWS + 1)
    assert (found[outside] == 0).all()


@pytest.mark.parametrize("kernel", ["bilinear", "cubic", "average"])
def test_other_kernels_are_gdal_s(image, kernel):
    band = replace(BAND, categorical=False, dtype="float32", nodata=0.0)
    target = grid(25.0)
    found = stacked(image, target, "odc", resampling=kernel, band=band)
    wanted = warped(image, target, resampling=Resampling[kernel], level=0, dtype="int32")
    np.testing.assert_array_equal(found, wanted)


def test_pixels_of_plain_odc_stac(image):
    """Our driver against odc-loader's own on the same sources."""
    from odc.loader import RasterLoadParams, RasterSource, RioDriver

    driver = RioDriver()
    for target in (grid(PIXEL), grid(20), grid(30), *OTHER_CRS.values()):
        area: GeoBox = target.geobox()
        state = driver.new_load(area)
        with driver.restore_env({}, state) as context:
            reader = driver.open(RasterSource(str(image)), context)
            window, pixels = reader.read(RasterLoadParams(dtype="uint16", fill_value=0), area)
        wanted = np.zeros(target.shape, np.uint16)
        wanted[window] = pixels
        np.testing.assert_array_equal(stacked(image, target, "odc_gdal"), wanted)
