"""CMR granules behind the search of all the others: complete, placed, and refused by name."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import earthaccess
import pytest

from geostack_dagster.catalog.search import SearchResult, search
from geostack_dagster.catalog.snapshot import read, take_snapshot, write
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError, RejectedCredentialError, ServiceError
from geostack_dagster.providers import Collection, Limits, Provider, provider_named
from tests.auth.conftest import Asked, Loopback, Reply, _serving

EARTHACCESS = provider_named("earthaccess")
L1B, CONCEPT = "EMITL1BRAD_001", "C2408009906-LPCLOUD"
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
HERE = AOI.from_bbox("here", (10.0, 45.0, 10.5, 45.5))
BUCKET = "lp-prod-protected/EMITL1BRAD.001"
type Document = dict[str, Any]


def points(*positions: tuple[float, float]) -> list[Document]:
    return [{"Longitude": lon, "Latitude": lat} for lon, lat in positions]


def polygon(*positions: tuple[float, float], **more: Any) -> Document:
    return {"GPolygons": [{"Boundary": {"Points": points(*positions)}, **more}]}


SQUARE = polygon((10, 45), (11, 45), (11, 46), (10, 46), (10, 45))


def files(name: str) -> list[Document]:
    return [
        {"URL": f"{where}/{name}/{file}", "Type": kind}
        for file in (f"EMIT_L1B_RAD_001_{name}.nc", f"EMIT_L1B_OBS_001_{name}.nc")
        for where, kind in (
            (
                f"https://data.lpdaac.earthdatacloud.nasa.gov/{BUCKET}",
                "GET DATA",
            ),
            (f"s3://{BUCKET}", "GET DATA VIA DIRECT ACCESS"),
        )
    ]


def a_granule(
    name: str, when: datetime, *, geometry: Document = SQUARE, **changes: Any
) -> Document:
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    umm = {
        "GranuleUR": name,
        "TemporalExtent": {"RangeDateTime": {"BeginningDateTime": stamp, "EndingDateTime": stamp}},
        "SpatialExtent": {"HorizontalSpatialDomain": {"Geometry": geometry}},
        "CollectionReference": {"EntryTitle": "EMIT L1B At-Sensor Calibrated Radiance V001"},
        "CloudCover": 31,
        "RelatedUrls": files(name),
    }
    meta = {
        "concept-id": f"G{abs(hash(name)) % 10**9}-LPCLOUD",
        "collection-concept-id": CONCEPT,
        "revision-id": 1,
        "revision-date": "2024-09-01T00:00:00.000Z",
    }
    return {"meta": meta, "umm": {**umm, **changes}}


@dataclass
class Cmr:
    """CMR as recorded: hits in a header and the body, pages continued by `CMR-Search-After`."""

    server: Loopback
    granules: list[Any] = field(default_factory=list)
    hits: int | None = None
    """What it says matches, where that is not the truth."""
    faults: list[Reply] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Reply:
        if asked.path.startswith("/search/collections"):
            return self.collections(asked)
        if self.faults:
            return self.faults.pop(0)
        query = parse_qs(urlsplit(asked.path).query)
        found = [one for one in self.granules if self.matches(one, query)]
        size, offset = int(query["page_size"][0]), int(asked.headers.get("cmr-search-after", 0))
        page = found[offset : offset + size]
        hits = len(found) if self.hits is None else self.hits
        headers = {"CMR-Hits": str(hits), "Content-Type": "application/json"}
        if page:  # as recorded: also on the last page, but never after nothing
            headers["CMR-Search-After"] = str(offset + len(page))
        return Reply(200, {"hits": hits, "took": 1, "items": page}, headers)

    def collections(self, asked: Asked) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        known = (query["short_name"], query["version"]) == (["EMITL2BMIN"], ["001"])
        items = [{"meta": {"concept-id": "C1-LPCLOUD"}, "umm": {}}] if known else []
        return Reply(200, {"hits": len(items), "items": items}, {"CMR-Hits": str(len(items))})

    def matches(self, granule: Any, query: dict[str, list[str]]) -> bool:
        try:
            start, end = query["temporal[]"][0].split(",")
            span = granule["umm"]["TemporalExtent"]["RangeDateTime"]
            return start <= span["BeginningDateTime"][:19] + "Z" <= end
        except (KeyError, TypeError, AttributeError):
            return True

    @property
    def queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(asked.path).query) for asked in self.server.asked]


@pytest.fixture
def cmr():
    with _serving(Loopback()) as server:
        served = Cmr(server)
        server.answer = served
        yield served


def provider(cmr: Cmr, **limits: int) -> Provider:
    return replace(
        EARTHACCESS,
        stac_url=f"{cmr.server.url}/search",
        limits=Limits(**{"page_limit": 10, "concurrent_searches": 4, **limits}),
    )


def a_query(**changes: Any) -> ItemQuery:
    return ItemQuery(**{"collections": (L1B,), "aoi": HERE, "start": START, "end": END, **changes})


def find(cmr: Cmr, query: ItemQuery | None = None, **limits: int) -> SearchResult:
    return search(provider(cmr, **limits), query or a_query())


def days(count: int) -> list[Document]:
    return [a_granule(f"g{n:03}", START + timedelta(days=n)) for n in range(count)]


# What is asked -----------------------------------------------------------------------------------


def test_all_pages_come_in_shards_once_each_and_in_order(cmr):
    cmr.granules = days(120)
    result = find(cmr)
    assert [item["id"] for item in result.items] == [f"g{n:03}" for n in range(120)]
    assert result.matched == 120
    assert result.rejected == result.warnings == ()
    assert len({query["temporal[]"][0] for query in cmr.queries}) >= 4
    assert all(query["concept_id[]"] == [CONCEPT] for query in cmr.queries)
    assert not any(asked.headers.get("authorization") for asked in cmr.server.asked)


def test_a_page_is_no_larger_than_asked_and_pages_follow_the_header(cmr):
    cmr.granules = [a_granule(f"g{n:03}", START + timedelta(hours=n)) for n in range(25)]
    result = find(cmr, a_query(end=START + timedelta(days=2)), concurrent_searches=1)
    assert len(result.items) == 25
    assert [asked.headers.get("cmr-search-after") for asked in cmr.server.asked] == [
        None,
        "10",
        "20",
    ]


def test_nothing_is_an_empty_result(cmr, tmp_path):
    result = find(cmr)
    assert (result.items, result.matched, result.rejected, result.warnings) == ([], 0, (), ())


def test_the_area_is_asked_for_as_a_box_and_held_against_its_shape(cmr):
    ring = [[10, 45], [12, 45], [10, 47], [10, 45]]
    triangle = AOI("triangle", {"type": "Polygon", "coordinates": [ring]})
    far = polygon((11.8, 46.8), (12, 46.8), (12, 47), (11.8, 47), (11.8, 46.8))
    cmr.granules = [a_granule("in", START), a_granule("out", START, geometry=far)]
    result = find(cmr, a_query(aoi=triangle))
    assert cmr.queries[0]["bounding_box"] == ["10.0,45.0,12.0,47.0"]
    assert [item["id"] for item in result.items] == ["in"]
    assert "out does not touch AOI" in result.rejected[0].reason


def test_an_area_across_the_antimeridian_is_one_box(cmr):
    west = polygon((179.5, 50), (-179.8, 50), (-179.8, 51), (179.5, 51), (179.5, 50))
    cmr.granules = [a_granule("across", START, geometry=west)]
    result = find(cmr, a_query(aoi=AOI.from_bbox("date-line", (179.9, 50.2, -179.9, 50.4))))
    assert cmr.queries[0]["bounding_box"] == ["179.9,50.2,-179.9,50.4"]
    (item,) = result.items
    assert item["bbox"] == pytest.approx([179.5, 50, -179.8, 51])
    assert item["geometry"]["type"] == "MultiPolygon"


@pytest.mark.parametrize(
    ("predicates", "asked", "kept"),
    [
        ([("eo:cloud_cover", "lte", 60)], "0,60", ["clear", "none"]),
        ([("eo:cloud_cover", "lt", 31)], "0,31", ["none"]),
        ([("eo:cloud_cover", "gte", 80)], "80,100", ["cloudy", "none"]),
        ([("eo:cloud_cover", "eq", 0)], "0,0", ["none"]),
        ([("view:sun_elevation", "gt", 70)], None, ["clear", "cloudy", "none"]),
    ],
)
def test_cloud_cover_is_asked_for_and_checked(cmr, predicates, asked, kept):
    cmr.granules = [
        a_granule("clear", START),
        a_granule("cloudy", START, CloudCover=95),
        a_granule("none", START, CloudCover=None),
    ]
    result = find(cmr, a_query(predicates=tuple(Predicate(*one) for one in predicates)))
    assert cmr.queries[0].get("cloud_cover") == (None if asked is None else [asked])
    assert sorted(item["id"] for item in result.items) == kept


def test_granules_are_asked_for_by_name(cmr):
    cmr.granules = days(3)
    result = find(cmr, a_query(ids=("g001", "g002")))
    assert cmr.queries[0]["readable_granule_name[]"] == ["g001", "g002"]
    assert [item["id"] for item in result.items] == ["g001", "g002"]
    assert "not asked for by its id" in result.rejected[0].reason


# Collections -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [L1B, CONCEPT])
def test_a_collection_goes_by_both_its_names(cmr, name):
    cmr.granules = days(1)
    result = find(cmr, a_query(collections=(name,)))
    assert [item["collection"] for item in result.items] == [name]


def test_a_collection_without_a_record_is_looked_up(cmr):
    cmr.granules = [
        a_granule("min", START, CollectionReference={"ShortName": "EMITL2BMIN", "Version": "001"})
    ]
    cmr.granules[0]["meta"]["collection-concept-id"] = "C1-LPCLOUD"
    result = find(cmr, a_query(collections=("EMITL2BMIN_001",)))
    assert [item["collection"] for item in result.items] == ["EMITL2BMIN_001"]
    with pytest.raises(ConfigurationError, match="has no collection 'EMITL1BRAD_009'; did you"):
        find(cmr, a_query(collections=("EMITL1BRAD_009",)))


def test_a_granule_of_another_collection_is_refused(cmr):
    cmr.granules = days(1)
    cmr.granules[0]["meta"]["collection-concept-id"] = "C2408750690-LPCLOUD"
    assert "is of collection 'EMITL2ARFL_001'" in find(cmr).rejected[0].reason


# What comes --------------------------------------------------------------------------------------


def test_an_item_has_files_by_name_with_both_addresses(cmr):
    (item,) = [*find_one(cmr, a_granule("E1", START)).items]
    key = "EMIT_L1B_RAD_001_E1.nc"
    assert item["assets"][key] == {
        "href": f"https://data.lpdaac.earthdatacloud.nasa.gov/{BUCKET}/E1/{key}",
        "roles": ["data"],
        "type": "application/x-netcdf",
        "alternate": {"s3": {"href": f"s3://{BUCKET}/E1/{key}"}},
    }
    band = EARTHACCESS.collection(L1B).bands.by_name["radiance"]
    assert band.asset_key(item) == key


def find_one(cmr: Cmr, granule: Any) -> SearchResult:
    cmr.granules = [granule]
    return find(cmr)


def test_sizes_and_checksums_go_to_their_files(cmr):
    told = [
        {
            "Name": "EMIT_L1B_RAD_001_E1.nc",
            "SizeInBytes": 1835008000,
            "Checksum": {"Value": "AB" * 64, "Algorithm": "SHA-512"},
        },
        {"Name": "EMIT_L1B_OBS_001_E1.nc", "Size": 1.5, "SizeUnit": "MB"},
    ]
    granule = a_granule("E1", START, DataGranule={"ArchiveAndDistributionInformation": told})
    (item,) = find_one(cmr, granule).items
    radiance = item["assets"]["EMIT_L1B_RAD_001_E1.nc"]
    assert (radiance["file:size"], radiance["file:checksum"]) == (1835008000, "1340" + "ab" * 64)
    assert "file:size" not in item["assets"]["EMIT_L1B_OBS_001_E1.nc"]


def test_a_reprocessed_granule_has_another_fingerprint(cmr):
    def fingerprint(**changes: Any) -> str:
        cmr.granules = [a_granule("E1", START, **changes)]
        return take_snapshot(provider(cmr), a_query()).fingerprint

    same = fingerprint()
    assert fingerprint(CloudCover=90, RelatedUrls=files("E1")[::-1]) == same
    assert fingerprint(DataGranule={"ProductionDateTime": "2025-01-01T00:00:00Z"}) != same


HOLE = {
    "ExclusiveZone": {
        "Boundaries": [{"Points": points((9.5, 44.5), (10.9, 44.5), (10.9, 45.9), (9.5, 45.9))}]
    }
}
BAD = {
    "no name": ({"GranuleUR": None}, None),
    "no time": ({"TemporalExtent": None}, "has no readable datetime"),
    "bad time": (
        {"TemporalExtent": {"SingleDateTime": "yesterday"}},
        "has no readable datetime",
    ),
    "no place": ({"SpatialExtent": None}, "it has no place"),
    "an orbit": (
        {"SpatialExtent": {"HorizontalSpatialDomain": {"Orbit": {"StartLatitude": 59.5}}}},
        "it has no place",
    ),
    "a letter": (
        {
            "SpatialExtent": {
                "HorizontalSpatialDomain": {"Geometry": polygon(("x", 1), (2, 3), (4, 5))}
            }
        },
        "it has no place",
    ),
    "two corners": (
        {"SpatialExtent": {"HorizontalSpatialDomain": {"Geometry": polygon((1, 1), (2, 3))}}},
        "it has no place",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_placed_is_refused_by_name(cmr, kind):
    changes, reason = BAD[kind]
    cmr.granules = [a_granule("good", START), a_granule("odd", START, **changes)]
    result = find(cmr)
    if reason is None:  # its concept id names it
        assert len(result.items) == 2
        return
    assert [item["id"] for item in result.items] == ["good"]
    assert [one.id for one in result.rejected] == ["odd"]
    assert reason in result.rejected[0].reason


@pytest.mark.parametrize("entry", [None, 3, "x", [], {}, {"meta": None}, {"umm": []}])
def test_what_is_no_granule_stops_nothing(cmr, entry):
    cmr.granules = [a_granule("good", START), entry]
    result = find(cmr)
    assert [item["id"] for item in result.items] == ["good"]
    assert "has no id" in result.rejected[0].reason


@pytest.mark.parametrize(
    "urls",
    [
        None,
        "none",
        [
            None,
            {"URL": 3, "Type": "GET DATA"},
            {"URL": "https:/one.slash/x.nc", "Type": "GET DATA"},
        ],
        [
            {"URL": "https://[bad/x.nc", "Type": "GET DATA"},
            {"URL": "https://host/", "Type": "GET DATA"},
        ],
    ],
)
def test_a_granule_without_usable_files_is_an_item_without_assets(cmr, urls):
    (item,) = find_one(cmr, a_granule("E1", START, RelatedUrls=urls)).items
    assert item["assets"] == {}


def test_a_hole_and_an_open_ring_are_read(cmr):
    ring = polygon((9, 44), (11, 44), (11, 46), (9, 46), **HOLE)
    result = find_one(cmr, a_granule("E1", START, geometry=ring))
    assert result.items == []  # the area lies in the hole
    assert "does not touch" in result.rejected[0].reason


@pytest.mark.parametrize(
    "geometry",
    [
        {
            "BoundingRectangles": [
                {
                    "WestBoundingCoordinate": 9,
                    "SouthBoundingCoordinate": "44.5",
                    "EastBoundingCoordinate": 10.1,
                    "NorthBoundingCoordinate": 46,
                }
            ]
        },
        {"Points": points((10.2, 45.2))},
        {"Lines": [{"Points": points((9, 44), (11, 46))}]},
        {**SQUARE, "Points": points((0, 0))},
    ],
)
def test_other_geometries_are_places_too(cmr, geometry):
    assert len(find_one(cmr, a_granule("E1", START, geometry=geometry)).items) == 1


# Faults ------------------------------------------------------------------------------------------


def test_a_busy_catalogue_is_asked_again(cmr):
    cmr.granules = days(3)
    cmr.faults = [
        Reply(429, headers={"Retry-After": "0"}),
        Reply(503, headers={"Retry-After": "0"}),
    ]
    assert len(find(cmr).items) == 3


@pytest.mark.parametrize(
    ("reply", "kind", "match"),
    [
        (Reply(400, {"errors": ["Parameter [x] was not recognized."]}), ConfigurationError, "x"),
        (Reply(403, {"errors": ["no"]}), RejectedCredentialError, "403"),
        (Reply(429, headers={"Retry-After": "900"}), ServiceError, "429"),
        (Reply(500, {"errors": ["internal"]}), ServiceError, "internal"),
        (Reply(200, body=b"<html>maintenance</html>"), ServiceError, "web page"),
        (Reply(200, {"hits": 3, "items": {}}), ServiceError, "no `items`"),
        (Reply(200, [1]), ServiceError, "no `items`"),
    ],
)
def test_what_goes_wrong_is_said(cmr, reply, kind, match):
    cmr.faults = [reply] * 40
    with pytest.raises(kind, match=match) as raised:
        find(cmr)
    if isinstance(raised.value, ServiceError) and reply.status == 429:
        assert raised.value.retry_after_s == 900


@pytest.mark.parametrize("hits", [1, 5000])
def test_a_lying_count_loses_nothing(cmr, hits):
    cmr.granules, cmr.hits = days(15), hits
    result = find(cmr, concurrent_searches=1)
    assert len(result.items) == 15
    assert any("says that" in warning for warning in result.warnings)


def test_pages_that_go_in_a_circle_end(cmr):
    page = {"hits": 100, "items": days(10)}
    cmr.faults = [Reply(200, page, {"CMR-Hits": "100", "CMR-Search-After": "same"})] * 40
    with pytest.raises(ServiceError, match="circle"):
        find(cmr, concurrent_searches=1)


def test_no_login_of_this_machine_goes_to_the_catalogue(cmr, monkeypatch, tmp_path):
    """Neither a netrc entry nor a session that the user made with earthaccess."""
    (tmp_path / "netrc").write_text("default login me password hush-hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    session = earthaccess.Auth()
    session.token, session.authenticated = {"access_token": "of-the-session"}, True
    monkeypatch.setattr(earthaccess, "_auth", session)
    cmr.granules = days(3)
    assert len(find(cmr).items) == 3
    assert not any("authorization" in asked.headers for asked in cmr.server.asked)


# Snapshots ---------------------------------------------------------------------------------------


def test_a_snapshot_reads_back_as_it_was(cmr, tmp_path: Path):
    cmr.granules = [
        *days(5),
        a_granule("odd", START, SpatialExtent=None),
        a_granule("bare", START, CloudCover=None, RelatedUrls=None),
    ]
    taken = take_snapshot(provider(cmr), a_query())
    url = str(tmp_path / "s.parquet")
    write(taken, url)
    assert read(url) == taken
    assert len(taken.items) == 6
    assert [one.id for one in taken.rejected] == ["odd"]
    assert take_snapshot(provider(cmr), a_query()).fingerprint == taken.fingerprint
    assert json.loads((tmp_path / "s.json").read_text())["features"] == taken.items


def test_collections_that_never_state_cloud_cover_are_not_asked_for_it(cmr):
    """CMR would answer with nothing: granules that do not state it do not match."""
    plumes: Collection = provider_named("lpcloud").collection("EMITL2BCH4PLM_002")
    assert plumes.unstated == ("eo:cloud_cover",)
    archive = replace(provider(cmr), collections={plumes.id: plumes})
    cmr.granules = [a_granule("plume", START, CloudCover=None)]
    cmr.granules[0]["meta"]["collection-concept-id"] = plumes.aliases[0]
    query = a_query(collections=(plumes.id,), predicates=(Predicate("eo:cloud_cover", "lte", 60),))
    assert len(search(archive, query).items) == 1
    assert "cloud_cover" not in cmr.queries[0]
