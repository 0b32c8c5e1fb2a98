"""Sentinel-2 sees the day's plume in B11 and B12, in truth as in every archive's pixels."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.domain.grid import Grid
from geostack_dagster.sandbox import plumes
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.msi import Msi, air_mass_over
from geostack_dagster.sandbox.pixels import layer_of
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.scenes import sentinel2_offers
from geostack_dagster.sandbox.spectra import WAVELENGTHS_NM
from geostack_dagster.sandbox.world import World

WORLD = World()
DAY = date(2024, 6, 13)
EMISSION = plumes.emission(plumes.SOURCES[1], DAY)
OFFERS = [
    offer
    for offer in sentinel2_offers()
    if (offer.acquisition.tile.name, offer.acquisition.day) == ("20HNJ", DAY)
]
EMISSION_MOMENT = OFFERS[0].acquisition.sensed
SIZE = 120


def of_level(archive: str, level: str):
    (item,) = [
        offer.item(WORLD)
        for offer in OFFERS
        if (offer.archive, offer.product.level) == (archive, level)
    ]
    return item


def key_of(item: dict, band: str) -> str:
    """The key of a band at its finest."""
    keys = [key for key, one in item["assets"].items() if f"{band}.jp2" in one["href"]]
    keys += [key for key, one in item["assets"].items() if f"{band}_20m" in one["href"]]
    keys += [key for key, one in item["assets"].items() if one["href"].endswith(f"{band}.tif")]
    return keys[0]


def around(layer) -> tuple[Window, Grid]:
    """Pixels of a layer east of the source, and their grid."""
    (left, top), (pixel, _) = layer.spec.origin, layer.spec.pixel
    window = Window(
        step=1,
        row=int((top - EMISSION.source.y) / pixel) - SIZE // 4,
        column=int((EMISSION.source.x - left) / pixel),
        height=SIZE,
        width=SIZE,
    )
    grid = Grid(
        crs=EMISSION.source.crs,
        resolution=pixel,
        left=left + window.column * pixel,
        top=top - window.row * pixel,
        width=SIZE,
        height=SIZE,
    )
    return window, grid


@pytest.mark.parametrize(
    ("archive", "level"), [("earth_search", "L2A"), ("cdse", "L2A"), ("cdse", "L1C")]
)
@pytest.mark.parametrize("band", ["B11", "B12"])
def test_what_is_rendered_is_the_truth(archive, level, band):
    item = of_level(archive, level)
    layer = layer_of(item, key_of(item, band), WORLD)
    window, grid = around(layer)
    counts = layer(window).astype(np.float64)
    offset = layer.encoding.offset
    reflectance = counts * 1e-4 + offset
    truth = WORLD.reflectance(band, grid, EMISSION_MOMENT, Msi.on(DAY, level))
    error = (reflectance / truth - 1)[truth > 0.05]  # rounding to 1e-4 is nothing there
    assert abs(error.mean()) < 5e-4
    assert error.std() < 0.006
    bare = WORLD.reflectance(band, grid, EMISSION_MOMENT, Msi("none", level))
    strong = WORLD.methane(grid, EMISSION_MOMENT) > 5000
    assert strong.sum() > 30
    deepest = (truth / bare)[strong].min()
    assert deepest < {"B11": 0.995, "B12": 0.97}[band]
    empty = WORLD.methane(grid, EMISSION_MOMENT) == 0
    np.testing.assert_array_equal(truth[empty], bare[empty])


def test_darkening_follows_the_column_and_the_satellite():
    layer = layer_of(of_level("earth_search", "L2A"), "swir22", WORLD)
    _, grid = around(layer)
    clear = np.isin(WORLD.scl(grid, EMISSION_MOMENT), (4, 5, 7))
    bare = WORLD.reflectance("B12", grid, EMISSION_MOMENT, Msi("none"))
    column = EMISSION.column(Axes.of(grid).sites())
    air = air_mass_over(EMISSION.source, DAY)
    for satellite in ("S2A", "S2B"):
        msi = Msi(satellite)
        seen = WORLD.reflectance("B12", grid, EMISSION_MOMENT, msi)
        expected = msi.transmittance(WAVELENGTHS_NM["B12"], column, air)
        assert_allclose((seen / bare)[clear], expected[clear], rtol=2e-6)


@pytest.mark.parametrize("band", ["B02", "B04", "B08", "B8A"])
def test_other_bands_do_not_see_it(band):
    layer = layer_of(of_level("cdse", "L2A"), key_of(of_level("cdse", "L2A"), "B12"), WORLD)
    _, grid = around(layer)
    np.testing.assert_array_equal(
        WORLD.reflectance(band, grid, EMISSION_MOMENT),
        WORLD.reflectance(band, grid, EMISSION_MOMENT, Msi("none")),
    )


def test_the_top_of_the_air_is_bluer_and_dimmer():
    layer = layer_of(of_level("cdse", "L2A"), key_of(of_level("cdse", "L2A"), "B12"), WORLD)
    _, grid = around(layer)
    surface, top = (
        {
            band: WORLD.reflectance(band, grid, EMISSION_MOMENT, Msi.on(DAY, level)).mean()
            for band in ("B02", "B08", "B12")
        }
        for level in ("L2A", "L1C")
    )
    assert top["B02"] > surface["B02"] + 0.03
    assert top["B08"] < surface["B08"]
    assert top["B12"] < surface["B12"]


def test_cirrus_is_a_band_of_level_1c_alone():
    item = of_level("cdse", "L1C")
    layer = layer_of(item, key_of(item, "B10"), WORLD)
    window, _ = around(layer)
    counts = layer(replace(window, height=20, width=20))
    assert (counts.astype(float) * 1e-4 - 0.1).mean() < 0.02


def test_satellites_take_turns_as_the_catalogue_says():
    for offer in sentinel2_offers():
        acquisition = offer.acquisition
        assert Msi.on(acquisition.day).satellite == acquisition.platform
    assert Msi.of("Sentinel-2B", "L2A") == Msi("S2B")
    assert Msi.of("sentinel-2c", "L1C") == Msi("S2C", "L1C")
    assert Msi.of("landsat-8", "L2A") is None
