"""What is counted of a cube's pixels, against plain numpy."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
import xarray as xr

from geostack_dagster.domain.dark_pixels import Verdict, judge
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.item import Projection
from geostack_dagster.domain.radiometry import CLASS_CODES, Radiometry
from geostack_dagster.pipeline.checks import pixels
from geostack_dagster.pipeline.checks.pixels import DarkGround, look
from geostack_dagster.stack.encoding import REFLECTANCE, Encoding
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source, TargetBand

DAY = date(2024, 7, 3)
GRID = Grid(crs="EPSG:32632", resolution=10, left=500_000, top=5_200_000, width=60, height=50)
SCL = Encoding(dtype="uint8", fill=0, categorical=True)
LIMITS = {"B04": (-0.05, 1.6), "SCL": (0, 11)}
CLASSES = {"B04": (2, 4, 6)}
SNOW, CLOUD, WATER, VEGETATION = 11, 9, 6, 4


def source(columns: tuple[int, int], radiometry: Radiometry) -> Source:
    start, stop = columns
    transform = (10.0, 0.0, GRID.left + 10.0 * start, 0.0, -10.0, GRID.top)
    place = Projection(crs=GRID.crs, shape=(GRID.height, stop - start), transform=transform)
    return Source(
        href=Href("https://example.com/a.tif"),
        key="red",
        dtype="uint16",
        nodata=0,
        radiometry=radiometry,
        projection=place,
    )


def recipe(offset: float, **places: tuple[int, int]) -> Recipe:
    decided = Radiometry(scale=1e-4, offset=offset, reason="stated", evidence={})
    return Recipe(
        provider="earth_search",
        collections=("sentinel-2-l2a",),
        snapshot="s",
        grid=GRID,
        window=Window(DAY, date(2024, 7, 4)),
        bands=(
            TargetBand(name="B04", encoding=REFLECTANCE, resampling="nearest", long_name="red"),
            TargetBand(name="SCL", encoding=SCL, resampling="nearest", long_name="classes"),
        ),
        items=tuple(
            RecipeItem(
                id=name,
                collection="sentinel-2-l2a",
                day=DAY,
                acquired=datetime(2024, 7, 3, 10, tzinfo=UTC),
                sources={"B04": source(place, decided), "SCL": source(place, CLASS_CODES)},
            )
            for name, place in places.items()
        ),
    )


def cube(reflectance: np.ndarray, classes: np.ndarray) -> xr.Dataset:
    codes = np.rint((np.nan_to_num(reflectance) + 0.1) / 1e-4).clip(1, 65535).astype(np.uint16)
    codes[np.isnan(reflectance)] = 0
    coding = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    return xr.Dataset(
        {
            "B04": (("time", "y", "x"), codes[None], coding),
            "SCL": (("time", "y", "x"), classes.astype(np.uint8)[None], {"_FillValue": 0}),
        },
        coords={"time": np.array([DAY], "datetime64[ns]")},
    )


def seen(reflectance, classes, asked: Recipe, *, class_band: str | None = "SCL"):
    ground = DarkGround(classes=CLASSES, class_band=class_band, recipe=asked)
    data = cube(reflectance, np.broadcast_to(classes, GRID.shape))
    return look(data, [DAY], GRID, limits=LIMITS, ground=ground)


def field(mean: float) -> np.ndarray:
    return np.random.default_rng(3).normal(mean, 0.01, GRID.shape)


@pytest.mark.parametrize("block", [2048, 17])
def test_percentiles_are_those_of_numpy_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(pixels, "_BLOCK", block)
    truth = field(0.05)
    classes = np.where(np.arange(GRID.width) < 40, VEGETATION, CLOUD)

    tallies, (found,) = seen(truth, classes, recipe(0.0, a=(0, 60)))

    dark = truth[:, :40]
    assert found.count == dark.size
    assert found.least == pytest.approx(np.sort(dark.ravel())[1], abs=2e-4)
    assert found.median == pytest.approx(np.median(dark), abs=2e-4)
    assert found.dim == pytest.approx((dark < 0.08).mean(), abs=2e-3)
    assert (tallies["B04"].pixels, tallies["B04"].valid) == (truth.size, truth.size)
    assert tallies["B04"].least == pytest.approx(truth.min(), abs=1e-4)


def test_each_item_has_the_pixels_that_only_it_can_have_filled():
    truth = field(0.04)
    truth[:, 30:] -= 0.1

    _, found = seen(truth, VEGETATION, recipe(-0.1, a=(0, 35), b=(25, 60)))

    assert {one.items: one.count for one in found} == {
        ("a",): 25 * 50,
        ("b",): 25 * 50,
        ("a", "b"): 10 * 50,
    }
    decided = Radiometry(scale=1e-4, offset=-0.1, reason="stated", evidence={})
    verdicts = {one.item: one.verdict for one in judge(found, {"a": decided, "b": decided})}
    assert verdicts == {"a": Verdict.SOUND, "b": Verdict.CONTRADICTED}


@pytest.mark.parametrize(
    ("reflectance", "classes"),
    [(0.8, SNOW), (0.5, CLOUD), (np.nan, 0), (0.3, 5)],
    ids=["snow", "cloud", "nodata", "bare"],
)
@pytest.mark.parametrize("offset", [-0.1, 0.0])
def test_without_dark_ground_there_is_not_enough_evidence(reflectance, classes, offset):
    asked = recipe(offset, a=(0, 60))
    tallies, found = seen(np.full(GRID.shape, reflectance), classes, asked)

    (verdict,) = judge(found, {"a": asked.items[0].sources["B04"].radiometry})
    assert verdict.verdict is Verdict.UNCLEAR
    assert tallies["B04"].valid == (0 if np.isnan(reflectance) else 3000)


def test_much_water_is_honest():
    asked = recipe(-0.1, a=(0, 60))
    for mean in (-0.005, 0.02, 0.06):
        _, found = seen(field(mean), WATER, asked)
        (verdict,) = judge(found, {"a": asked.items[0].sources["B04"].radiometry})
        assert verdict.verdict is Verdict.SOUND


def test_impossible_values_are_counted():
    truth = field(0.3)
    truth[:5] = 2.0

    tallies, _ = seen(truth, VEGETATION, recipe(0.0, a=(0, 60)))

    assert tallies["B04"].outside == 5 * GRID.width
    assert tallies["B04"].greatest == pytest.approx(2.0)
