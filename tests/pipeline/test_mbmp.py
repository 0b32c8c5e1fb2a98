"""Sentinel-2 over the desert: plumes weighed against passes without one, read from Level-1C."""

import json
from datetime import UTC, date, datetime, time
from pathlib import Path

import geopandas
import numpy as np
import pytest

from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec, WindSpec
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox import DESERT
from geostack_dagster.sandbox.plumes import SOURCES
from geostack_dagster.sandbox.winds import wind_table
from geostack_dagster.sandbox.world import World

CLEAN, PLUME = ("2024-06-03", "2024-06-23"), "2024-07-03"
AREA = "korpezhe"
SOURCE = next(source for source in SOURCES if source.name == AREA)
SPEC = PipelineSpec(
    name="mbmp",
    provider=provider_named("cdse"),
    collection="sentinel-2-l1c",
    bands=("B02", "B10", "B11", "B12"),
    start=date(2024, 6, 1),
    resolution=20.0,
    margin_m=1000.0,
    methane=MethaneSpec(
        method=MethaneMethod.MBMP, scheme="ime-sentinel2", wind=WindSpec(table="wind.csv")
    ),
)


@pytest.fixture
def workspace(tmp_path, in_sandbox) -> Workspace:
    found = Workspace(str(tmp_path / "storage"))
    found.pin(AOI.from_file(DESERT))
    days = [date.fromisoformat(day) for day in (*CLEAN, PLUME)]
    Path(found.root, "wind.csv").write_text(wind_table(days))
    return found


def run(workspace: Workspace, day: str, *stages: str) -> dict[str, StageReport]:
    partition = Partition(SPEC.name, AREA, day, SPEC.cadence)
    return {stage: module_of(SPEC, stage).run(SPEC, partition, workspace) for stage in stages}


def _folder(workspace: Workspace, product: str) -> Path:
    partition = Partition(SPEC.name, AREA, PLUME, SPEC.cadence)
    return Path(workspace.layout.published(partition, product))


def _item(workspace: Workspace, product: str) -> dict:
    return json.loads(
        (_folder(workspace, product) / f"mbmp-{product}-{AREA}-{PLUME}.json").read_text()
    )


def test_a_plume_over_the_desert_is_found_and_weighed(workspace):
    read = ("snapshot", "stack", "cube")
    run(workspace, PLUME, *read)
    alone = run(workspace, PLUME, "enhancement")["enhancement"]
    assert alone.facts["retrieval"]["method"] == "mbsp"  # nothing to hold it against yet
    unsure = run(workspace, PLUME, "plumes")["plumes"].facts
    assert (unsure["states"], unsure["plumes"]) == ("UNCERTAIN", 0)
    item = _item(workspace, "plumes")
    assert "by mbsp from" in item["properties"]["processing:lineage"]

    for day in CLEAN:
        run(workspace, day, *read)
    partition = Partition(SPEC.name, AREA, PLUME, SPEC.cadence)
    (stale,) = find_stale(SPEC, workspace, [partition])
    assert stale.stage == "enhancement"  # references that arrive change the inputs
    reports = run(workspace, PLUME, "enhancement", "plumes")
    facts = reports["enhancement"].facts
    assert facts["retrieval"]["method"] == "mbmp"
    assert (facts["retrieval"]["platform"], facts["calibration"]) == ("S2A", "absolute")
    assert len(facts["retrieval"]["scales"]) == 3
    assert sorted(facts["retrieval"]["references"]) == sorted(CLEAN)
    told = _item(workspace, "enhancement")["properties"]
    assert (told["geostack:method"], sorted(told["geostack:references"])) == ("mbmp", [*CLEAN])

    store = open_store(workspace.layout.cube(SPEC.name, AREA))
    grid = store.schema("enhancement").grid
    found = store.open("enhancement").sel(time=PLUME)["enhancement"].to_numpy().astype(float)
    noon = datetime.combine(date.fromisoformat(PLUME), time(12), tzinfo=UTC)
    truth = World().methane(grid, noon)
    core = np.isfinite(found) & (truth > 0.05 * truth.max())
    slope, _ = np.polyfit(truth[core], found[core], 1)
    assert slope == pytest.approx(1, abs=0.05)
    assert found[core].sum() / truth[core].sum() == pytest.approx(1, abs=0.05)
    calm = np.isfinite(found) & (truth == 0)
    assert abs(np.median(found[calm])) < 0.1 * np.std(found[calm])

    (file,) = Path(workspace.layout.published(partition, "plumes")).glob("*.parquet")
    table = geopandas.read_parquet(file)
    (row,) = table[table["state"] == "PLUME"].to_dict("records")
    true_kg_h = 1000 * SOURCE.rate_t_h(date.fromisoformat(PLUME))
    assert row["rate_95_low_kg_h"] < true_kg_h < row["rate_95_high_kg_h"]
    assert row["rate_kg_h"] == pytest.approx(true_kg_h, rel=0.3)


def test_a_day_without_a_plume_says_so(workspace):
    for day in CLEAN:
        run(workspace, day, "snapshot", "stack", "cube")
    reports = run(workspace, CLEAN[0], "enhancement", "plumes")
    assert reports["plumes"].facts["plumes"] == 0
    assert reports["plumes"].facts["states"] in ("NO_PLUME", "UNCERTAIN")
