"""Search: complete, once each, in order, and never half."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from geostack_dagster.catalog.search import SearchResult, search
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.providers import EARTH_SEARCH, FilterDialect, Limits
from geostack_dagster.providers.provider import Provider

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2025, 1, 1, tzinfo=UTC)
HERE = AOI.from_bbox("here", (10.0, 45.0, 10.5, 45.5))
CLIENTS = ("pystac-client", "rustac")


def an_item(name: str, when: datetime, **changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "c",
        "geometry": square(10.0, 45.0),
        "bbox": [10.0, 45.0, 11.0, 46.0],
        "properties": {"datetime": when.isoformat().replace("+00:00", "Z")},
        "assets": {"B04": {"href": "https://a.example/B04.tif?sig=abc&v=1"}},
        "links": [],
    }
    return item | changes


def square(west: float, south: float, size: float = 1.0) -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def provider(catalogue: Any, **limits: int) -> Provider:
    return replace(
        EARTH_SEARCH,
        stac_url=catalogue.url,
        collections={"c": next(iter(EARTH_SEARCH.collections.values()))},
        filter_dialect=FilterDialect.QUERY,
        limits=Limits(**{"page_limit": 10, "concurrent_searches": 4, **limits}),
    )


def a_query(**changes: Any) -> ItemQuery:
    return ItemQuery(**{"collections": ("c",), "aoi": HERE, "start": START, "end": END, **changes})


def found(catalogue: Any, *, client: str = "pystac-client", **changes: Any) -> SearchResult:
    return search(provider(catalogue), a_query(**changes), client=client)


def ids(result: SearchResult) -> list[str]:
    return [item["id"] for item in result.items]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_year_comes_complete_once_each_and_in_order(catalogue: Any, client: str) -> None:
    moments = [START + timedelta(hours=11 * n, milliseconds=24) for n in range(700)]
    catalogue.items = [an_item(f"i{n:03}", when) for n, when in enumerate(moments)][::-1]
    result = found(catalogue, client=client)
    assert ids(result) == [f"i{n:03}" for n in range(700)]
    assert result.matched == (700 if client == "pystac-client" else None)
    assert result.warnings == result.rejected == ()
    assert catalogue.landings == (1 if client == "pystac-client" else 0)


@pytest.mark.parametrize("client", CLIENTS)
def test_items_on_every_shard_border_come_once(catalogue: Any, client: str) -> None:
    span = END - START
    moments = {START + span * k // n for n in range(1, 9) for k in range(n)}
    catalogue.items = [an_item(f"{when:%m%dT%H%M%S}", when) for when in sorted(moments)]
    assert ids(found(catalogue, client=client)) == [item["id"] for item in catalogue.items]


def test_the_end_belongs_to_the_next_query(catalogue: Any) -> None:
    just_before = END - timedelta(microseconds=1)
    catalogue.items = [an_item("start", START), an_item("last", just_before), an_item("end", END)]
    result = found(catalogue)
    assert ids(result) == ["start", "last"]
    assert result.rejected == ()


def test_a_query_within_one_second_is_answered(catalogue: Any) -> None:
    start = START + timedelta(milliseconds=200)
    catalogue.items = [an_item("a", START), an_item("b", start + timedelta(milliseconds=50))]
    result = found(catalogue, start=start, end=start + timedelta(milliseconds=100))
    assert ids(result) == ["b"]


def test_a_day_is_one_request(catalogue: Any) -> None:
    catalogue.items = [an_item(str(n), START + timedelta(minutes=n)) for n in range(5)]
    found(catalogue, end=START + timedelta(days=1))
    assert len(catalogue.searches) == 1


def test_a_long_shard_is_cut_while_threads_are_idle(catalogue: Any) -> None:
    catalogue.items = [an_item(f"{n:03}", START + timedelta(hours=3 * n)) for n in range(96)]
    result = found(catalogue, end=START + timedelta(days=12))
    assert len(result.items) == 96
    assert len({body["datetime"] for body in catalogue.searches}) == 5  # one, cut into four


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("order", [1, -1])
def test_max_items_takes_the_earliest(catalogue: Any, client: str, order: int) -> None:
    moments = [START + timedelta(days=n // 2) for n in range(600)]
    catalogue.items = [an_item(f"{n:03}", when) for n, when in enumerate(moments)][::order]
    result = found(catalogue, client=client, max_items=7)
    assert ids(result) == [f"{n:03}" for n in range(7)]


@pytest.mark.parametrize("client", CLIENTS)
def test_page_limit_of_the_query_goes_before_the_providers(catalogue: Any, client: str) -> None:
    found(catalogue, client=client, page_limit=3)
    assert {body["limit"] for body in catalogue.searches} == {3}
    with pytest.raises(ConfigurationError, match="page limit 10001"):
        found(catalogue, page_limit=10_001)


def test_ids_are_asked_for_and_checked(catalogue: Any) -> None:
    catalogue.items = [an_item(name, START) for name in "abc"]
    catalogue.bend = lambda page, body: page | {"features": catalogue.items}
    result = found(catalogue, ids=("a", "c"))
    assert ids(result) == ["a", "c"]
    assert catalogue.searches[0]["ids"] == ["a", "c"]
    assert [one.reason for one in result.rejected] == ["item b was not asked for by its id"]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_ignored_filter_is_applied_here(catalogue: Any, client: str) -> None:
    covers: list[Any] = [5, "12.5", 56.8, "72", None, "cloudy"]
    catalogue.items = [an_item(str(n), START + timedelta(days=n)) for n, _ in enumerate(covers)]
    for item, cover in zip(catalogue.items, covers, strict=True):
        item["properties"]["eo:cloud_cover"] = cover
    result = found(catalogue, client=client, predicates=(Predicate("eo:cloud_cover", "lte", 40),))
    assert ids(result) == ["0", "1", "4"]  # an absent cloud cover is no reason to drop an Item
    assert catalogue.searches[0]["query"] == {"eo:cloud_cover": {"lte": 40}}
    reasons = [one.reason for one in result.rejected]
    assert "item 2 has eo:cloud_cover 56.8, which is not lte 40" in reasons
    assert "3 items that came fail eo:cloud_cover lte 40" in result.warnings[-1]


def test_items_that_cannot_be_placed_are_named(catalogue: Any) -> None:
    when = START + timedelta(hours=1)
    nowhere = an_item("nowhere", when, geometry=None)
    del nowhere["bbox"]
    timeless = an_item("timeless", when)
    elsewhere = an_item("elsewhere", when, geometry=square(50.0, 45.0))
    boxed = an_item("boxed", when, geometry=None)
    other = an_item("other", when, collection="d")
    anonymous = an_item("", when)
    catalogue.items = [nowhere, elsewhere, boxed, anonymous]
    catalogue.bend = lambda page, body: (
        page
        | {
            "features": [
                *page["features"],
                timeless | {"properties": {"datetime": "yesterday"}},
                other,
            ]
        }
    )
    catalogue.states_matched = False
    result = found(catalogue, end=START + timedelta(days=1))
    assert ids(result) == ["boxed"]
    assert {one.id: one.reason.split(";")[0] for one in result.rejected} == {
        "nowhere": "item nowhere has no geometry and no bbox that can be read",
        "timeless": "item timeless has no readable datetime or start_datetime",
        "elsewhere": "item elsewhere does not touch AOI 'here'",
        "other": "item other is of collection 'd', which was not asked for",
        "(item without id)": "(item without id) has no id",
    }
    assert result.warnings == ("item boxed has no geometry: it is placed by its bbox",)


@pytest.mark.parametrize(
    ("geometry", "bbox", "touches"),
    [
        (square(179.5, 45.0, 0.4), [179.5, 45.0, 179.9, 45.4], True),
        (square(-180.0, 45.0, 0.4), [-180.0, 45.0, -179.6, 45.4], True),
        (square(179.8, 45.0, 0.4), [179.8, 45.0, 180.2, 45.4], True),  # beyond 180
        (square(-180.2, 45.0, 0.4), [-180.2, 45.0, -179.8, 45.4], True),
        (  # 179.6 to -179.6 written without a split: nearly the whole world if taken literally
            {
                "type": "Polygon",
                "coordinates": [
                    [[179.6, 45.0], [-179.6, 45.0], [-179.6, 45.4], [179.6, 45.4], [179.6, 45.0]]
                ],
            },
            [179.6, 45.0, -179.6, 45.4],
            True,
        ),
        (None, [179.6, 45.0, -179.6, 45.4], True),
        (square(-180.0, -90.0, 180.0), [-180, -90, 0, 90], True),
        (square(0.0, 45.0, 0.4), [0.0, 45.0, 0.4, 45.4], False),
        (square(178.0, 45.0, 0.4), [178.0, 45.0, 178.4, 45.4], False),
    ],
)
def test_places_at_the_antimeridian(
    catalogue: Any, geometry: dict[str, Any] | None, bbox: list[float], touches: bool
) -> None:
    catalogue.items = [an_item("a", START, geometry=geometry, bbox=bbox)]
    result = found(catalogue, aoi=AOI.from_bbox("dateline", (179.0, 45.1, -179.0, 45.3)))
    assert ids(result) == (["a"] if touches else [])
    assert catalogue.searches[0]["intersects"]["type"] == "MultiPolygon"


def test_a_box_is_asked_for_as_one_and_a_triangle_is_not(catalogue: Any) -> None:
    found(catalogue, end=START + timedelta(days=1))
    triangle = {"type": "Polygon", "coordinates": [[[10, 45], [11, 45], [10, 46], [10, 45]]]}
    inside, outside = square(10.1, 45.1, 0.1), square(10.8, 45.8, 0.1)
    catalogue.items = [
        an_item("in", START, geometry=inside),
        an_item("out", START, geometry=outside),
    ]
    result = found(catalogue, aoi=AOI("t", triangle), end=START + timedelta(days=1))
    assert ids(result) == ["in"]
    assert catalogue.searches[0]["bbox"] == [10.0, 45.0, 10.5, 45.5]
    assert catalogue.searches[1]["intersects"] == triangle


@pytest.mark.parametrize("client", CLIENTS)
def test_signatures_do_not_come_through(catalogue: Any, client: str) -> None:
    item = an_item("a", START)
    signed = "https://b.example/x.tif?sv=2021&sig=0123456789abcdef"
    item["assets"]["B04"]["alternate"] = {"https": {"href": signed}}
    item["links"] = [{"rel": "via", "href": signed}]
    catalogue.items = [item]
    (taken,) = found(catalogue, client=client).items
    assert taken["assets"]["B04"]["href"] == "https://a.example/B04.tif?v=1"
    assert "sig=" not in str(taken)


# What catalogues do wrong


def test_an_empty_page_in_the_middle_is_not_the_end(catalogue: Any) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(20)]

    def bend(page: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        token = body.get("token", 0)
        if token == 10 and "skipped" not in body:
            return page | {"features": [], "links": [catalogue.link({**body, "skipped": True})]}
        return page

    catalogue.bend = bend
    assert len(found(catalogue, end=START + timedelta(days=1)).items) == 20


def test_an_empty_last_page_is_no_harm(catalogue: Any) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(20)]
    catalogue.bend = lambda page, body: (
        page
        | {
            "links": [catalogue.link({**body, "token": body.get("token", 0) + 10})]
            if page["features"]
            else []
        }
    )
    result = found(catalogue, end=START + timedelta(days=1))
    assert len(result.items) == 20
    assert result.warnings == ()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_that_comes_twice_counts_once(catalogue: Any, client: str) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(20)]

    def bend(page: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if body.get("token") == 10 and "again" not in body:
            again = catalogue.page({**body, "token": 0})
            return again | {"links": [catalogue.link({**body, "again": True})]}
        return page

    catalogue.bend = bend
    result = found(catalogue, client=client, end=START + timedelta(days=1))
    assert len(result.items) == 20
    assert "10 items came more than once" in result.warnings[0]


def test_of_two_versions_the_later_updated_is_taken(catalogue: Any) -> None:
    old, new = (an_item("a", START) for _ in range(2))
    old["properties"]["updated"], new["properties"]["updated"] = "2024-02-01", "2024-03-01"
    catalogue.items = [new, old]
    (taken,) = found(catalogue).items
    assert taken["properties"]["updated"] == "2024-03-01"


def test_a_lying_count_is_a_warning(catalogue: Any) -> None:
    catalogue.items = [an_item("a", START)]
    catalogue.bend = lambda page, body: page | {"numberMatched": 1000}
    result = found(catalogue, end=START + timedelta(days=1))
    assert ids(result) == ["a"]
    assert result.matched == 1000
    assert "says that 1000 items match" in result.warnings[0]
    assert "and gave 1" in result.warnings[0]


def test_a_next_link_that_leads_back_is_an_error(catalogue: Any) -> None:
    catalogue.items = [an_item("a", START)]
    catalogue.bend = lambda page, body: page | {"links": [catalogue.link({**body, "token": 0})]}
    with pytest.raises(ServiceError, match="goes in a circle"):
        found(catalogue, end=START + timedelta(days=1))


def test_a_page_offered_once_more_is_no_circle(catalogue: Any) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(30)]
    again = iter([True])

    def bend(page: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        is_again = body.get("token") == 10 and next(again, False)
        return page | {"links": [catalogue.link(body)]} if is_again else page

    catalogue.bend = bend
    result = found(catalogue, page_limit=10, end=START + timedelta(days=1))
    assert len(result.items) == 30
    assert "10 items came more than once" in result.warnings[0]


@pytest.mark.parametrize("client", CLIENTS)
def test_pages_without_end_or_new_items_are_an_error(catalogue: Any, client: str) -> None:
    catalogue.items = [an_item("a", START)]
    tokens = count(1)
    catalogue.bend = lambda page, body: (
        page
        | {
            "features": catalogue.items,
            "links": [catalogue.link({**body, "token": next(tokens)})],
        }
    )
    with pytest.raises(ServiceError, match="goes in a circle"):
        found(catalogue, client=client, page_limit=1, end=START + timedelta(days=1))
    assert len(catalogue.searches) < 100


def test_too_many_pages_is_a_question_to_the_user(
    catalogue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geostack_dagster.catalog.search.MAX_PAGES", 5)
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(20)]
    with pytest.raises(ConfigurationError, match="more than 5 pages; narrow its time"):
        found(catalogue, page_limit=2, end=START + timedelta(days=1))


# What networks and services do


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were made between attempts [s]; none of them is waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_catalogue_is_asked_again(
    catalogue: Any, client: str, status: int, patient: list[float], answer: Any
) -> None:
    catalogue.items = [an_item("a", START)]
    catalogue.faults = [answer(status), answer(status)]
    assert ids(found(catalogue, client=client)) == ["a"]
    assert [pause for pause in patient if pause >= 0.5][:1] == [0.5]


def test_retry_after_is_honoured(catalogue: Any, patient: list[float], answer: Any) -> None:
    catalogue.items = [an_item("a", START)]
    catalogue.faults = [answer(429, headers={"Retry-After": "7"})]
    assert ids(found(catalogue, end=START + timedelta(days=1))) == ["a"]
    assert 7.0 in patient


def test_a_long_wait_is_handed_to_the_caller(
    catalogue: Any, patient: list[float], answer: Any
) -> None:
    catalogue.faults = [answer(429, headers={"Retry-After": "120"})]
    with pytest.raises(ServiceError, match="answered 429") as caught:
        found(catalogue, end=START + timedelta(days=1))
    assert (caught.value.retry_after_s, caught.value.status) == (120.0, 429)
    assert [pause for pause in patient if pause >= 0.5] == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_catalogue_that_stays_down_is_a_service_error(
    catalogue: Any, client: str, patient: list[float], answer: Any
) -> None:
    catalogue.faults = [answer(503)] * 100
    with pytest.raises(ServiceError, match="answered 503") as caught:
        found(catalogue, client=client, end=START + timedelta(days=1))
    assert caught.value.status == 503
    assert len(catalogue.searches) == 5


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_taken_when_the_last_page_fails(
    catalogue: Any, client: str, patient: list[float], answer: Any
) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(15)]
    catalogue.bend = lambda page, body: answer(500) if body.get("token") == 10 else page
    with pytest.raises(ServiceError, match="500"):
        found(catalogue, client=client, end=START + timedelta(days=1))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_web_page_is_not_a_catalogue(
    catalogue: Any, client: str, patient: list[float], answer: Any
) -> None:
    catalogue.faults = [answer(200, b"<!DOCTYPE html><title>Log in</title>")] * 10
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1.*instead of JSON|than JSON"):
        found(catalogue, client=client, end=START + timedelta(days=1))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_cut_off_answer_is_asked_for_again(
    catalogue: Any, client: str, patient: list[float], answer: Any
) -> None:
    catalogue.items = [an_item("a", START)]
    catalogue.faults = [answer(200, b'{"type": "FeatureCollection", "features": [{"id": "a')]
    assert ids(found(catalogue, client=client, end=START + timedelta(days=1))) == ["a"]
    catalogue.faults = [answer(200, b'{"type": "Feat')] * 10
    with pytest.raises(ServiceError, match=r"/search answered with JSON that breaks off|breaks"):
        found(catalogue, client=client, end=START + timedelta(days=1))


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unreachable_catalogue_is_a_service_error(
    catalogue: Any, client: str, patient: list[float]
) -> None:
    nobody = replace(provider(catalogue), stac_url="http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 did not answer"):
        search(nobody, a_query(), client=client)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ConfigurationError),
        (401, MissingCredentialError),
        (403, RejectedCredentialError),
        (404, ConfigurationError),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_no_retry_helps_with(
    catalogue: Any, client: str, status: int, error: type[Exception], answer: Any
) -> None:
    catalogue.faults = [answer(status, b"limit is too large")] * 4
    with pytest.raises(error, match=f"answered {status}"):
        found(catalogue, client=client, end=START + timedelta(days=1))
    assert len(catalogue.searches) == 1


def test_a_redirected_search_is_not_followed(catalogue: Any, answer: Any) -> None:
    catalogue.faults = [answer(302, headers={"Location": f"{catalogue.url}/"})]
    with pytest.raises(ServiceError, match="must not be redirected"):
        found(catalogue, end=START + timedelta(days=1))


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unknown_collection_is_named(catalogue: Any, client: str) -> None:
    catalogue.collections = ("c", "known-there")
    with pytest.raises(ConfigurationError, match=r"has no collection 'cc'; did you mean 'c'"):
        found(catalogue, client=client, collections=("cc",))
    assert found(catalogue, client=client, collections=("known-there",)).items == []


def test_an_unknown_client_is_named(catalogue: Any) -> None:
    with pytest.raises(ConfigurationError, match="use one of pystac-client, rustac"):
        found(catalogue, client="curl")


def test_a_page_that_is_no_landing_page_is_named(catalogue: Any) -> None:
    elsewhere = replace(provider(catalogue), stac_url=f"{catalogue.url}/collections/c")
    with pytest.raises(ConfigurationError, match="not the landing page of a STAC API"):
        search(elsewhere, a_query())


@pytest.mark.parametrize("client", CLIENTS)
def test_authorising_headers_are_fresh_in_every_request(catalogue: Any, client: str) -> None:
    catalogue.items = [an_item(f"{n:02}", START + timedelta(minutes=n)) for n in range(15)]
    numbers = count(1)
    result = search(
        provider(catalogue),
        a_query(end=START + timedelta(days=1)),
        client=client,
        headers=lambda: {"Authorization": f"Bearer token-{next(numbers)}"},
    )
    assert len(result.items) == 15
    sent = [
        headers.get("Authorization", headers.get("authorization")) for headers in catalogue.headers
    ]
    assert None not in sent
    if client == "pystac-client":
        assert len(set(sent)) == len(sent)


def test_the_landing_page_is_read_once_whatever_is_searched(catalogue: Any) -> None:
    for _ in range(3):
        found(catalogue)
    assert catalogue.landings == 1


@pytest.mark.parametrize(
    "conforms",
    [
        [],
        ["http://www.opengis.net/spec/cql2/1.0/req/cql2-text"],
        ["https://api.stacspec.org/v1.0.0-rc.2/item-search#filter"],
    ],
)
@pytest.mark.parametrize(
    ("dialect", "sent"),
    [
        (FilterDialect.QUERY, {"query": {"v": {"gt": 1, "neq": "it's"}}}),
        (
            FilterDialect.CQL2_JSON,
            {
                "filter": {
                    "op": "and",
                    "args": [
                        {"op": ">", "args": [{"property": "v"}, 1]},
                        {"op": "<>", "args": [{"property": "v"}, "it's"]},
                    ],
                },
                "filter-lang": "cql2-json",
            },
        ),
        (
            FilterDialect.CQL2_TEXT,
            {"filter": "\"v\" > 1 AND \"v\" <> 'it''s'", "filter-lang": "cql2-text"},
        ),
        (FilterDialect.NONE, {}),
    ],
)
def test_predicates_go_out_in_the_providers_dialect(
    catalogue: Any, conforms: list[str], dialect: FilterDialect, sent: dict[str, Any]
) -> None:
    catalogue.conforms = conforms
    catalogue.items = [an_item("a", START, properties={"datetime": "2024-01-01T00:00:00Z", "v": 2})]
    catalogue.items += [
        an_item("b", START, properties={"datetime": "2024-01-01T00:00:00Z", "v": 0})
    ]
    result = search(
        replace(provider(catalogue), filter_dialect=dialect),
        a_query(
            end=START + timedelta(days=1),
            predicates=(Predicate("v", "gt", 1), Predicate("v", "neq", "it's")),
        ),
    )
    assert ids(result) == ["a"]
    (body,) = catalogue.searches
    assert {name: body[name] for name in body if name.startswith(("query", "filter"))} == sent
