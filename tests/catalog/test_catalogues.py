"""Searches of four catalogues, each in its dialect, find what brute force finds."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import shapely

from geostack_dagster.catalog.search import search
from geostack_dagster.catalog.snapshot import read, take_snapshot, write
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.item import moment, number, properties
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
)
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox import AOIS, Sandbox

START, END = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 15, tzinfo=UTC)
EMMENTAL, RIO_CUARTO = (AOI.from_file(AOIS / f"{n}.geojson") for n in ("emmental", "rio_cuarto"))
COLLECTIONS = (
    ("cdse", "sentinel-2-l2a"),
    ("cdse", "sentinel-2-l1c"),
    ("sentinel_hub", "sentinel-2-l2a"),
    ("sentinel_hub", "sentinel-2-l1c"),
    ("lpcloud", "EMITL2BCH4ENH_002"),
    ("lpcloud", "EMITL2BCH4PLM_002"),
    ("lpcloud", "EMITL1BRAD_001"),
    ("enmap", "ENMAP_HSI_L2A"),
)
EACH = pytest.mark.parametrize(
    ("slug", "collection"), [one for one in COLLECTIONS if not one[1].endswith("l1c")]
)
ALL = pytest.mark.parametrize(("slug", "collection"), COLLECTIONS)
WORLD = AOI.from_bbox("world", (-180.0, -90.0, 180.0, 90.0))


def ring(*positions: tuple[float, float]) -> AOI:
    return AOI("ring", {"type": "Polygon", "coordinates": [[list(at) for at in positions]]})


def circle(positions: int) -> AOI:
    """A polygon of many vertices around the first area, clockwise."""
    shape = shapely.Point(7.87, 46.98).buffer(0.03, quad_segs=positions // 4)
    return AOI("circle", {"type": "Polygon", "coordinates": [list(shape.exterior.coords)[::-1]]})


AREAS = {
    "box": EMMENTAL,
    "world": WORLD,
    "clockwise": ring((7.86, 46.97), (7.86, 47.0), (7.89, 46.99), (7.86, 46.97)),
    "many vertices": circle(400),
    "with a hole": AOI(
        "hole",
        {
            "type": "Polygon",
            "coordinates": [
                [[5.0, 45.0], [11.0, 45.0], [11.0, 49.5], [5.0, 49.5], [5.0, 45.0]],
                [[5.1, 45.1], [5.1, 49.4], [10.9, 49.4], [10.9, 45.1], [5.1, 45.1]],
            ],
        },
    ),
    "two parts": AOI(
        "parts",
        {
            "type": "MultiPolygon",
            "coordinates": [
                EMMENTAL.geometry["coordinates"],
                RIO_CUARTO.geometry["coordinates"],
            ],
        },
    ),
    "with heights": AOI(
        "heights",
        {
            "type": "Polygon",
            "coordinates": [
                [[7.86, 46.97, 5.0], [7.89, 46.97, 5.0], [7.86, 47.0, 5.0], [7.86, 46.97, 5.0]]
            ],
        },
    ),
}
PREDICATES = (
    (Predicate("eo:cloud_cover", "lte", 30),),
    (Predicate("eo:cloud_cover", "lt", 30), Predicate("eo:cloud_cover", "gt", 5)),
    (Predicate("eo:cloud_cover", "gte", 75),),
    (Predicate("platform", "neq", "sentinel-2a"),),
    (Predicate("eo:cloud_cover", "eq", 23),),
)


@pytest.fixture(scope="module")
def held(sandbox: Sandbox) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every Item of each collection, as the catalogue hands it out one by one."""
    environment = dict(os.environ)
    os.environ.update(sandbox.environment)
    try:
        return {(slug, name): list(everything(slug, name)) for slug, name in COLLECTIONS}
    finally:
        os.environ.clear()
        os.environ.update(environment)


