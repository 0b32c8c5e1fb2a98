"""The whole chain on recorded Sentinel-2 Items: real JSON, real grids, pixels of the twin."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import shape

from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.identity import sentinel2
from geostack_dagster.domain.item import moment
from geostack_dagster.domain.partition import Partition
from geostack_dagster.inference.indices import compute
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import Sandbox
from geostack_dagster.sandbox.world import World
from tests.conftest import SHARED_FIXTURES
from tests.pipeline.conftest import STAGES, spec_of

FOLDERS = {
    "planetary_computer": ("pc/sentinel-2-l2a",),
    "earth_search": ("es/sentinel-2-l2a", "es/sentinel-2-c1-l2a"),
}
RECORDED = [
    pytest.param(provider, path, id=f"{provider}-{path.stem}")
    for provider, folders in FOLDERS.items()
    for folder in folders
    for path in sorted((SHARED_FIXTURES / "items" / folder).glob("*.json"))
]


@pytest.fixture(scope="module")
def recorded(shared_fixtures):
    with Sandbox([shared_fixtures / "items" / name for name in ("pc", "es")]) as running:
        yield running


@pytest.mark.skipif(not RECORDED, reason="no recorded items beside the checkout")
@pytest.mark.parametrize(("provider", "path"), RECORDED)
def test_the_chain_runs_on_a_recorded_item(
    recorded: Sandbox, monkeypatch, tmp_path: Path, provider: str, path: Path
):
    for name, value in recorded.environment.items():
        monkeypatch.setenv(name, value)
    item = json.loads(path.read_text())
    centre = shape(item["geometry"]).representative_point()
    aoi = AOI.from_bbox(
        "place", (centre.x - 0.003, centre.y - 0.002, centre.x + 0.003, centre.y + 0.002)
    )
    workspace = Workspace(str(tmp_path))
    epsg = item["properties"]["proj:epsg"]
    workspace.pin(aoi, crs=f"EPSG:{epsg}")
    spec = spec_of(provider, collection=item["collection"], start=date(2015, 1, 1))
    day = solar_day(moment(item), centre.x)
    partition = Partition(spec.name, "place", day.isoformat())

    reports = {noun: stage.run(spec, partition, workspace) for noun, stage in STAGES.items()}

    assert {report.outcome.value for report in reports.values()} == {"written"}
    assert item["id"] in _taken_or_superseded(workspace, partition, item)
    store = open_store(workspace.layout.cube(spec.name, "place"))
    found = store.open("indices")["NDVI"].sel(time=day.isoformat()).to_numpy().squeeze()
    grid = workspace.pinned("place").grid(10)
    (slot,) = (one for one in store.slots("indices") if one.day == day)
    world = World()
    truth = compute(
        ["NDVI"],
        {
            role: world.reflectance(band, grid, slot.acquired).astype(np.float64)
            for role, band in (("red", "B04"), ("nir", "B08"))
        },
        dtype=np.float64,
    )["NDVI"]
    error = (found - np.asarray(truth))[np.isfinite(found)]
    if error.size:
        assert np.sqrt(np.mean(error**2)) < 0.01
    else:  # the recorded scene's day is overcast in the twin's world
        scl = store.open("reflectance", decode=False)["SCL"].sel(time=day.isoformat())
        assert np.isin(scl.values, (0, 1, 2, 3, 8, 9, 10)).mean() > 0.2


def _taken_or_superseded(workspace: Workspace, partition: Partition, item: dict) -> set[str]:
    from geostack_dagster.catalog.snapshot import read

    assert Window.of(partition.date, partition.cadence)
    snapshot = read(workspace.layout.snapshot(partition))
    assert sentinel2(item).key in {sentinel2(one).key for one in snapshot.items}
    return {one["id"] for one in snapshot.items} | {one.id for one in snapshot.superseded}
