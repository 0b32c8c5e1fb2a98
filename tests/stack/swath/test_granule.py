"""From Items to a Dataset in sensor geometry: the right pixels, bands, angles and map."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.swath import Geometry, SwathChoice
from geostack_dagster.errors import AssetError, ConfigurationError, IntegrityError
from geostack_dagster.inference.geolocation import orthorectify
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.swath.ask import SwathAsk, located, make_swath_recipe
from geostack_dagster.stack.swath.granule import open_granule
from geostack_dagster.stack.swath.recipe import SwathRecipe
from tests.stack.swath.emit import PIXEL, Emit, emit

EARTHACCESS = provider_named("earthaccess")
L1B = "EMITL1BRAD_001"
DAY = Window(date(2024, 7, 3), date(2024, 7, 4))


def around(granule: Emit, line: int, column: int, size: float = 3.0) -> AOI:
    """An area of some pixels around one of the granule's."""
    lon, lat = granule.lon[line, column], granule.lat[line, column]
    half = size * PIXEL / 2
    return AOI.from_bbox("here", (lon - half, lat - half, lon + half, lat + half))


def asked(aoi: AOI, **choice: Any) -> SwathAsk:
    return SwathAsk(collection=L1B, aoi=aoi, window=DAY, choice=SwathChoice(**choice))


def recipe_of(granule: Emit, aoi: AOI, **choice: Any) -> SwathRecipe:
    """A located Recipe whose hrefs lead to the files on this disk."""
    draft = make_swath_recipe(EARTHACCESS, [granule.item()], ask=asked(aoi, **choice))
    recipe, nbytes = located(replace(draft, items=with_files(draft, granule)), None)
    assert nbytes > 0
    return recipe


def mixed(recipe: SwathRecipe, name: str, path: Path) -> SwathRecipe:
    """The Recipe with another file in the place of one."""
    (item,) = recipe.items
    source = replace(item.sources[name], href=Href(path.as_uri()))
    return replace(recipe, items=(replace(item, sources={**item.sources, name: source}),))


def with_files(recipe: SwathRecipe, granule: Emit) -> tuple:
    return tuple(
        replace(
            item,
            sources={
                name: replace(source, href=Href(granule.files[name].as_uri()))
                for name, source in item.sources.items()
            },
        )
        for item in recipe.items
    )


def opened(recipe: SwathRecipe, **options: Any):
    (item,) = recipe.items
    with open_granule(recipe, item, signer=None) as granule:
        return granule.dataset(**options).load()


# The Recipe --------------------------------------------------------------------------------------


def test_collections_say_how_their_pixels_lie():
    found = {name: one.geometry for name, one in EARTHACCESS.collections.items()}
    assert {name for name, kind in found.items() if kind is Geometry.SWATH} == {
        "EMITL1BRAD_001",
        "EMITL1BRAD_002",
        "EMITL2ARFL_001",
        "EMITL2ARFL_002",
    }


def test_the_columns_that_cover_the_area_are_found(tmp_path):
    granule = emit(tmp_path)
    aoi = around(granule, 20, 30, size=4)
    (item,) = recipe_of(granule, aoi).items
    assert item.part.shape == (40, 50, 60)
    assert item.part.rows == (0, 40)
    west, south, east, north = aoi.bbox
    inside = (
        (granule.lon >= west)
        & (granule.lon <= east)
        & (granule.lat >= south)
        & (granule.lat <= north)
    )
    columns = np.flatnonzero(inside.any(axis=0))
    start, stop = item.part.columns
    assert start <= columns[0] <= columns[-1] < stop
    assert stop - start <= columns[-1] - columns[0] + 5  # no more than a pixel on either side


