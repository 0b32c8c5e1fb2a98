"""Searches against stac-fastapi on pgstac: both clients find what brute force finds, each once."""

import operator
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import pytest
import shapely

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.catalog.clients import SEARCHERS, forget_connections
from geostack_dagster.catalog.search import search
from geostack_dagster.catalog.snapshot import read, take_snapshot, write
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers.generic import band_table
from geostack_dagster.providers.provider import Collection, FilterDialect, Limits, Provider
from tests.services.stac import COLLECTIONS, DAYS, START, Catalogue, scenes, serving_scenes

pytestmark = pytest.mark.services

SCENES = scenes()
FIRST = COLLECTIONS[0]
TILE = AOI.from_bbox("tile", (8.2, 46.2, 8.3, 46.3))
TRIANGLE = AOI(
    "triangle",
    {"type": "Polygon", "coordinates": [[[7.5, 46.5], [9.5, 46.5], [9.5, 47.5], [7.5, 46.5]]]},
)
FIJI = AOI.from_bbox("fiji", (179.4, -16.6, -179.6, -16.4))
NOWHERE = AOI.from_bbox("nowhere", (30, 10, 31, 11))


def days(count: float) -> timedelta:
    return timedelta(days=count)


def query(**changed: Any) -> ItemQuery:
    asked = {"collections": (FIRST,), "aoi": TILE, "start": START, "end": START + days(DAYS)}
    return ItemQuery(**(asked | changed))


def where(*predicates: tuple[str, str, float | str]) -> dict[str, Any]:
    return {"predicates": tuple(Predicate(*parts) for parts in predicates)}


INSTANT = datetime.fromisoformat(SCENES[2 * 417]["properties"]["datetime"])
QUERIES = {
    "a tile": query(),
    "two collections": query(collections=COLLECTIONS, end=START + days(30)),
    "a triangle": query(aoi=TRIANGLE, end=START + days(40)),
    "across the antimeridian": query(aoi=FIJI),
    "nowhere": query(aoi=NOWHERE),
    "from an instant on": query(aoi=TRIANGLE, start=INSTANT),
    "up to an instant": query(aoi=TRIANGLE, end=INSTANT),
    "a midnight": query(aoi=TRIANGLE, start=START + days(7), end=START + days(8)),
    "clear": query(aoi=TRIANGLE, **where(("eo:cloud_cover", "lte", 12.3))),
    "one platform": query(**where(("platform", "eq", "s1"))),
    "another platform": query(**where(("platform", "neq", "s1"))),
    "between": query(
        aoi=TRIANGLE, **where(("view:sun_elevation", "gt", 9.1), ("view:sun_elevation", "lt", 40))
    ),
    "three conditions": query(
        aoi=TRIANGLE,
        **where(
            ("view:sun_elevation", "gte", -4.9),
            ("eo:cloud_cover", "lt", 50),
            ("platform", "eq", "s2"),
        ),
    ),
    "by id": query(aoi=TRIANGLE, ids=("s-0001", "s-0417", "s-0003", "no-such")),
    "the earliest": query(aoi=TRIANGLE, max_items=11),
}
COMPARE = {name: getattr(operator, name) for name in ("eq", "lt", "gt")} | {
    "neq": operator.ne,
    "lte": operator.le,
    "gte": operator.ge,
}


def expected(asked: ItemQuery) -> list[str]:
    """Brute force: ids in order of time."""
    place = shapely.geometry.shape(asked.aoi.geometry)
    found = [
        scene
        for scene in SCENES
        if scene["collection"] in asked.collections
        and asked.start <= datetime.fromisoformat(scene["properties"]["datetime"]) < asked.end
        and place.intersects(shapely.geometry.shape(scene["geometry"]))
        and (not asked.ids or scene["id"] in asked.ids)
        and all(
            COMPARE[each.op](scene["properties"][each.name], each.value)
            for each in asked.predicates
        )
    ]
    found.sort(key=lambda scene: (scene["properties"]["datetime"], scene["id"]))
    return [scene["id"] for scene in found][: asked.max_items]


def closed(asked: ItemQuery) -> ItemQuery:
    """The query as catalogues are asked: to the full second, which is within."""
    end = (asked.end + timedelta(microseconds=999_999)).replace(microsecond=0)
    return replace(asked, end=end + timedelta(microseconds=1))


@pytest.fixture(scope="module")
def catalogue(postgres, logs) -> Iterator[Catalogue]:
    with serving_scenes(postgres, logs) as running_catalogue:
        yield running_catalogue
    forget_connections()


@pytest.fixture(
    params=[True, False], ids=["matched is told", "matched is not told"], scope="module"
)
def told(request, catalogue) -> bool:
    catalogue.state_matched(state=request.param)
    return request.param


@pytest.fixture(params=[FilterDialect.QUERY, FilterDialect.CQL2_JSON], ids=str)
def provider(request, catalogue, told) -> Provider:
    """An archive that this package has no record of, which shows small pages."""
    return Provider(
        slug="elsewhere",
        title="An archive without a record",
        description="",
        stac_url=catalogue.url,
        filter_dialect=request.param,
        collections={FIRST: Collection(id=FIRST, title=FIRST, bands=band_table(SCENES[0]))},
        access=(("https://archive.example/*", AuthScheme.ANONYMOUS),),
        limits=Limits(page_limit=7, concurrent_searches=4),
        has_matched=told,
    )


@pytest.fixture(params=SEARCHERS)
def client(request) -> str:
    return request.param


@pytest.mark.parametrize("asked", QUERIES.values(), ids=QUERIES)
def test_the_answer_is_that_of_brute_force(provider, client, asked, told):
    result = search(provider, asked, client=client)
    wanted = expected(asked)
    assert [item["id"] for item in result.items] == wanted
    assert result.rejected == ()
    assert result.warnings == ()
    assert result.pages >= ceil(len(wanted) / 7)
    if told and client == "pystac-client" and asked.max_items is None:
        assert result.matched == len(expected(closed(asked)))


@pytest.mark.parametrize("page_limit", [1, 3, 50, 1000])
def test_pages_of_any_size_give_the_same(provider, client, page_limit):
    asked = query(aoi=TRIANGLE, end=START + days(16), page_limit=page_limit)
    assert [item["id"] for item in search(provider, asked, client=client).items] == expected(asked)


def test_a_snapshot_of_an_archive_without_a_record(provider, tmp_path):
    taken = [take_snapshot(provider, query(), client=client) for client in SEARCHERS]
    assert taken[0].fingerprint == taken[1].fingerprint
    write(taken[0], str(tmp_path / "snapshot.parquet"))
    again = read(str(tmp_path / "snapshot.parquet"))
    assert [item["id"] for item in again.items] == expected(query())


def test_an_unknown_collection_is_no_empty_answer(provider, client):
    with pytest.raises(ConfigurationError, match="no collection 'sentinel-3'"):
        search(provider, query(collections=("sentinel-3",)), client=client)


def test_an_address_beside_the_api_is_named(provider, client):
    astray = replace(provider, stac_url=f"{provider.stac_url}/collections", collections={})
    with pytest.raises(ConfigurationError, match="collection"):
        search(astray, query(), client=client)
