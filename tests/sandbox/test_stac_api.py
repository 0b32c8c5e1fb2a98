"""The two catalogues answer in the manner that was recorded, quirks included."""

import json

import pytest

from tests.sandbox.conftest import EARTH_SEARCH, EMMENTAL, PLANETARY

STAC = f"{PLANETARY}/stac/v1"
QUERY = {"collections": ["sentinel-2-l2a"], "bbox": EMMENTAL, "limit": 3}
BOTH = pytest.mark.parametrize("api", [STAC, EARTH_SEARCH], ids=["planetary", "earth-search"])


def recorded(shared_fixtures, name: str) -> list[dict]:
    lines = (shared_fixtures / "http" / name).read_text().splitlines()
    return [json.loads(line)["response"] for line in lines]


def pages(http, api: str, body: dict) -> list[dict]:
    """Follow next links the way pystac-client does."""
    found = [http.post(f"{api}/search", json=body).json()]
    for _ in range(20):
        link = next((link for link in found[-1]["links"] if link["rel"] == "next"), None)
        if link is None:
            return found
        merged = {**body, **link["body"]} if link.get("merge") else link["body"]
        found.append(http.post(link["href"], json=merged).json())
    raise AssertionError("paging does not end")


def ids(page: dict) -> list[str]:
    return [item["id"] for item in page["features"]]


@pytest.mark.parametrize(
    ("api", "name"),
    [(STAC, "pc_landing_2025.ndjson"), (EARTH_SEARCH, "es_collection_404.ndjson")],
)
def test_landing_page_is_like_the_recorded_one(http, shared_fixtures, api, name):
    wanted = recorded(shared_fixtures, name)[0]["json"]
    answer = http.get(api)
    found = answer.json()
    assert set(found["conformsTo"]) == set(wanted["conformsTo"])
    for member in ("id", "title", "description", "stac_version", "type"):
        assert found[member] == wanted[member]
    assert {link["rel"] for link in found["links"]} >= {"root", "self", "search", "data", "child"}
    assert http.get(f"{api}/").json() == found


def test_errors_are_like_the_recorded_ones(http, shared_fixtures):
    wanted = recorded(shared_fixtures, "es_collection_404.ndjson")[1]
    answer = http.get(f"{EARTH_SEARCH}/collections/foo")
    assert (answer.status_code, answer.json()) == (wanted["status"], wanted["json"])
    wanted = recorded(shared_fixtures, "pc_get_item_and_404.ndjson")[4]["json"]
    answer = http.get(f"{STAC}/collections/aster-l1t/items/for-sure-not-a-real-id")
    assert (answer.status_code, answer.json()) == (404, wanted)
    wanted = recorded(shared_fixtures, "generic_404.ndjson")[0]["json"]
    assert http.get(f"{STAC}/collections/not-a-collection-id").json() == wanted


def test_planetary_computer_pages_by_token(http):
    found = pages(http, STAC, QUERY)
    assert [len(page["features"]) for page in found] == [3, 3, 2]
    assert all(set(page) == {"type", "features", "links"} for page in found)  # nothing matched
    first, second, last = found
    token = first["links"][0]["body"]["token"]
    assert token == f"next:sentinel-2-l2a:{ids(first)[-1]}"
    assert {link["rel"] for link in last["links"]} == {"previous", "root", "self"}
    back = next(link for link in second["links"] if link["rel"] == "previous")["body"]
    assert back["token"] == f"prev:sentinel-2-l2a:{ids(second)[0]}"
    assert ids(http.post(f"{STAC}/search", json=back).json()) == ids(first)


def test_earth_search_offers_an_empty_page_at_the_end(http):
    found = pages(http, EARTH_SEARCH, QUERY)
    assert [len(page["features"]) for page in found] == [3, 3, 3, 0]
    assert all(page["numberMatched"] == page["context"]["matched"] == 9 for page in found)
    link = found[0]["links"][0]
    last = found[0]["features"][-1]
    assert link["merge"] is False
    assert link["body"] == QUERY | {
        "next": f"{last['properties']['datetime']},{last['id']},sentinel-2-l2a"
    }
    assert [link["rel"] for link in found[-1]["links"]] == ["root"]


