"""What search makes of real conversations with five catalogues."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from geostack_dagster.catalog.search import SearchResult, search
from geostack_dagster.catalog.snapshot import read, take_snapshot, write
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError, MissingCredentialError
from geostack_dagster.providers import (
    EARTH_SEARCH,
    PLANETARY_COMPUTER,
    Collection,
    FilterDialect,
    provider_named,
)
from geostack_dagster.providers.provider import Provider

ES = "https://earth-search.aws.element84.com"
PC = "https://planetarycomputer.microsoft.com"
CDSE = "https://stac.dataspace.copernicus.eu"
DLR = "https://geoservice.dlr.de"
SH = "https://sh.dataspace.copernicus.eu"
CLIENTS = ("pystac-client", "rustac")
WORLD = AOI.from_bbox("world", (-180.0, -90.0, 180.0, 90.0))
type Replays = Callable[..., Any]


def at(provider: Provider, url: str, *collections: str, **changes: Any) -> Provider:
    """The provider at another address, with records for more collections."""
    template = next(iter(EARTH_SEARCH.collections.values()))
    known = {
        name: provider.collections.get(name, Collection(id=name, title=name, bands=template.bands))
        for name in collections
    }
    return replace(provider, stac_url=url, collections=known, **changes)


def asked(*collections: str, start: str, end: str, **changes: Any) -> ItemQuery:
    begin, finish = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    return ItemQuery(
        **{"collections": collections, "aoi": WORLD, "start": begin, "end": finish, **changes}
    )


def covers(result: SearchResult) -> list[float]:
    stated = [item["properties"].get("eo:cloud_cover") for item in result.items]
    return [float(cover) for cover in stated if cover is not None]


def assert_is_complete(provider: Provider, query: ItemQuery, client: str) -> None:
    result = search(provider, query, client=client)
    assert len(result.items) == 16
    moments = [item["properties"]["datetime"] for item in result.items]
    assert moments == sorted(moments)
    assert result.rejected == result.warnings == ()
    if client == "pystac-client":
        assert (result.matched, result.pages) == (16, 3)


@pytest.mark.parametrize("client", CLIENTS)
def test_earth_search_offers_an_empty_page_after_the_last(replay: Replays, client: str) -> None:
    served = replay(ES, "es_search_paging_s2_2020")
    query = asked(
        "sentinel-2-l2a",
        start="2020-03-01",
        end="2020-03-06",
        aoi=AOI.from_bbox("bodensee", (9.0, 47.0, 10.0, 48.0)),
    )
    assert_is_complete(at(EARTH_SEARCH, served.url("/v1"), "sentinel-2-l2a"), query, client)
    assert len(served.searches) == 3
    assert served.searches[0]["bbox"] == [9.0, 47.0, 10.0, 48.0]
    assert served.beyond == 0


def test_earth_searchs_two_processings_become_one(replay: Replays, tmp_path: Path) -> None:
    served = replay(ES, "es_search_paging_s2_2020")
    query = asked("sentinel-2-l2a", start="2020-03-01", end="2020-03-06")
    taken = take_snapshot(at(EARTH_SEARCH, served.url("/v1"), "sentinel-2-l2a"), query)
    assert {item["id"][-6:] for item in taken.items} == {"_1_L2A"}
    assert len(taken.items) == len(taken.superseded) == 8
    for dropped in taken.superseded:
        assert dropped.id.replace("_0_L2A", "_1_L2A") == dropped.kept
        assert "processing baseline" in dropped.reason
    url = str(tmp_path / "s.parquet")
    write(taken, url)
    assert read(url) == taken


@pytest.mark.parametrize("client", CLIENTS)
def test_earth_search_ignores_a_cql2_filter(replay: Replays, client: str) -> None:
    served = replay(ES, "es_cql2_filter_silently_ignored")
    names = ("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-2-l1c")
    provider = at(EARTH_SEARCH, served.url("/v1"), *names, filter_dialect=FilterDialect.CQL2_JSON)
    query = asked(
        *names,
        start="2025-07-31",
        end="2025-08-01",
        predicates=(Predicate("eo:cloud_cover", "lte", 40),),
    )
    result = search(provider, query, client=client)
    assert served.searches[0]["filter"] == {
        "op": "<=",
        "args": [{"property": "eo:cloud_cover"}, 40],
    }
    assert covers(result)
    assert max(covers(result)) <= 40
    cloudy = [one.reason for one in result.rejected if "is not lte 40" in one.reason]
    foreign = [one.reason for one in result.rejected if "was not asked for" in one.reason]
    assert any("eo:cloud_cover 56.8" in reason for reason in cloudy)
    assert any("'sentinel-1-grd'" in reason for reason in foreign)
    assert len(result.items) + len(cloudy) + len(foreign) == 20
    assert any("did not apply it" in warning for warning in result.warnings)
    if client == "pystac-client":
        assert result.matched == 115_912_757
        assert any("says that 115912757 items match" in text for text in result.warnings)


@pytest.mark.parametrize("client", CLIENTS)
def test_earth_search_names_no_such_collection(replay: Replays, client: str) -> None:
    served = replay(ES, "es_collection_404")
    query = asked("foo", start="2025-07-31", end="2025-08-01")
    with pytest.raises(ConfigurationError, match="earth_search has no collection 'foo'"):
        search(at(EARTH_SEARCH, served.url("/v1")), query, client=client)


def test_earth_search_without_geometries_places_by_bbox(replay: Replays) -> None:
    served = replay(ES, "es_collection_404", "es_fields_excluded")
    query = asked(
        "sentinel-2-c1-l2a",
        start="2025-07-01",
        end="2025-08-01",
        aoi=AOI.from_bbox("front-range", (-105.2, 40.1, -105.0, 40.2)),
    )
    result = search(at(EARTH_SEARCH, served.url("/v1"), "sentinel-2-c1-l2a"), query)
    assert len(result.items) == 10
    assert sum("is placed by its bbox" in warning for warning in result.warnings) == 10


def test_earth_searchs_radar_scene_across_the_antimeridian(replay: Replays) -> None:
    served = replay(ES, "es_search_post_empty")
    provider = at(EARTH_SEARCH, served.url("/v1"), "sentinel-1-grd")

    def found(west: float, east: float) -> list[str]:
        aoi = AOI.from_bbox("ross-sea", (west, -70.5, east, -68.0))
        query = asked("sentinel-1-grd", start="2025-07-09", end="2025-07-10", aoi=aoi)
        return [item["id"] for item in search(provider, query).items]

    scene = "S1A_EW_GRDM_1SDH_20250709T083719_20250709T083754_060004_07745D"
    assert scene in found(179.5, -179.5)
    assert scene in found(176.0, 179.0)
    assert scene not in found(0.0, 90.0)


def test_earth_search_v0_states_no_conformance(replay: Replays) -> None:
    served = replay(ES, "es_v0_landing_no_conformsto")
    query = asked("sentinel-s2-l2a", start="2020-03-01", end="2020-03-06")
    result = search(at(EARTH_SEARCH, served.url("/v0"), "sentinel-s2-l2a"), query)
    assert result.items == []
    assert served.searches


@pytest.mark.parametrize("client", CLIENTS)
def test_planetary_computer_pages_by_tokens_and_states_no_count(
    replay: Replays, client: str
) -> None:
    served = replay(PC, "pc_landing_2025", "pc_search_paging")
    query = asked(
        "naip",
        start="2010-01-01",
        end="2025-01-01",
        aoi=AOI.from_bbox("vermont", (-73.21, 43.99, -73.12, 44.05)),
        page_limit=10,
    )
    provider = at(PLANETARY_COMPUTER, served.url("/api/stac/v1"), "naip")
    result = search(provider, query, client=client)
    assert len(result.items) == 20
    assert result.matched is None
    assert result.rejected == ()
    tokens = {body.get("token") for body in served.searches}
    assert "next:naip:vt_m_4307307_nw_18_060_20211029" in tokens
    assert "next:naip:vt_m_4307307_ne_18_h_20160805" in tokens


@pytest.mark.parametrize("client", CLIENTS)
def test_cdse_states_no_count_and_no_next_link(replay: Replays, client: str) -> None:
    served = replay(CDSE, "cdse_search_s2")
    provider = at(provider_named("cdse"), served.url("/v1"), "sentinel-2-l2a")
    query = asked(
        "sentinel-2-l2a",
        start="2020-07-01",
        end="2020-07-06",
        aoi=AOI.from_bbox("walensee", (9.0, 47.0, 9.1, 47.1)),
        predicates=(Predicate("eo:cloud_cover", "lt", 99),),
    )
    result = search(provider, query, client=client)
    assert len(result.items) + len(result.rejected) == 4
    assert max(covers(result)) < 99
    for item in result.items:
        assert item["assets"]["B02_10m"]["href"].startswith("s3://eodata/")
    assert served.searches[0]["filter"]["args"] == [{"property": "eo:cloud_cover"}, 99]


def test_cdse_with_a_polygon_and_with_nothing(replay: Replays) -> None:
    ring = [[8.0, 52.0], [12.0, 52.5], [12.0, 55.0], [8.0, 55.0], [8.0, 52.0]]
    north = AOI("north", {"type": "Polygon", "coordinates": [ring]})
    name = "sentinel-3-syn-2-syn-ntc"
    served = replay(CDSE, "cdse_search_s3_syn")
    query = asked(name, start="2020-07-31", end="2020-08-02", aoi=north)
    assert len(search(at(provider_named("cdse"), served.url("/v1"), name), query).items) == 5
    assert served.searches[0]["intersects"] == north.geometry
    served = replay(CDSE, "cdse_search_empty")
    query = asked("sentinel-2-l2a", start="2023-11-01", end="2023-11-11")
    result = search(at(provider_named("cdse"), served.url("/v1"), "sentinel-2-l2a"), query)
    assert (result.items, result.warnings) == ([], ())


def test_dlr_merges_the_next_page_into_the_question(replay: Replays) -> None:
    served = replay(DLR, "dlr_search_post_all")
    names = ("ENMAP_HSI_L2A", "ENMAP_HSI_L0_QL")
    provider = at(provider_named("enmap"), served.url("/eoc/ogc/stac/v1"), *names)
    query = asked(
        *names,
        start="2025-07-08",
        end="2025-07-09",
        predicates=(
            Predicate("eo:cloud_cover", "lte", 50),  # "72" in some Items: compared here only
            Predicate("sat:orbit_state", "eq", "DESCENDING"),
        ),
        page_limit=20,
    )
    result = search(provider, query)
    first, second = served.searches
    assert first["collections"] == list(names)
    descending = "\"sat:orbit_state\" = 'DESCENDING'"
    assert (first["filter"], first["filter-lang"]) == (descending, "cql2-text")
    assert second == first | {"startIndex": 20}
    assert len(result.items) + len(result.rejected) == 20
    assert any(isinstance(item["properties"]["eo:cloud_cover"], str) for item in result.items)
    assert max(covers(result)) <= 50
    assert "has eo:cloud_cover '72', which is not lte 50" in result.rejected[0].reason
    # rustac would send {"startIndex": 20} alone: the second page of the whole archive.
    with pytest.raises(ConfigurationError, match="use pystac-client"):
        search(provider, query, client="rustac")


def test_sentinel_hub_asks_for_a_token_and_pages_by_number(
    replay: Replays, shared_fixtures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SH_CLIENT_ID", "SH_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    landing = json.loads((shared_fixtures / "api/sh_cdse_catalog_landing.json").read_text())
    scenes = json.loads((shared_fixtures / "http/sh_cdse_search_fields_12.json").read_text())
    box = [50.0, 43.0, 53.0, 46.0]
    features = [{"type": "Feature", "bbox": box, **scene} for scene in scenes]
    path = "/api/v1/catalog/1.0.0"
    following = {"rel": "next", "method": "POST", "href": f"{SH}{path}/search", "merge": True}
    pages = [
        {
            "features": features[:6],
            "links": [following | {"body": {"next": 6}}],
            "context": {"next": 6},
        },
        {"features": features[6:], "links": [], "context": {"returned": 6}},
    ]
    served = replay(
        SH,
        extra=(
            exchange("GET", f"{SH}{path}", {}, landing),
            exchange("POST", f"{SH}{path}/search", {}, pages[0]),
            exchange("POST", f"{SH}{path}/search", {"next": 6}, pages[1]),
        ),
    )
    provider = at(provider_named("sentinel_hub"), served.url(path), "sentinel-2-l2a")
    query = asked("sentinel-2-l2a", start="2020-12-01", end="2021-02-01")
    result = search(provider, query, headers=lambda: {"Authorization": "Bearer a-token"})
    assert sorted(item["id"] for item in result.items) == sorted(scene["id"] for scene in scenes)
    assert [body.get("next") for body in served.searches if "next" in body]
    assert all(body["collections"] == ["sentinel-2-l2a"] for body in served.searches)
    with pytest.raises(MissingCredentialError, match="CLIENT"):
        search(provider_named("sentinel_hub"), query)


def exchange(method: str, uri: str, body: dict[str, Any], document: Any) -> dict[str, Any]:
    return {
        "request": {"method": method, "uri": uri, "body": body},
        "response": {"status": 200, "json": document},
    }
