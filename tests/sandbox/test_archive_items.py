"""Items of four archives have the members, types and conventions of recorded ones."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geostack_dagster.domain.item import assets, item_id, number
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox.places import place_of, places_of
from geostack_dagster.sandbox.twins import Twins

RECORDED = {
    ("cdse", "sentinel-2-l2a"): (
        "items/cdse/sentinel-2-l2a/"
        "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005.json"
    ),
    ("enmap", "ENMAP_HSI_L2A"): (
        "items/dlr/ENMAP_HSI_L2A/"
        "ENMAP01-____L2A-DT0000140097_20250708T104407Z_001_V010502_20250709T035921Z.json"
    ),
    ("enmap", "ENMAP_HSI_L0_QL"): (
        "items/dlr/ENMAP_HSI_L0_QL/"
        "ENMAP01-_____L0-DT0000140097_20250708T104407Z_001_V010502_20250709T021023Z.json"
    ),
    ("sentinel_hub", "sentinel-2-l2a"): (
        "items/sh/no-collection-member/"
        "S2A_MSIL2A_20210125T073201_N0214_R049_T39TWK_20210125T105105.json"
    ),
}
DERIVED = "derived/cmr_stac_emit_items_by_nasa_code.json"
STAMP = re.compile(r"\d{8}T\d{6}_(?:\d{7}_\d{3}|\d{6})")


@pytest.fixture(scope="module")
def twins() -> Twins:
    return Twins(token_lifetime_s=60, tile_cache_bytes=1 << 20)


def held(twins: Twins, slug: str, collection: str) -> list[dict[str, Any]]:
    records = twins.setting.archives[slug].catalogue.records(collection)
    assert records
    return [dict(record.item) for record in records]


def kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every place in a document with the kind of what is there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from kinds(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from kinds(inner, f"{path}[]")
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        yield path, "number" if is_number else type(value).__name__


def anonymous(item: dict[str, Any]) -> dict[str, Any]:
    """The Item without what its name is part of."""
    text = json.dumps(item)
    stamp = STAMP.search(item["id"])
    return json.loads(text.replace(stamp[0], "STAMP") if stamp else text)


@pytest.mark.parametrize(("slug", "collection"), [key for key in RECORDED if key[0] != "enmap"])
def test_sentinel2_items(twins, shared_fixtures: Path, slug, collection):
    recorded = json.loads((shared_fixtures / RECORDED[slug, collection]).read_text())
    if slug == "sentinel_hub":  # recorded at the older service, which states no collection
        recorded = recorded | {"collection": collection}
        recorded["links"] = recorded["links"][:1]
    wanted = set(kinds(recorded))
    for item in held(twins, slug, collection):
        found = set(kinds(item))
        if slug == "sentinel_hub":
            assert item["id"].endswith(".SAFE")
            assert [link["rel"] for link in item["links"]] == [
                "root",
                "self",
                "parent",
                "collection",
            ]
        assert found == wanted, item["id"]


@pytest.mark.parametrize("collection", ["ENMAP_HSI_L2A", "ENMAP_HSI_L0_QL"])
def test_enmap_items(twins, shared_fixtures: Path, collection):
    recorded = json.loads((shared_fixtures / RECORDED["enmap", collection]).read_text())
    wanted, lacking = set(kinds(recorded)), []
    for item in held(twins, "enmap", collection):
        missing = set(recorded["assets"]) - set(item["assets"])
        lacking += missing
        ignored = tuple(f"/assets/{key}/" for key in missing)
        assert set(kinds(item)) == {one for one in wanted if not one[0].startswith(ignored or "-")}
        assert [link.get("title") for link in item["links"]] == [
            link.get("title") for link in recorded["links"]
        ]
        for key, asset in item["assets"].items():
            for member in ("type", "title", "description", "roles"):
                assert asset[member] == recorded["assets"][key][member]
    assert lacking == (["quality_haze"] if collection == "ENMAP_HSI_L2A" else [])


@pytest.mark.parametrize("collection", ["EMITL2BCH4ENH_002", "EMITL2BCH4PLM_002", "EMITL1BRAD_001"])
def test_emit_items(twins, shared_fixtures: Path, collection):
    derived = json.loads((shared_fixtures / DERIVED).read_text())
    like = {one["collection"]: anonymous(one) for one in derived}
    wanted = like.get(collection)
    for item in held(twins, "lpcloud", collection):
        found = anonymous(item)
        if wanted is None:  # radiance: as another product of the same kind, with two files
            assert set(kinds(found["properties"])) == set(
                kinds(like["EMITL2BCH4ENH_002"]["properties"])
            )
            assert len(found["assets"]) == 8
            continue
        assert list(found) == list(wanted)
        assert list(found["assets"]) == list(wanted["assets"])
        assert set(kinds(found)) == set(kinds(wanted))
        for key, asset in found["assets"].items():
            if key != "metadata":  # which names the concept
                assert asset == wanted["assets"][key]


def test_level_1c_has_the_files_of_the_product(twins):
    for item in held(twins, "cdse", "sentinel-2-l1c"):
        assert len(item["assets"]) == 21
        images = {key for key, one in item["assets"].items() if one["type"] == "image/jp2"}
        assert len(images) == 14
        assert "/IMG_DATA/T" in item["assets"]["B10"]["href"]
        assert item["properties"]["product:type"] == "S2MSI1C"


@pytest.mark.parametrize("slug", ["cdse", "lpcloud", "enmap"])
def test_bands_of_the_record_are_found_in_the_items(twins, slug):
    for collection in provider_named(slug).collections.values():
        if collection.id not in twins.setting.archives[slug].catalogue.collections():
            continue
        for item in held(twins, slug, collection.id):
            missing = {band.name for band in collection.bands.bands if not band.asset_key(item)}
            assert missing <= {"quality_haze"}, item["id"]


@pytest.mark.parametrize("slug", ["cdse", "lpcloud", "enmap"])
def test_every_asset_has_its_bytes(twins, slug):
    """Whatever an Item of our own names on a twin can be read, by every href that leads there."""
    archive, seen = twins.setting.archives[slug], 0
    for collection in archive.catalogue.collections():
        if collection == "ENMAP_HSI_L0_QL":
            continue
        item = archive.catalogue.records(collection)[0].item
        for key, asset in assets(item).items():
            for place in places_of(asset):
                stored = twins.setting.vault.find(place.store, place.container, place.key)
                assert stored is not None, (item_id(item), key)
                seen += 1
    assert seen >= {"cdse": 120, "lpcloud": 18, "enmap": 13}[slug]


def test_both_hrefs_of_a_file_lead_to_one_object(twins):
    find = twins.setting.vault.find
    (item, *_) = held(twins, "lpcloud", "EMITL2BCH4ENH_002")
    for key, asset in item["assets"].items():
        if key.startswith("s3_"):
            there = place_of(item["assets"][key.removeprefix("s3_")])
            assert there == place_of(asset)
    (item, *_) = held(twins, "cdse", "sentinel-2-l2a")
    etags = {
        find(place.store, place.container, place.key).etag
        for place in places_of(item["assets"]["B02_10m"])
    }
    assert len(etags) == 1


def test_stated_sizes_are_those_of_the_files(twins):
    """Also at the swath edge, where tiles without data are short."""
    sizes: dict[str, dict[int, float]] = {}
    for item in held(twins, "cdse", "sentinel-2-l2a"):
        for key in ("B02_10m", "B11_20m", "SCL_20m", "TCI_60m", "CLD_60m", "AOT_20m"):
            asset = item["assets"][key]
            place = place_of(asset)
            stored = twins.setting.vault.find(place.store, place.container, place.key)
            assert stored.size == asset["file:size"], key
            sizes.setdefault(key, {})[stored.size] = item["properties"]["statistics"]["nodata"]
    for found in sizes.values():
        assert len(found) > 1
        assert found[min(found)] > 10


def test_strings_stand_where_dlr_writes_them(twins):
    covers = [
        item["properties"]["eo:cloud_cover"] for item in held(twins, "enmap", "ENMAP_HSI_L2A")
    ]
    assert all(isinstance(cover, str) for cover in covers)
    assert max(map(number, covers)) > 75


def test_plumes_are_listed_on_days_with_an_emission_only(twins):
    days = {
        item["properties"]["datetime"][:10] for item in held(twins, "lpcloud", "EMITL2BCH4PLM_002")
    }
    scenes = {
        item["properties"]["datetime"][:10] for item in held(twins, "lpcloud", "EMITL2BCH4ENH_002")
    }
    assert days < scenes
    assert "2024-06-28" in scenes - days


def test_two_granules_of_one_orbit_share_the_area(twins):
    pair = [
        item["id"].split("_")[-2:]
        for item in held(twins, "lpcloud", "EMITL1BRAD_001")
        if "20240708T10" in item["id"]
    ]
    (orbit, first), (same, second) = sorted(pair)
    assert orbit == same
    assert int(second) == int(first) + 1