def test_a_page_that_is_exactly_full_at_the_end(http):
    assert len(pages(http, STAC, QUERY | {"limit": 8})) == 1
    assert len(pages(http, EARTH_SEARCH, QUERY | {"limit": 9})) == 2


@BOTH
def test_items_come_newest_first(http, api):
    moments = [
        item["properties"]["datetime"]
        for page in pages(http, api, {"collections": ["sentinel-2-l2a"]})
        for item in page["features"]
    ]
    assert moments == sorted(moments, reverse=True)
    assert len(moments) in (16, 17)


@BOTH
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"datetime": "2024-06-08T00:00:00Z/2024-06-13T23:59:59Z"}, 2),
        ({"datetime": "2024-07-03T00:00:00Z/.."}, 2),
        ({"datetime": "../2024-06-03T23:59:59Z"}, 1),
        ({"bbox": [0, 0, 1, 1]}, 0),
        ({"collections": ["no-such"]}, 0),
        ({"query": {"eo:cloud_cover": {"gt": 80}}}, 1),
        ({"query": {"s2:mgrs_tile": {"eq": "32TMT"}}}, (8, 0)),
        ({"query": {"grid:code": {"eq": "MGRS-32TMT"}}}, (0, 9)),
        ({"query": {"s2:processing_baseline": {"in": ["02.12", "02.14"]}}}, 1),
    ],
)
def test_searches(http, api, change, wanted):
    found = pages(http, api, QUERY | change)
    count = sum(len(page["features"]) for page in found)
    assert count == (wanted if isinstance(wanted, int) else wanted[api == EARTH_SEARCH])


@BOTH
def test_intersects_and_ids(http, api):
    body = {"intersects": {"type": "Point", "coordinates": [-62.64, -33.0]}, "limit": 100}
    (page, *_) = pages(http, api, body)
    assert len(page["features"]) == 8
    wanted = sorted(ids(page)[:2])
    (page, *_) = pages(http, api, {"ids": wanted})
    assert sorted(ids(page)) == wanted


@pytest.mark.parametrize(
    "cql2",
    [
        {"op": ">", "args": [{"property": "eo:cloud_cover"}, 80]},
        "eo:cloud_cover > 80",
    ],
    ids=["json", "text"],
)
def test_only_planetary_computer_heeds_filters(http, cql2):
    lang = "cql2-text" if isinstance(cql2, str) else "cql2-json"
    body = QUERY | {"filter": cql2, "filter-lang": lang, "limit": 100}
    assert len(http.post(f"{STAC}/search", json=body).json()["features"]) == 1
    ignored = http.post(f"{EARTH_SEARCH}/search", json=body)
    assert (ignored.status_code, ignored.json()["numberMatched"]) == (200, 9)


@pytest.mark.parametrize(
    ("cql2", "wanted"),
    [
        ("no:such > 1", 0),
        ("NOT (no:such > 1)", 0),
        ("no:such IS NULL", 8),
        ("eo:cloud_cover > 80 OR eo:cloud_cover < 1", 2),
        ("s2:processing_baseline = '02.12'", 1),
    ],
)
def test_filters_treat_absent_properties_as_null(http, cql2, wanted):
    body = QUERY | {"filter": cql2, "filter-lang": "cql2-text", "limit": 100}
    assert len(http.post(f"{STAC}/search", json=body).json()["features"]) == wanted
    assert http.post(f"{STAC}/search", json=body | {"filter": "a = ("}).status_code == 400


