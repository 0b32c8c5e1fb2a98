"""Stacks of original SAFE products: JPEG 2000 on S3 with the account's own keys."""

from dataclasses import replace
from datetime import UTC, date, datetime

import dask
import numpy as np
import pytest

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.catalog.snapshot import take_snapshot
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import MissingCredentialError, RejectedCredentialError
from geostack_dagster.providers import CDSE
from geostack_dagster.providers.access import signer_for
from geostack_dagster.sandbox.world import World
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.load import decode, open_stack
from geostack_dagster.stack.loaders import LOADERS
from geostack_dagster.stack.probe import probe

# Across the corner of four tiles of the 10 m bands, which are 10,240 m wide.
GRID = Grid(crs="EPSG:32632", resolution=10, left=409_400, top=5_208_400, width=160, height=120)
BANDS = ("B01", "B04", "B11", "SCL")
HOST = "eodata.dataspace.copernicus.eu"


@pytest.fixture(scope="module")
def held():
    return []


@pytest.fixture
def recipe(in_sandbox, held):
    """One overpass of the Emmental, searched once."""
    BROKER.clear()
    if not held:
        aoi = AOI.from_bbox("emmental", (7.75, 46.99, 7.80, 47.02))
        query = ItemQuery(
            collections=("sentinel-2-l2a",),
            aoi=aoi,
            start=datetime(2024, 6, 22, tzinfo=UTC),
            end=datetime(2024, 6, 25, tzinfo=UTC),
        )
        ask = StackAsk(
            collections=("sentinel-2-l2a",),
            bands=BANDS,
            grid=GRID,
            window=Window(date(2024, 6, 1), date(2024, 7, 1)),
        )
        held.append(make_recipe(CDSE, take_snapshot(CDSE, query).items, ask=ask))
    yield held[0]
    BROKER.clear()


def reads(sandbox):
    return [entry for entry in sandbox.control.log(HOST) if entry["method"] == "GET"]


@pytest.mark.parametrize("loader", LOADERS)
def test_bands_of_every_size_are_the_truth(recipe, loader):
    (item,) = recipe.items
    assert {source.href.rpartition("_")[2] for source in item.sources.values()} == {
        "10m.jp2",
        "20m.jp2",
        "60m.jp2",
    }
    assert item.sources["B04"].radiometry.offset == -0.1
    stack = open_stack(recipe, signer=signer_for(CDSE), loader=loader)
    found = decode(stack).compute()
    for band in ("B01", "B04", "B11"):
        truth = World().reflectance(band, GRID, item.acquired)
        assert np.abs(found[band][0] - truth).max() < 0.02
    assert (stack.SCL[0].compute() == World().scl(GRID, item.acquired)).mean() > 0.99


def test_no_tile_is_fetched_twice_and_few_connections_are_used(recipe, in_sandbox):
    in_sandbox.control.fault(host=HOST, latency_s=0.05)
    stack = open_stack(recipe, signer=signer_for(CDSE), chunks={"y": 40, "x": 40})
    in_sandbox.control.clear_log()
    with dask.config.set(scheduler="threads", num_workers=12):
        stack.compute()
    seen = reads(in_sandbox)
    asked = [(entry["path"], entry["range"]) for entry in seen]
    assert len(asked) == len(set(asked)) <= 6 * len(BANDS)  # header, its end, and up to four tiles
    # The twin's clock stops after the client has its bytes, and may have asked for the next ones.
    spans = [(entry["at"], entry["at"] + min(entry["seconds"], 0.05)) for entry in seen]
    at_once = [sum(start <= at < end for start, end in spans) for at, _ in spans]
    assert 1 < max(at_once) <= CDSE.limits.concurrent_reads


def test_the_probe_reads_a_header(recipe):
    (report,) = probe(recipe, signer_for(CDSE))
    assert report.header.driver.startswith("JP2")
    assert report.contradictions == ()


def test_a_missing_key_is_named(recipe, monkeypatch):
    monkeypatch.delenv("CDSE_SECRET_ACCESS_KEY")
    with pytest.raises(MissingCredentialError, match="CDSE_SECRET_ACCESS_KEY"):
        open_stack(recipe, signer=signer_for(CDSE)).B04.compute()


def test_a_wrong_key_is_refused_by_name(recipe, monkeypatch):
    monkeypatch.setenv("CDSE_SECRET_ACCESS_KEY", "x" * 40)
    with pytest.raises(RejectedCredentialError, match="CDSE_ACCESS_KEY_ID"):
        open_stack(recipe, signer=signer_for(CDSE)).B04.compute()


def test_another_grid_takes_a_coarser_resolution_of_the_same_tiles(recipe, in_sandbox):
    """Every tile holds five resolutions: 40 m pixels need no full-size decoding of 10 m ones."""
    grid = replace(GRID, resolution=40, width=90, height=80)
    items = [
        {
            "type": "Feature",
            "id": item.id,
            "collection": item.collection,
            "properties": {"datetime": item.acquired.isoformat(), "processing:version": "05.10"},
            "assets": {
                "B04_10m": {
                    "href": item.sources["B04"].href,
                    "type": "image/jp2",
                    "proj:code": "EPSG:32632",
                    "raster:offset": -0.1,
                    "raster:scale": 1e-4,
                }
            },
        }
        for item in recipe.items
    ]
    ask = StackAsk(collections=("sentinel-2-l2a",), bands=("B04",), grid=grid, window=recipe.window)
    coarse = make_recipe(CDSE, items, ask=ask)
    found = decode(open_stack(coarse, signer=signer_for(CDSE))).B04[0].to_numpy()
    fine = World().reflectance(
        "B04", replace(grid, resolution=10, width=360, height=320), recipe.items[0].acquired
    )
    mean = fine.reshape(80, 4, 90, 4).mean(axis=(1, 3))
    assert np.corrcoef(found.ravel(), mean.ravel())[0, 1] > 0.97
