"""The four stages over the twins: truth, no work twice, and what a changed catalogue changes."""

import json
from datetime import UTC, date, datetime
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - the accessor
import xarray as xr

from geostack_dagster.auth.redaction import scan
from geostack_dagster.catalog.snapshot import read
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.days import Cadence
from geostack_dagster.errors import ConfigurationError, GeostackError
from geostack_dagster.inference.indices import compute
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox.world import World
from tests.pipeline.conftest import FIELD, Chain, spec_of

DAY = "2024-07-03"
UNCHANGED = dict.fromkeys(("snapshot", "stack", "cube", "indices"), "unchanged")


def _cube(chain: Chain, group: str, *, decode: bool = True) -> xr.Dataset:
    url = chain.workspace.layout.cube(chain.spec.name, FIELD.name)
    return open_store(url).open(group, decode=decode)


def test_indices_agree_with_the_truth_where_it_is_clear(chain):
    chain.run(DAY)

    grid = chain.workspace.pinned(FIELD.name).grid(10)
    moment = datetime(2024, 7, 3, 10, 35, tzinfo=UTC)
    world = World()
    truth = compute(
        ["NDVI"],
        {
            "red": world.reflectance("B04", grid, moment).astype(np.float64),
            "nir": world.reflectance("B08", grid, moment).astype(np.float64),
        },
        dtype=np.float64,
    )["NDVI"]
    found = _cube(chain, "indices")["NDVI"].sel(time=DAY).to_numpy().squeeze()
    error = (found - np.asarray(truth))[np.isfinite(found)]
    assert error.size > 0.5 * found.size
    assert np.sqrt(np.mean(error**2)) < 0.01


def test_a_second_run_writes_nothing(chain):
    first = chain.run(DAY)
    files = _files(chain.workspace)

    assert chain.outcomes(DAY) == UNCHANGED
    assert _files(chain.workspace) == files
    again = chain.run(DAY)
    for look in (attrgetter("fingerprint"), attrgetter("pictures")):
        assert [look(report) for report in again.values()] == list(map(look, first.values()))
    assert again["indices"].pictures


def test_a_day_without_a_scene_is_an_empty_result(chain):
    reports = chain.run("2024-07-04")

    assert {report.outcome.value for report in reports.values()} == {"empty"}
    assert "no item" in reports["snapshot"].note


def test_the_cube_reads_back_with_crs_and_coding(chain):
    chain.run(DAY)

    cube = _cube(chain, "reflectance")
    assert cube.rio.crs.to_epsg() == 32632
    reflectance = cube["B04"].sel(time=DAY)
    assert reflectance.dtype.kind == "f"
    assert 0 <= float(reflectance.min()) < float(reflectance.max()) < 1.2
    raw = _cube(chain, "reflectance", decode=False)["B04"]
    assert raw.dtype == np.uint16
    assert (raw.attrs["scale_factor"], raw.attrs["add_offset"]) == (1e-4, -0.1)


def test_products_are_published_with_their_sources(chain):
    chain.run(DAY)

    folder = Path(chain.workspace.layout.published(chain.partition(DAY), "indices"))
    (item_file,) = folder.glob("*.json")
    item = json.loads(item_file.read_text())
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert derived
    assert all(href.startswith("https://") for href in derived)
    with rasterio.open(folder / item["assets"]["data"]["href"]) as cog:
        assert cog.descriptions == ("NDVI", "EVI")
        assert cog.crs.to_epsg() == 32632
    assert (folder / item["assets"]["quicklook"]["href"]).read_bytes()[:4] == b"\x89PNG"


def test_no_signature_is_written_anywhere(chain):
    chain.run(DAY)

    assert scan([Path(chain.workspace.root)]) == []


def test_every_archive_gives_the_same_cube(in_sandbox, tmp_path):
    cubes = []
    for provider in ("planetary_computer", "earth_search"):
        workspace = Workspace(str(tmp_path / provider))
        workspace.pin(FIELD)
        chain = Chain(spec_of(provider), workspace)
        # One archive holds this day in its old baseline, the other without its offset.
        chain.run("2024-06-13")
        cubes.append(_cube(chain, "reflectance").sel(time="2024-06-13").load())

    for band in ("B02", "B04", "B08"):
        difference = np.abs(cubes[0][band] - cubes[1][band])
        assert float(difference.max()) < 0.01  # noise of two processings; an offset would be 0.1


def test_a_late_scene_fills_its_slot_and_a_withdrawn_one_empties_it(chain, in_sandbox):
    control = in_sandbox.control
    archive = chain.spec.provider.slug
    assert set(chain.outcomes("2024-07-13").values()) == {"empty"}
    (late,) = [
        one["id"] for one in control.pending() if one["archive"] == archive and "32TMT" in one["id"]
    ]

    control.arrive(late)
    assert set(chain.outcomes("2024-07-13").values()) == {"written"}
    folder = Path(chain.workspace.layout.published(chain.partition("2024-07-13"), "indices"))
    assert list(folder.glob("*.json"))

    control.withdraw(late)
    assert set(chain.outcomes("2024-07-13").values()) == {"empty"}
    assert not np.isfinite(_cube(chain, "indices")["NDVI"].sel(time="2024-07-13")).any()
    assert not list(folder.glob("*"))


