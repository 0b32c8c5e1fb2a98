"""The synthetic Items are what the archives would have written, and pixels follow from them."""

import json
from datetime import datetime

import numpy as np
import pytest

from geostack_dagster.domain import radiometry
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.identity import resolve, sentinel2
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox import DESERT
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.pixels import UnrenderableError, layer_of
from geostack_dagster.sandbox.scenes import KORPEZHE, sentinel2_offers
from geostack_dagster.sandbox.world import World

WORLD = World()
LIKE = {
    "planetary_computer": (
        "pc/sentinel-2-l2a/S2B_MSIL2A_20250312T014549_R074_T53NKG_20250312T041213.json"
    ),
    "earth_search": "es/sentinel-2-l2a/S2A_32TMT_20200305_1_L2A.json",
}

PRODUCTS = (
    ("planetary_computer", "L2A", 0),
    ("earth_search", "L2A", 1),
    ("cdse", "L2A", 1),
    ("cdse", "L1C", 0),
    ("sentinel_hub", "L2A", 0),
    ("sentinel_hub", "L1C", 0),
)
"""Archive, level, and how many acquisitions it lists twice."""


@pytest.fixture(scope="module")
def catalogue() -> list[tuple]:
    """Of the two tiles that all archives offer."""
    offers = [one for one in sentinel2_offers() if one.acquisition.tile != KORPEZHE]
    return [(offer, offer.item(WORLD)) for offer in offers]


def one(catalogue, archive: str, day: str, tile: str = "32TMT") -> list[dict]:
    return [
        item
        for offer, item in catalogue
        if (offer.archive, f"{offer.acquisition.day}", offer.acquisition.tile.name)
        == (archive, day, tile)
    ]


def names(document, path: str = "") -> set[str]:
    """Every key of a JSON document, with the way to it."""
    if isinstance(document, list):
        return names(document[0], path) if document else set()
    if not isinstance(document, dict) or path.endswith("software"):
        return {path}
    return {path} | set().union(
        *(names(value, f"{path}/{key}") for key, value in document.items()), set()
    )


@pytest.mark.parametrize("archive", LIKE)
def test_items_have_the_members_of_recorded_ones(catalogue, shared_fixtures, archive):
    wanted = names(json.loads((shared_fixtures / "items" / LIKE[archive]).read_text()))
    for offer, item in catalogue:
        if offer.archive == archive:
            assert names(item) == wanted | {"/properties/s2:dark_features_percentage"}


def test_there_are_nine_overpasses_of_two_tiles(catalogue):
    for archive, level, extra in PRODUCTS:
        items = [
            item
            for offer, item in catalogue
            if (offer.archive, offer.product.level) == (archive, level)
        ]
        assert len(items) == 18 + extra
        kept, dropped = resolve(items, sentinel2)
        assert (len(kept), len(dropped)) == (18, extra)


def test_all_archives_list_the_same_acquisitions(catalogue):
    """Sentinel Hub states no datastrip, so the key without it."""
    keys = {
        (archive, level): {
            (key[0], *key[2:4])
            for offer, item in catalogue
            if (offer.archive, offer.product.level) == (archive, level)
            for key in [sentinel2(item).key]
        }
        for archive, level, _ in PRODUCTS
    }
    assert all(found == keys["planetary_computer", "L2A"] for found in keys.values())


def test_a_cloudy_day_says_so(catalogue):
    for archive, _, _ in PRODUCTS:
        for item in one(catalogue, archive, "2024-06-18"):
            assert item["properties"]["eo:cloud_cover"] > 75


def test_the_late_scene_is_held_back(catalogue):
    late = [item for offer, item in catalogue if offer.is_late]
    assert {item["properties"]["datetime"][:10] for item in late} == {"2024-07-13"}


CASES = [
    ("planetary_computer", "2024-06-28", 0, 1000),
    ("planetary_computer", "2024-06-13", 0, 0),  # baseline 02.12
    ("earth_search", "2024-06-28", 0, 0),  # offset subtracted already
    ("earth_search", "2024-06-23", 0, 0),  # _0_, baseline 02.14
    ("earth_search", "2024-06-23", 1, 0),  # _1_, baseline 05.10
    ("cdse", "2024-06-28", 0, 1000),
    ("cdse", "2024-06-28", 1, 1000),  # the reprocessing
]


