"""Recorded Items of real archives become Recipes: right assets, right radiometry, no surprise."""

import json
from dataclasses import replace
from datetime import date

import pytest

from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import assets
from geostack_dagster.providers import EARTH_SEARCH, PLANETARY_COMPUTER
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.recipe import Recipe

EVER = Window(date(1970, 1, 1), date(2100, 1, 1))
ARCHIVES = {"pc": PLANETARY_COMPUTER, "es": EARTH_SEARCH}
# Keys of the two archives for the same bands.
KEYS = {"pc": ("B04", "B08", "B12", "SCL"), "es": ("red", "nir", "swir22", "scl")}


def recorded(folder):
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("**/*.json"))}


def grid_over(item):
    """512 pixels of 10 m in the middle of a Sentinel-2 tile."""
    epsg = item["properties"]["proj:epsg"]
    asset = assets(item)["B04" if "B04" in assets(item) else "red"]
    left, top = asset["proj:transform"][2] + 50_000, asset["proj:transform"][5] - 50_000
    return Grid(crs=f"EPSG:{epsg}", resolution=10.0, left=left, top=top, width=512, height=512)


def ask(collection, grid, **changes):
    return StackAsk(
        **{
            "collections": (collection,),
            "bands": ("B04", "B08", "B12", "SCL"),
            "grid": grid,
            "window": EVER,
            **changes,
        }
    )


@pytest.mark.parametrize("slug", ARCHIVES)
def test_sentinel2_items_are_complete(shared_fixtures, slug):
    provider = ARCHIVES[slug]
    seen = 0
    for collection in provider.collections:
        for item in recorded(shared_fixtures / "items" / slug / collection).values():
            recipe = make_recipe(provider, [item], ask=ask(collection, grid_over(item)))
            assert recipe.skipped == (), item["id"]
            (found,) = recipe.items
            for band, key in zip(("B04", "B08", "B12", "SCL"), KEYS[slug], strict=True):
                source = found.sources[band]
                stated = item["assets"][key]
                assert source.key == key
                assert source.href == stated["href"].partition("?")[0]
                assert source.from_header == ()
                assert list(source.projection.shape) == stated["proj:shape"]
                assert list(source.projection.transform) == stated["proj:transform"][:6]
                assert source.projection.crs == f"EPSG:{item['properties']['proj:epsg']}"
                assert source.nodata == 0
            assert Recipe.loads(recipe.dumps()).fingerprint == recipe.fingerprint
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize("slug", ARCHIVES)
def test_the_offset_follows_what_was_recorded(shared_fixtures, slug):
    """PC: by baseline. Earth Search: by its flag, else as stated (collection 1 always has it)."""
    provider = ARCHIVES[slug]
    offsets = set()
    for collection in provider.collections:
        for item in recorded(shared_fixtures / "items" / slug / collection).values():
            recipe = make_recipe(provider, [item], ask=ask(collection, grid_over(item)))
            radiometry = recipe.items[0].sources["B04"].radiometry
            stated = item["properties"]
            if slug == "pc":
                wanted = -0.1 if float(stated["s2:processing_baseline"]) >= 4 else 0.0
            elif stated.get("earthsearch:boa_offset_applied") is True:
                wanted = 0.0
            else:
                wanted = item["assets"]["red"]["raster:bands"][0]["offset"]
            assert (radiometry.scale, radiometry.offset) == (1e-4, wanted), item["id"]
            assert radiometry.evidence
            offsets.add(wanted)
    assert offsets == {0.0, -0.1}


@pytest.mark.parametrize("slug", ARCHIVES)
@pytest.mark.parametrize("folder", ["pc", "es", "odd", "cdse", "cmr_stac", "dlr", "sh", "other"])
def test_no_item_of_any_archive_is_too_strange(shared_fixtures, slug, folder):
    """As if a provider had answered with it: read, or left out with a reason."""
    provider = ARCHIVES[slug]
    collection = next(iter(provider.collections))
    anywhere = Grid(crs="EPSG:4326", resolution=1.0, left=-180, top=90, width=360, height=180)
    for name, item in recorded(shared_fixtures / "items" / folder).items():
        disguised = {**item, "collection": collection}
        recipe = make_recipe(provider, [disguised], ask=ask(collection, anywhere))
        held = {band for found in recipe.items for band in found.sources}
        missing = {one.band for one in recipe.skipped}
        assert missing == {None} or held | missing >= {"B04", "B08", "B12", "SCL"}, name
        assert all(one.reason for one in recipe.skipped)
        assert "sig=" not in recipe.dumps()


def test_projections_of_all_archives_are_lifted_or_left_to_the_header(shared_fixtures):
    from geostack_dagster.stack.projection import trusted_projection

    doubted = {}
    for name, item in recorded(shared_fixtures / "items").items():
        if not isinstance(item.get("assets"), dict):
            continue
        for key, asset in assets(item).items():
            found, notes = trusted_projection(item, asset)
            assert found.transform is None or len(found.transform) == 6
            if notes:
                doubted[f"{name} {key}"] = notes
    # CDSE gives B07_60m the transform of 20 m pixels, against its own proj:bbox and proj:shape.
    assert (
        "proj:bbox"
        in doubted["S2A_MSIL2A_20200301T090901_N0500_R050_T35UPU_20230630T033416 B07_60m"][0]
    )
    sentinel2 = {name.rpartition(" ")[2] for name in doubted if name.startswith("S2")}
    assert sentinel2 == {"B07_60m"}


def test_item_level_projection_reaches_the_asset(shared_fixtures):
    """Landsat of Earth Search states shape and transform on the item only."""
    from geostack_dagster.stack.projection import trusted_projection

    (item,) = recorded(shared_fixtures / "items/es/landsat-c2-l2").values()
    found, notes = trusted_projection(item, assets(item)["red"])
    assert notes == ()
    assert found.is_complete
    assert found.crs == "EPSG:32613"
    assert found.shape == (7831, 7711)
    enmap = recorded(shared_fixtures / "items/dlr/ENMAP_HSI_L2A")
    item = next(iter(enmap.values()))
    found, notes = trusted_projection(item, assets(item)["image"])
    assert notes == ()
    assert found.crs.startswith("EPSG:32")
    assert len(found.transform) == 6


def test_replacing_the_loader_does_not_change_what_is_read(shared_fixtures):
    item = next(iter(recorded(shared_fixtures / "items/pc/sentinel-2-l2a").values()))
    recipe = make_recipe(PLANETARY_COMPUTER, [item], ask=ask("sentinel-2-l2a", grid_over(item)))
    other = make_recipe(
        PLANETARY_COMPUTER,
        [item],
        ask=replace(ask("sentinel-2-l2a", grid_over(item)), loader="stackstac"),
    )
    assert other.items == recipe.items
