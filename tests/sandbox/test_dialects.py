"""Four more catalogues answer in the manner that was recorded or read in their source."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from geostack_dagster.sandbox import Sandbox, nested

CDSE = "https://stac.dataspace.copernicus.eu/v1"
SH = "https://sh.dataspace.copernicus.eu/api/v1/catalog/1.0.0"
CMR = "https://cmr.earthdata.nasa.gov/stac/LPCLOUD"
DLR = "https://geoservice.dlr.de/eoc/ogc/stac/v1"
IDENTITY = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
ENH, L2A = "EMITL2BCH4ENH_002", "ENMAP_HSI_L2A"
SUMMER = "2024-06-01T00:00:00Z/2024-07-15T00:00:00Z"
S2 = {"collections": ["sentinel-2-l2a"], "datetime": SUMMER}
QUESTIONS = {
    CDSE: S2,
    SH: S2,
    CMR: {"collections": [ENH], "datetime": SUMMER},
    DLR: {"collections": [L2A], "datetime": SUMMER},
}
EACH = pytest.mark.parametrize("api", QUESTIONS, ids=["cdse", "sh", "cmr", "dlr"])


@pytest.fixture
def http(in_sandbox: Sandbox) -> Iterator[requests.Session]:
    """A client that Sentinel Hub lets in."""
    account = in_sandbox.account
    form = {
        "grant_type": "client_credentials",
        "client_id": account["SH_CLIENT_ID"],
        "client_secret": account["SH_CLIENT_SECRET"],
    }
    with requests.Session() as session:
        token = session.post(IDENTITY, data=form).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        yield session


def landings(shared_fixtures: Path) -> dict[str, dict[str, Any]]:
    lines = (shared_fixtures / "http" / "dlr_search_post_all.ndjson").read_text().splitlines()
    api = shared_fixtures / "api"
    return {
        CDSE: json.loads((api / "cdse_landing.json").read_text()),
        SH: json.loads((api / "sh_cdse_catalog_landing.json").read_text()),
        DLR: json.loads(lines[0])["response"]["json"],
    }


def searched(http: requests.Session, api: str, **changes: Any) -> dict[str, Any]:
    answer = http.post(f"{api}/search", json=QUESTIONS[api] | changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


def link(page: dict[str, Any], rel: str = "next") -> dict[str, Any] | None:
    return next((one for one in page["links"] if one["rel"] == rel), None)


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["features"]]


@pytest.mark.parametrize("api", [CDSE, SH, DLR], ids=["cdse", "sh", "dlr"])
def test_landing_pages_are_the_recorded_ones(http, shared_fixtures, api):
    wanted, found = landings(shared_fixtures)[api], http.get(api).json()
    assert found["conformsTo"] == wanted["conformsTo"]
    for member in ("id", "title", "description", "stac_version", "type"):
        assert found[member] == wanted[member]
    stated = [json.dumps(one, sort_keys=True) for one in wanted["links"] if one["rel"] != "child"]
    given = [json.dumps(one, sort_keys=True) for one in found["links"] if one["rel"] != "child"]
    assert set(given) <= set(stated)
    rels = {one["rel"] for one in wanted["links"]} - {"alternate"}
    assert {one["rel"] for one in found["links"]} == rels
    assert http.get(f"{api}/").json() == found
    assert http.get(f"{api}/conformance").json()["conformsTo"] == wanted["conformsTo"]


def test_landing_page_of_cmr_stac(http):
    """As nasa/cmr-stac writes it; the recorded root is another document."""
    found = http.get(CMR).json()
    assert len(found["conformsTo"]) == 15
    assert not [one for one in found["conformsTo"] if one.endswith("#filter")]
    assert found["stac_version"] == "1.1.0"
    root = http.get(CMR.removesuffix("/LPCLOUD")).json()
    assert link(root, "child")["href"] == CMR
    assert http.get(CMR.replace("LPCLOUD", "NO_SUCH")).json() == {
        "errors": ["Provider [NO_SUCH] not found."]
    }


def test_cdse_pages_by_a_hidden_token_and_counts_what_came(http):
    page = searched(http, CDSE, limit=10)
    assert set(page) == {"type", "features", "links", "numberReturned"}
    assert page["numberReturned"] == 10
    step = link(page)
    assert step["body"] == S2 | {"limit": 10, "token": step["body"]["token"]}
    assert not any(name in step["body"]["token"] for name in ids(page))
    rest = http.post(step["href"], json=step["body"]).json()
    assert (len(rest["features"]), link(rest)) == (7, None)
    assert not set(ids(page)) & set(ids(rest))
    assert [one["rel"] for one in rest["links"]] == ["previous", "root", "self"]
    broken = http.post(f"{CDSE}/search", json=S2 | {"token": "next:!!"})
    assert (broken.status_code, broken.json()["code"]) == (400, "BadRequest")


def test_cdse_refuses_pages_over_a_hundred(http):
    assert http.post(f"{CDSE}/search", json=S2 | {"limit": 100}).status_code == 200
    refused = http.post(f"{CDSE}/search", json=S2 | {"limit": 101})
    assert (refused.status_code, refused.json()["code"]) == (429, "TooManyRequests")


def test_sentinel_hub_pages_by_number(http, shared_fixtures):
    examples = json.loads(
        (shared_fixtures / "api" / "sh_cdse_openapi_catalog_examples.json").read_text()
    )
    post = examples[
        "paths//api/v1/catalog/1.0.0/search/post/responses/200/content/application/geo+json/example"
    ]
    page = searched(http, SH, limit=1)
    assert page["context"] == post["context"] == {"next": 1, "limit": 1, "returned": 1}
    assert page["links"] == post["links"]
    last = searched(http, SH, limit=10, next=10)
    assert (last["context"], link(last)) == ({"limit": 10, "returned": 6}, None)
    asked = {"collections": "sentinel-2-l2a", "datetime": SUMMER, "limit": 7}
    found = [http.get(f"{SH}/search", params=asked).json()]
    while link(found[-1]):
        assert "&next=" in link(found[-1])["href"]
        found.append(http.get(link(found[-1])["href"]).json())
    assert [len(one["features"]) for one in found] == [7, 7, 2]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"query": {"eo:cloud_cover": {"lt": 10}}}, "Unsupported parameter query"),
        ({"sortby": [{"field": "datetime"}]}, "Unsupported parameter sortby"),
        ({"collections": []}, "Missing required parameter collections"),
        ({"datetime": None}, "Missing required parameter datetime"),
        ({"filter": "platform = 'sentinel-2a'"}, "Querying on property 'platform'"),
        ({"filter": "eo:cloud_cover < 5 OR eo:cloud_cover > 80"}, "operator 'or'"),
        ({"filter": "eo:cloud_cover < 5", "filter-lang": "ecql"}, "filter-lang 'ecql'"),
    ],
)
def test_sentinel_hub_refuses_what_it_does_not_know(http, change, wanted):
    answer = http.post(f"{SH}/search", json=S2 | change)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "description"}
    assert wanted in answer.json()["description"]


@pytest.mark.parametrize(
    "condition",
    [
        "eo:cloud_cover > 75",
        {"op": ">", "args": [{"property": "eo:cloud_cover"}, 75]},
        {
            "op": "and",
            "args": [
                {"op": ">", "args": [{"property": "eo:cloud_cover"}, 75]},
                {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 100]},
            ],
        },
    ],
)
def test_sentinel_hub_filters_by_cloud_cover(http, condition):
    covers = [
        item["properties"]["eo:cloud_cover"]
        for item in searched(http, SH, filter=condition)["features"]
    ]
    assert covers
    assert min(covers) > 75


@pytest.mark.parametrize("path", ["/collections", "/collections/sentinel-2-l2a", "/search"])
def test_sentinel_hub_wants_a_token_for_all_but_its_landing_page(in_sandbox, path):
    assert requests.get(SH).status_code == 200
    assert requests.get(f"{SH}/conformance").status_code == 200
    for headers in ({}, {"Authorization": "Bearer not-one"}, {"Authorization": "Basic eDp5"}):
        refused = requests.get(f"{SH}{path}", headers=headers)
        assert refused.status_code == 401
        error = refused.json()["error"]
        assert (error["status"], error["code"]) == (401, "COMMON_UNAUTHORIZED")


def test_cmr_pages_by_get_even_after_a_post(http):
    question = {
        "limit": 5,
        "query": {"eo:cloud_cover": {"lt": 50}},
        "intersects": {
            "type": "Polygon",
            "coordinates": [[[5, 45], [11, 45], [11, 49], [5, 49], [5, 45]]],
        },
    }
    page = searched(http, CMR, **question)
    assert page["context"] == {"returned": 5, "limit": 5, "matched": 8}
    assert set(page) == {"type", "features", "links", "context"}
    step = link(page)
    assert set(step) == {"rel", "href", "type", "title"}
    assert "cursor=" in step["href"]
    rest = http.get(step["href"]).json()
    assert (len(rest["features"]), link(rest)) == (3, None)
    assert not set(ids(page)) & set(ids(rest))
    assert ids(http.get(link(rest, "first")["href"]).json()) == ids(page)
    starts = [item["properties"]["datetime"] for item in page["features"] + rest["features"]]
    assert starts == sorted(starts)


def test_cmr_takes_less_for_lt_and_lte_alike(http):
    cover = searched(http, CMR)["features"][0]["properties"]["eo:cloud_cover"]
    assert cover > 0
    found = [
        ids(searched(http, CMR, limit=100, query={"eo:cloud_cover": {op: cover}}))
        for op in ("lt", "lte")
    ]
    assert found[0] == found[1]
    ignored = {"platform": {"eq": "x"}, "eo:cloud_cover": {"eq": 3}}
    assert len(ids(searched(http, CMR, limit=100, query=ignored))) == 17
    none = searched(
        http, CMR, collections=["EMITL2BCH4PLM_002"], query={"eo:cloud_cover": {"lte": 100}}
    )
    assert none["context"]["matched"] == 0  # no plume states it


def test_cmr_ignores_holes_and_breaks_on_rings_that_run_backwards(http):
    outer = [[5, 45], [11, 45], [11, 49], [5, 49], [5, 45]]
    hole = [[5.1, 45.1], [5.1, 48.9], [10.9, 48.9], [10.9, 45.1], [5.1, 45.1]]
    whole = searched(http, CMR, intersects={"type": "Polygon", "coordinates": [outer]})
    holed = searched(http, CMR, intersects={"type": "Polygon", "coordinates": [outer, hole]})
    assert ids(whole) == ids(holed) != []
    backwards = {"intersects": {"type": "Polygon", "coordinates": [outer[::-1]]}}
    broken = http.post(f"{CMR}/search", json=QUESTIONS[CMR] | backwards)
    assert broken.status_code == 500
    assert broken.json()["errors"][0].startswith("Oops! Something has gone wrong")


def test_cmr_knows_old_collection_ids_and_names_what_it_does_not(http):
    assert ids(searched(http, CMR, collections=["EMITL2BCH4ENH.v002"])) == ids(searched(http, CMR))
    missing = http.get(f"{CMR}/collections/NO_SUCH")
    assert (missing.status_code, missing.json()) == (
        404,
        {"errors": ["Collection with ID [NO_SUCH] in provider [LPCLOUD] not found."]},
    )
    wide = http.post(f"{CMR}/search", json={"limit": 5001})
    assert (wide.status_code, wide.json()) == (
        400,
        {"errors": ["Limit must be between 0 and 5000"]},
    )
    assert searched(http, CMR, limit=500)["context"]["limit"] == 100


def test_dlr_merges_the_next_page_into_the_question(http, shared_fixtures):
    lines = (shared_fixtures / "http" / "dlr_search_post_all.ndjson").read_text().splitlines()
    wanted = json.loads(lines[2])["response"]["json"]
    page = searched(http, DLR, limit=5)
    assert set(page) == set(wanted)
    assert (page["numberMatched"], page["numberReturned"]) == (12, 5)
    step, like = link(page), link(wanted)
    assert set(step) == set(like)
    assert (step["body"], step["merge"]) == ({"startIndex": 5, "limit": 5}, True)
    last = http.post(step["href"], json=QUESTIONS[DLR] | {"startIndex": 10, "limit": 5}).json()
    assert (last["numberReturned"], link(last)) == (2, None)
    params = {"collections": L2A, "limit": 7}
    got = http.get(f"{DLR}/search", params=params).json()
    assert len(http.get(link(got)["href"]).json()["features"]) == 5


def test_dlr_returns_quicklooks_to_a_search_that_names_no_collection(http):
    page = http.post(f"{DLR}/search", json={"limit": 4}).json()
    assert [item["collection"] for item in page["features"]] == [
        *("ENMAP_HSI_L2A", "ENMAP_HSI_L0_QL") * 2
    ]


@pytest.mark.parametrize("lang", [{}, {"filter-lang": "cql2-text"}, {"filter-lang": "ecql-text"}])
@pytest.mark.parametrize(
    ("text", "admits"),
    [
        ('"eo:cloud_cover" <= 20', lambda stated: int(stated["eo:cloud_cover"]) <= 20),
        ("\"enmap:season\" = 'winter'", lambda stated: stated["enmap:season"] == "winter"),
        (
            '"enmap:season" = \'winter\' AND "eo:cloud_cover" > 9',
            lambda stated: stated["enmap:season"] == "winter" and int(stated["eo:cloud_cover"]) > 9,
        ),
    ],
)
def test_dlr_takes_filters_as_text_and_compares_text_with_numbers(http, lang, text, admits):
    everything = searched(http, DLR, limit=100)["features"]
    wanted = [item["id"] for item in everything if admits(item["properties"])]
    assert 0 < len(wanted) < len(everything)
    assert ids(searched(http, DLR, limit=100, filter=text, **lang)) == wanted


def test_dlr_has_no_query_extension(http):
    none = {"eo:cloud_cover": {"lte": -1}}
    assert searched(http, DLR, query=none)["numberMatched"] == 12


def test_dlr_takes_no_filter_as_json(http):
    condition = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 20]}
    answer = http.post(
        f"{DLR}/search", json=QUESTIONS[DLR] | {"filter": condition, "filter-lang": "cql2-json"}
    )
    assert (answer.status_code, set(answer.json())) == (400, {"type", "title"})


@EACH
def test_collections_and_items_by_name(http, api):
    name = QUESTIONS[api]["collections"][0]
    assert name in {one["id"] for one in http.get(f"{api}/collections").json()["collections"]}
    assert http.get(f"{api}/collections/{name}").json()["id"] == name
    (item, *_) = searched(http, api)["features"]
    assert http.get(f"{api}/collections/{name}/items/{item['id']}").json() == item
    assert http.get(f"{api}/collections/{name}/items/no-such").status_code == 404
    assert http.get(f"{api}/collections/no-such/items").status_code == 404
    assert http.get(f"{api}/no-such-path").status_code in (404, 421)


@EACH
@pytest.mark.parametrize(
    "change", [{"bbox": [7, 47, 8]}, {"datetime": "yesterday"}, {"limit": -1}, {"limit": "many"}]
)
def test_what_cannot_be_understood_is_refused(http, api, change):
    answer = http.post(f"{api}/search", json=QUESTIONS[api] | change)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "parameters",
    [
        {"a": "1"},
        {"collections": ["x", "y"], "query": {"eo:cloud_cover": {"lt": "5"}}},
        {"intersects": {"type": "Point", "coordinates": ["7.5", "-3"]}},
        {"rings": [[["1", "2"], ["3", "4"]], [["5", "6"]]]},
    ],
)
def test_query_strings_hold_lists_and_objects(parameters):
    url = requests.Request("GET", f"https://x/?{nested.written(parameters)}").prepare().url
    fields = requests.compat.urlparse(url).query.split("&")
    query = {
        requests.utils.unquote(name): requests.utils.unquote(value)
        for name, _, value in (field.partition("=") for field in fields)
    }
    assert nested.read(query) == parameters


def test_long_lists_in_query_strings_come_back_as_objects():
    fields = {f"list[{index}]": "1" for index in range(101)}
    assert isinstance(nested.read(fields)["list"], dict)
    assert nested.read({"[": "1", "a[b": "2", "a": "3", "a[x]": "4"}) == {"a": "3"}
