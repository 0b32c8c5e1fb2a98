"""This reader beside rasterio and odc-loader's own driver: the same pixels, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader import RioDriver
from odc.loader.types import RasterLoadParams, RasterSource
from rasterio.enums import Resampling

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.decimate import read_window
from geostack_dagster.stack.reader.driver import CogDriver
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource
from geostack_dagster.stack.reader.window import Window

LANDSAT = "landsat_LC08_005009_20150710/LC08_L2SP_005009_20150710_20200908_02_T2_"
JP2 = "S2A_T32TLS_20220620_N0400_R60m_B01.jp2"
CLAIMED = (
    JP2,
    "EMIT_L2A_RFL_001_20230405T190311_2309513_002_dangermond_cwc.tif",
    "hls/HLS.L30.T15UWP.2024283T165135.v2.0.Fmask.tif",
    "hls/HLS.L30.T15UXP.2024283T165135.v2.0.Fmask.tif",
    *(
        f"{LANDSAT}{name}.TIF"
        for name in ("QA_PIXEL", "QA_RADSAT", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
    ),
    f"{LANDSAT}SR_QA_AEROSOL.TIF",
    f"{LANDSAT}ST_B10.TIF",
    "landsat_LC08_099120_EPSG3031/LC08_L2SR_099120_20191129_20201016_02_T2_QA_PIXEL.TIF",
    "landsat_LC08_099120_EPSG3031/LC08_L2SR_099120_20191129_20201016_02_T2_SR_B5.TIF",
    "openeo_S2-bands.tiff",
    *(f"openeo_s2_l1c/ref_input_S2_{band}.tif" for band in ("B02", "B04", "B09", "B8A")),
    "rio-tiler/blue.tif",
    "rio-tiler/cog_dateline.tif",
    "rio-tiler/cog_gcps_ovr.tif",  # by window only: it has ground control points, no transform
    "rio-tiler/cog_scale.tif",
    "s2_cog_34SGA/B01.tif",
    "s2_cog_34SGA/B09.tif",
)
BY_RASTERIO: dict[str, str] = {}
WITH_OVERVIEWS = (JP2, "rio-tiler/blue.tif", "rio-tiler/cog_dateline.tif", "s2_cog_34SGA/B01.tif")


def test_every_recorded_raster_is_claimed_or_excused(shared_fixtures):
    folder = shared_fixtures / "raster"
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix.lower() in (".tif", ".tiff", ".jp2")
    }
    assert found == set(CLAIMED) | set(BY_RASTERIO)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", [*CLAIMED, *BY_RASTERIO])
def test_recorded_rasters_bit_for_bit(shared_fixtures, name):
    path = shared_fixtures / "raster" / name
    reader, href = CogReader(ByteSource()), Href(str(path))
    with rasterio.open(path) as dataset:
        truth = dataset.read()
        for band in range(dataset.count):
            np.testing.assert_array_equal(
                wait(read_window(reader, href, band=band + 1)), truth[band]
            )
        rows, columns = dataset.shape
        part = Window(rows // 3, rows // 2 + 3, columns // 4 + 1, columns - 2)
        found = wait(read_window(reader, href, part))
    np.testing.assert_array_equal(found, truth[0][part.slices])
    assert reader.fallbacks.get(href) == BY_RASTERIO.get(name)


@pytest.mark.parametrize("name", WITH_OVERVIEWS)
def test_decimated_windows_use_the_overview_gdal_would(shared_fixtures, name):
    path = shared_fixtures / "raster" / name
    reader = CogReader(ByteSource())
    with rasterio.open(path) as dataset:
        rows, columns = dataset.shape
        boundaries = {by * off for by in dataset.overviews(1) for off in (0.8, 0.83, 0.84, 1, 1.2)}
        for by in sorted({1.0, 1.1, *boundaries}):
            for window in (
                Window(0, rows, 0, columns),
                Window(13, rows // 2 + 7, 29, columns // 2 + 11),
            ):
                shape = tuple(max(1, int(size / by)) for size in window.shape)
                found = wait(read_window(reader, Href(str(path)), window, shape=shape))
                truth = dataset.read(1, window=window.slices, out_shape=shape)
                np.testing.assert_array_equal(found, truth, err_msg=f"{by} {window}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GeoBox]:
    """A file of unique pixels with nodata among them and overviews of nearest pixels."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    place = Affine(60, 0, 600_000, 0, -60, 5_000_040)
    values = np.random.default_rng(0).integers(1, 60_000, (915, 850)).astype(np.uint16)
    values[100:140, 200:300] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=850, height=915, count=1, dtype="uint16", nodata=0,
        crs="EPSG:32632", transform=place, tiled=True, blockxsize=256, blockysize=256,
        compress="deflate", predictor=2,
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.nearest)
    return path, GeoBox((915, 850), place, "EPSG:32632")