@pytest.mark.parametrize(
    ("choice", "rows", "columns"),
    [
        ({"columns": "all"}, (0, 40), (0, 50)),
        ({"rows": "aoi", "columns": "all"}, (18, 23), (0, 50)),
        ({"rows": "aoi"}, (18, 23), (28, 33)),
        ({"rows": "aoi", "margin_m": 180.0}, (15, 26), (25, 36)),
    ],
)
def test_more_or_less_of_a_granule_can_be_chosen(tmp_path, choice, rows, columns):
    granule = emit(tmp_path, corner=(8.0, 0.0))
    (item,) = recipe_of(granule, around(granule, 20, 30, size=2), **choice).items
    assert abs(np.subtract(item.part.rows, rows)).max() <= 1
    assert abs(np.subtract(item.part.columns, columns)).max() <= 1


def test_an_area_smaller_than_a_pixel_still_has_one(tmp_path):
    granule = emit(tmp_path)
    aoi = around(granule, 20, 30, size=0.01)
    (item,) = recipe_of(granule, aoi, rows="aoi").items
    assert item.part.rows[0] <= 20 < item.part.rows[1]
    assert item.part.columns[0] <= 30 < item.part.columns[1]


def test_a_granule_beside_the_area_is_left_out(tmp_path):
    granule = emit(tmp_path)
    corner = AOI.from_bbox("corner", (8.0, 46.97, 8.003, 46.973))  # inside the box around it
    draft = make_swath_recipe(EARTHACCESS, [granule.item()], ask=asked(corner))
    recipe, _ = located(replace(draft, items=with_files(draft, granule)), None)
    assert recipe.items == ()
    assert "none of its pixels does" in recipe.skipped[-1].reason


def test_a_granule_across_the_antimeridian_is_found(tmp_path):
    granule = emit(tmp_path, corner=(179.99, 50.0))
    wrapped = replace(granule, lon=(granule.lon + 180) % 360 - 180)
    assert wrapped.lon.min() < -179
    aoi = AOI.from_bbox("line", (179.999, 49.99, -179.999, 49.995))
    (item,) = recipe_of(wrapped, aoi, rows="aoi").items
    y, x = (slice(*span) for span in (item.part.rows, item.part.columns))
    assert 179.99 < abs(wrapped.lon[y, x]).max() <= 180.02


def test_bands_are_chosen_by_wavelength(tmp_path):
    granule = emit(tmp_path)
    windows = ((2137.0, 2493.0), (1620.0, 1700.0))
    recipe = recipe_of(granule, around(granule, 20, 30), wavelengths_nm=windows)
    found = opened(recipe)
    wanted = [n for n, w in enumerate(granule.wavelengths) if any(a <= w <= b for a, b in windows)]
    assert list(recipe.items[0].part.band_indices) == wanted
    np.testing.assert_array_equal(found["wavelength_nm"], granule.wavelengths[wanted])
    with pytest.raises(ConfigurationError, match=r"no band of EMIT_L1B.* 381 to 2493 nm"):
        recipe_of(granule, around(granule, 20, 30), wavelengths_nm=((2600.0, 2700.0),))


def test_a_recipe_reads_back_and_notices_changes(tmp_path):
    granule = emit(tmp_path)
    recipe = recipe_of(granule, around(granule, 20, 30), wavelengths_nm=((2137.0, 2493.0),))
    assert SwathRecipe.loads(recipe.dumps()) == recipe
    edited = json.loads(recipe.dumps())
    edited["items"][0]["part"]["columns"] = [0, 50]
    with pytest.raises(IntegrityError, match="was edited or cut"):
        SwathRecipe.from_json(edited)
    with pytest.raises(IntegrityError, match="has format 1, this version reads 'swath 1'"):
        SwathRecipe.from_json({"format": 1})
    with pytest.raises(IntegrityError, match="the swath recipe is damaged"):
        SwathRecipe.loads("{")


