"""Stacks that Sentinel Hub's Process API renders: the Recipe's scenes, and no others."""

import pickle
import time
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime

import dask
import numpy as np
import pytest
from shapely.geometry import box, mapping

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.catalog.snapshot import take_snapshot
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    IntegrityError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.providers import PLANETARY_COMPUTER, SENTINEL_HUB
from geostack_dagster.providers.access import signer_for
from geostack_dagster.sandbox.world import World
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.load import decode, open_stack
from geostack_dagster.stack.probe import probe
from geostack_dagster.stack.process_api import rendering
from geostack_dagster.stack.process_api.evalscript import same_scene
from geostack_dagster.stack.process_api.proof import coarse
from geostack_dagster.stack.process_api.raster import numbers_of
from geostack_dagster.stack.process_api.rendering import Rendering, crs_url
from geostack_dagster.stack.process_api.service import ProcessService
from geostack_dagster.stack.reader.source import FetchPolicy

GRID = Grid(crs="EPSG:32632", resolution=10, left=407_960, top=5_207_040, width=160, height=120)
CUT_GRID = Grid(crs="EPSG:32720", resolution=20, left=541_000, top=6_389_000, width=120, height=90)
CHUNKS = {"y": 64, "x": 80}
WINDOW = Window(date(2024, 6, 1), date(2024, 7, 1))
HOST = "sh.dataspace.copernicus.eu"
SCENE = {
    "type": "Feature",
    "id": "S2A_MSIL2A_20240613T103021_N0510_R108_T32TMT_20240613T145801.SAFE",
    "collection": "sentinel-2-l2a",
    "properties": {
        "datetime": "2024-06-13T10:37:39.586Z",
        "proj:epsg": 32632,
        "proj:bbox": [399960.0, 5190240.0, 509760.0, 5300040.0],
    },
    "assets": {"data": {"href": "s3://EODATA/Sentinel-2/MSI/L2A/2024/06/13/A.SAFE/"}},
}


def ask(**changes):
    return StackAsk(
        **{
            "collections": ("sentinel-2-l2a",),
            "bands": ("B04", "B11", "SCL"),
            "grid": GRID,
            "window": WINDOW,
            **changes,
        }
    )


def items_of(provider, bbox=(7.75, 46.99, 7.80, 47.02), days=(20, 30)):
    query = ItemQuery(
        collections=("sentinel-2-l2a",),
        aoi=AOI.from_bbox("area", bbox),
        start=datetime(2024, 6, days[0], tzinfo=UTC),
        end=datetime(2024, 6, days[1], tzinfo=UTC),
    )
    return take_snapshot(provider, query).items


@pytest.fixture
def fresh(in_sandbox):
    BROKER.clear()
    yield in_sandbox
    BROKER.clear()


@pytest.fixture
def signer(fresh):
    return signer_for(SENTINEL_HUB)


@pytest.fixture(scope="module")
def held():
    return []


@pytest.fixture
def recipe(fresh, held):
    """Two overpasses of the Emmental, searched once."""
    if not held:
        held.append(make_recipe(SENTINEL_HUB, items_of(SENTINEL_HUB), ask=ask()))
    return held[0]


def one_day(recipe):
    return replace(recipe, items=recipe.items[:1])


def posts(sandbox):
    return [entry for entry in sandbox.control.log(HOST) if entry["method"] == "POST"]


# What is asked


def test_an_item_without_files_becomes_a_source_for_each_band():
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask(bands=("B04", "AOT", "SCL")))
    (item,) = recipe.items
    assert recipe.loader == "process_api"
    for source in item.sources.values():
        assert source.href == SCENE["assets"]["data"]["href"]
        assert source.projection.crs == GRID.crs
        assert source.projection.shape == GRID.shape
        assert source.projection.transform == GRID.transform
    scales = {name: source.radiometry.scale for name, source in item.sources.items()}
    assert scales == {"B04": 1e-4, "AOT": 1e-3, "SCL": 1.0}
    assert item.sources["B04"].radiometry.offset == 0.0


def test_a_scene_elsewhere_is_left_out():
    away = replace(GRID, left=700_000)
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask(grid=away))
    assert not recipe.items
    assert "does not touch" in recipe.skipped[0].reason