def both(path: Path, grid: GeoBox, cfg: RasterLoadParams) -> tuple[np.ndarray, np.ndarray]:
    """The grid as odc-loader's own driver fills it, and as ours does."""
    source, theirs = RasterSource(str(path)), RioDriver()
    filled = []
    state = theirs.new_load(grid)
    with theirs.restore_env({}, state) as context:
        filled.append(theirs.open(source, context).read(cfg, grid))
    filled.append(CogDriver().open(source, None).read(cfg, grid))
    out = []
    for roi, pixels in filled:
        blank = np.nan if pixels.dtype.kind == "f" else cfg.fill_value or 0
        whole = np.full(grid.shape.yx, blank, pixels.dtype)
        whole[roi] = pixels
        out.append(whole)
    return out[0], out[1]


@pytest.mark.parametrize(
    "scale", [0.7, 1, 1.5, 1.9, 1.9995, 2, 2.0005, 2.5, 3, 3.999, 4, 4.5, 5, 7.9, 8, 9, 16]
)
def test_every_overview_boundary_is_odc_loaders(scene, scale):
    path, whole = scene
    truth, found = both(path, whole.zoom_out(scale), RasterLoadParams("uint16", fill_value=0))
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("shift", [(0, 0), (0.3, -0.4), (-120, 40), (900, 0), (0.5, 900.2)])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
def test_shifted_and_outside_windows_are_odc_loaders(scene, shift, resampling):
    path, whole = scene
    grid = GeoBox((300, 310), whole.transform * Affine.translation(*shift), whole.crs)
    cfg = RasterLoadParams("uint16", fill_value=0, resampling=resampling)
    truth, found = both(path, grid, cfg)
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "lanczos", "average", "mode"])
@pytest.mark.parametrize("scale", [1, 3])
def test_other_kernels_are_gdals_own(scene, resampling, scale):
    path, whole = scene
    grid = whole[200:400, 100:300].to_crs("EPSG:32633").zoom_out(scale)
    cfg = RasterLoadParams("uint16", fill_value=0, resampling=resampling)
    truth, found = both(path, grid, cfg)
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize(
    ("dtype", "fill"), [("uint16", 65535), ("float32", None), ("int32", -1), ("uint8", 255)]
)
@pytest.mark.parametrize("scale", [1, 2.5])
def test_types_and_fill_values_are_odc_loaders(scene, dtype, fill, scale):
    path, whole = scene
    grid = whole[50:500, 150:400].zoom_out(scale)
    truth, found = both(path, grid, RasterLoadParams(dtype, fill_value=fill))
    assert found.dtype == truth.dtype
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("override", ["src_nodata_override", "src_nodata_fallback"])
def test_nodata_can_be_overruled_as_in_odc_loader(scene, override):
    path, whole = scene
    with rasterio.open(path) as dataset:
        value = int(dataset.read(1, window=((60, 61), (160, 161)))[0, 0])
    cfg = RasterLoadParams("uint16", fill_value=0, **{override: value})
    truth, found = both(path, whole[50:200, 150:400], cfg)
    np.testing.assert_array_equal(found, truth)
    assert (found[10, 10] == 0) == (override == "src_nodata_override")


def test_reprojection_is_closer_to_proj_than_gdals(scene):
    path, whole = scene
    grid = whole[200:600, 100:500].to_crs("EPSG:32633")
    truth, found = both(path, grid, RasterLoadParams("uint16", fill_value=0))
    # GDAL tolerates 0.125 pixels; test_pixelmap holds ours against PROJ itself.
    assert 0 < (found != truth).mean() < 0.05