def everything(slug: str, collection: str) -> Iterator[dict[str, Any]]:
    provider = provider_named(slug)
    headers = {}
    if slug == "sentinel_hub":
        form = {
            "grant_type": "client_credentials",
            "client_id": os.environ["SH_CLIENT_ID"],
            "client_secret": os.environ["SH_CLIENT_SECRET"],
        }
        token = requests.post(provider.endpoints["token"], data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
    url = f"{provider.stac_url}/collections/{collection}/items?limit=100"
    page = requests.get(url, headers=headers).json()
    assert not [link for link in page["links"] if link["rel"] == "next"]
    return page["features"]


def brute(items: list[dict[str, Any]], query: ItemQuery) -> list[str]:
    area = shapely.geometry.shape(dict(query.aoi.geometry))
    return sorted(
        item["id"]
        for item in items
        if shapely.intersects(shapely.geometry.shape(item["geometry"]), area)
        and query.start <= moment(item) < query.end
        and all(admits(predicate, item) for predicate in query.predicates)
    )


def admits(predicate: Predicate, item: dict[str, Any]) -> bool:
    found = properties(item).get(predicate.name)
    if found is None:
        return True
    if isinstance(predicate.value, str):
        return (found == predicate.value) == (predicate.op == "eq")
    value = number(found)
    return {
        "lte": value <= predicate.value,
        "lt": value < predicate.value,
        "gte": value >= predicate.value,
        "gt": value > predicate.value,
        "eq": value == predicate.value,
    }[predicate.op]


def asked(collection: str, **changes: Any) -> ItemQuery:
    return ItemQuery(
        **{
            "collections": (collection,),
            "aoi": EMMENTAL,
            "start": START,
            "end": END,
            **changes,
        }
    )


def ids(slug: str, query: ItemQuery, client: str = "pystac-client") -> list[str]:
    return sorted(item["id"] for item in search(provider_named(slug), query, client=client).items)


@EACH
@pytest.mark.parametrize("area", AREAS)
def test_areas(in_sandbox, held, slug, collection, area):
    query = asked(collection, aoi=AREAS[area])
    wanted = brute(held[slug, collection], query)
    assert ids(slug, query) == wanted
    assert wanted or area in ("with a hole", "clockwise", "with heights", "many vertices")


@EACH
@pytest.mark.parametrize("predicates", PREDICATES)
def test_predicates(in_sandbox, held, slug, collection, predicates):
    query = asked(collection, aoi=WORLD, predicates=predicates)
    result = search(provider_named(slug), query)
    assert sorted(item["id"] for item in result.items) == brute(held[slug, collection], query)
    assert not [text for text in result.warnings if "did not apply" in text]


@EACH
@pytest.mark.parametrize("page_limit", [3, 500])
def test_pages(in_sandbox, held, slug, collection, page_limit):
    query = asked(collection, aoi=WORLD, page_limit=page_limit)
    result = search(provider_named(slug), query)
    assert sorted(item["id"] for item in result.items) == brute(held[slug, collection], query)
    assert result.warnings == result.rejected == ()


@EACH
@pytest.mark.parametrize(("start", "days"), [(9.5, 10), (12.43, 0.01), (0, 300)])
def test_intervals(in_sandbox, held, slug, collection, start, days):
    begin = START + timedelta(days=start)
    query = asked(collection, aoi=WORLD, start=begin, end=begin + timedelta(days=days))
    assert ids(slug, query) == brute(held[slug, collection], query)


@EACH
def test_many_vertices_survive_paging(in_sandbox, held, slug, collection):
    """CMR-STAC puts the polygon into the query string of the next link, where it breaks."""
    query = asked(collection, aoi=circle(400), page_limit=1)
    assert ids(slug, query) == brute(held[slug, collection], query)


@EACH
def test_single_items(in_sandbox, held, slug, collection):
    wanted = sorted(item["id"] for item in held[slug, collection])[1:3]
    assert ids(slug, asked(collection, aoi=WORLD, ids=tuple(wanted))) == wanted


@pytest.mark.parametrize("collection", ["sentinel-2-l2a", "EMITL2BCH4ENH_002", "ENMAP_HSI_L2A"])
def test_rustac_where_it_is_allowed(in_sandbox, held, collection):
    allowed = {"sentinel-2-l2a": "cdse", "EMITL2BCH4ENH_002": "lpcloud", "ENMAP_HSI_L2A": "enmap"}
    slug = allowed[collection]
    query = asked(collection, aoi=WORLD, page_limit=4)
    if slug == "enmap":
        with pytest.raises(ConfigurationError, match="use pystac-client"):
            ids(slug, query, "rustac")
    else:
        assert ids(slug, query, "rustac") == brute(held[slug, collection], query)


@ALL
def test_snapshots(in_sandbox, slug, collection, tmp_path):
    taken = take_snapshot(provider_named(slug), asked(collection, aoi=RIO_CUARTO))
    assert taken.items
    url = str(tmp_path / "s.parquet")
    write(taken, url)
    assert read(url) == taken
    again = take_snapshot(provider_named(slug), asked(collection, aoi=RIO_CUARTO))
    assert again.fingerprint == taken.fingerprint


def test_one_of_two_baselines_is_kept(in_sandbox):
    taken = take_snapshot(provider_named("cdse"), asked("sentinel-2-l2a"))
    (dropped,) = taken.superseded
    assert dropped.reason == "processing baseline 05.10 < 05.11"
    assert ("N0510" in dropped.id, "N0511" in dropped.kept) == (True, True)


def test_unknown_collections_are_named(in_sandbox):
    for slug, _ in COLLECTIONS:
        with pytest.raises(ConfigurationError, match=f"{slug} has no collection 'sentinel-9'"):
            ids(slug, asked("sentinel-9"))


def test_sentinel_hub_wants_a_credential(in_sandbox, monkeypatch):
    query = asked("sentinel-2-l2a")
    monkeypatch.delenv("SH_CLIENT_SECRET")
    with pytest.raises(MissingCredentialError, match="SH_CLIENT_SECRET"):
        ids("sentinel_hub", query)
    monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
    with pytest.raises(RejectedCredentialError, match="SH_CLIENT_"):
        ids("sentinel_hub", query)


def test_a_search_goes_on_when_its_token_dies(in_sandbox, held):
    query = asked("sentinel-2-l2a", aoi=WORLD, page_limit=2)
    wanted = brute(held["sentinel_hub", "sentinel-2-l2a"], query)
    assert ids("sentinel_hub", query) == wanted
    for thread in threading.enumerate():  # of an earlier search that failed, asking once more
        if thread.name.startswith("search-"):
            thread.join(timeout=60)
    time.sleep(1.1)  # what was refused sooner is not taken to be stale
    in_sandbox.control.clear_log()
    in_sandbox.control.fault(path="*/search", expire=True, skip=2, times=1)
    assert ids("sentinel_hub", query) == wanted
    asked_for = [line["path"].rpartition("/")[2] for line in in_sandbox.control.log()]
    assert asked_for.count("token") == 1


def test_a_token_that_is_refused_again_is_said_to_be(in_sandbox):
    in_sandbox.control.fault(path="*/search", expire=True)
    with pytest.raises(RejectedCredentialError, match="answered 401"):
        ids("sentinel_hub", asked("sentinel-2-l2a"))


@EACH
def test_faults_change_nothing(in_sandbox, held, slug, collection):
    control, query = in_sandbox.control, asked(collection, aoi=WORLD, page_limit=3)
    wanted = brute(held[slug, collection], query)
    control.fault(path="*/search", status=429, retry_after_s=0, times=2)
    control.fault(path="*/search", truncate_bytes=300, times=1)
    assert ids(slug, query) == wanted
    control.clear_faults()
    control.fault(path="*/search", page="duplicate", skip=1, times=1)
    assert ids(slug, query) == wanted
    control.clear_faults()
    control.fault(path="*/search", page="wrong-matched")
    result = search(provider_named(slug), query)
    assert sorted(item["id"] for item in result.items) == wanted
    assert bool(result.warnings) == provider_named(slug).has_matched


LATE = pytest.mark.parametrize(
    ("slug", "collection", "mark", "is_replaced"),
    [
        ("cdse", "sentinel-2-l2a", "MSIL2A_20240713T135701_N0510", False),
        ("sentinel_hub", "sentinel-2-l2a", ".SAFE", False),
        ("lpcloud", "EMITL2BCH4PLM_002", "CH4PLM", True),
        ("enmap", "ENMAP_HSI_L2A", "L2A-DT", True),
    ],
)


@LATE
def test_late_items_come_and_are_processed_anew(in_sandbox, slug, collection, mark, is_replaced):
    """The last of this module: the catalogues do not go back to what they were."""
    control, query = in_sandbox.control, asked(collection, aoi=RIO_CUARTO)
    before = set(ids(slug, query))
    waiting = [one["id"] for one in control.pending() if one["archive"] == slug]
    for name in waiting:
        if mark in name:
            control.arrive(name)
    (late,) = set(ids(slug, query)) - before
    assert "20240713" in late
    renewed = control.reprocess(late)
    after = set(ids(slug, query))
    assert after - before == ({renewed} if is_replaced else {late, renewed})
    assert (renewed == late) == (slug == "lpcloud")