def test_the_question_and_the_fingerprint_say_what_changed(tmp_path):
    granule = emit(tmp_path)
    aoi = around(granule, 20, 30)

    def made(item: dict | None = None, **choice: Any) -> SwathRecipe:
        return make_swath_recipe(EARTHACCESS, [item or granule.item()], ask=asked(aoi, **choice))

    same = made()
    assert made(opener="fsspec").question == same.question
    assert made(opener="fsspec").fingerprint == same.fingerprint
    assert made(columns="all").question != same.question
    replaced = granule.item()
    next(iter(replaced["assets"].values()))["file:size"] += 1
    assert made(replaced).question != same.question
    assert made(replaced).fingerprint != same.fingerprint
    assert made(granule.item(links=[{"rel": "new"}])).question == same.question


def test_what_an_item_lacks_is_noted(tmp_path):
    granule = emit(tmp_path)
    whole = granule.item()
    names = list(whole["assets"])
    aoi = around(granule, 20, 30)

    def made(item: dict) -> SwathRecipe:
        return make_swath_recipe(EARTHACCESS, [item], ask=asked(aoi))

    bare = made({**whole, "assets": {names[0]: whole["assets"][names[0]]}})
    assert [(one.band, one.item) for one in bare.skipped] == [("observation", granule.name)]
    assert list(bare.items[0].sources) == ["radiance"]
    assert made({**whole, "assets": {names[1]: whole["assets"][names[1]]}}).items == ()
    assert made({**whole, "properties": {}}).items == ()
    assert made({**whole, "collection": "EMITL2ARFL_001"}).items == ()
    assert made({**whole, "collection": "C2408009906-LPCLOUD"}).items  # CMR's own name of it
    twice = make_swath_recipe(EARTHACCESS, [whole, whole], ask=asked(aoi))
    assert len(twice.items) == 1
    assert "listed twice" in twice.skipped[0].reason


def test_items_of_cmr_stac_serve_as_well(tmp_path):
    """Their keys hold slashes and differ by Item; S3 stands beside https."""
    granule = emit(tmp_path)
    item = granule.item()
    file = f"{granule.name}/{granule.name}"
    href = item["assets"][f"{granule.name}.nc"]["href"]
    bucket = href.partition("gov/")[2]
    item["assets"] = {
        f"s3_001/{file}": {"href": f"s3://{bucket}"},
        f"001/{file}": {"href": href},
        "browse": {"href": href.replace("protected", "public").replace(".nc", ".png")},
    }
    recipe = make_swath_recipe(provider_named("lpcloud"), [item], ask=asked(around(granule, 9, 9)))
    assert recipe.items[0].sources["radiance"].href == href


def test_a_collection_on_a_grid_needs_no_swath(tmp_path):
    ask = replace(asked(around(emit(tmp_path), 9, 9)), collection="HLSL30_2.0")
    with pytest.raises(ConfigurationError, match="lies on a grid"):
        make_swath_recipe(EARTHACCESS, [], ask=ask)


# The Dataset -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"chunks": (16, 16, 20), "compression": "gzip"}])
@pytest.mark.parametrize("columns", [None, 7])
def test_values_are_those_of_the_file(tmp_path, options, columns):
    granule = emit(tmp_path, **options)
    recipe = recipe_of(granule, around(granule, 20, 30, size=9))
    found = opened(recipe, columns=columns)
    part = recipe.items[0].part
    x = slice(*part.columns)
    assert found["radiance"].dims == ("downtrack", "crosstrack", "band")
    assert found["radiance"].dtype == np.float32
    np.testing.assert_array_equal(found["radiance"], granule.radiance[:, x])
    np.testing.assert_array_equal(found["lon"], granule.lon[:, x])
    np.testing.assert_array_equal(found["lat"], granule.lat[:, x])
    np.testing.assert_array_equal(found["column"], np.arange(*part.columns))
    assert found["radiance"].attrs["units"] == "uW/cm^2/SR/nm"
    assert (found["fwhm_nm"] == np.float32(8.6)).all()
    assert (found["good_band"] == 1).all()
    expected = 30 + np.arange(*part.columns) / 100
    np.testing.assert_allclose(found["sun_zenith"][0], expected, rtol=1e-6)
    assert np.isnan(found["sun_zenith"].values).sum() == (part.columns[0] <= 4)
    np.testing.assert_allclose(found["view_zenith"][:, 0], 5 + np.arange(40) / 100, rtol=1e-6)


