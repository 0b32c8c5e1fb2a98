"""CMR's search for granules: what CMR answers, page by page, and how it refuses."""

import json
import re
from collections.abc import Callable

import pytest
import shapely

from geostack_dagster.sandbox.emit_scenes import GRANULES, Granule

SEARCH = "https://cmr.earthdata.nasa.gov/search"
GRANULE_SEARCH = f"{SEARCH}/granules.umm_json"
STAC = "https://cmr.earthdata.nasa.gov/stac/LPCLOUD"
L1B = {"short_name": "EMITL1BRAD", "version": "001"}
CONCEPT = "C2408009906-LPCLOUD"
PATTERN = {"options[readable_granule_name][pattern]": "true"}
LISTED = [granule for granule in GRANULES if not granule.is_late]


def names(answer) -> list[str]:
    return [item["umm"]["GranuleUR"] for item in answer.json()["items"]]


def l1b(granules) -> set[str]:
    return {granule.name("L1B_RAD", "001") for granule in granules}


def before(day: str) -> Callable[[Granule], bool]:
    return lambda granule: str(granule.day) < day


def on(day: str) -> Callable[[Granule], bool]:
    return lambda granule: str(granule.day) == day


def covers(x: float, y: float) -> Callable[[Granule], bool]:
    return lambda granule: shapely.Polygon(granule.ring).intersects(shapely.Point(x, y))


def find(http, **parameters):
    answer = http.get(GRANULE_SEARCH, params=L1B | {"page_size": 100} | parameters)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_granule_has_the_recorded_shape(http, shared_fixtures):
    recorded = json.loads(
        (shared_fixtures / "umm" / "EMITL2ARFL_001_20230316T045133.cmr.json").read_text()
    )
    umm = find(http).json()["items"][0]["umm"]
    assert recorded.keys() - umm.keys() == set()
    assert {link["Type"] for link in umm["RelatedUrls"]} <= {
        link["Type"] for link in recorded["RelatedUrls"]
    }
    assert recorded["RelatedUrls"][-1] == umm["RelatedUrls"][-1], "the s3credentials link"
    assert {one["Name"] for one in umm["AdditionalAttributes"]} >= {
        "ORBIT", "SCENE", "SOLAR_ZENITH", "SOLAR_AZIMUTH",
    }  # fmt: skip
    ring = umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"][0]
    points = [(one["Longitude"], one["Latitude"]) for one in ring["Boundary"]["Points"]]
    assert points[0] == points[-1]
    assert shapely.LinearRing(points).is_ccw


def test_the_answer_has_the_recorded_headers(http, shared_fixtures):
    path = shared_fixtures / "http" / "cmr_granules_umm_json_hls_l30.ndjson"
    recorded = json.loads(path.read_text().splitlines()[0])["response"]
    answer = find(http, page_size=3)
    document = answer.json()
    assert document.keys() == recorded["json"].keys()
    assert document["items"][0]["meta"].keys() == recorded["json"]["items"][0]["meta"].keys()
    assert answer.headers["Content-Type"] == recorded["headers"]["Content-Type"][0]
    assert int(answer.headers["CMR-Hits"]) == document["hits"] == len(LISTED)
    provider, start_ms, number = json.loads(answer.headers["CMR-Search-After"])
    assert provider == "lpcloud"
    assert isinstance(start_ms, int)
    assert document["items"][-1]["meta"]["concept-id"] == f"G{number}-LPCLOUD"


def test_sizes_are_those_of_the_files(http, in_sandbox):
    item = find(http, page_size=1).json()["items"][0]["umm"]
    sizes = {
        one["Name"]: one["SizeInBytes"]
        for one in item["DataGranule"]["ArchiveAndDistributionInformation"]
    }
    data = [link["URL"] for link in item["RelatedUrls"] if link["Type"] == "GET DATA"]
    assert {url.rpartition("/")[2] for url in data} == sizes.keys()
    for url in data:  # HEAD is sent on without a login
        assert (
            int(http.head(url, allow_redirects=True).headers["Content-Length"])
            == (sizes[url.rpartition("/")[2]])
        )


