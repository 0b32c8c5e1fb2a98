"""EnMAP's bands in recorded Items: found by wavelength in each Item, never by position."""

import copy
import json
from datetime import date

import pytest

from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import assets
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.ask import StackAsk, make_recipe

ENMAP = provider_named("enmap")
BANDS = ("red", "swir22", "nm902.0", "nm960.7", "nm961.6")
"""The last three lie where the detectors overlap."""
WAVELENGTHS_NM = {
    band.name: band.wavelength_nm for band in ENMAP.collection("ENMAP_HSI_L2A").bands.bands
}


@pytest.fixture(params=range(6))
def item(request, shared_fixtures):
    found = sorted((shared_fixtures / "items/dlr/ENMAP_HSI_L2A").glob("*.json"))
    return json.loads(found[request.param].read_text())


def recipe_of(item):
    image = assets(item)["image"]
    grid = Grid(
        crs=f"EPSG:{image['proj:epsg']}", resolution=30.0, left=image["proj:transform"][2],
        top=image["proj:transform"][5], width=1000, height=1000,
    )  # fmt: skip
    return make_recipe(
        ENMAP,
        [item],
        ask=StackAsk(
            collections=("ENMAP_HSI_L2A",),
            bands=BANDS,
            grid=grid,
            window=Window(date(1970, 1, 1), date(2100, 1, 1)),
        ),
    )


def off_nm(item, name, source):
    """How far the channel that would be read is from the band that was asked for."""
    described = item["assets"]["image"]["eo:bands"][source.index - 1]
    return abs(described["center_wavelength"] - WAVELENGTHS_NM[name])


def changed(item, reorder):
    made = copy.deepcopy(item)
    image = made["assets"]["image"]
    image["eo:bands"] = reorder(image["eo:bands"])
    return made


def test_each_band_is_read_from_its_channel(item):
    (found,) = recipe_of(item).items
    assert len(found.sources) == len(BANDS)
    assert len({source.index for source in found.sources.values()}) == len(BANDS)
    for name, source in found.sources.items():
        assert off_nm(item, name, source) < 0.2


def test_another_order_of_the_file_is_followed(item):
    as_recorded = recipe_of(item).items[0].sources
    by_detector = changed(
        item, lambda bands: sorted(bands, key=lambda band: -band["center_wavelength"])
    )
    (found,) = recipe_of(by_detector).items
    for name, source in found.sources.items():
        assert source.index == 225 - as_recorded[name].index
        assert off_nm(by_detector, name, source) < 0.2
        assert source.radiometry.scale == as_recorded[name].radiometry.scale


def test_an_item_without_the_band_does_without_it(item):
    red = recipe_of(item).items[0].sources["nm666.6"].index
    lacking = changed(item, lambda bands: bands[: red - 1] + bands[red:])
    recipe = recipe_of(lacking)
    (found,) = recipe.items
    assert len(found.sources) == len(BANDS) - 1
    assert off_nm(lacking, "nm2199.5", found.sources["nm2199.5"]) < 0.2
    (skipped,) = recipe.skipped
    assert skipped.band == "nm666.6"
    assert skipped.reason.startswith("asset image describes no band at 666.")


def test_an_item_that_describes_no_bands_says_so(item):
    made = copy.deepcopy(item)
    del made["assets"]["image"]["eo:bands"]
    recipe = recipe_of(made)
    assert recipe.items == ()
    assert {one.band for one in recipe.skipped} == {
        "nm666.6", "nm2199.5", "nm902.0", "nm960.7", "nm961.6",
    }  # fmt: skip