def test_bad_pixels_are_nan(tmp_path):
    granule = emit(tmp_path)
    found = opened(recipe_of(granule, around(granule, 3, 4), columns="all"))
    assert np.isnan(found["radiance"][3, 4]).all()
    assert np.isnan(found["sun_zenith"][3, 4])
    assert int(np.isnan(found["radiance"]).sum()) == 60


def test_the_table_of_a_part_leads_to_the_same_pixels(tmp_path):
    granule = emit(tmp_path)
    recipe = recipe_of(granule, around(granule, 20, 30, size=9), rows="aoi")
    found = opened(recipe)
    part = recipe.items[0].part
    longitudes = orthorectify(found["lon"].values, found["glt_x"].values, found["glt_y"].values)
    left, width, _, top, _, height = found["glt_x"].attrs["geotransform"]
    rows, columns = np.nonzero(np.isfinite(longitudes))
    np.testing.assert_allclose(
        longitudes[rows, columns], left + (columns + 0.5) * width, atol=0.51 * PIXEL
    )
    latitudes = orthorectify(found["lat"].values, found["glt_x"].values, found["glt_y"].values)
    np.testing.assert_allclose(
        latitudes[rows, columns], top + (rows + 0.5) * height, atol=0.51 * PIXEL
    )
    lines, samples = (np.abs(table) for table in granule.glt[::-1])
    inside = (lines > part.rows[0]) & (lines <= part.rows[1])
    inside &= (samples > part.columns[0]) & (samples <= part.columns[1])
    assert rows.size == inside.sum()


def test_nothing_of_the_radiance_is_read_before_it_is_wanted(tmp_path):
    granule = emit(tmp_path, lines=200, columns=400, bands=80)
    recipe = recipe_of(granule, around(granule, 20, 30), columns="all")
    with open_granule(recipe, recipe.items[0], signer=None) as file:
        lazy = file.dataset(columns=16)
        before = file.bytes_read
        assert lazy["radiance"].chunks[1][0] == 16
        block = lazy["radiance"][:, 32:48].to_numpy()
        spent = file.bytes_read - before
    np.testing.assert_array_equal(block, granule.radiance[:, 32:48])
    assert spent < 1.02 * block.nbytes


def test_without_observations_the_sun_is_as_the_item_says(tmp_path):
    granule = emit(tmp_path)
    item = granule.item()
    item["assets"] = {f"{granule.name}.nc": item["assets"][f"{granule.name}.nc"]}
    draft = make_swath_recipe(EARTHACCESS, [item], ask=asked(around(granule, 20, 30)))
    recipe, _ = located(replace(draft, items=with_files(draft, granule)), None)
    found = opened(recipe)
    assert (found["sun_zenith"] == 29).all()
    assert "view_zenith" not in found


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    granule, other = (
        emit(tmp_path),
        emit(tmp_path, "EMIT_L1B_RAD_001_20240703T101124_1_1", lines=30),
    )
    recipe = recipe_of(granule, around(granule, 20, 30))
    with pytest.raises(AssetError, match="different granules"):
        opened(mixed(recipe, "observation", other.files["observation"]))


def test_another_product_is_named(tmp_path: Path):
    granule = emit(tmp_path)
    recipe = recipe_of(granule, around(granule, 20, 30))
    with pytest.raises(AssetError, match="has no array 'radiance'; it has location/elev"):
        located(mixed(recipe, "radiance", granule.files["observation"]), None)


def test_a_recipe_must_be_located_first(tmp_path):
    granule = emit(tmp_path)
    draft = make_swath_recipe(EARTHACCESS, [granule.item()], ask=asked(around(granule, 9, 9)))
    with pytest.raises(ConfigurationError, match="locate the recipe first"):
        opened(draft)