def test_granules_come_page_by_page(http):
    found, after = [], None
    for _ in range(20):
        headers = {"CMR-Search-After": after} if after else {}
        answer = http.get(GRANULE_SEARCH, params=L1B | {"page_size": 5}, headers=headers)
        page = names(answer)
        found += page
        after = answer.headers.get("CMR-Search-After")
        if not page:
            assert after is None
            break
    assert len(found) == len(set(found)) == len(LISTED)
    assert found == sorted(found, key=lambda name: name.split("_")[4]), "oldest first"


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"temporal[]": "2024-06-01T00:00:00Z,2024-06-10T00:00:00Z"}, before("2024-06-10")),
        ({"temporal": "2024-06-20T00:00:00Z/"}, lambda g: str(g.day) > "2024-06-20"),
        ({"bounding_box": "7.8,46.9,8.0,47.1"}, lambda g: g.aoi == "emmental"),
        ({"point[]": "-62.7,-33.1"}, covers(-62.7, -33.1)),
        ({"polygon": "7.8,46.9,8,46.9,8,47.1,7.8,47.1,7.8,46.9"}, lambda g: g.aoi == "emmental"),
        ({"cloud_cover": "0,20"}, lambda g: g.cloud_cover <= 20),
        ({"cloud_cover": "50,"}, lambda g: g.cloud_cover >= 50),
        (PATTERN | {"readable_granule_name[]": "*_20240608T*"}, on("2024-06-08")),
        ({"provider": "LPCLOUD", "short_name": "emitl1brad"}, lambda g: True),
        ({"version": "002"}, lambda g: False),
        ({"concept_id": CONCEPT}, lambda g: True),
        ({"concept_id[]": "C1-LPCLOUD"}, lambda g: False),
        ({"collection_concept_id[]": CONCEPT, "downloadable": "true"}, lambda g: True),
    ],
)
def test_conditions(http, parameters, wanted):
    answer = find(http, **parameters)
    assert set(names(answer)) == l1b(granule for granule in LISTED if wanted(granule))
    assert int(answer.headers["CMR-Hits"]) == len(answer.json()["items"])


def test_methane_granules_are_those_of_cmr_stac(http):
    """Both catalogues list the same granules, files and places."""
    for name in ("EMITL2BCH4ENH_002", "EMITL2BCH4PLM_002"):
        short_name, _, version = name.partition("_")
        parameters = {"short_name": short_name, "version": version, "page_size": 200}
        found = http.get(GRANULE_SEARCH, params=parameters).json()["items"]
        stac = http.get(f"{STAC}/collections/{name}/items", params={"limit": 100}).json()
        listed = {item["id"]: item for item in stac["features"]}
        assert found
        assert {item["umm"]["GranuleUR"] for item in found} == listed.keys()
        for item in found:
            links = item["umm"]["RelatedUrls"]
            data = {one["URL"] for one in links if one["Type"].startswith("GET DATA")}
            assets = listed[item["umm"]["GranuleUR"]]["assets"].values()
            assert data == {asset["href"] for asset in assets if asset.get("roles") == ["data"]}
        stated = {one["Name"] for one in found[0]["umm"]["AdditionalAttributes"]}
        assert ("PLUME_ID" in stated) is ("PLM" in name)
        assert ("CloudCover" in found[0]["umm"]) is ("ENH" in name)


def test_a_form_asks_the_same(http):
    asked = L1B | {"page_size": "100", "cloud_cover": "0,20"}
    by_get = http.get(GRANULE_SEARCH, params=asked)
    by_post = http.post(GRANULE_SEARCH, data=asked)
    assert names(by_post) == names(by_get)


def test_granules_can_be_sorted(http):
    covers = [
        item["umm"]["CloudCover"] for item in find(http, sort_key="-cloud_cover").json()["items"]
    ]
    assert covers == sorted(covers, reverse=True)
    assert names(find(http, sort_key="-start_date")) == names(find(http))[::-1]


