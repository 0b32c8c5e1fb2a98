"""The event log of `dagster.yaml`: Dagster's own, in a transaction for many events."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.events import DagsterEventType
from sqlalchemy.engine import Connection, Engine

from geostack_dagster.resources.event_log import BATCH, EventLog, Instance, log_together

SETTINGS = Path(__file__).parents[2] / "dagster.yaml"
PARTITIONS = dg.StaticPartitionsDefinition([f"{number:04}" for number in range(400)])
FIELD = dg.AssetKey("field")


@dg.asset(
    key=FIELD,
    partitions_def=PARTITIONS,
    code_version="1",
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("sane", asset=FIELD)],
)
def field(context: dg.AssetExecutionContext):
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])
    log_together(
        context.op_execution_context,
        [
            dg.AssetMaterialization(
                FIELD, partition=key, tags={"dagster/data_version": f"version of {key}"}
            )
            for key in context.partition_keys
        ],
    )


@pytest.fixture
def ours(tmp_path):
    """An instance with the settings of the project, as `geostack dev` starts it."""
    with instance_of(tmp_path / "ours", SETTINGS) as instance:
        yield instance


def instance_of(home: Path, settings: Path | None = None) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    if settings is not None:
        shutil.copyfile(settings, home / "dagster.yaml")
    return dg.DagsterInstance.from_config(str(home))


def run(instance: dg.DagsterInstance, last: int) -> str:
    tags = {
        "dagster/asset_partition_range_start": "0000",
        "dagster/asset_partition_range_end": f"{last:04}",
    }
    result = dg.materialize([field], instance=instance, tags=tags)
    assert result.success
    return result.run_id


def told(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """What pages, sensors and conditions ask of the log, but for times and ids."""
    log, kind = instance.event_log_storage, DagsterEventType.ASSET_MATERIALIZATION
    records = instance.fetch_materializations(FIELD, limit=1_000).records
    (asset,) = log.get_asset_records([FIELD])
    checks = log.get_asset_check_execution_history(
        dg.AssetCheckKey(FIELD, "sane"), limit=1_000, partition_filter=None
    )
    planned = log.get_latest_storage_id_by_partition(
        FIELD, DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    return {
        "run": [entry.dagster_event_type for entry in instance.all_logs(run_id)],
        "versions": [(one.partition_key, one.asset_materialization.tags or {}) for one in records],
        "latest": log.get_latest_tags_by_partition(FIELD, kind, ["dagster/data_version"]),
        "partitions": log.get_materialized_partitions(FIELD),
        "planned": set(planned),
        "last": asset.asset_entry.last_materialization.asset_materialization.partition,
        "last run": asset.asset_entry.last_run_id == run_id,
        "checks": [(one.partition, one.status) for one in checks],
    }


def test_dagster_yaml_names_it(ours):
    assert isinstance(ours, Instance)
    assert isinstance(ours.event_log_storage, EventLog)
    # A run's process makes the instance from this.
    assert isinstance(dg.DagsterInstance.from_ref(ours.get_ref()).event_log_storage, EventLog)


def test_it_tells_what_dagsters_own_tells(ours, tmp_path):
    with instance_of(tmp_path / "theirs") as theirs:
        assert not isinstance(theirs.event_log_storage, EventLog)
        assert told(ours, run(ours, 20)) == told(theirs, run(theirs, 20))


def test_a_home_keeps_its_history_with_and_without_it(tmp_path):
    with instance_of(tmp_path) as theirs:
        first = run(theirs, 3)
        before = told(theirs, first)
    with instance_of(tmp_path, SETTINGS) as ours:
        assert told(ours, first) == before
        second = run(ours, 5)
        after = told(ours, second)
    (tmp_path / "dagster.yaml").unlink()
    with instance_of(tmp_path) as theirs:
        assert told(theirs, second) == after
        assert theirs.get_materialized_partitions(FIELD) == set(PARTITIONS.get_partition_keys()[:6])


def test_partitions_of_a_batch_cost_no_transaction_each(ours):
    def commits(last: int) -> int:
        seen = []

        def note(connection: Connection) -> None:
            seen.append(connection)

        db.event.listen(Engine, "commit", note)
        run(ours, last)
        db.event.remove(Engine, "commit", note)
        return len(seen)

    run(ours, 1)
    assert commits(BATCH // 2 - 1) == commits(1)


def test_what_was_logged_before_a_failure_is_kept(ours):
    events = [dg.AssetMaterialization(FIELD, partition=f"{number:04}") for number in range(2)]

    def report() -> None:
        with ours.event_log_storage.together():
            for event in events:
                ours.report_runless_asset_event(event)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        report()

    assert ours.get_materialized_partitions(FIELD) == {"0000", "0001"}
    ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0002"))
    assert ours.get_materialized_partitions(FIELD) == {"0000", "0001", "0002"}


def test_a_batch_within_a_block_is_part_of_it(ours):
    log = ours.event_log_storage
    with log.together():
        with log.together():
            ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0000"))
        ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0001"))

    assert ours.get_materialized_partitions(FIELD) == {"0000", "0001"}


def test_another_thread_waits_for_its_turn(ours):
    started, shown = threading.Event(), []

    def other() -> None:
        started.set()
        ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0001"))
        shown.append(ours.get_materialized_partitions(FIELD))

    thread = threading.Thread(target=other)
    with ours.event_log_storage.together():
        ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0000"))
        thread.start()
        started.wait()
        ours.report_runless_asset_event(dg.AssetMaterialization(FIELD, partition="0002"))
        assert shown == []
    thread.join()

    assert shown == [{"0000", "0001", "0002"}]


KILLED = """
import os, signal, sys
import dagster as dg

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    for some in ("0000", "0001"), ("0002", "0003"):
        with instance.event_log_storage.together():
            for key in some:
                instance.report_runless_asset_event(dg.AssetMaterialization("field", partition=key))
                if key == "0003":
                    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_whole_batches_and_a_log_that_works(ours, tmp_path):
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "ours")], check=False, env=dict(os.environ)
    )

    assert died.returncode == -signal.SIGKILL
    assert ours.get_materialized_partitions(FIELD) == {"0000", "0001"}
    assert told(ours, run(ours, 3))["partitions"] == {"0000", "0001", "0002", "0003"}
