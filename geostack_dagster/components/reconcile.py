"""The reconcile sensor: asks for what is not as it should be, whatever events were missed.

Level-triggered: state is looked at, not what happened. Each tick looks at some of the known dates,
oldest first and round again, and always at the newest ones, where archives publish late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dagster as dg

from geostack_dagster.components.heap import HEAP
from geostack_dagster.components.partitions import AOIS, key_of, partition_of, partitions_of
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.access import keys_of, settings_of

MARK, REASON = "geostack/reconcile", "geostack/reason"
MOST_ATTEMPTS = 3
"""Runs for one and the same thing before a person has to look."""
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
"""Statuses of runs that may still write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much a tick looks at."""

    recent_days: int = 10
    """Newest days that every tick asks the catalogue about again."""
    sweep_dates: int = 60
    """Older dates that a tick looks at, in turn."""
    most_requests: int = 20
    interval_s: int = 300


def may_make(run: dg.DagsterRun, group: str, key: str) -> bool:
    """Whether a run may be making a partition of an asset of this group."""
    chosen = run.asset_selection
    if chosen and not any(one.path[0] == group for one in chosen):
        return False
    return run.tags.get("dagster/partition") in (None, key)  # None: a range, or all of them


def reconcile_sensor(spec: PipelineSpec, pace: Pace) -> dg.SensorDefinition:
    """The sensor of one pipeline; its cursor is the date up to which it has swept."""

    @dg.sensor(
        name=f"{spec.name}_reconcile",
        target=dg.AssetSelection.groups(spec.name),
        minimum_interval_seconds=pace.interval_s,
        required_resource_keys={"storage", *keys_of(spec.provider)},
        description=(
            "Compares the state of every partition with its catalogue and its inputs, and asks "
            "for what differs: late, reprocessed and withdrawn scenes, and runs that died."
        ),
    )
    def reconcile(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """One tick."""
        HEAP.settle()  # what the tick before imported and freed
        known = _known(context.instance, spec)
        if not known:
            return dg.SkipReason(f"no partition of {spec.name} was ever asked for")
        dates = sorted({one.date for one in known})
        swept = _next_dates(dates, context.cursor, pace.sweep_dates)
        recent = _recent_dates(spec, pace.recent_days)
        settings = settings_of(spec.provider, context.resources)
        look = _Look(spec, context.resources.storage.workspace(settings), context.instance)
        try:
            for aoi in context.instance.get_dynamic_partitions(AOIS.name or ""):
                look.at([one for one in known if one.aoi == aoi and one.date in swept])
                look.at([Partition(spec.name, aoi, key, spec.cadence) for key in recent])
        except GeostackError as error:
            return dg.SkipReason(f"could not look: {redact(str(error))}")
        for line in look.notes:
            context.log.info(line)
        requests = look.requests[: pace.most_requests]
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=swept[-1])
        looked = counted(look.partitions, "partition")
        summary = f"{looked} looked at, {swept[0]} to {swept[-1]} and newest"
        return dg.SensorResult(
            skip_reason="; ".join([summary, *(look.notes or ["all as they should be"])]),
            cursor=swept[-1],
        )

    return reconcile


@dataclass
class _Look:
    """What one tick has found so far."""

    spec: PipelineSpec
    workspace: Workspace
    instance: dg.DagsterInstance
    requests: list[dg.RunRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    partitions: int = 0

    def at(self, partitions: Sequence[Partition]) -> None:
        """Look at partitions over one AOI, in the order of their dates."""
        from geostack_dagster.pipeline.reconcile import ask_again, find_stale

        if not partitions:
            return
        spec, workspace = self.spec, self.workspace
        window = Window(partitions[0].window.start, partitions[-1].window.end)
        present = ask_again(spec, workspace, partitions[0].aoi, window)
        self.partitions += len(partitions)
        for stale in find_stale(spec, workspace, partitions, present):
            if stale.held is not None:
                self.notes.append(f"{stale.partition.date} {stale.partition.aoi}: {stale.held}")
                continue
            self._found(stale.partition, stale.stage, stale.reason, stale.mark)

    def _found(self, partition: Partition, stage: str, reason: str, mark: str) -> None:
        where = f"{partition.date} {partition.aoi}"
        key = key_of(partition.date, partition.aoi)
        if self._is_busy(key):
            self.notes.append(f"{where}: a run is already under way")
            return
        attempts = self.instance.get_runs_count(dg.RunsFilter(tags={MARK: mark}))
        if attempts >= MOST_ATTEMPTS:
            self.notes.append(f"{where}: {reason}; {attempts} runs did not mend it: look at them")
            return
        self.notes.append(f"{where}: {reason}")
        stages = self.spec.stages[self.spec.stages.index(stage) :]
        self.requests.append(
            dg.RunRequest(
                run_key=f"{mark}/{attempts}",
                partition_key=key,
                asset_selection=[dg.AssetKey([self.spec.name, noun]) for noun in stages],
                tags={MARK: mark, REASON: reason},
            )
        )

    def _is_busy(self, key: str) -> bool:
        return any(may_make(run, self.spec.name, key) for run in self._under_way)

    @cached_property
    def _under_way(self) -> Sequence[dg.DagsterRun]:
        return self.instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))


def _known(instance: dg.DagsterInstance, spec: PipelineSpec) -> list[Partition]:
    """Partitions that were ever asked for, in the order of their dates."""
    found = instance.get_materialized_partitions(dg.AssetKey([spec.name, spec.stages[0]]))
    return sorted((partition_of(spec, key) for key in found), key=lambda one: (one.date, one.aoi))


def _next_dates(known: Sequence[str], after: str | None, count: int) -> Sequence[str]:
    """The next dates of the round; it begins again after the newest."""
    later = [key for key in known if after is None or key > after]
    return (later or known)[:count]


def _recent_dates(spec: PipelineSpec, days: int) -> list[str]:
    """Dates of the newest days, asked for before or not."""
    today = datetime.now(UTC)
    windows = partitions_of(spec).time_window_partitions_def
    since = today - timedelta(days=days)
    return [
        key
        for key in windows.get_partition_keys(current_time=today)
        if windows.time_window_for_partition_key(key).end > since
    ]
