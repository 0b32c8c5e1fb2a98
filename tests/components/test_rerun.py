"""Making partitions again by reason: the job's run, its events, and the command."""

import json

import dagster as dg
import pytest
from typer.testing import CliRunner

from geostack_dagster.cli.app import app
from geostack_dagster.components.partitions import key_of
from tests.components.conftest import QUIET, code, materialise

PIPELINE = "planetary_computer_s2"
DAY = "2024-07-03"
# Dagster's component loader; nothing of ours calls it.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")


@pytest.fixture
def failed(instance, in_sandbox):
    """A partition whose cube could not be made: one band is gone."""
    in_sandbox.control.fault(path="*B08*", status=404)
    assert not materialise(instance, PIPELINE, partition_key=key_of(DAY, "field")).success
    return instance


def rerun(instance, **config: object) -> dg.ExecuteInProcessResult:
    op = f"{PIPELINE}_rerun_by_reason"
    return (
        code()
        .resolve_job_def(f"{PIPELINE}_rerun")
        .execute_in_process(
            instance=instance,
            run_config={"ops": {op: {"config": config}}, **QUIET},
            raise_on_error=False,
        )
    )


def made(instance, noun: str) -> list[tuple[str, str]]:
    """Run and outcome of a stage's events."""
    records = instance.fetch_materializations(dg.AssetKey([PIPELINE, noun]), limit=20).records
    return [
        (record.run_id, record.asset_materialization.metadata["outcome"].value)
        for record in records
        if record.partition_key == key_of(DAY, "field")
    ]


def test_the_job_makes_what_has_the_reason(failed, in_sandbox):
    other = rerun(failed, reason="http-5*")
    assert other.success
    assert made(failed, "cube") == []

    again = rerun(failed, reason="http-404")
    assert not again.success, "it is still gone"

    in_sandbox.control.clear_faults()
    healed = rerun(failed, reason="http-4*", start="2024-07-01", end="2024-07-04")
    assert healed.success
    for noun in ("cube", "indices"):
        assert made(failed, noun) == [(healed.run_id, "written")]
    event = failed.fetch_materializations(dg.AssetKey([PIPELINE, "cube"]), limit=1).records[0]
    tags = event.asset_materialization.tags
    assert tags["dagster/data_version"]
    assert tags[f"dagster/input_data_version/{PIPELINE}/stack"]
    assert event.asset_materialization.metadata["dagster/uri"].value

    assert rerun(failed, reason="*").success
    assert len(made(failed, "cube")) == 1, "nothing has a reason any more"


def test_other_dates_and_areas_are_left_alone(failed, in_sandbox):
    in_sandbox.control.clear_faults()
    assert rerun(failed, reason="*", end="2024-07-03").success
    assert rerun(failed, reason="*", aois=["elsewhere"]).success
    assert made(failed, "cube") == []


def command(*asked: str) -> tuple[int, dict]:
    result = CliRunner().invoke(app, ["rerun", PIPELINE, *asked, "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_the_command_lists_makes_and_says_what_is_left(failed, in_sandbox):
    code, listed = command("--reason", "http-4*", "--dry-run")
    assert code == 0
    assert listed["found"] == [
        {
            "date": DAY,
            "aoi": "field",
            "from": "snapshot",
            "state": "failed",
            "reasons": "http-404: 1",
        }
    ]
    assert command("--reason", "http-5*", "--dry-run")[1]["partitions"] == 0
    assert command("--reason", "*", "--end", DAY, "--dry-run")[1]["partitions"] == 0

    code, tried = command("--reason", "http-404")
    assert (code, tried["left"]) == (1, 1)
    in_sandbox.control.clear_faults()
    code, done = command("--reason", "http-404", "--aoi", "field", "--start", DAY)
    assert (code, done["partitions"], done["left"]) == (0, 1, 0)
    assert command("--dry-run")[1]["partitions"] == 0


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("--aoi", "nowhere"), "no AOI nowhere is registered"),
        (("--start", "July"), "is not a date"),
        (("--start", "2024-07-03", "--end", "2024-07-03"), "date range is backwards"),
        (("--reason", "http_404"), "'http_404' is no reason of a ledger; there are contradiction"),
    ],
)
def test_a_wrong_ask_is_named(instance, asked, named):
    result = CliRunner().invoke(app, ["rerun", PIPELINE, *asked])
    assert result.exit_code == 2
    assert named in " ".join(result.output.split())