@pytest.mark.parametrize(
    ("provider", "loader", "advice"),
    [
        (SENTINEL_HUB, "odc", "leave `loader` out, or choose process_api"),
        (PLANETARY_COMPUTER, "process_api", "choose odc, odc_gdal, stackstac, rioxarray"),
    ],
)
def test_loaders_read_what_they_are_for(provider, loader, advice):
    with pytest.raises(ConfigurationError, match=advice):
        make_recipe(provider, [], ask=ask(loader=loader))


def test_a_recipe_is_not_opened_with_another_kind_of_loader(signer):
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask())
    with pytest.raises(ConfigurationError, match="cannot read pixels from process-api"):
        open_stack(recipe, signer=signer, loader="stackstac")


def asked(**changes) -> Rendering:
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask())
    (found,) = rendering.renderings(recipe, recipe.days[0], GRID)
    return replace(found, **changes)


def test_a_request_states_grid_time_and_processing():
    body = asked().body()
    (data,) = body["input"]["data"]
    assert body["input"]["bounds"]["bbox"] == [407_960, 5_205_840, 409_560, 5_207_040]
    assert body["input"]["bounds"]["properties"]["crs"].endswith("/EPSG/0/32632")
    assert (body["output"]["width"], body["output"]["height"]) == (160, 120)
    assert data["type"] == "sentinel-2-l2a"
    assert data["dataFilter"]["timeRange"] == {
        "from": "2024-06-13T10:36:39.586Z",
        "to": "2024-06-13T10:38:39.586Z",
    }
    assert data["processing"] == {
        "harmonizeValues": True,
        "upsampling": "NEAREST",
        "downsampling": "NEAREST",
    }
    assert '["Sentinel-2/MSI/L2A/2024/06/13/A.SAFE"]' in body["evalscript"]


def test_a_grid_beyond_the_limit_is_cut_without_gap_or_overlap():
    seen = np.zeros(GRID.shape, int)
    for rows, columns, piece in asked().pieces(50):
        assert max(piece.grid.shape) <= 50
        seen[rows, columns] += 1
        left, top = GRID.left + columns.start * 10, GRID.top - rows.start * 10
        assert (piece.grid.left, piece.grid.top) == (left, top)
        assert piece.grid.shape == (rows.stop - rows.start, columns.stop - columns.start)
    assert (seen == 1).all()


def test_units_are_counted_as_the_service_does():
    big = replace(GRID, width=1024, height=1024)
    assert asked(grid=big, bands=("B02", "B03", "B04", "B08")).units == pytest.approx(4 * 4 / 3)
    assert asked(grid=replace(GRID, width=20, height=20), bands=("B04", "B08")).units == (
        pytest.approx(0.01 * 2 / 3)
    )
    assert asked(grid=replace(GRID, width=1, height=1), bands=("B04",)).units == 0.005


def test_classes_are_asked_for_apart_when_values_are_interpolated():
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask(resampling="bilinear"))
    found = {
        one.resampling: one.bands for one in rendering.renderings(recipe, recipe.days[0], GRID)
    }
    assert found == {"bilinear": ("B04", "B11"), "nearest": ("SCL",)}


@pytest.mark.parametrize("way", ["average", "mode"])
def test_a_way_of_resampling_that_the_service_lacks_is_refused(way):
    recipe = make_recipe(SENTINEL_HUB, [SCENE], ask=ask(resampling=way))
    with pytest.raises(ConfigurationError, match=f"cannot resample by '{way}'"):
        list(rendering.renderings(recipe, recipe.days[0], GRID))


def test_a_crs_without_a_code_is_refused():
    assert crs_url("epsg:4326").endswith("/EPSG/0/4326")
    with pytest.raises(ConfigurationError, match="EPSG code"):
        crs_url('PROJCS["mine"]')


