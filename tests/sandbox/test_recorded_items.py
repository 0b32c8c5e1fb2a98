"""Recorded Items are served with pixels that fit what they state."""

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from geostack_dagster.sandbox import Sandbox
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.grammar import Grammar
from geostack_dagster.sandbox.media import is_image
from geostack_dagster.sandbox.places import place_of
from geostack_dagster.sandbox.queries import search_of
from geostack_dagster.sandbox.twins import Twins
from tests.sandbox.conftest import EARTH_SEARCH, PLANETARY, signed


@pytest.fixture(scope="module")
def served(shared_fixtures):
    lines: list[str] = []
    twins = Twins(token_lifetime_s=60, tile_cache_bytes=1 << 20)
    twins.load(shared_fixtures / "items", lines.append)
    return twins, lines


HOLDERS = {
    "pc": "planetary_computer",
    "es": "earth_search",
    "cdse": "cdse",
    "cmr_stac": "lpcloud",
    "dlr": "enmap",
}
"""Archives by the folder of their recorded Items."""


def test_all_recorded_items_are_in_their_catalogues(served, shared_fixtures):
    twins, _ = served
    held = Counter()
    for folder, slug in HOLDERS.items():
        for path in (shared_fixtures / "items" / folder).rglob("*.json"):
            item = json.loads(path.read_text())
            if item.get("collection"):
                catalogue = twins.setting.archives[slug].catalogue
                assert catalogue.get(item["collection"], item["id"]), path.name
                held[slug] += 1
    least = {"planetary_computer": 20, "earth_search": 15, "cdse": 7, "lpcloud": 2, "enmap": 10}
    assert all(held[slug] >= count for slug, count in least.items()), held


def test_what_is_not_served_is_reported_with_a_reason(served, shared_fixtures):
    _, lines = served
    count = len(list((shared_fixtures / "items").rglob("*.json")))
    skipped = [line for line in lines if ": skipped: " in line]
    assert 0 < len(skipped) < count
    assert any("MOD14A1" in line and "EPSG" in line for line in lines)
    assert all(len(line.partition(": ")[2]) > 10 for line in lines)


def test_every_sentinel2_image_has_the_shape_that_its_item_states(served, shared_fixtures):
    twins, _ = served
    seen = 0
    for path in sorted((shared_fixtures / "items").rglob("sentinel-2-*l2a/*.json")):
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            place = place_of(asset)
            if place is None or not is_image(asset) or "proj:shape" not in asset:
                continue
            stored = twins.setting.vault.find(place.store, place.container, place.key)
            assert list(stored.layout.spec.shape) == asset["proj:shape"]
            left, top = asset["proj:transform"][2], asset["proj:transform"][5]
            assert stored.layout.spec.origin == (left, top)
            seen += 1
    assert seen > 400


def test_recorded_enmap_images_have_a_plane_for_each_band(served, shared_fixtures):
    twins, lines = served
    for path in (shared_fixtures / "items" / "dlr" / "ENMAP_HSI_L2A").glob("*.json"):
        item = json.loads(path.read_text())
        asset = item["assets"]["image"]
        place = place_of(asset)
        stored = twins.setting.vault.find(place.store, place.container, place.key)
        assert list(stored.layout.spec.shape) == asset["proj:shape"]
        assert (stored.layout.spec.samples, stored.layout.spec.nodata) == (224, -32768)
        height, width = stored.layout.spec.shape
        window = Window(step=1, row=height // 2, column=width // 2, height=20, width=20, sample=60)
        counts = stored.paint(window)
        assert 0 < counts.min() < counts.max() < 12_000
        corner = stored.paint(replace(window, row=0, column=0))
        assert (corner == -32768).all()  # outside the footprint
        assert any(path.name in line and "quality_cloud" in line for line in lines)


@pytest.mark.parametrize(
    "document",
    ["[]", "{}", "not json", '{"type": "Feature", "assets": {}, "links": null}', "null", '"x"'],
)
def test_strange_files_are_skipped(tmp_path, document):
    (tmp_path / "strange.json").write_text(document)
    lines: list[str] = []
    Twins(token_lifetime_s=60, tile_cache_bytes=1).load(tmp_path, lines.append)
    assert len(lines) == 1
    assert "strange.json" in lines[0]


def mutilated(item: dict, random: Random) -> dict:
    """The Item with a few members removed or replaced by nonsense, anywhere but in its links."""
    junk = [None, 0, -1, 1e308, "", "x", [], {}, [1], ["a"], {"a": 1}, True, "EPSG:1", [[1]]]
    for _ in range(random.randint(1, 3)):
        holder, name = item, random.choice([key for key in item if key != "links"])
        while isinstance(holder[name], dict) and holder[name] and random.random() < 0.7:
            holder, name = holder[name], random.choice(list(holder[name]))
        if random.random() < 0.3 and len(item) > 4:
            del holder[name]
        else:
            holder[name] = random.choice(junk)
    return item


def test_mutilated_items_stop_neither_the_loader_nor_a_search(shared_fixtures, tmp_path):
    random = Random(11)
    paths = sorted((shared_fixtures / "items").rglob("sentinel-2-*/*.json"))
    for number in range(150):
        item = mutilated(json.loads(random.choice(paths).read_text()), random)
        (tmp_path / f"{number}.json").write_text(json.dumps(item))
    twins = Twins(token_lifetime_s=60, tile_cache_bytes=1)
    twins.load(tmp_path, lambda line: None)
    everywhere = {
        "bbox": [-180, -90, 180, 90],
        "datetime": "2015-01-01T00:00:00Z/..",
        "query": {"eo:cloud_cover": {"lt": 101}},
        "filter": "eo:cloud_cover < 101",
        "sortby": [{"field": "properties.datetime", "direction": "desc"}],
    }
    for slug in ("planetary_computer", "earth_search"):
        catalogue = twins.setting.archives[slug].catalogue
        found = catalogue.search(search_of(everywhere, Grammar()))
        assert len(found) > 16


def test_served_through_the_sandbox(shared_fixtures, monkeypatch, capfd):
    import rasterio
    import requests

    folder = shared_fixtures / "items" / "es" / "sentinel-2-l2a"
    other = shared_fixtures / "items" / "pc" / "sentinel-2-l2a"
    with Sandbox([folder, other]) as sandbox, requests.Session() as http:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        url = f"{EARTH_SEARCH}/collections/sentinel-2-l2a/items/S2A_32TMT_20200305_1_L2A"
        item = http.get(url).json()
        assert item == json.loads((folder / "S2A_32TMT_20200305_1_L2A.json").read_text())
        with rasterio.open(item["assets"]["red"]["href"]) as source:
            assert source.read(1, window=((0, 16), (0, 16))).min() > 0
        (match,) = http.post(
            f"{PLANETARY}/stac/v1/search",
            json={"ids": ["S2B_MSIL2A_20200705T101559_R065_T32TMT_20200825T083452"]},
        ).json()["features"]
        with rasterio.open(signed(http, match["assets"]["B04"]["href"])) as source:
            # The recorded footprint leaves the tile's north-west corner without data.
            assert source.read(1, window=((0, 16), (0, 16))).max() == 0
            assert source.read(1, window=((0, 16), (10900, 10916))).min() > 0
