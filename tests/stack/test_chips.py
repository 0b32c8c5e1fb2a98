"""Chips of a Recipe: the stack's own pixels, in one plan, at the price of their tiles."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from geostack_dagster.domain.item import Projection
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.chips import ChipAt, ChipReader
from geostack_dagster.stack.load import decode, open_stack

FIRST, SECOND = date(2024, 6, 3), date(2024, 6, 9)
PLACES = [
    ChipAt(FIRST, 0, 0),
    ChipAt(SECOND, 200, 130),
    ChipAt(FIRST, 412, 412),
    ChipAt(FIRST, 60, 300),
]
SIZE = (100, 90)


def layers(kit):
    """Two days; on the first one Item over another, and classes."""
    red, under, later = (kit.unique(512, 512, first=first) for first in (1, 7, 2000))
    red[:200, 50:] = 0
    classes = kit.unique(512, 512, dtype="uint8")
    return {"red": red, "under": under, "later": later, "classes": classes}


def recipe_over(kit, store, **changes):
    made = {name: store(name, pixels) for name, pixels in layers(kit).items()}
    items = [
        kit.item("A", {"B04": made["red"], "SCL": made["classes"]}),
        kit.item("B", {"B04": made["under"]}, when="2024-06-03T10:30:05Z"),
        kit.item("C", {"B04": made["later"]}, when="2024-06-09T10:30:00Z"),
    ]
    return kit.recipe(items, bands=("B04", "SCL"), **changes)


@pytest.fixture
def recipe(kit, write):
    return recipe_over(kit, write)


def window(stack, place):
    rows = slice(place.row, place.row + SIZE[0])
    columns = slice(place.column, place.column + SIZE[1])
    return stack.sel(time=np.datetime64(place.day))[..., rows, columns]


def test_chips_are_windows_of_the_stack(recipe, signer):
    found = ChipReader(recipe, signer=signer).read(PLACES, size=SIZE)
    assert (found.shape, found.dtype) == ((4, 2, *SIZE), np.float32)
    stack = decode(open_stack(recipe, signer=signer)).compute()
    for chip, place in zip(found, PLACES, strict=True):
        for values, band in zip(chip, ("B04", "SCL"), strict=True):
            np.testing.assert_array_equal(values, window(stack[band], place))


def test_codes_of_chosen_bands(recipe, signer):
    found = ChipReader(recipe, bands=["B04"], signer=signer).codes(PLACES, size=SIZE)
    assert found.dtype == np.uint16
    stack = open_stack(recipe, signer=signer).B04.compute()
    for chip, place in zip(found, PLACES, strict=True):
        np.testing.assert_array_equal(chip[0], window(stack, place))
    with pytest.raises(ConfigurationError, match=r"several dtypes \(uint16, uint8\)"):
        ChipReader(recipe, signer=signer).codes(PLACES)


def test_each_tile_is_fetched_once_and_headers_are_kept(kit, archive, signer):
    def put(name, pixels):
        return archive.put(f"/open/{name}.tif", kit.tiff(pixels))

    reader = ChipReader(recipe_over(kit, put), bands=["B04"], signer=signer)
    overlapping = [ChipAt(SECOND, row, 10) for row in range(0, 60, 5)]
    reader.read(overlapping, size=(60, 60))
    asked = [ranges for _, _, ranges in archive.requests]
    assert len(asked) == len(set(asked)) == 2  # a header, and the one tile that holds them all
    reader.read([ChipAt(SECOND, 300, 300)], size=(60, 60))
    assert len(archive.requests) == 3


def test_a_projection_may_come_from_the_header(kit, archive, signer):
    href = archive.put("/open/bare.tif", kit.tiff(kit.unique(512, 512)))
    stated = {"proj:shape": None, "proj:transform": None}
    recipe = kit.recipe([kit.item("A", {"B04": href}, asset=stated)])
    source = recipe.items[0].sources["B04"]
    assert source.projection == Projection("EPSG:32632", None, None)
    reader = ChipReader(recipe, signer=signer)
    reader.read([ChipAt(FIRST, 5, 5)])
    assert len(archive.requests) == 2  # a header and tiles, as if it had been stated


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (ChipAt(FIRST, -1, 0), "leaves the grid of 512 x 512"),
        (ChipAt(FIRST, 0, 300), "leaves the grid"),
        (ChipAt(date(2024, 6, 4), 0, 0), "no items of 2024-06-04"),
    ],
)
def test_a_chip_elsewhere_is_refused(recipe, signer, place, words):
    with pytest.raises(ConfigurationError, match=words):
        ChipReader(recipe, signer=signer).read([place])


def test_a_band_must_be_the_recipes(recipe, signer):
    with pytest.raises(ConfigurationError, match="no band B12; it has B04, SCL"):
        ChipReader(recipe, bands=["B12"], signer=signer)


def test_no_chips(recipe, signer):
    assert ChipReader(recipe, signer=signer).read([]).shape == (0, 2, 256, 256)


def test_rendered_pixels_come_by_another_way(recipe, signer):
    rendered = replace(recipe, loader="process_api")
    with pytest.raises(ConfigurationError, match="renders its pixels"):
        ChipReader(rendered, signer=signer)
