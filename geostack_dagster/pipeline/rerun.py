"""Partitions of which something could not be read, by the reason, and making them again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase

from geostack_dagster import storage
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.partition import ATTEMPT, Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import ConfigurationError, Reason, http_reason
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.plan import partition_dates
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

_REASONS = (*Reason, *map(http_reason, range(100, 600)))
_MOVED = {*map(http_reason, attempt.GONE), Reason.REPLACED}
"""Reasons for which the catalogue may say something else by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which partitions to look for."""

    reason: str = "*"
    """Reason of a ledger, or a pattern: `http-5*`."""
    start: date | None = None
    end: date | None = None
    """The day after the last."""

    def __post_init__(self) -> None:
        """Refuse what can find nothing, which would look as if all were well.

        Raises:
            ConfigurationError: If the pattern fits no reason, or the dates are reversed.
        """
        if self.start is not None and self.end is not None:
            Window(self.start, self.end)
        if not any(fnmatchcase(reason, self.reason) for reason in _REASONS):
            words = ", ".join(sorted(Reason))
            raise ConfigurationError(
                f"{self.reason!r} is no reason of a ledger; there are {words}, http-<status> such "
                "as http-404, and patterns of them such as http-5*"
            )

    def takes(self, window: Window) -> bool:
        """Whether a partition of these days is asked for."""
        return (self.start is None or self.start < window.end) and (
            self.end is None or window.start < self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A partition that is to be made again."""

    partition: Partition
    stage: str
    """The first stage that has to be made; those below follow."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Assets by reason, of those asked for."""
    is_kept: bool = False
    """Whether the cube holds what was readable; otherwise the last attempt failed."""


def find_reruns(
    spec: PipelineSpec, workspace: Workspace, aois: Iterable[str], asked: Asked
) -> Iterator[Rerun]:
    """The partitions whose ledger has the reason, AOI by AOI, in the order of their dates.

    Looks at the cube's ledger, where a partition is partial, and at that of an attempt that failed.
    """
    for aoi in aois:
        partial = _partial(spec, workspace, aoi)
        failed = _failed(spec, workspace, aoi)
        for key in sorted({*partial, *failed}):
            partition = Partition(spec.name, aoi, key, spec.cadence)
            tried = failed.get(key)
            rows = [*partial.get(key, ()), *(tried.rows if tried else ())]
            reasons = Counter(
                row.entry.reason
                for row in rows
                if row.entry.reason and fnmatchcase(row.entry.reason, asked.reason)
                if attempt.is_soft(row.entry)
            )
            if reasons and asked.takes(partition.window):
                yield Rerun(
                    partition=partition,
                    stage=_first_stage(spec, reasons, tried),
                    reasons=reasons,
                    is_kept=key in partial,
                )


def make_again(
    spec: PipelineSpec, workspace: Workspace, rerun: Rerun
) -> Iterator[tuple[str, StageReport]]:
    """Each stage that is made, and its report.

    Raises:
        GeostackError: As the stages do; what is not readable yet stays as it was.
    """
    for stage in spec.stages[spec.stages.index(rerun.stage) :]:
        yield stage, run_stage(spec, stage, rerun.partition, workspace)


def _partial(spec: PipelineSpec, workspace: Workspace, aoi: str) -> dict[str, list[LedgerRow]]:
    """What could not be read of the partitions that a cube holds, by date."""
    anywhere = Partition(spec.name, aoi, spec.start.isoformat(), spec.cadence)
    found: dict[str, list[LedgerRow]] = {}
    for row in _ledger(spec, workspace, anywhere):
        if attempt.is_soft(row.entry):
            (key,) = partition_dates(Window(row.day, row.day + timedelta(days=1)), spec.cadence)
            found.setdefault(key, []).append(row)
    return found


def _ledger(spec: PipelineSpec, workspace: Workspace, partition: Partition) -> list[LedgerRow]:
    if spec.record.geometry is Geometry.SWATH:
        from geostack_dagster.pipeline.swath.cube import swath_store

        return swath_store(spec, partition, workspace).ledger()
    from geostack_dagster.pipeline.cube import cube_store

    return cube_store(spec, partition, workspace).ledger(spec.record.quantity)


def _failed(spec: PipelineSpec, workspace: Workspace, aoi: str) -> dict[str, attempt.Attempt]:
    """Attempts that failed and were not made good, by date."""
    found = {}
    for name in storage.listing(workspace.layout.attempts(spec.name, aoi)):
        if name.endswith(ATTEMPT) and "/" not in name:
            key = name.removesuffix(ATTEMPT)
            kept = attempt.read(Partition(spec.name, aoi, key, spec.cadence), workspace)
            if kept is not None:
                found[key] = kept
    return found


def _first_stage(spec: PipelineSpec, reasons: Iterable[str], tried: attempt.Attempt | None) -> str:
    if not _MOVED.isdisjoint(reasons):
        return "snapshot"
    in_sensor = spec.record.geometry is Geometry.SWATH  # the stack opens every granule
    return "stack" if in_sensor or (tried is not None and tried.stage == "stack") else "cube"
