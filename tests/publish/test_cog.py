"""COGs hold what was given, say so inside, and are the same bytes every time."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.publish.cog import BandText, statistics_of, write_cog
from geostack_dagster.storage import read_bytes

TEXTS = {"NDVI": BandText(long_name="greenness", unit="1")}


def big(width: int = 1300, height: int = 700) -> tuple[Grid, np.ndarray]:
    grid = Grid(crs="EPSG:32633", resolution=10.0, left=3e5, top=5.1e6, width=width, height=height)
    values = np.arange(width * height, dtype=np.float32).reshape(height, width) / 1e6
    values[100:300, 200:] = np.nan
    return grid, values


def test_rasterio_reads_back_what_was_written(tmp_path: Path) -> None:
    grid, values = big()
    bands = {"NDVI": values, "NDWI": -values}
    report = write_cog(
        f"{tmp_path}/a.tif", bands, grid, descriptions=TEXTS, tags={"fingerprint": "abc"}
    )
    with rasterio.open(report.url) as source:
        assert source.crs.to_epsg() == 32633
        assert source.transform[:6] == grid.transform
        assert source.shape == grid.shape
        assert source.descriptions == ("NDVI", "NDWI")
        assert source.units == ("1", "1")
        assert source.dtypes == ("float32", "float32")
        assert math.isnan(source.nodata)
        assert source.tags()["fingerprint"] == "abc"
        assert source.tags(1)["long_name"] == "greenness"
        assert float(source.tags(1)["STATISTICS_MAXIMUM"]) == pytest.approx(np.nanmax(values))
        layout = source.tags(ns="IMAGE_STRUCTURE")
        assert (layout["LAYOUT"], layout["COMPRESSION"], layout["PREDICTOR"]) == (
            "COG", "DEFLATE", "3",
        )  # fmt: skip
        assert source.profile["blockxsize"] == 512
        assert source.overviews(1) == [2, 4]
        for number, wanted in enumerate(bands.values(), start=1):
            assert np.array_equal(source.read(number), wanted, equal_nan=True)
        coarse = source.read(1, out_shape=(175, 325))
        # An overview averages what is there; a block of NaN stays NaN.
        assert np.isnan(coarse[40:60, 100:]).all()
        assert coarse[0, 0] == pytest.approx(values[:4, :4].mean(), rel=1e-4)


def test_size_checksum_and_statistics_are_those_of_the_file(tmp_path: Path) -> None:
    grid, values = big(600, 100)
    values[:10] = np.nan
    report = write_cog(f"{tmp_path}/a.tif", {"NDVI": values}, grid)
    content = Path(report.url).read_bytes()
    assert report.size == len(content)
    assert report.checksum == "1220" + hashlib.sha256(content).hexdigest()
    found, finite = report.statistics["NDVI"], values[np.isfinite(values)].astype(np.float64)
    assert found.minimum == finite.min()
    assert found.maximum == finite.max()
    assert found.mean == pytest.approx(finite.mean(), rel=1e-12)
    assert found.stddev == pytest.approx(finite.std(), rel=1e-9)
    assert found.valid_percent == pytest.approx(100 * finite.size / values.size)


def test_the_same_maps_give_the_same_bytes_wherever_they_go(
    tmp_path: Path, grid: Grid, maps: dict[str, np.ndarray]
) -> None:
    reports = [
        write_cog(url, maps, grid, descriptions=TEXTS)
        for url in (f"{tmp_path}/a.tif", f"{tmp_path}/b.tif", "memory://cogs/c.tif")
    ]
    assert len({report.checksum for report in reports}) == 1
    assert read_bytes("memory://cogs/c.tif") == (tmp_path / "a.tif").read_bytes()


def test_a_nodata_number_takes_the_place_of_nan(tmp_path: Path, grid: Grid) -> None:
    values = np.full(grid.shape, 0.5, np.float32)
    values[3] = np.nan
    report = write_cog(f"{tmp_path}/a.tif", {"NDVI": values}, grid, nodata=-9999.0)
    with rasterio.open(report.url) as source:
        assert source.nodata == -9999
        assert (source.read(1)[3] == -9999).all()
        assert source.read(1, masked=True).mask.sum() == grid.width
    values[0, 0] = -9999
    with pytest.raises(ConfigurationError, match="holds -9999 as a value"):
        write_cog(f"{tmp_path}/b.tif", {"NDVI": values}, grid, nodata=-9999.0)
    assert not (tmp_path / "b.tif").exists()


def test_an_empty_map_has_no_statistics_and_is_still_a_cog(tmp_path: Path, grid: Grid) -> None:
    values = np.full(grid.shape, np.nan, np.float32)
    report = write_cog(f"{tmp_path}/a.tif", {"NDVI": values}, grid)
    assert statistics_of(values).to_json() == {"valid_percent": 0.0}
    with rasterio.open(report.url) as source:
        assert np.isnan(source.read(1)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((60, 89), np.float32), r"float32 of shape \(60, 89\); the grid needs"),
        (np.zeros((60, 90)), "is float64"),
    ],
)
def test_maps_off_the_grid_are_refused(
    tmp_path: Path, grid: Grid, values: np.ndarray, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_cog(f"{tmp_path}/a.tif", {"NDVI": values}, grid)
    with pytest.raises(ConfigurationError, match="at least one band"):
        write_cog(f"{tmp_path}/a.tif", {}, grid)
    assert not list(tmp_path.iterdir())


def test_a_signature_in_a_tag_is_refused_without_being_shown(
    tmp_path: Path, grid: Grid, maps: dict[str, np.ndarray]
) -> None:
    secret = "AbCdEfGh0123456789%2BxyzW"
    with pytest.raises(IntegrityError, match="source of the COG holds a signature") as caught:
        write_cog(
            f"{tmp_path}/a.tif", maps, grid, tags={"source": f"https://x/y?se=1&sig={secret}"}
        )
    assert secret not in str(caught.value)
    assert not list(tmp_path.iterdir())