def test_a_reprocessed_scene_replaces_its_own_slot_only(chain, in_sandbox):
    chain.run("2024-06-28")
    chain.run(DAY)
    archive = chain.spec.provider.slug
    before = chain.run(DAY)
    (known,) = [
        one["id"]
        for one in in_sandbox.control.listed()
        if one["archive"] == archive and "20240628" in one["id"] and "32TMT" in one["id"]
    ]

    in_sandbox.control.reprocess(known)
    reports = chain.run("2024-06-28")

    assert {report.outcome.value for report in reports.values()} == {"written"}
    for row in reports["snapshot"].tables["superseded"]:  # Earth Search keeps both
        assert row["item"] == known
        assert "baseline" in row["why"]
    assert chain.outcomes(DAY) == UNCHANGED
    assert chain.run(DAY)["cube"].fingerprint == before["cube"].fingerprint


def test_a_scene_of_which_only_notes_changed_is_the_same_to_all_but_the_snapshot(chain, in_sandbox):
    first = chain.run(DAY)
    items = read(chain.workspace.layout.snapshot(chain.partition(DAY))).items
    assert items
    for item in items:
        item["properties"]["updated"] = "2025-01-01T00:00:00Z"
    in_sandbox.control.publish(chain.spec.provider.slug, items)

    again = chain.run(DAY)

    outcomes = {noun: report.outcome.value for noun, report in again.items()}
    assert outcomes == UNCHANGED | {"snapshot": "written"}
    assert again["snapshot"].fingerprint != first["snapshot"].fingerprint
    assert [again[noun].fingerprint == first[noun].fingerprint for noun in again][1:] == [True] * 3
    # The Recipe is of the new snapshot from now on: it is not made once more.
    assert again["stack"].tables["probes"]
    assert not chain.run(DAY)["stack"].tables["probes"]


# A day each: GDAL keeps in its cache what another case has read.
@pytest.mark.parametrize(
    ("day", "fault"),
    [
        ("2024-06-08", {"html": True}),
        ("2024-06-18", {"truncate_bytes": 100}),
        ("2024-07-08", {"status": 404}),
    ],
)
def test_a_broken_asset_is_named_and_loses_nothing(chain, in_sandbox, day, fault):
    chain.run(DAY)
    before = _cube(chain, "reflectance")["B04"].sel(time=DAY).load()
    chain.run(day, "snapshot", "stack")
    in_sandbox.control.fault(path="*B04*", **fault)

    with pytest.raises(GeostackError, match="B04"):
        chain.run(day, "cube")

    in_sandbox.control.clear_faults()
    xr.testing.assert_identical(_cube(chain, "reflectance")["B04"].sel(time=DAY).load(), before)
    assert chain.outcomes(day)["cube"] == "written"


@pytest.mark.parametrize("store", ["icechunk", "zarr"])
@pytest.mark.parametrize("loader", ["odc", "stackstac", "rioxarray"])
def test_layers_are_replaceable(in_sandbox, workspace, store, loader):
    reference = Chain(spec_of("earth_search", name="reference"), workspace)
    chain = Chain(
        spec_of("earth_search", store=store, loader=loader, search_client="rustac"), workspace
    )

    reference.run(DAY)
    chain.run(DAY)

    url = workspace.layout.cube(chain.spec.name, FIELD.name)
    for group in ("reflectance", "indices"):
        found = open_store(url, kind=store).open(group).sel(time=DAY)
        wanted = _cube(reference, group).sel(time=DAY)
        for name in ("B04", "SCL") if group == "reflectance" else ("NDVI",):
            np.testing.assert_array_equal(found[name].values, wanted[name].values)


def test_a_weekly_partition_holds_each_of_its_days(in_sandbox, workspace):
    chain = Chain(
        spec_of("earth_search", cadence=Cadence.WEEKLY, start=date(2024, 6, 2)), workspace
    )

    reports = chain.run("2024-06-02")

    assert reports["stack"].facts["days"] == 2  # 2024-06-03 and 2024-06-08
    slots = _cube(chain, "indices")
    filled = slots["item_count"].values > 0
    assert [str(day)[:10] for day in slots["time"].values[filled]] == ["2024-06-03", "2024-06-08"]


def test_stages_say_what_is_missing(in_sandbox, workspace):
    chain = Chain(spec_of("earth_search"), workspace)

    with pytest.raises(ConfigurationError, match="no snapshot; materialize earth_search_test/sn"):
        chain.run(DAY, "stack")
    with pytest.raises(ConfigurationError, match="no recipe; materialize earth_search_test/stack"):
        chain.run(DAY, "cube")


def test_an_aoi_keeps_its_grid(workspace):
    from geostack_dagster.domain.aoi import AOI

    moved = AOI.from_bbox(FIELD.name, (7.81, 46.99, 7.816, 46.994))
    with pytest.raises(ConfigurationError, match="registered with another geometry"):
        workspace.pin(moved)
    with pytest.raises(ConfigurationError, match="not registered"):
        workspace.pinned("elsewhere")


def _files(workspace: Workspace) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for path in Path(workspace.root).rglob("*")
        if path.is_file()
    }


def test_reads_keep_to_the_archives_connections(chain):
    from geostack_dagster.pipeline.stack import read_recipe
    from geostack_dagster.providers.access import signer_for
    from geostack_dagster.stack.loaders.odc import driver_for

    chain.run(DAY, "snapshot", "stack")
    recipe = read_recipe(chain.partition(DAY), chain.workspace)

    policy = driver_for(recipe, signer_for(chain.spec.provider)).config.policy

    assert policy.in_flight == chain.spec.provider.limits.concurrent_reads
