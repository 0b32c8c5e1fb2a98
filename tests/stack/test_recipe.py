import json
from dataclasses import replace
from datetime import date

import pytest

from geostack_dagster.domain.days import Window
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.providers.provider import ClearClasses
from geostack_dagster.stack.encoding import Encoding
from geostack_dagster.stack.recipe import MaskPolicy, Recipe

MASK = MaskPolicy(
    classes=ClearClasses(band="SCL", keep=(4, 5, 6), buffer_around=(8, 9)), buffer_m=60.0
)


def test_a_source_holds_what_a_reader_needs(kit):
    href = "https://acct.blob.core.windows.net/c/B04.tif?sv=1&sig=abcdefghijklmnopqrstuvwxyz"
    recipe = kit.recipe([kit.item(assets={"B04": href})])
    source = recipe.items[0].sources["B04"]
    assert source.href == "https://acct.blob.core.windows.net/c/B04.tif"
    assert (source.key, source.index, source.dtype, source.nodata) == ("B04", 1, "uint16", 0.0)
    assert source.projection.crs == "EPSG:32632"
    assert source.radiometry.offset == -0.1
    assert "05.11" in source.radiometry.reason
    assert source.from_header == ()
    assert "sig=" not in recipe.dumps()


def test_json_round_trip_without_a_snapshot(kit):
    items = [
        kit.item("A", {"B04": "a.tif", "SCL": "s.tif", "ENH": "e.tif"}),
        kit.item("B", {"B04": "b.tif"}, baseline="02.14", asset={"proj:transform": None}),
        kit.item("C", {"ENH": "c.tif"}, asset={"raster:bands": [{"nodata": "nan"}]}),
    ]
    recipe = kit.recipe(items, bands=("red", "ENH"), mask=MASK, snapshot="abc", loader="rioxarray")
    again = Recipe.loads(recipe.dumps())
    assert again.dumps() == recipe.dumps()
    assert again.fingerprint == recipe.fingerprint
    assert [band.name for band in again.bands] == ["B04", "ENH", "SCL"]
    assert again.mask == MASK
    assert again.days == (date(2024, 6, 3),)


def test_the_fingerprint_is_of_the_pixels(kit):
    recipe = kit.recipe([kit.item()])
    same = [
        kit.recipe([kit.item(properties={"updated": "2030-01-01T00:00:00Z"})]),
        kit.recipe([kit.item()], snapshot="another"),
        kit.recipe([kit.item(), kit.item("X", when="2031-06-03T10:30:00Z")]),
    ]
    other = [
        kit.recipe([kit.item(baseline="03.01")]),
        kit.recipe([kit.item()], bands=("B08",)),
        kit.recipe([kit.item()], resampling="bilinear"),
        kit.recipe([kit.item()], grid=replace(kit.grid, left=600010.0)),
        kit.recipe([kit.item("B")]),
        kit.recipe([kit.item(assets={"B04": "moved.tif"})]),
    ]
    assert {one.fingerprint for one in same} == {recipe.fingerprint}
    assert len({recipe.fingerprint, *(one.fingerprint for one in other)}) == 1 + len(other)


def test_a_recipe_that_was_edited_is_refused(kit):
    document = kit.recipe([kit.item()]).to_json()
    document["items"][0]["sources"]["B04"]["radiometry"]["offset"] = 0.0
    with pytest.raises(IntegrityError, match="edited or cut"):
        Recipe.from_json(document)
    with pytest.raises(
        IntegrityError, match=r"the recipe is damaged .no JSON.*materialize the stack"
    ):
        Recipe.loads(json.dumps(document)[:-9])
    with pytest.raises(IntegrityError, match=r"the recipe is damaged .it lacks"):
        Recipe.loads(json.dumps({"format": document["format"]}))
    with pytest.raises(IntegrityError, match="format 99"):
        Recipe.from_json({**document, "format": 99})


def test_items_are_ordered_by_day_acquisition_and_id(kit):
    whens = {"D": "03T10:30:00", "B": "03T10:20:00", "A": "03T10:30:00", "C": "01T10:00:00"}
    items = [kit.item(name, when=f"2024-06-{when}Z") for name, when in whens.items()]
    assert [item.id for item in kit.recipe(items).items] == ["C", "B", "A", "D"]
    assert kit.recipe(items[::-1]).fingerprint == kit.recipe(items).fingerprint


def test_solar_days_follow_the_longitude(kit):
    late = kit.item(when="2024-06-03T23:30:00Z")
    assert kit.recipe([late]).days == (date(2024, 6, 3),)
    assert kit.recipe([late], longitude=45.0).days == (date(2024, 6, 4),)


