"""`geostack history`, `rollback` and `maintain`: looking after cubes."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.catalog import spec_of
from geostack_dagster.cli.terminal import required
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from geostack_dagster.pipeline.spec import PipelineSpec
    from geostack_dagster.pipeline.upkeep import RolledBack


def history_of(pipeline: str, aoi: str, limit: int | None) -> dict[str, Any]:
    """Commits of a pipeline's cubes over an AOI, newest first."""
    from geostack_dagster.pipeline.upkeep import history

    rows = []
    for entry in history(spec_of(pipeline), aoi, _workspace(), limit):
        commit = entry.commit
        rows.append(
            {
                "when": entry.written_at and entry.written_at.strftime("%Y-%m-%d %H:%M:%S"),
                "action": entry.action,
                "partition": commit and commit.partition.rpartition("/")[2],
                "fingerprint": commit and commit.fingerprint,
                "code_version": commit and commit.code_version,
                "snapshot": entry.snapshot,
            }
        )
    return {"pipeline": pipeline, "aoi": aoi, "commits": rows}


def roll_back(pipeline: str, aoi: str, key: str, snapshot: str, reason: str) -> dict[str, Any]:
    """Roll a partition back, and tell Dagster what its cube is now."""
    from geostack_dagster.pipeline import upkeep

    spec = spec_of(pipeline)
    required("DAGSTER_HOME")
    done = upkeep.roll_back(spec, _partition(spec, aoi, key), _workspace(), snapshot, reason)
    _tell_dagster(spec, done)
    return {
        "partition": str(done.partition),
        "to": snapshot,
        "commit": done.commit,
        "made_from": done.recorded,
        "hold": str(done.hold),
        "next": "products made of the cube are stale: materialize them, or let the sensors do it",
    }


def release(pipeline: str, aoi: str, key: str) -> dict[str, Any]:
    """End the hold on a partition."""
    from geostack_dagster.pipeline import upkeep

    partition = _partition(spec_of(pipeline), aoi, key)
    held = upkeep.release(partition, _workspace())
    said = "runs make it from its inputs again" if held else "nothing held it"
    return {"partition": str(partition), "released": held, "note": said}


def maintained(pipelines: Sequence[str], keep_days: float) -> dict[str, Any]:
    """Expire old snapshots of cubes; what was freed."""
    from geostack_dagster.pipeline.upkeep import maintain

    found = list(maintain(_workspace(), pipelines=pipelines, keep=timedelta(days=keep_days)))
    return {
        "keep_days": keep_days,
        "bytes_freed": sum(one.bytes for one in found),
        "failures": sum(one.failure is not None for one in found),
        "repositories": [
            {
                "pipeline": one.pipeline,
                "aoi": one.aoi,
                "snapshots_expired": one.snapshots,
                "bytes_freed": one.bytes,
                "failure": one.failure,
            }
            for one in found
        ],
    }


def _workspace() -> Workspace:
    return Workspace(required("GEOSTACK_STORAGE"))


def _partition(spec: "PipelineSpec", aoi: str, key: str) -> Partition:
    """The partition; refused if it is none of the pipeline's.

    Raises:
        ConfigurationError: If the date is no first day of the pipeline's cadence.
    """
    from geostack_dagster.domain.days import Window
    from geostack_dagster.pipeline.plan import partition_dates

    try:
        day = date.fromisoformat(key)
    except ValueError as error:
        raise ConfigurationError(f"{key!r} is not a date like 2024-06-01") from error
    keys = partition_dates(Window(day, day + timedelta(days=1)), spec.cadence)
    if key not in keys:
        raise ConfigurationError(
            f"{spec.name} is {spec.cadence}: {key} is in its partition {', '.join(keys)}"
        )
    _workspace().pinned(aoi)
    return Partition(spec.name, aoi, key, spec.cadence)


def _tell_dagster(spec: "PipelineSpec", done: "RolledBack") -> None:
    """Record the partition's data version, so that what was made of the bad cube is out of date."""
    import dagster as dg

    from geostack_dagster.components.events import state_of
    from geostack_dagster.components.partitions import key_of

    partition = done.partition
    event = state_of(
        dg.AssetKey([spec.name, "cube"]),
        key_of(partition.date, partition.aoi),
        version=done.recorded or f"as in {done.hold.snapshot}",
        note=str(done.hold),
    )
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(event)