@pytest.mark.parametrize(
    ("path", "is_same"),
    [
        ("s3://EODATA/Sentinel-2/MSI/L2A/2024/06/13/A.SAFE", True),
        ("creo://eodata/Sentinel-2/MSI/L2A/2024/06/13/A.SAFE/", True),
        ("http://data.cloudferro.com/EODATA/Sentinel-2/MSI/L2A/2024/06/13/A.SAFE", True),
        ("s3://EODATA/Sentinel-2/MSI/L2A/2024/06/13/AA.SAFE", False),
        ("s3://EODATA/Sentinel-2/MSI/L2A/2024/06/14/A.SAFE", False),
    ],
)
def test_scenes_are_known_by_the_place_of_their_files(path, is_same):
    assert same_scene(path, SCENE["assets"]["data"]["href"]) is is_same


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_the_proof_looks_at_the_whole_grid_coarsely(crs):
    resolution = 10 if crs != "EPSG:4326" else 0.0001
    grid = replace(GRID, crs=crs, resolution=resolution, width=5001, height=99)
    found = coarse(grid)
    assert found.bounds[0] <= grid.bounds[0]
    assert found.bounds[2] >= grid.bounds[2]
    assert found.bounds[1] <= grid.bounds[1]
    assert max(found.shape) <= 60


# What comes


def test_the_stack_is_the_truth_in_one_request_a_chunk(recipe, signer, fresh):
    stack = open_stack(recipe, signer=signer, chunks=CHUNKS)
    fresh.control.clear_log()
    found = decode(stack).compute()
    assert len(posts(fresh)) == len(recipe.days) * 4
    for position, day in enumerate(recipe.days):
        moment = next(item.acquired for item in recipe.items if item.day == day)
        for band in ("B04", "B11"):
            error = np.abs(found[band][position] - World().reflectance(band, GRID, moment))
            assert error.max() < 0.02
        classes = World().scl(GRID, moment)
        assert (stack.SCL[position].compute().to_numpy() == classes).mean() > 0.99


def test_a_swath_edge_is_where_the_files_have_it(fresh):
    """West of it there is nothing, in both archives' pixels alike."""
    stacks = []
    for provider in (SENTINEL_HUB, PLANETARY_COMPUTER):
        items = items_of(provider, (-62.57, -32.66, -62.53, -32.62), (8, 9))
        recipe = make_recipe(provider, items, ask=ask(grid=CUT_GRID))
        stacks.append(open_stack(recipe, signer=signer_for(provider)).compute())
    rendered, read = stacks
    empty = (rendered.B04 == 0).to_numpy()
    assert 0.05 < empty.mean() < 0.95
    assert (empty == (read.B04 == 0)).mean() > 0.998
    assert (rendered.SCL == read.SCL).mean() > 0.998


def test_only_the_scenes_of_the_recipe_are_rendered(fresh, signer):
    """Two baselines of one overpass: either alone, or the first over the second."""
    (old,) = items_of(SENTINEL_HUB, days=(13, 14))
    name = fresh.control.reprocess(old["id"], "05.11")
    try:
        (new,) = items_of(SENTINEL_HUB, days=(13, 14))  # a snapshot keeps the newest
        recipes = {
            key: make_recipe(SENTINEL_HUB, chosen, ask=ask())
            for key, chosen in {"both": [old, new], "old": [old], "new": [new]}.items()
        }
        found = {
            key: open_stack(recipe, signer=signer).B04.to_numpy() for key, recipe in recipes.items()
        }
    finally:
        fresh.control.withdraw(name)
    assert not np.array_equal(found["old"], found["new"])
    first = recipes["both"].items[0].id
    assert np.array_equal(found["both"], found["old" if first == old["id"] else "new"])


def test_neighbouring_scenes_of_a_day_are_one_layer(fresh, signer):
    """Where both have data the one that was acquired first counts, as with files."""
    (east,) = items_of(SENTINEL_HUB, days=(13, 14))
    west = deepcopy(east)
    west["id"] = west["id"].replace("T32TMT", "T32TLT")
    west["assets"]["data"]["href"] = west["assets"]["data"]["href"].replace("T32TMT", "T32TLT")
    stated = west["properties"]
    stated["datetime"] = stated["datetime"].replace("T10:37", "T10:38")
    stated["proj:bbox"] = [
        value - 99_960 * (at % 2 == 0) for at, value in enumerate(stated["proj:bbox"])
    ]
    del stated["proj:geometry"]
    west["geometry"] = mapping(box(6.2, 46.8, 7.9, 47.9))
    grid = replace(GRID, left=399_000)  # its first 96 columns lie in the western tile alone
    fresh.control.publish("sentinel_hub", [west])
    try:
        found = {
            key: open_stack(make_recipe(SENTINEL_HUB, items, ask=ask(grid=grid)), signer=signer)
            .B04[0]
            .to_numpy()
            for key, items in {"both": [west, east], "east": [east], "west": [west]}.items()
        }
    finally:
        fresh.control.withdraw(west["id"])
    assert (found["east"][:, :95] == 0).all()
    assert (found["both"] != 0).all()
    assert np.array_equal(found["both"][:, :95], found["west"][:, :95])
    assert np.array_equal(found["both"][:, 97:], found["east"][:, 97:])
    assert not np.array_equal(found["both"][:, 97:], found["west"][:, 97:])


