"""What a soak did: runs, materializations, ticks, memory."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import psutil
from dagster._core.scheduler.instigation import TickStatus

MIB = 2**20
_SERVERS = {
    "dagster_webserver": "webserver",
    "dagster._daemon": "daemon",
    "code-server": "code server, proxy",
    "grpc": "code server",
}
_GROWTH_MIB_MIN = 1.0
"""Slope of the second half that is still called flat."""


@dataclass
class Memory:
    """Resident memory of the servers over time."""

    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Minutes and MiB by server."""

    def sample(self, root: psutil.Process, minutes: float) -> None:
        """Look at every process below `root` that serves; runs come and go."""
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                name = _name(process, root)
                if name:
                    size = process.memory_info().rss / MIB
                    self.samples.setdefault(name, []).append((minutes, size))

    def figures(self) -> dict[str, dict[str, Any]]:
        """For each server: MiB at the start, half way and at the end; slope after half way."""
        return {name: _figures(samples) for name, samples in sorted(self.samples.items())}


def work_of(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Runs by their end, what they made, what was made twice, and runs with nothing to do."""
    runs = instance.get_runs()
    made: Counter[str] = Counter()
    twice: list[str] = []
    busy: set[str] = set()
    for key in instance.all_asset_keys():
        last: dict[str, str] = {}
        for partition, event, run_id in _events(instance, key):
            outcome = str(event.metadata["outcome"].value)
            made[outcome] += 1
            if outcome == "unchanged":
                continue
            busy.add(run_id)
            content = str(event.metadata["fingerprint"].value)
            if outcome == "written" and last.get(partition) == content:
                twice.append(f"{key.to_user_string()} {partition} {content}")
            last[partition] = content
    failed = [run for run in runs if run.status is not dg.DagsterRunStatus.SUCCESS]
    idle = [run for run in runs if run.run_id not in busy]
    return {
        "runs": dict(Counter(map(_asked_by, runs))),
        "failed_runs": [f"{run.run_id} {run.status.value} {_asked_by(run)}" for run in failed],
        "made": dict(made),
        "twice": twice,
        "idle_runs": dict(Counter(map(_asked_by, idle))),
    }


def ticks_of(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Ticks by their outcome, of all sensors and schedules together."""
    counts: Counter[str] = Counter()
    errors: list[str] = []
    for state in instance.all_instigator_state():
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
            counts[tick.status.value] += 1
            if tick.status is TickStatus.FAILURE:
                said = tick.error.message.strip() if tick.error else ""
                errors.append(f"{state.instigator_name}: {said[:300]}")
    return {"ticks": dict(counts), "failed_ticks": errors}


def _events(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> Iterator[tuple[str, dg.AssetMaterialization, str]]:
    """Materializations with their partitions and runs, oldest first."""
    records = instance.fetch_materializations(key, limit=10_000).records
    for record in reversed(records):
        event = record.asset_materialization
        if event is not None and "outcome" in event.metadata:
            yield str(event.partition), event, record.run_id


def _asked_by(run: dg.DagsterRun) -> str:
    for tag in ("dagster/sensor_name", "dagster/schedule_name", "dagster/backfill"):
        if tag in run.tags:
            name = "backfill" if tag == "dagster/backfill" else run.tags[tag]
            return "backfill of follow_changes" if "dagster/auto_materialize" in run.tags else name
    return "follow_changes" if "dagster/auto_materialize" in run.tags else "a person"


def _name(process: psutil.Process, root: psutil.Process) -> str | None:
    if process == root:
        return "dagster dev"
    words = process.cmdline()
    if "execute_run" in words:
        return None
    return next((name for word, name in _SERVERS.items() if word in words), None)


def _figures(samples: Sequence[tuple[float, float]]) -> dict[str, Any]:
    later = samples[len(samples) // 2 :]
    if len(later) < 2:
        return {"end_mib": round(samples[-1][1], 1)}
    slope, _ = statistics.linear_regression(*zip(*later, strict=True))
    return {
        "start_mib": round(samples[0][1], 1),
        "half_mib": round(later[0][1], 1),
        "end_mib": round(samples[-1][1], 1),
        "slope_mib_min": round(slope, 2),
        "flat": slope <= _GROWTH_MIB_MIN,
    }
