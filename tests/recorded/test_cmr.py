"""What search makes of real conversations with NASA's CMR, beside earthaccess itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import earthaccess
import pytest

from geostack_dagster.catalog.cmr import CmrSearcher
from geostack_dagster.catalog.explain import explain
from geostack_dagster.catalog.search import SearchResult, search
from geostack_dagster.catalog.snapshot import read, take_snapshot, write
from geostack_dagster.catalog.umm import item_of
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.item import assets
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import ServiceError
from geostack_dagster.providers import Collection, Provider, provider_named
from tests.recorded.conversation import Conversation, replayed

EARTHACCESS = provider_named("earthaccess")
WORLD = AOI.from_bbox("world", (-180.0, -90.0, 180.0, 90.0))
ANY_BANDS = next(iter(EARTHACCESS.collections.values())).bands


def knowing(*names: str) -> Provider:
    """The provider with a record for each collection, so that none is looked up."""
    made = {name: record(name) for name in names}
    limits = replace(EARTHACCESS.limits, concurrent_searches=1, page_limit=2)
    return replace(EARTHACCESS, collections={**EARTHACCESS.collections, **made}, limits=limits)


def record(name: str) -> Collection:
    return Collection(id=name, title=name, bands=ANY_BANDS, aliases=("C1-TEST",))


def asked(*collections: str, start: str, end: str, aoi: AOI = WORLD) -> ItemQuery:
    begin, finish = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    return ItemQuery(collections=collections, aoi=aoi, start=begin, end=finish)


@pytest.fixture
def replay(tmp_path: Path, shared_fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    opened = []

    def start(*names: str) -> Conversation:
        manager = replayed(tmp_path, shared_fixtures, *names)
        found, conversation = manager.__enter__()
        opened.append(manager)
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        return conversation

    yield start
    for manager in opened:
        manager.__exit__(None, None, None)


def assert_same(result: SearchResult, granules: list[Any]) -> None:
    """Our Items are earthaccess's granules, with the same files."""
    assert [item["id"] for item in result.items] == [one["umm"]["GranuleUR"] for one in granules]
    for item, granule in zip(result.items, granules, strict=True):
        data = [one for one in assets(item).values() if one["roles"] == ["data"]]
        assert [one["href"] for one in data] == granule.data_links(access="external")


def test_two_landsat_scenes(replay, tmp_path: Path):
    conversation = replay("cmr_granules_umm_json_hls_l30")
    query = asked(
        "HLSL30_2.0",
        start="2024-02-11",
        end="2024-02-14",
        aoi=AOI.from_bbox("point", (-91.664, 47.859, -91.662, 47.861)),
    )
    taken = take_snapshot(EARTHACCESS, query)
    assert [item["id"] for item in taken.items] == [
        "HLS.L30.T15UWP.2024042T165831.v2.0",
        "HLS.L30.T15UXP.2024042T165831.v2.0",
    ]
    assert (taken.matched, taken.rejected, taken.warnings) == (2, (), ())
    assert conversation.beyond == []
    for item in taken.items:
        assert item["collection"] == "HLSL30_2.0"
        for band in EARTHACCESS.collection("HLSL30_2.0").bands.bands:
            key = band.asset_key(item)
            assert key == f"{item['id']}.{band.name}.tif"
            asset = item["assets"][key]
            assert asset["href"].startswith("https://data.lpdaac.earthdatacloud.nasa.gov/")
            assert asset["alternate"]["s3"]["href"].startswith("s3://lp-prod-protected/HLSL30.020/")
        assert item["properties"]["processing:datetime"].startswith("2024-02-15T00:")
    url = str(tmp_path / "s.parquet")
    write(taken, url)
    assert read(url) == taken


def test_earthaccess_finds_the_same(replay):
    replay("cmr_granules_umm_json_hls_l30")
    query = asked("HLSL30_2.0", start="2024-02-11", end="2024-02-14")
    result = search(EARTHACCESS, query)
    again = replay("cmr_granules_umm_json_hls_l30")
    again.exchanges.insert(0, counted(again.exchanges[0]))
    granules = earthaccess.search_data(
        concept_id="C2021957657-LPCLOUD",
        temporal=(query.start, query.end),
        bounding_box=(-180.0, -90.0, 180.0, 90.0),
    )
    granules.sort(key=lambda granule: granule["umm"]["GranuleUR"])
    assert_same(result, granules)


def counted(exchange: dict[str, Any]) -> dict[str, Any]:
    """The request for the number of hits, which comes before the granules."""
    uri = exchange["request"]["uri"].replace("page_size=20", "page_size=0")
    response = {**exchange["response"], "json": {"hits": 2, "items": []}}
    return {"request": {**exchange["request"], "uri": uri}, "response": response}


