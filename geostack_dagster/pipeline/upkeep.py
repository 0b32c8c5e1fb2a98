"""Looking after cubes: their history, the way back from a bad commit, and what may be forgotten."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter

from geostack_dagster import storage
from geostack_dagster.cube.store import HistoryEntry, open_store
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, GeostackError, NoDataError
from geostack_dagster.pipeline.claim import claimed
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.hold import Hold
from geostack_dagster.pipeline.rollback import commit, settle
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stages import cube_module
from geostack_dagster.pipeline.workspace import Workspace

KEEP_DAYS = 30.0
"""Days that snapshots are kept by default: longer than any reader holds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What a rollback did."""

    partition: Partition
    hold: Hold
    commit: str | None
    """Snapshot of the rollback itself; None if granules were held like that already."""
    recorded: str | None
    """What the cube says now that it was made from; of a partition that the snapshot does not hold,
    `as in` the snapshot: it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What was forgotten of one repository."""

    pipeline: str
    aoi: str
    snapshots: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failure: str | None = None
    """Why nothing could be done; None if it was."""


def history(
    spec: PipelineSpec, aoi: str, workspace: Workspace, limit: int | None = None
) -> list[HistoryEntry]:
    """Commits of the cubes of a pipeline over an AOI, newest first.

    Raises:
        NoDataError: If there is no cube.
    """
    first = Partition(spec.name, aoi, spec.start.isoformat(), spec.cadence)
    found = cube_store(spec, first, workspace).history(limit)
    if not found:
        raise NoDataError(f"{spec.name} has no cube over {aoi!r} at {workspace.root} yet")
    return found


def roll_back(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, snapshot: str, reason: str = ""
) -> RolledBack:
    """Make a partition of the cube hold what it held in a snapshot, and keep it so.

    Products made of the cube are not touched: they are stale then, and made again from what the
    cube holds, or withdrawn where it holds nothing. A run that makes the partition is waited for.
    The hold is written first, as pending: if the process dies before it is done, the next run of
    the partition finishes it, and the reconcile sensor asks for that run.

    Raises:
        ConfigurationError: If the store keeps no such snapshot, or there is no Recipe.
        ConflictError: If another writer changed the partition meanwhile; nothing was rolled back.
    """
    with claimed(workspace.layout.claim(partition)):
        return _rolled_back(spec, partition, workspace, snapshot, reason)


def _rolled_back(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, snapshot: str, reason: str
) -> RolledBack:
    module, url = cube_module(spec), workspace.layout.hold(partition)
    hold = Hold(
        refused=module.wanted(spec, partition, workspace),
        snapshot=snapshot,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason,
        pending=True,
    )
    before = storage.read_bytes(url) if storage.exists(url) else None
    storage.write_bytes(url, hold.dumps())
    try:
        done = commit(spec, partition, workspace, hold)
    except GeostackError:
        storage.delete(url) if before is None else storage.write_bytes(url, before)
        raise
    return RolledBack(
        partition=partition,
        hold=settle(partition, workspace, hold),
        commit=done,
        recorded=module.recorded(spec, partition, workspace),
    )


def release(partition: Partition, workspace: Workspace) -> bool:
    """Let runs make a partition from its inputs again; False if nothing held it.

    A rollback that is under way is waited for: one that fails puts back the hold that it found.

    Raises:
        ConflictError: If a run makes the partition for an hour.
    """
    url = workspace.layout.hold(partition)
    with claimed(workspace.layout.claim(partition)):
        held = storage.exists(url)
        storage.delete(url)
    return held


def maintain(
    workspace: Workspace,
    *,
    pipelines: Sequence[str] = (),
    keep: timedelta,
    now: datetime | None = None,
) -> Iterator[Maintained]:
    """Expire the snapshots of every cube repository and collect what only they held.

    Args:
        workspace: Whose repositories: those found below its root.
        pipelines: Names; none for all that have cubes.
        keep: Time for which a snapshot stays after another followed it: readers may hold it.
        now: When ages are counted from; None for this moment.

    Raises:
        ConfigurationError: If a pipeline has no cubes, or `keep` is shorter than an hour.
    """
    root = workspace.layout.root
    known = [name for name in storage.folders(root) if storage.folders(f"{root}/{name}/cubes")]
    strange = [name for name in pipelines if name not in known]
    if strange:
        raise ConfigurationError(
            f"no cubes of {', '.join(strange)} at {root}; there are {', '.join(known) or 'none'}"
        )
    for pipeline in pipelines or known:
        for aoi in storage.folders(f"{root}/{pipeline}/cubes"):
            if not aoi.endswith(_BESIDE):
                yield _maintained(workspace, (pipeline, aoi), keep, now)


_BESIDE = ".history"
"""Ends the name of the folder that a plain Zarr store keeps its notes in."""


def _maintained(
    workspace: Workspace, place: tuple[str, str], keep: timedelta, now: datetime | None
) -> Maintained:
    started, (pipeline, aoi) = perf_counter(), place
    store = open_store(workspace.layout.cube(pipeline, aoi))
    try:
        done = store.expire(keep, now=now)
    except ConfigurationError:
        raise
    except NoDataError:  # plain Zarr: there are no snapshots
        return Maintained(pipeline=pipeline, aoi=aoi)
    except GeostackError as error:
        return Maintained(pipeline=pipeline, aoi=aoi, failure=str(error))
    return Maintained(
        pipeline=pipeline,
        aoi=aoi,
        snapshots=done.snapshots,
        bytes=done.bytes,
        seconds=round(perf_counter() - started, 3),
    )
