"""Partitions that are kept as they are on purpose: rolled back, or contradicted by their pixels.

A cube that was rolled back differs from what its inputs give: runs would make the bad state again,
and the reconcile sensor would ask for it for ever. Therefore a rollback leaves a hold. While the
inputs are the ones that gave the bad state, every run keeps the cube and the sensor asks for
nothing, and both say so. Inputs that change (a scene processed anew, other bands) end a hold by
themselves; a person ends it with `geostack rollback --release`. A rollback whose process died
halfway is finished by the next run, and the sensor asks for that one.
"""

from dataclasses import replace

from geostack_dagster import storage
from geostack_dagster.cube.unread import whole
from geostack_dagster.domain.dark_pixels import contradicted, is_suspicious
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.pipeline.checks.evidence import evidence_of, kept_evidence, verdicts_of
from geostack_dagster.pipeline.claim import claimed
from geostack_dagster.pipeline.cube import made_from_recipe
from geostack_dagster.pipeline.hold import Hold, read_hold
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.rollback import commit, settle
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.stages import cube_module, module_of
from geostack_dagster.pipeline.workspace import Workspace

_BEFORE = ("snapshot", "stack", "cube")
"""Stages that do not build on the cube."""


def run_stage(
    spec: PipelineSpec, stage: str, partition: Partition, workspace: Workspace
) -> StageReport:
    """Make a stage of a partition, unless it is held.

    One run at a time makes a partition: another one waits, and then finds the work done.

    Raises:
        IntegrityError: If it would be made of a cube whose pixels contradict their metadata, or
            the hold on it is damaged.
        ConflictError: If another run makes the partition for an hour.
        GeostackError: As the stage does.
    """
    with claimed(workspace.layout.claim(partition)):
        return _made(spec, stage, partition, workspace)


def _made(
    spec: PipelineSpec, stage: str, partition: Partition, workspace: Workspace
) -> StageReport:
    hold = read_hold(partition, workspace) if stage == "cube" else None
    if hold is not None and _stands(hold, spec, partition, workspace):
        if hold.pending:
            return _finished(spec, partition, workspace, hold)
        return _kept(spec, partition, workspace, hold)
    doubt = None if stage in _BEFORE else doubt_of(spec, partition, workspace)
    if doubt is not None:
        raise IntegrityError(f"{partition}: {doubt}")
    report = module_of(spec, stage).run(spec, partition, workspace)
    if hold is not None:  # should its inputs come back, the cube is not what was rolled back to
        storage.delete(workspace.layout.hold(partition))
    return report


def reason_to_wait(
    spec: PipelineSpec, stage: str, partition: Partition, workspace: Workspace
) -> str | None:
    """Why a stage that is not current is not to be made either; None if it is."""
    if stage == "cube":
        hold = standing_hold(spec, partition, workspace)
        return None if hold is None or hold.pending else str(hold)
    return None if stage in _BEFORE else doubt_of(spec, partition, workspace)


def standing_hold(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Hold | None:
    """The hold on a partition's cube; None if there is none, or its inputs changed since."""
    hold = read_hold(partition, workspace)
    return hold if hold is not None and _stands(hold, spec, partition, workspace) else None


def _stands(hold: Hold, spec: PipelineSpec, partition: Partition, workspace: Workspace) -> bool:
    try:
        return hold.refused == cube_module(spec).wanted(spec, partition, workspace)
    except ConfigurationError:  # without a Recipe nothing is made anyway
        return False


def doubt_of(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Why nothing may be made of a partition's cube: its pixels contradict their metadata.

    None where the archive has no offset to check, or the pipeline only warns. Of a cube that was
    looked at already this reads two small files.
    """
    if not has_contract(spec) or spec.checks.radiometry == "warn":
        return None
    recipe = read_recipe(partition, workspace)
    found = kept_evidence("cube", partition, workspace)
    if found is None or whole(found.made_from) != made_from_recipe(spec, recipe):
        recorded = cube_module(spec).recorded(spec, partition, workspace)
        found = evidence_of(spec, "cube", partition, workspace, recorded)
    if found is None or not is_suspicious(found.dark):
        return None
    wrong = contradicted(verdicts_of(found, recipe))
    if not wrong:
        return None
    said = "; ".join(f"{one.item}: {one.reason}" for one in wrong)
    return (
        f"pixels contradict the metadata of {said}. See the asset check `radiometry` of "
        f"{spec.name}/cube; `checks: {{radiometry: warn}}` lets it pass"
    )


def has_contract(spec: PipelineSpec) -> bool:
    """Whether pixels can say anything of the calibration that a pipeline's Items state."""
    bands = spec.record.bands.select(spec.band_names, where=spec.name)
    return any(band.common_name in spec.record.dark for band in bands)


def _finished(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, hold: Hold
) -> StageReport:
    """Carry out a rollback whose process died before it was done: that is what was asked for."""
    try:
        commit(spec, partition, workspace, hold)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"the rollback of {partition} that died cannot be finished: {error}. Roll back to "
            "another snapshot, or end it by `geostack rollback --release`"
        ) from error
    report = _kept(spec, partition, workspace, settle(partition, workspace, hold))
    note = f"a rollback that had died is finished now; {report.note}"
    return replace(report, outcome=Outcome.WRITTEN, note=note)


def _kept(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, hold: Hold
) -> StageReport:
    recorded = cube_module(spec).recorded(spec, partition, workspace)
    return StageReport(
        outcome=Outcome.UNCHANGED,
        fingerprint=recorded or f"as in {hold.snapshot}",
        note=str(hold),
        facts={"held": True, "held_since": hold.since, "commit": hold.snapshot},
    )
