"""`geostack history`, `rollback` and `maintain`, and the maintenance job, over one real cube."""

import json

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from geostack_dagster.cli.app import app
from geostack_dagster.components.partitions import key_of
from geostack_dagster.cube.store import open_store
from geostack_dagster.definitions import defs
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline import cube, snapshot, stack
from geostack_dagster.pipeline.workspace import Workspace
from tests.pipeline.conftest import FIELD

RUN = CliRunner()
PIPELINE, DAY = "earth_search_s2", "2024-07-03"
WHERE = (PIPELINE, "field", DAY)

# Dagster's component loader; nothing of ours calls it.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")


@pytest.fixture
def workspace(in_sandbox, root, tmp_path, monkeypatch) -> Workspace:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("GEOSTACK_STORAGE", root)
    monkeypatch.setenv("GEOSTACK_AOIS", str(tmp_path / "aois"))
    found = Workspace(root)
    found.pin(FIELD)
    return found


def make(workspace: Workspace) -> None:
    from geostack_dagster.cli.catalog import spec_of

    spec = spec_of(PIPELINE)
    for stage in (snapshot, stack, cube):
        stage.run(spec, Partition(PIPELINE, "field", DAY), workspace)


def invoke(*asked: str) -> dict:
    result = RUN.invoke(app, [*asked, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_partition_is_rolled_back_and_dagster_knows(workspace, in_sandbox):
    make(workspace)
    before = invoke("history", PIPELINE, "field")["commits"]
    scenes = [one["id"] for one in in_sandbox.control.listed() if one["archive"] == "earth_search"]
    scene = next(one for one in scenes if "20240703" in one and "32TMT" in one)
    renewed = in_sandbox.control.reprocess(scene)
    make(workspace)
    store = open_store(workspace.layout.cube(PIPELINE, "field"))
    good = before[0]["snapshot"]

    done = invoke("rollback", *WHERE, "--to", good, "--reason", "stripes")

    now, then = (store.open("reflectance", snapshot=one)["B04"] for one in (None, good))
    np.testing.assert_array_equal(now.sel(time=DAY), then.sel(time=DAY))
    assert done["made_from"] == before[0]["fingerprint"]
    assert "stripes" in done["hold"]
    newest = invoke("history", PIPELINE, "field", "--limit", "1")["commits"]
    assert [(one["partition"], one["snapshot"]) for one in newest] == [(DAY, done["commit"])]
    shown = RUN.invoke(app, ["history", PIPELINE, "field"], env={"COLUMNS": "200"})
    assert good in shown.stdout
    assert "code_version" in shown.stdout
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey([PIPELINE, "cube"])
        (record,) = instance.fetch_materializations(key, limit=1).records
        assert record.partition_key == key_of(DAY, "field")
        tags = record.asset_materialization.tags
        assert tags["dagster/data_version"] == before[0]["fingerprint"]

    assert invoke("rollback", *WHERE, "--release")["released"]
    assert not invoke("rollback", *WHERE, "--release")["released"]
    in_sandbox.control.withdraw(renewed)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("rollback", *WHERE), "either --to SNAPSHOT or --release"),
        (("rollback", PIPELINE, "nowhere", DAY, "--to", "x"), "not registered"),
        (("rollback", PIPELINE, "field", "July", "--to", "x"), "not a date"),
        (("rollback", "strange", "field", DAY, "--to", "x"), "no pipeline 'strange'"),
        (("rollback", *WHERE, "--to", "x"), "no recipe"),
        (("history", PIPELINE, "field"), "no cube over 'field'"),
        (("maintain", "strange"), "no cubes of strange"),
        (("maintain", "--keep-days", "0.01"), "shorter than"),
    ],
)
def test_what_cannot_be_done_is_said(workspace, asked, named):
    if "--keep-days" in asked:
        make(workspace)
    result = RUN.invoke(app, list(asked))

    assert result.exit_code == 2
    assert named in " ".join(result.output.split())


def test_maintenance_by_hand_and_by_dagster_say_what_was_freed(workspace):
    make(workspace)

    facts = invoke("maintain", PIPELINE, "--keep-days", "30")
    assert (
        facts["repositories"][0] | {"pipeline": PIPELINE, "aoi": "field", "failure": None}
        == (facts["repositories"][0])
    )

    code = defs()
    with dg.DagsterInstance.get() as instance:
        result = code.resolve_job_def("maintenance").execute_in_process(instance=instance)
        assert result.success
        (record,) = instance.fetch_observations(dg.AssetKey([PIPELINE, "cube"]), limit=5).records
    seen = record.asset_observation.metadata
    assert seen["bytes_freed"].value == 0
    assert seen["repositories"].records[0].data["aoi"] == "field"
    schedule = code.resolve_schedule_def("maintenance_weekly")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "0 3 * * 0"