@BOTH
def test_get_search_and_paging(http, api):
    params = {"collections": "sentinel-2-l2a", "bbox": ",".join(map(str, EMMENTAL)), "limit": 5}
    found = [http.get(f"{api}/search", params=params).json()]
    while True:
        link = next((link for link in found[-1]["links"] if link["rel"] == "next"), None)
        if link is None:
            break
        assert link["method"] == "GET"
        found.append(http.get(link["href"]).json())
    assert sum(len(page["features"]) for page in found) == (8 if api == STAC else 9)


def test_items_endpoint_pages_by_token(http, shared_fixtures):
    wanted = recorded(shared_fixtures, "pc_items_endpoint_get_next.ndjson")[0]["json"]
    page = http.get(f"{STAC}/collections/sentinel-2-l2a/items", params={"limit": 1}).json()
    link = next(link for link in page["links"] if link["rel"] == "next")
    like = next(link for link in wanted["links"] if link["rel"] == "next")
    assert link["href"].replace(ids(page)[0], ids(wanted)[0]) == like["href"]
    assert ids(http.get(link["href"]).json()) != ids(page)


@BOTH
def test_sortby(http, api):
    body = QUERY | {
        "limit": 100,
        "sortby": [{"field": "properties.eo:cloud_cover", "direction": "asc"}],
    }
    (page, *_) = pages(http, api, body)
    covers = [item["properties"]["eo:cloud_cover"] for item in page["features"]]
    assert covers == sorted(covers)
    assert covers[0] < covers[-1]


@BOTH
def test_fields(http, api):
    body = QUERY | {"fields": {"include": [], "exclude": ["geometry", "assets", "links"]}}
    item = http.post(f"{api}/search", json=body).json()["features"][0]
    assert not {"geometry", "assets", "links"} & set(item)
    assert {"id", "properties", "bbox", "collection"} <= set(item)
    body = QUERY | {"fields": {"include": ["properties.eo:cloud_cover"], "exclude": []}}
    item = http.post(f"{api}/search", json=body).json()["features"][0]
    assert list(item["properties"]) == ["eo:cloud_cover"]


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [7, 47, 8]},
        {"bbox": [7, 48, 8, 47]},
        {"datetime": "2024-07-01T00:00:00Z/2024-06-01T00:00:00Z"},
        {"datetime": "yesterday"},
        {"limit": 0},
        {"query": {"eo:cloud_cover": {"about": 3}}},
        {"bbox": None, "intersects": {"type": "Line"}},
    ],
)
def test_what_cannot_be_understood_is_a_bad_request(http, api, change):
    answer = http.post(f"{api}/search", json=QUERY | change)
    assert answer.status_code == 400
    assert answer.json()["code"] == "BadRequest"


def test_a_box_across_the_antimeridian(http, in_sandbox, shared_fixtures):
    path = shared_fixtures / "items" / "odd" / "s2_T01LAC_antimeridian.json"
    item = json.loads(path.read_text())
    in_sandbox.control.publish("planetary_computer", [item | {"collection": "odd"}])
    try:
        for bbox, wanted in (
            ([179, -20, -179, -10], 1),
            ([-179.9, -20, -179.5, -10], 1),
            ([-179, -20, 179, -10], 0),
        ):
            body = {"collections": ["odd"], "bbox": bbox}
            assert len(http.post(f"{STAC}/search", json=body).json()["features"]) == wanted
    finally:
        in_sandbox.control.withdraw(item["id"])


def test_large_pages_break_earth_search(http, in_sandbox, earth_search_item):
    """API Gateway limits a body to 6 MB (earth-search issue 17)."""
    copies = [earth_search_item | {"id": f"copy-{n}", "collection": "many"} for n in range(300)]
    in_sandbox.control.publish("earth_search", copies)
    try:
        body = {"collections": ["many"], "limit": 300}
        answer = http.post(f"{EARTH_SEARCH}/search", json=body)
        assert (answer.status_code, answer.json()) == (502, {"message": "Internal server error"})
        (first, *_) = pages(http, EARTH_SEARCH, body | {"limit": 100})
        assert first["numberMatched"] == 300
    finally:
        for item in copies:
            in_sandbox.control.withdraw(item["id"])