def test_no_hits_come_without_a_position(http):
    answer = find(http, temporal="1990-01-01T00:00:00Z,1990-01-02T00:00:00Z")
    assert answer.json()["items"] == []
    assert (answer.headers["CMR-Hits"], "CMR-Search-After" in answer.headers) == ("0", False)
    counted = find(http, page_size=0)
    assert (counted.headers["CMR-Hits"], counted.json()["items"]) == (str(len(LISTED)), [])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "does not allow querying across granules in all collections"),
        (L1B | {"colour": "red"}, r"Parameter \[colour\] was not recognized"),
        (L1B | {"page_size": "2001"}, "page_size must be a number between 0 and 2000"),
        (L1B | {"temporal": "yesterday,"}, "is not a valid datetime"),
        (L1B | {"polygon": "7,46,7,47,8,47,8,46,7,46"}, "wrong order"),
        (L1B | {"polygon": "7,46,8,46,8,47,7,47"}, "not closed"),
        (L1B | {"bounding_box": "7,46,8"}, "not a valid URL encoded bounding_box"),
        (L1B | {"sort_key": "beauty"}, "not a valid field for sorting"),
    ],
)
def test_refused_searches(http, parameters, text):
    answer = http.get(GRANULE_SEARCH, params=parameters)
    assert answer.status_code == 400
    assert re.search(text, answer.json()["errors"][0])


def test_a_token_is_not_needed_but_must_be_right(http):
    for token in ("opaque", "eyJhbGciOiJSUzI1NiJ9.e30.AA"):
        answer = http.get(GRANULE_SEARCH, params=L1B, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()) == (401, {"errors": ["Token does not exist"]})


def test_collections(http):
    answer = http.get(f"{SEARCH}/collections.umm_json", params=L1B)
    (item,) = answer.json()["items"]
    assert item["meta"]["concept-id"] == "C2408009906-LPCLOUD"
    assert item["meta"]["granule-count"] == len(LISTED)
    assert item["umm"]["DirectDistributionInformation"]["Region"] == "us-west-2"
    (entry,) = http.get(f"{SEARCH}/collections.json", params=L1B).json()["feed"]["entry"]
    assert entry["id"] == "C2408009906-LPCLOUD"
    nothing = http.get(f"{SEARCH}/collections.umm_json", params={"short_name": "MOD09GA"})
    assert nothing.headers["CMR-Hits"] == "0"


def test_a_feed(http):
    feed = http.get(f"{SEARCH}/granules.json", params=L1B | {"page_size": 2}).json()["feed"]
    assert len(feed["entry"]) == 2
    assert feed["entry"][0]["links"][0]["href"].endswith(".nc")
    assert http.get(f"{SEARCH}/granules.kml", params=L1B).status_code == 400


def test_granules_arrive_go_and_come_anew(http, in_sandbox):
    control = in_sandbox.control
    late = next(iter(l1b(granule for granule in GRANULES if granule.is_late)))
    assert late not in names(find(http))
    assert {"archive": "earthaccess", "id": late} in control.pending()
    control.arrive(late)
    assert late in names(find(http))
    name = LISTED[0].name("L1B_RAD", "001")
    before = find(http, granule_ur=name).json()["items"][0]
    assert control.reprocess(name) == name
    after = find(http, granule_ur=name).json()["items"][0]
    assert after["meta"]["concept-id"] == before["meta"]["concept-id"]
    assert after["meta"]["revision-id"] == before["meta"]["revision-id"] + 1
    assert after["meta"]["revision-date"] > before["meta"]["revision-date"]
    control.withdraw(name)
    assert name not in names(find(http))
    url = next(link["URL"] for link in before["umm"]["RelatedUrls"] if link["Type"] == "GET DATA")
    assert http.head(url, allow_redirects=True).status_code == 404
    control.arrive(name)
    assert name in names(find(http))


def test_pages_can_be_faulty(http, in_sandbox):
    rule = {"host": "cmr.earthdata.nasa.gov", "path": "/search/*", "times": 1}
    in_sandbox.control.fault(**rule, page="duplicate")
    page = names(find(http, page_size=4))
    assert page[0] == page[-1]
    in_sandbox.control.fault(**rule, page="empty")
    assert names(find(http)) == []
    in_sandbox.control.fault(**rule, page="wrong-matched")
    assert find(http).json()["hits"] != len(LISTED)
