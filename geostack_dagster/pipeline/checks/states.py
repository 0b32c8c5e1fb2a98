"""What is on record of some partitions over one AOI, read together: checks look at nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.cube.slots import Slot
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.attempt import is_soft
from geostack_dagster.pipeline.checks.evidence import Evidence, evidence_of, group_of
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stages import cube_module
from geostack_dagster.pipeline.swath.cube import swath_store
from geostack_dagster.pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One solar day of a stage that has data."""

    day: date
    coverage: float | None
    """Share of pixels that hold a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The ledger of a partition, counted."""

    tried: int = 0
    """Assets that were opened, or should have been there."""
    lost: int = 0
    """Those that could not be read, or not all of them."""
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One stage of a partition, as it is on record."""

    partition: Partition
    stage: str
    recorded: str | None
    """Fingerprint of what it was made from; None if it was never written as a whole."""
    days: tuple[Day, ...] = ()
    read: Read = field(default_factory=Read)
    evidence: Evidence | None = None


def read_states(
    spec: PipelineSpec, stage: str, partitions: Sequence[Partition], workspace: Workspace
) -> list[State]:
    """States of partitions over one AOI, in their order; pixels are read where they are new."""
    window = Window(
        min(one.window.start for one in partitions), max(one.window.end for one in partitions)
    )
    first = partitions[0]
    if stage == "cube" and spec.record.geometry is Geometry.SWATH:
        swaths = swath_store(spec, first, workspace)
        found = {
            one: State(
                partition=one,
                stage=stage,
                recorded=swaths.fingerprint_of(one.window),
                days=tuple(
                    Day(day=granule.day, coverage=granule.coverage)
                    for granule in swaths.granules(one.window)
                ),
                read=_read(swaths.ledger(one.window)),
            )
            for one in partitions
        }
        return list(found.values())
    store, group = cube_store(spec, first, workspace), group_of(spec, stage)
    slots = {slot.day: slot for slot in store.slots(group, window)}
    rows = store.ledger(group, window)
    return [_state(spec, stage, one, workspace, slots, rows) for one in partitions]


def wanted_of(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the cube that a partition's inputs ask for; None without a Recipe."""
    try:
        return cube_module(spec).wanted(spec, partition, workspace)
    except ConfigurationError:
        return None


def _state(
    spec: PipelineSpec,
    stage: str,
    partition: Partition,
    workspace: Workspace,
    slots: Mapping[date, Slot],
    rows: Sequence[LedgerRow],
) -> State:
    days = [slots[day] for day in partition.window.days if day in slots]
    marks = {slot.made_from for slot in days}
    whole = len(days) == len(partition.window.days) and len(marks) == 1
    recorded = marks.pop() if whole else None
    return State(
        partition=partition,
        stage=stage,
        recorded=recorded,
        days=tuple(Day(day=one.day, coverage=one.coverage) for one in days if one.item_count),
        evidence=evidence_of(spec, stage, partition, workspace, recorded),
        read=_read([row for row in rows if row.day in partition.window.days]),
    )


def _read(rows: Sequence[LedgerRow]) -> Read:
    lost = [row.entry for row in rows if is_soft(row.entry)]
    return Read(
        tried=sum(row.entry.attempts > 0 for row in rows),
        lost=len(lost),
        reasons=Counter(entry.reason or entry.status.value for entry in lost),
    )
