"""What a soak did: runs, materializations, ticks, and what its servers held."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

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
_JUDGED_MIN = 12.0
"""A run must be so long before memory is judged; a third of it is then four minutes."""
_MOST_SLOPE_MIB_MIN = 1.0
"""In the last third of a run, when all has been imported and every sensor has ticked many times."""


class Sample(NamedTuple):
    """What a process held at a time."""

    minutes: float
    mib: float
    """Resident memory."""
    files: int
    """Open files and sockets."""
    threads: int


@dataclass
class Servers:
    """What the servers held over time.

    Warm-up ends: modules are imported, caches fill, the heap finds its size. A leak goes on at the
    same pace. So a process is flat if in the last third of the run the median of the slopes between
    its samples is at most 1 MiB/min; a single step up or down does not move that median. Runs that
    are too short to tell are not judged. Open files and threads are stated and not judged: they
    come and go with what a tick reads, and pools of connections fill in steps.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By server."""

    def sample(self, root: psutil.Process, minutes: float) -> None:
        """Look at every process below `root` that serves; runs come and go."""
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                name = _name(process, root)
                if name:
                    mib = process.memory_info().rss / MIB
                    sample = Sample(minutes, mib, process.num_fds(), process.num_threads())
                    self.samples.setdefault(name, []).append(sample)

    def figures(self) -> dict[str, dict[str, Any]]:
        """For each server: what it held by thirds of the run, and how its last third rose."""
        return {name: _figures(samples) for name, samples in sorted(self.samples.items())}

    def growing(self) -> list[str]:
        """Servers whose memory does not stay flat; none of a run that is too short to tell."""
        return [name for name, found in self.figures().items() if found["flat"] is False]


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


def _figures(samples: Sequence[Sample]) -> dict[str, Any]:
    third = max(len(samples) // 3, 1)
    last = samples[-third:]
    slope = _slope([(one.minutes, one.mib) for one in last])
    is_long = samples[-1].minutes - samples[0].minutes >= _JUDGED_MIN
    at = [samples[0], samples[third - 1], last[0], last[-1]]
    return {
        "mib": [round(one.mib, 1) for one in at],
        "slope_mib_min": round(slope, 2),
        "files": [one.files for one in at],
        "threads": [one.threads for one in at],
        "flat": slope <= _MOST_SLOPE_MIB_MIN if is_long else None,
    }


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """Median slope between any two of the samples (Theil and Sen)."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(samples, 2)
    ]
    return statistics.median(slopes) if slopes else 0.0