def test_pages_follow_one_another_by_the_header(replay):
    conversation = replay("cmr_TestMultipleQueries.test_results_unparsed_format")
    result = search(
        knowing("MOD02QKM_6.1"), asked("MOD02QKM_6.1", start="2000-02-24", end="2000-02-25")
    )
    assert conversation.given == list(range(10))
    assert len(result.items) == 20
    assert result.matched == 1404440
    assert "says that 1404440 items match" in result.warnings[0]
    polar, across = result.items[0], result.items[1]
    assert polar["bbox"] == [-180.0, 66.835767, 180.0, 90.0]
    assert across["bbox"] == pytest.approx([145.201467, 53.551985, -145.975778, 76.970977])
    assert all(item["geometry"]["type"].endswith("Polygon") for item in result.items)
    assert all(len(assets(item)) == 2 for item in result.items)
    (file,) = [one for one in assets(polar).values() if one["roles"] == ["data"]]
    assert file["file:size"] == 27984421  # of a file whose name is "Not provided"


def test_zero_hits_are_an_empty_result(replay):
    replay("edl_invalid_credentials_then_token")
    name = "OPERA_L3_DSWX-HLS_V1_1.0"
    result = search(knowing(name), asked(name, start="2024-04-30", end="2024-06-01"))
    assert (result.items, result.matched, result.warnings) == ([], 0, ())
    assert earthaccess.search_data(short_name="OPERA_L3_DSWX-HLS_V1_1.0") == []


def test_one_of_many_granules(replay):
    replay("edl_tokens_and_cmr_granule")
    name = "SEA_SURFACE_HEIGHT_ALT_GRIDS_L4_2SATS_5DAY_6THDEG_V_JPL2205_2205"
    result = search(knowing(name), asked(name, start="2020-01-01", end="2023-01-01"))
    (item,) = result.items
    assert item["bbox"] == [0.083, -79.917, -0.083, 79.917]
    grid = item["assets"]["ssh_grids_v2205_2020010212.nc"]
    assert (grid["file:size"], grid["file:checksum"]) == (
        9695609,
        "d501109002febf17632e5921eba5b8f62237e6",
    )
    assert result.matched == 218
    assert "says that 218 items match" in result.warnings[0]
    replay("edl_tokens_and_cmr_granule")
    assert_same(result, earthaccess.search_data(count=1, short_name="anything"))


@pytest.mark.parametrize(
    "name",
    [
        "cmr_TestMultipleQueries.test_zero_hits_query",
        "cmr_TestCollectionClass.test_revision_date",
        "cmr_TestGranuleClass.test_stac_output",
    ],
)
def test_an_answer_of_another_format_is_refused(replay, name):
    """The same service speaks Atom JSON and STAC too; neither is what was asked for."""
    conversation = replay(name)
    for exchange in conversation.exchanges:
        parts = exchange["request"]["uri"].split("?")
        exchange["request"]["uri"] = "https://cmr.earthdata.nasa.gov/search/granules.umm_json"
        assert parts[0] != exchange["request"]["uri"]
    with pytest.raises(ServiceError, match="no `items`"):
        search(EARTHACCESS, asked("HLSL30_2.0", start="1990-01-01", end="1990-01-03"))


def test_all_recorded_metadata_becomes_items(shared_fixtures: Path):
    """What data centres wrote, UMM-G 1.6.3 to 1.6.6."""
    seen = {}
    for path in sorted((shared_fixtures / "umm").glob("*umm.json")):
        document = json.loads(path.read_text())
        listed = document.get("items") if isinstance(document, dict) else None
        for granule in listed or [{"meta": {}, "umm": document}]:
            item = item_of(granule, EARTHACCESS, asked=(), root=EARTHACCESS.stac_url)
            seen[item["id"]] = item
            if path.name != "EMITL2BMIN_collection_umm.json":
                assert item["properties"]["datetime"], path.name
                assert explain(item, EARTHACCESS).to_json()
    emit = item_of(
        {
            "umm": json.loads(
                (shared_fixtures / "umm/EMITL2ARFL_001_20230316T045133.cmr.json").read_text()
            )
        },
        EARTHACCESS,
        asked=(),
        root=EARTHACCESS.stac_url,
    )
    assert emit["collection"] == "EMITL2ARFL_001"
    assert emit["properties"]["eo:cloud_cover"] == 23
    assert emit["properties"]["view:sun_elevation"] == pytest.approx(82.57)
    name = emit["id"]
    assert emit["assets"][f"{name}.nc"]["file:size"] == 3146828127
    assert emit["assets"][f"{name}.nc"]["file:checksum"].startswith("134033a14234f0c8")
    for band in EARTHACCESS.collection("EMITL2ARFL_001").bands.bands:
        assert band.asset_key(emit) in emit["assets"]
    assert seen["SC:ATL08.005:229324795"]["geometry"] is None  # an orbit, no footprint
    assert len(seen) > 10


def test_a_searcher_knows_the_concepts_of_the_record():
    searcher = CmrSearcher(EARTHACCESS, EARTHACCESS.stac_url)
    assert all(map(searcher.has_collection, EARTHACCESS.collections))  # and asks nobody