def test_pieces_and_whole_are_the_same(recipe, signer, monkeypatch):
    whole = open_stack(one_day(recipe), signer=signer).compute()
    limits = replace(SENTINEL_HUB.limits, rendered_px=60)
    monkeypatch.setattr(
        "geostack_dagster.stack.loaders.process_api.provider_named",
        lambda slug: replace(SENTINEL_HUB, limits=limits),
    )
    cut = open_stack(one_day(recipe), signer=signer).compute()
    for band in whole:
        assert np.array_equal(whole[band], cut[band])


def test_a_grid_of_degrees_is_rendered_like_any_other(fresh, signer):
    grid = Grid(crs="EPSG:4326", resolution=0.0002, left=7.786, top=47.0, width=60, height=50)
    recipe = make_recipe(SENTINEL_HUB, items_of(SENTINEL_HUB)[:1], ask=ask(grid=grid))
    stack = open_stack(recipe, signer=signer).compute()
    truth = World().scl(grid, recipe.items[0].acquired)
    assert (stack.SCL[0] == truth).mean() > 0.99


def test_no_more_requests_at_once_than_the_account_may(recipe, signer, fresh):
    fresh.control.fault(host=HOST, path="*/process", latency_s=0.1)
    fresh.control.clear_log()
    with dask.config.set(scheduler="threads", num_workers=12):
        open_stack(recipe, signer=signer, chunks=CHUNKS).B04.compute()
    spans = [(entry["at"], entry["at"] + entry["seconds"]) for entry in posts(fresh)]
    at_once = [sum(start <= at < end for start, end in spans) for at, _ in spans]
    assert 1 < max(at_once) <= SENTINEL_HUB.limits.concurrent_reads


# Credentials


def test_no_token_reaches_the_graph(recipe, signer):
    stack = open_stack(recipe, signer=signer)
    stack.B04[0, :9, :9].compute()
    graph = stack.B04.__dask_graph__()
    content = pickle.dumps({key: graph[key] for key in graph})
    token = signer.credential(SENTINEL_HUB.endpoints["process"]).values["access_token"]
    assert recipe.items[0].sources["B04"].href.encode() in content
    assert token.encode() not in content
    again = pickle.loads(content)
    assert again.keys() == graph.keys()


def test_a_read_outlives_its_token(recipe, signer, fresh):
    fresh.control.set_token_lifetime(2.0)
    BROKER.clear()
    try:
        stack = open_stack(one_day(recipe), signer=signer, chunks=CHUNKS)
        fresh.control.clear_log()
        stack.B04.compute()
        time.sleep(2.2)
        assert stack.B04.compute().any()
    finally:
        fresh.control.set_token_lifetime(2700.0)
    tokens = [entry for entry in fresh.control.log() if entry["path"].endswith("/token")]
    assert len(tokens) == 2
    assert {entry["status"] for entry in posts(fresh)} == {200}


def test_a_refused_token_is_renewed_once(recipe, signer, fresh):
    stack = open_stack(one_day(recipe), signer=signer)
    signer.credential(SENTINEL_HUB.endpoints["process"])
    time.sleep(1.1)  # the broker takes a younger one for denied, not for stale
    fresh.control.fault(host=HOST, path="*/process", expire=True, times=1)
    assert stack.B04.compute().any()
    assert [entry["status"] for entry in posts(fresh)] == [401, 200]


def test_access_that_stays_refused_names_the_variable(recipe, signer, fresh):
    fresh.control.fault(host=HOST, path="*/process", expire=True)
    with pytest.raises(RejectedCredentialError, match=r"401 COMMON_UNAUTHORIZED.*SH_CLIENT_ID"):
        open_stack(one_day(recipe), signer=signer).B04.compute()
    assert len(posts(fresh)) <= 2


