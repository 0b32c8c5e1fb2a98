"""What of a pipeline is not as it should be, found from its state and never from events.

For each partition the recorded fingerprint of every stage is held against the present one of its
parent, and the snapshot against the catalogue itself. So a scene that arrives late, is processed
anew or withdrawn is found, and so is a partition whose run died, whatever was missed before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from geostack_dagster.catalog.snapshot import snapshot_fingerprint, take_snapshot
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.item import moment
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import IntegrityError
from geostack_dagster.pipeline import snapshot
from geostack_dagster.pipeline.holds import reason_to_wait, standing_hold
from geostack_dagster.pipeline.plan import partition_dates
from geostack_dagster.pipeline.probability import maker
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stages import cube_module, module_of
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.providers.access import search_headers

_NOTHING = snapshot_fingerprint([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A partition that is not current, and from which stage on."""

    partition: Partition
    stage: str
    """The first stage that has to be made; those below follow."""
    reason: str
    mark: str
    """Differs with what is wrong: the same mark means the same work."""
    held: str | None = None
    """Why nothing is to be done about it; None if something is."""


def find_stale(
    spec: PipelineSpec,
    workspace: Workspace,
    partitions: Iterable[Partition],
    present: Mapping[Partition, str] | None = None,
) -> Iterator[Stale]:
    """The partitions that are not current, in the order given; those that are held say why.

    One of which a document is damaged is among them, with the remedy as the reason.

    Args:
        spec: The pipeline.
        workspace: Its state.
        partitions: Those to look at; one that was never asked for is left alone unless `present`
            says that the catalogue has Items for it.
        present: Fingerprint of what the catalogue says now, where it was asked (`ask_again`).
    """
    for partition in partitions:
        try:
            found = _stale(spec, workspace, partition, (present or {}).get(partition))
        except IntegrityError as error:  # a run could not mend it, and the others need theirs
            found = replace(_of(partition, "cube", str(error), ""), held=str(error))
        if found is not None:
            yield found


def ask_again(
    spec: PipelineSpec, workspace: Workspace, aoi: str, window: Window
) -> dict[Partition, str]:
    """Fingerprint of what the catalogue says now, for each partition of some days over one AOI.

    One search for all of them. Days before the pipeline's start or after its end are not asked for.

    Raises:
        ServiceError: If the catalogue does not answer.
    """
    partitions = [
        Partition(spec.name, aoi, key, spec.cadence)
        for key in partition_dates(window, spec.cadence)
        if key >= spec.start.isoformat() and (spec.end is None or key < spec.end.isoformat())
    ]
    if spec.max_items is not None:  # a limit counts for each partition by itself
        groups = [[partition] for partition in partitions]
    else:
        groups = [partitions] if partitions else []
    pin = workspace.pinned(aoi)
    return {
        partition: mark
        for group in groups
        for partition, mark in _asked(spec, workspace, pin, group).items()
    }


def _asked(
    spec: PipelineSpec, workspace: Workspace, pin: Pin, partitions: Sequence[Partition]
) -> dict[Partition, str]:
    longitude = pin.aoi.centre[0]
    start, end = Window(partitions[0].window.start, partitions[-1].window.end).utc(longitude)
    taken = take_snapshot(
        spec.provider,
        replace(snapshot.query_of(spec, partitions[0], pin), start=start, end=end),
        client=spec.search_client,
        headers=search_headers(spec.provider, workspace.settings),
    )
    dated = [(solar_day(moment(item), longitude), item) for item in taken.items]
    return {
        one: snapshot_fingerprint(
            item for day, item in dated if one.window.start <= day < one.window.end
        )
        for one in partitions
    }


def _stale(
    spec: PipelineSpec, workspace: Workspace, partition: Partition, present: str | None
) -> Stale | None:
    recorded = snapshot.current(spec, partition, workspace)
    if present is not None and present != recorded:
        if recorded is None and present == _NOTHING:
            return None
        reason = "never taken" if recorded is None else "the catalogue says something else now"
        return _of(partition, "snapshot", reason, present)
    if recorded is None:
        return None
    upstream = recorded
    held: Stale | None = None
    for stage in spec.stages[1:]:
        found: str | None = module_of(spec, stage).current(spec, partition, workspace)
        died = _died(spec, partition, workspace) if stage == "cube" else ""
        if found is None or died:
            why = reason_to_wait(spec, stage, partition, workspace)
            if why is not None:
                held = replace(_of(partition, stage, why, upstream), held=why)
                kept = cube_module(spec).recorded(spec, partition, workspace)
                if stage != "cube" or kept is None:
                    return held
                upstream = kept  # what is made of a cube that was rolled back follows it
                continue
            reason = f"{stage} is missing or was made from something else"
            if died:
                reason = "a rollback of it died halfway"
            model = maker(spec, workspace)[1] if stage == "probability" else ""
            return _of(
                partition, stage, reason, f"{upstream}{spec.code_version(stage)}{model}{died}"
            )
        upstream = found
    return held


def _died(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str:
    """When a rollback began that was not finished; empty if there is none."""
    hold = standing_hold(spec, partition, workspace)
    return hold.since if hold is not None and hold.pending else ""


def _of(partition: Partition, stage: str, reason: str, mark: str) -> Stale:
    return Stale(
        partition=partition,
        stage=stage,
        reason=reason,
        mark=fingerprint([str(partition), stage, mark])[:16],
    )
