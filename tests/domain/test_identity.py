import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.identity import by_id, resolve, sentinel2

PRODUCT = "S2A_MSIL2A_20240603T101559_N0510_R065_T32TMT_20240603T150000"
ITEMS = st.lists(
    st.builds(
        lambda number, tile, baseline, updated: {
            "id": f"S2A_MSIL2A_20240603T101559_R065_T{tile}_2024070{number}T000000",
            "properties": {"s2:processing_baseline": baseline, "updated": updated},
        },
        st.integers(1, 9),
        st.sampled_from(["32TMT", "32TNT"]),
        st.sampled_from(["02.14", "05.00", "05.11", "nan", None, "x"]),
        st.sampled_from(["2024-07-01T00:00:00Z", "2024-07-02T00:00:00Z", None]),
    ),
    max_size=8,
)


@given(ITEMS, st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_the_answer(items, random):
    kept, dropped = resolve(items, sentinel2)
    shuffled = items.copy()
    random.shuffle(shuffled)
    again, _ = resolve(shuffled, sentinel2)
    assert {json.dumps(item) for item in kept} == {json.dumps(item) for item in again}
    assert len(kept) + len(dropped) == len(items)
    assert len({sentinel2(item).key for item in kept}) == len(kept)


@given(ITEMS)
def test_resolving_twice_changes_nothing_and_every_loser_is_explained(items):
    kept, dropped = resolve(items, sentinel2)
    assert resolve(kept, sentinel2) == (kept, [])
    for loser in dropped:
        assert loser.reason
        assert loser.kept in {item["id"] for item in kept} or any(
            loser.kept == item["id"] for item in items
        )


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2024-06-03T13:00:00Z", "2024-06-03T13:00:00.500Z"),
        ("2024-06-03T15:00:00+02:00", "2024-06-03T13:00:01Z"),
        (None, "2024-06-03T13:00:00Z"),
    ],
)
def test_the_newest_processing_is_the_latest_instant(earlier, later):
    items = [
        {"id": name, "properties": {"s2:product_uri": PRODUCT, "s2:generation_time": when}}
        for name, when in (("z", earlier), ("a", later))
    ]
    for order in itertools.permutations(items):
        kept, (dropped,) = resolve(order, sentinel2)
        assert [item["id"] for item in kept] == ["a"]
        assert "processing time" in dropped.reason


def test_an_item_that_a_page_repeats_is_said_to_be_the_same():
    item = {"id": "a", "collection": "c", "properties": {}}
    kept, dropped = resolve([item, item], by_id)
    assert kept == [item]
    assert "twice" in dropped[0].reason


def test_equal_ids_of_two_collections_are_two_items():
    items = [{"id": "a", "collection": name} for name in ("c", "d")]
    assert resolve(items, by_id) == (items, [])


@pytest.fixture
def recorded(shared_fixtures):
    def read(*parts: str) -> dict:
        return json.loads((shared_fixtures / "items").joinpath(*parts).read_text())

    return read


def test_earth_searchs_two_processings_are_one_acquisition(recorded):
    old = recorded("es", "sentinel-2-l2a", "S2A_32TMT_20200305_0_L2A.json")
    new = recorded("es", "sentinel-2-l2a", "S2A_32TMT_20200305_1_L2A.json")
    for order in itertools.permutations([old, new]):
        kept, dropped = resolve(order, sentinel2)
        assert [item["id"] for item in kept] == [new["id"]]
        assert dropped[0].id == old["id"]
        assert "processing baseline" in dropped[0].reason


def test_recorded_scenes_of_one_archive_are_told_apart(recorded, shared_fixtures):
    for archive in ("pc", "cdse", "es"):
        folder = shared_fixtures / "items" / archive / "sentinel-2-l2a"
        items = [json.loads(file.read_text()) for file in sorted(folder.glob("S2*.json"))]
        keys = {sentinel2(item).key for item in items}
        assert all(len(key) == 5 for key in keys), archive
        assert len(keys) == len(items) - (archive == "es")  # the _0_ and _1_ above


def test_two_datastrips_of_one_datatake_are_kept():
    def half(sensed: str) -> dict:
        strip = f"S2A_OPER_MSI_L2A_DS_2APS_20240603T120000_S{sensed}_N05.10"
        name = "S2A_MSIL2A_20240603T101559_N0510_R065_T32TMT_20240603T150000"
        return {"id": f"{name}-{sensed}", "properties": {"s2:datastrip_id": strip}}

    items = [half("20240603T101913"), half("20240603T102027")]
    assert resolve(items, sentinel2) == (items, [])
