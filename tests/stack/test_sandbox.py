"""Stacks of the sandbox's twins, at the archives' real host names, against the world's truth."""

import pickle
import time
from datetime import UTC, date, datetime

import dask
import numpy as np
import pytest

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.auth.broker import BROKER
from geostack_dagster.catalog.snapshot import take_snapshot
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import CredentialError
from geostack_dagster.providers import EARTH_SEARCH, PLANETARY_COMPUTER
from geostack_dagster.providers.access import signer_for
from geostack_dagster.sandbox.world import World
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.load import decode, open_stack
from geostack_dagster.stack.loaders import LOADERS
from geostack_dagster.stack.probe import probe

GRID = Grid(crs="EPSG:32632", resolution=10, left=407_960, top=5_207_040, width=160, height=120)
CHUNKS = {"y": 64, "x": 80}
WINDOW = Window(date(2024, 6, 1), date(2024, 7, 1))


def recipe_of(provider):
    aoi = AOI.from_bbox("emmental", (7.75, 46.99, 7.80, 47.02))
    query = ItemQuery(
        collections=("sentinel-2-l2a",),
        aoi=aoi,
        start=datetime(2024, 6, 20, tzinfo=UTC),
        end=datetime(2024, 6, 30, tzinfo=UTC),
    )
    ask = StackAsk(
        collections=("sentinel-2-l2a",),
        bands=("B04", "B11", "SCL"),
        grid=GRID,
        window=WINDOW,
        longitude=aoi.centre[0],
    )
    return make_recipe(provider, take_snapshot(provider, query).items, ask=ask)


@pytest.fixture(scope="module")
def recipes():
    return {}


@pytest.fixture(params=[PLANETARY_COMPUTER, EARTH_SEARCH], ids=lambda one: one.slug)
def read(request, in_sandbox, recipes):
    """A provider and a Recipe of one of its scenes, made once."""
    provider = request.param
    BROKER.clear()
    if provider.slug not in recipes:
        recipes[provider.slug] = recipe_of(provider)
    yield provider, recipes[provider.slug]
    BROKER.clear()


@pytest.mark.parametrize("loader", LOADERS)
def test_signed_pixels_are_the_truth(read, loader):
    provider, recipe = read
    assert recipe.items
    stack = open_stack(recipe, signer=signer_for(provider), loader=loader, chunks=CHUNKS)
    found = decode(stack[["B04", "B11"]]).compute()
    for position, day in enumerate(recipe.days):
        moment = next(item.acquired for item in recipe.items if item.day == day)
        for band in ("B04", "B11"):
            truth = World().reflectance(band, GRID, moment)
            error = np.abs(found[band][position].to_numpy() - truth)
            assert np.nanmax(error) < 0.02
            assert np.isnan(error).mean() < 0.01
        classes = World().scl(GRID, moment)
        assert (stack.SCL[position].compute().to_numpy() == classes).mean() > 0.99


def test_no_token_reaches_the_graph(read, in_sandbox):
    provider, recipe = read
    stack = open_stack(recipe, signer=signer_for(provider), chunks=CHUNKS)
    stack.B04[0, :9, :9].compute()
    graph = stack.B04.__dask_graph__()
    content = pickle.dumps({key: graph[key] for key in graph})
    assert recipe.items[0].sources["B04"].href.encode() in content
    assert b"sig=" not in content
    assert b"sig=" not in recipe.dumps().encode()


@pytest.mark.parametrize("loader", LOADERS)
def test_planetary_computer_is_closed_without_a_token(read, loader):
    provider, recipe = read
    anonymous = AnonymousSigner(lambda bucket: "us-west-2")
    stack = open_stack(recipe, signer=anonymous, loader=loader, chunks=CHUNKS)
    if provider is EARTH_SEARCH:
        assert stack.B04[0].compute().any()
        return
    with pytest.raises(CredentialError, match=r"409|403"):
        stack.B04[0].compute()


def test_a_read_outlives_its_token(in_sandbox, recipes):
    """Two seconds of life: the second band needs a token that the first had not."""
    recipe = recipes.get("planetary_computer") or recipe_of(PLANETARY_COMPUTER)
    in_sandbox.control.set_token_lifetime(2.0)
    BROKER.clear()
    try:
        stack = open_stack(recipe, signer=signer_for(PLANETARY_COMPUTER), chunks=CHUNKS)
        in_sandbox.control.clear_log()
        with dask.config.set(scheduler="threads", num_workers=4):
            first = stack.B04[0].compute()
            time.sleep(3.0)  # expiry has whole seconds, rounded up
            second = stack.B11[0].compute()
    finally:
        in_sandbox.control.set_token_lifetime(2700.0)
        BROKER.clear()
    assert first.any()
    assert second.any()
    tokens = [entry for entry in in_sandbox.control.log() if "/token/" in entry["path"]]
    assert len(tokens) == 2


def test_the_probe_proves_the_credential(read):
    provider, recipe = read
    reports = probe(recipe, signer_for(provider))
    assert len(reports) == 1
    (report,) = reports
    assert report.contradictions == ()
    assert report.header.projection.shape == (10980, 10980)
    assert (report.expires_at is not None) == (provider is PLANETARY_COMPUTER)
    assert report.bytes_read > 0
