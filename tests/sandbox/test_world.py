"""The world is a pure function of place and time, and rich enough to score against."""

from datetime import UTC, datetime

import numpy as np
import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.sandbox import AOIS
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.scenes import sentinel2_offers
from geostack_dagster.sandbox.world import World

WORLD = World()
OVERPASS = datetime(2024, 6, 28, 10, 37, tzinfo=UTC)


def window(*, column: int = 0, row: int = 0, width: int = 96, height: int = 80, step: int = 1):
    """Pixels of tile 32TMT near the AOI; `step` decimates as an overview does."""
    return Axes(
        crs="EPSG:32632",
        x0=408_005.0 + (column + step // 2) * 10,
        y0=5_206_005.0 - (row + step // 2) * 10,
        dx=10.0 * step,
        dy=-10.0 * step,
        width=width,
        height=height,
    )


@pytest.fixture(scope="module")
def whole():
    return WORLD.sample(window(width=640, height=640), 664.6, OVERPASS)


def test_a_pixel_is_the_same_in_any_window(whole):
    part = World().sample(window(column=301, row=77), 664.6, OVERPASS)
    np.testing.assert_array_equal(part, whole[77 : 77 + 80, 301 : 301 + 96])


@pytest.mark.parametrize("step", [2, 8, 16])
def test_an_overview_holds_pixels_of_the_full_raster(whole, step):
    part = WORLD.sample(window(step=step, width=40, height=40), 664.6, OVERPASS)
    centre = slice(step // 2, 40 * step, step)
    np.testing.assert_array_equal(part, whole[centre, centre])


def test_no_two_neighbours_are_alike(whole):
    ground = WORLD.sample(window(), 664.6, datetime(2024, 7, 3, 10, 37, tzinfo=UTC))
    assert (np.diff(ground, axis=1) != 0).mean() > 0.99


def test_truth_on_the_native_grid_is_what_is_rendered():
    grid = Grid(crs="EPSG:32632", resolution=10, left=408_000, top=5_206_010, width=96, height=80)
    truth = WORLD.reflectance("B04", grid, OVERPASS)
    np.testing.assert_array_equal(truth, WORLD.sample(window(), 664.6, OVERPASS))


@pytest.mark.parametrize(
    ("crs", "left", "top"), [("EPSG:32632", 399_960, 5_300_040), ("EPSG:32720", 499_980, 6_400_000)]
)
@pytest.mark.parametrize(("band", "pixel"), [("B11", 20), ("B09", 60)])
def test_coarse_bands_repeat_their_native_pixel(crs, left, top, band, pixel):
    """60 m pixels of southern tiles are anchored at the equator, not at northing 0."""
    fine = Grid(crs=crs, resolution=10, left=left, top=top, width=60, height=60)
    coarse = Grid(
        crs=crs, resolution=pixel, left=left, top=top, width=600 // pixel, height=600 // pixel
    )
    repeat = pixel // 10
    native = WORLD.reflectance(band, coarse, OVERPASS)
    np.testing.assert_array_equal(
        WORLD.reflectance(band, fine, OVERPASS), native.repeat(repeat, 0).repeat(repeat, 1)
    )


def test_a_grid_in_degrees_sees_the_native_pixels():
    from pyproj import Transformer

    grid = Grid(crs="EPSG:4326", resolution=0.0002, left=7.79, top=47.0, width=20, height=20)
    truth = WORLD.reflectance("B04", grid, OVERPASS)
    east, north = Transformer.from_crs(4326, 32632, always_xy=True).transform(
        7.79 + 0.0002 * 5.5, 47.0 - 0.0002 * 7.5
    )
    pixel = Grid(
        crs="EPSG:32632",
        resolution=10,
        left=np.floor(east / 10) * 10,
        top=np.ceil(north / 10) * 10,
        width=1,
        height=1,
    )
    assert truth[7, 5] == WORLD.reflectance("B04", pixel, OVERPASS)[0, 0]


def test_neighbouring_zones_see_the_same_ground():
    """The field is one on the globe; zones differ only by interpolation and pixel centres."""
    from pyproj import Transformer

    lon, lat = 12.0, 47.0
    clear = datetime(2024, 7, 3, 10, 37, tzinfo=UTC)
    means = []
    for epsg in (32632, 32633):
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
        left, top = round(x, -1) - 300, round(y, -1) + 300
        grid = Grid(crs=f"EPSG:{epsg}", resolution=10, left=left, top=top, width=60, height=60)
        means.append(WORLD.reflectance("B08", grid, clear).mean())
    assert means[0] == pytest.approx(means[1], rel=0.03)


def test_the_antimeridian_is_no_seam():
    """In UTM zone 1 south, 180 degrees lies near x = 182.4 km at this latitude."""
    morning = datetime(2024, 7, 3, 22, 0, tzinfo=UTC)
    grid = Grid(crs="EPSG:32701", resolution=10, left=182_210, top=8_000_000, width=40, height=400)
    found = WORLD.reflectance("B04", grid, morning)
    assert np.isfinite(found).all()
    steps = np.abs(np.diff(found, axis=1)).mean(axis=0)
    assert steps[17:23].max() < 0.02  # a seam would be one column of jumps of 0.1


def test_all_archives_see_one_overpass_alike():
    """Planetary Computer states the start of the datatake, Earth Search the tile's own time."""
    early, late = (datetime(2024, 6, 28, 10, m, tzinfo=UTC) for m in (30, 37))
    np.testing.assert_array_equal(
        WORLD.sample(window(), 832.8, early), WORLD.sample(window(), 832.8, late)
    )


def test_seasons_are_opposite_on_the_two_hemispheres():
    def ndvi(crs: str, left: float, top: float, month: int) -> float:
        grid = Grid(crs=crs, resolution=20, left=left, top=top, width=150, height=150)
        moment = datetime(2023, month, 3, 12, tzinfo=UTC)
        clear = np.isin(WORLD.scl(grid, moment), (4, 5, 7))
        red, nir = (WORLD.reflectance(band, grid, moment)[clear] for band in ("B04", "B08"))
        return float(np.mean((nir - red) / (nir + red)))

    north, south = ("EPSG:32632", 408_000, 5_206_000), ("EPSG:32720", 540_000, 6_350_000)
    assert ndvi(*north, 7) > ndvi(*north, 1) + 0.15
    assert ndvi(*south, 1) > ndvi(*south, 7) + 0.15


@pytest.mark.parametrize("name", ["emmental", "rio_cuarto"])
def test_the_demonstration_areas_have_what_a_demonstration_needs(name):
    aoi = AOI.from_file(AOIS / f"{name}.geojson")
    crs = "EPSG:32632" if name == "emmental" else "EPSG:32720"
    grid = Grid.covering(aoi, crs=crs, resolution=20)
    seen, clear_days = set(), 0
    moments = {
        offer.acquisition.sensed
        for offer in sentinel2_offers()
        if crs[5:] == str(offer.acquisition.tile.epsg)
    }
    for moment in moments:
        codes = WORLD.scl(grid, moment)
        seen |= set(np.unique(codes))
        clear_days += np.isin(codes, (4, 5, 6, 7, 11)).mean() > 0.4
    assert len(moments) == 9
    assert seen >= {3, 4, 5, 6, 7, 8, 9, 10}
    assert clear_days >= 6