@pytest.mark.parametrize(("archive", "day", "number", "added"), CASES)
def test_pixels_hold_what_the_archive_writes(catalogue, archive, day, number, added):
    item = one(catalogue, archive, day)[number]
    collection = provider_named(archive).collection("sentinel-2-l2a")
    band = collection.bands.by_name["B04"]
    key = band.asset_key(item)
    pixels = layer_of(item, key, WORLD)(Window(step=1, row=9300, column=800, height=60, width=70))
    grid = Grid(
        crs="EPSG:32632",
        resolution=10,
        left=399960 + 8000,
        top=5300040 - 93000,
        width=70,
        height=60,
    )
    moment = datetime.fromisoformat(item["properties"]["datetime"])
    truth = WORLD.reflectance("B04", grid, moment)
    assert np.abs(pixels.astype(float) - added - 1e4 * truth).max() < 1 + 1e4 * truth.max() * 0.01
    rule = radiometry.sentinel2(item, item["assets"][key], band)
    decoded = pixels * rule.scale + rule.offset
    assert np.sqrt(np.mean((decoded - truth) ** 2)) < 0.005


def test_vegetation_index_error_is_small(catalogue):
    """Noise and rounding leave an NDVI that scoring against the truth can rely on."""
    (item,) = one(catalogue, "planetary_computer", "2024-06-28")
    window = Window(step=1, row=9200, column=700, height=512, width=512)
    red, nir = (
        layer_of(item, key, WORLD)(window).astype(float) * 1e-4 - 0.1 for key in ("B04", "B08")
    )
    grid = Grid(
        crs="EPSG:32632",
        resolution=10,
        left=399960 + 7000,
        top=5300040 - 92000,
        width=512,
        height=512,
    )
    moment = datetime.fromisoformat(item["properties"]["datetime"])
    true_red, true_nir = (WORLD.reflectance(band, grid, moment) for band in ("B04", "B08"))
    clear = np.isin(WORLD.scl(grid, moment), (4, 5, 6, 7, 11))
    error = ((nir - red) / (nir + red) - (true_nir - true_red) / (true_nir + true_red))[clear]
    assert clear.mean() > 0.2
    assert np.sqrt(np.mean(error**2)) < 0.005


def test_nothing_was_seen_beyond_the_swath(catalogue):
    (item,) = one(catalogue, "planetary_computer", "2024-06-08", "20HNJ")
    assert item["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(28.4, abs=0.2)
    # The edge of the swath crosses the AOI, at about x = 532 km, y = 6348 km.
    window = Window(step=1, row=5100, column=3000, height=300, width=400)
    pixels = layer_of(item, "B04", WORLD)(window)
    assert 0.1 < (pixels == 0).mean() < 0.9
    assert (pixels[:, 0] == 0).all()
    assert (pixels[:, -1] > 0).all()
    scl = layer_of(item, "SCL", WORLD)(Window(step=1, row=2550, column=1500, height=150, width=200))
    assert ((scl == 0) == (pixels[::2, ::2] == 0)).mean() > 0.99


def test_reprocessing_gives_another_product_of_the_same_ground(catalogue):
    offer, item = next(pair for pair in catalogue if pair[0].archive == "planetary_computer")
    again = offer.reprocessed()
    renewed = again.item(WORLD)
    assert sentinel2(renewed).key == sentinel2(item).key
    assert sentinel2(renewed).rank > sentinel2(item).rank
    window = Window(step=1, row=100, column=100, height=64, width=64)
    before, after = (layer_of(found, "B08", WORLD)(window).astype(int) for found in (item, renewed))
    assert (before != after).mean() > 0.3
    assert np.abs(before - after).max() < 0.02 * before.max()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "image/png"}, "neither a GeoTIFF nor JPEG 2000"),
        ({"proj:shape": None}, "no proj:shape"),
        ({"proj:transform": [10, 1, 0, 1, -10, 0]}, "not north-up"),
        ({"href": "https://x/whatever.tif", "eo:bands": []}, "neither a Sentinel-2 layer"),
        ({"proj:code": "EPSG:99999999"}, "unknown CRS"),
        ({"proj:code": "IAU_2015:30100"}, "not given by an EPSG code"),
    ],
)
def test_what_cannot_be_rendered_is_named(catalogue, change, reason):
    _, item = catalogue[0]
    spoiled = item | {"assets": {"B04": item["assets"]["B04"] | change}}
    with pytest.raises(UnrenderableError, match=reason):
        layer_of(spoiled, "B04", WORLD)


def test_the_desert_is_offered_as_level_1c_by_cdse_alone_and_is_never_cloudy():
    offers = [one for one in sentinel2_offers() if one.acquisition.tile == KORPEZHE]
    assert {(one.archive, one.product.level) for one in offers} == {("cdse", "L1C")}
    assert len(offers) == 9
    aoi = AOI.from_file(DESERT)
    grid = Grid.covering(aoi, crs="EPSG:32640", resolution=60)
    for offer in offers:
        codes = WORLD.scl(grid, offer.acquisition.sensed)
        assert set(np.unique(codes)) <= {5, 7}  # bare or mixed, and no cloud