REASONS = {
    "no asset for B04": {"assets": {"B02": "a.tif"}},
    "has no href": {"assets": {"B04": ""}},
    "no readable datetime": {"when": "yesterday"},
    "outside the window": {"when": "2024-07-01T10:30:00Z"},
    "does not touch the grid": {"asset": {"proj:transform": [10, 0, 700000, 0, -10, 5000000]}},
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_an_item_lacks_is_recorded(kit, reason):
    recipe = kit.recipe([kit.item("bad", **REASONS[reason]), kit.item("good")])
    assert [item.id for item in recipe.items] == ["good"]
    (skipped,) = recipe.skipped
    assert skipped.item == "bad"
    assert reason in skipped.reason


def test_one_missing_band_leaves_the_others(kit):
    recipe = kit.recipe([kit.item(assets={"B04": "a.tif"})], bands=("B04", "B08"))
    assert set(recipe.items[0].sources) == {"B04"}
    assert [(one.item, one.band) for one in recipe.skipped] == [("A", "B08")]


def test_items_of_other_collections_and_repeated_items(kit):
    stranger = {**kit.item("X"), "collection": "landsat"}
    recipe = kit.recipe([stranger, kit.item("A"), kit.item("A", {"B04": "second.tif"})])
    assert recipe.items[0].sources["B04"].href == "B04.tif"
    assert ["landsat" in recipe.skipped[0].reason, "twice" in recipe.skipped[1].reason] == [
        True,
        True,
    ]


def test_assets_on_hosts_the_provider_does_not_keep(kit):
    from geostack_dagster.stack.ask import make_recipe

    provider = replace(kit.provider(), access=(("https://good.example/*", "anonymous"),))
    item = kit.item(assets={"B04": "https://evil.example/a.tif"})
    recipe = make_recipe(provider, [item], ask=kit.ask())
    assert "keeps none: https://evil.example/a.tif" in recipe.skipped[0].reason


PROJECTIONS = {
    "nine elements": (
        {"proj:transform": [10, 0, 600000, 0, -10, 5000000, 0, 0, 1]},
        (),
    ),
    "proj:code on the asset": ({"proj:code": "EPSG:32632"}, ()),
    "GDAL order": ({"proj:transform": [600000, 10, 0, 5000000, 0, -10]}, ("transform",)),
    "identity": ({"proj:transform": [1, 0, 0, 0, 1, 0]}, ("transform",)),
    "singular": ({"proj:transform": [10, 0, 600000, 0, 0, 5000000]}, ("transform",)),
    "not numbers": ({"proj:transform": ["nan", 0, 6, 0, -10, 5]}, ("transform",)),
    "beside proj:bbox": ({"proj:bbox": [0, 0, 5120, 5120]}, ("transform",)),
    "within proj:bbox": ({"proj:bbox": [600000, 4994880, 605120, 5000000]}, ()),
    "unknown CRS": ({"proj:code": "EPSG:99999"}, ("crs",)),
    "nothing": ({"proj:shape": None, "proj:transform": None}, ("shape", "transform")),
    "empty": ({"proj:shape": [0, 512]}, ("shape",)),
}


@pytest.mark.parametrize("case", PROJECTIONS)
def test_only_projections_that_can_be_right_are_believed(kit, case):
    stated, from_header = PROJECTIONS[case]
    source = kit.recipe([kit.item(asset=stated)]).items[0].sources["B04"]
    assert source.from_header == from_header
    if not from_header:
        assert source.projection.transform == (10, 0, 600000, 0, -10, 5000000)
    elif case not in ("nothing", "not numbers"):
        assert source.notes


def test_nodata_that_the_dtype_cannot_hold_is_not_believed(kit):
    stated = {"raster:bands": [{"data_type": "uint16", "nodata": "nan"}]}
    source = kit.recipe([kit.item(asset=stated)]).items[0].sources["B04"]
    assert source.nodata == 0.0
    assert "nodata nan" in source.notes[0]


WRONG_ASKS = {
    "did you mean 'B04'": {"bands": ("B4",)},
    "no collection 's3'": {"collections": ("s3",)},
    "unknown loader 'ocd'": {"loader": "ocd"},
    "unknown resampling": {"resampling": "nearst"},
    "at least one": {"bands": ()},
}


@pytest.mark.parametrize("message", WRONG_ASKS)
def test_a_wrong_ask_is_an_error_that_names_the_thing(kit, message):
    with pytest.raises(ConfigurationError, match=message):
        kit.recipe([kit.item()], **WRONG_ASKS[message])


def test_a_pipeline_may_pin_another_encoding(kit):
    encoding = Encoding(dtype="int16", fill=-32768, scale=0.1)
    recipe = kit.recipe([], bands=("ENH",), encodings={"ENH": encoding})
    assert recipe.band("ENH").encoding == encoding


def test_collections_that_code_a_band_differently_do_not_mix(kit):
    from geostack_dagster.domain.bands import Band, BandTable
    from geostack_dagster.stack.ask import make_recipe

    provider = kit.provider()
    other = replace(
        provider.collections["other"], bands=BandTable((Band(name="B04", dtype="float32"),))
    )
    mixed = replace(provider, collections={**provider.collections, "other": other})
    with pytest.raises(ConfigurationError, match="codes B04 as float32"):
        make_recipe(mixed, [], ask=kit.ask(collections=("s2", "other")))


def test_an_antimeridian_grid_in_degrees_takes_both_sides(kit):
    grid = replace(kit.grid, crs="EPSG:4326", resolution=0.001, left=179.9, top=0.1, width=200)
    west = kit.item("W", asset={"proj:code": "EPSG:32660", "proj:transform": None})
    east = kit.item(
        "E",
        asset={
            "proj:code": "EPSG:4326",
            "proj:transform": [0.001, 0, -180.0, 0, -0.001, 0.1],
            "proj:shape": [200, 200],
        },
    )
    far = kit.item(
        "F",
        asset={"proj:code": "EPSG:4326", "proj:transform": [0.001, 0, 0.0, 0, -0.001, 0.1]},
    )
    window = Window(date(2024, 6, 1), date(2024, 7, 1))
    recipe = kit.recipe([west, east, far], grid=grid, window=window)
    assert [item.id for item in recipe.items] == ["E", "W"]
    assert [one.item for one in recipe.skipped] == ["F"]