def test_a_missing_credential_is_named(recipe, fresh, monkeypatch):
    monkeypatch.delenv("SH_CLIENT_SECRET")
    with pytest.raises(MissingCredentialError, match="SH_CLIENT_SECRET"):
        open_stack(one_day(recipe), signer=signer_for(SENTINEL_HUB)).B04.compute()


# Trouble


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after_s": 0.3},
        {"status": 503},
        {"status": 500},
        {"truncate_bytes": 900},
    ],
    ids=["429", "503", "500", "truncated"],
)
def test_what_passes_is_waited_for(recipe, signer, fresh, fault):
    stack = open_stack(one_day(recipe), signer=signer)
    fresh.control.fault(host=HOST, path="*/process", times=2, **fault)
    started = time.monotonic()
    assert stack.B04.compute().any()
    assert len(posts(fresh)) == 3
    if "retry_after_s" in fault:
        assert time.monotonic() - started >= 0.6  # the header says 300, in milliseconds


def test_a_long_wait_is_left_to_the_caller(recipe, signer, fresh):
    fresh.control.fault(host=HOST, path="*/process", status=429, retry_after_s=90)
    with pytest.raises(ServiceError) as caught:
        open_stack(one_day(recipe), signer=signer).B04.compute()
    assert (caught.value.status, caught.value.retry_after_s) == (429, 90.0)
    assert len(posts(fresh)) == 1


def test_a_login_page_is_a_refusal(recipe, signer, fresh):
    fresh.control.fault(host=HOST, path="*/process", html=True)
    with pytest.raises(RejectedCredentialError, match="login page"):
        open_stack(one_day(recipe), signer=signer).B04.compute()


def service(signer) -> ProcessService:
    return ProcessService(SENTINEL_HUB, signer, policy=FetchPolicy(attempts=2, backoff_s=0.01))


def test_a_wrong_request_repeats_what_the_service_says(signer):
    wide = asked(grid=replace(GRID, width=2501, height=1))
    with pytest.raises(ConfigurationError, match=r"400: .*between 1 and 2500.*COMMON_BAD_PAYLOAD"):
        service(signer).post(wide.body(), "image/tiff", bytes)


@pytest.mark.parametrize("kept", [500, 40, 0])
def test_an_answer_that_is_not_whole_is_asked_for_again(signer, fresh, kept):
    def read(data):
        return numbers_of(data[:kept], 4, GRID)

    with pytest.raises(AssetError, match="no whole GeoTIFF"):
        service(signer).post(asked().body(), "image/tiff", read)
    assert len(posts(fresh)) == 2


def test_an_answer_for_another_place_is_not_taken(signer):
    moved = replace(GRID, left=GRID.left + 10)
    with pytest.raises(AssetError, match="answered for"):
        service(signer).post(asked().body(), "image/tiff", lambda data: numbers_of(data, 4, moved))
    with pytest.raises(AssetError, match="asked were"):
        service(signer).post(asked().body(), "image/tiff", lambda data: numbers_of(data, 3, GRID))


# Proof


def test_the_probe_proves_credential_and_scenes_in_one_request(recipe, signer, fresh):
    fresh.control.clear_log()
    (report,) = probe(recipe, signer)
    assert len(posts(fresh)) == 1
    assert report.header.driver == "Process API"
    assert report.expires_at is not None
    assert report.contradictions == ()
    assert 0 < report.bytes_read <= 10_240  # the least that a tar is


def test_a_scene_that_the_service_lacks_is_found_before_it_is_nodata(recipe, signer, fresh):
    gone = recipe.items[-1].id
    fresh.control.withdraw(gone)
    try:
        with pytest.raises(IntegrityError, match=f"no scene for {gone}"):
            probe(recipe, signer)
        (report,) = probe(recipe, signer, strict=False)
    finally:
        fresh.control.arrive(gone)
    assert len(report.contradictions) == 1


def test_the_probe_of_nothing_asks_nothing(signer, fresh):
    empty = make_recipe(SENTINEL_HUB, [], ask=ask())
    assert probe(empty, signer) == []
    assert posts(fresh) == []
