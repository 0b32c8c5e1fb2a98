"""Sensors of a detector: one asks for trainings, one lets a new champion look again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from geostack_dagster.components.detector_assets import loop_of
from geostack_dagster.components.partitions import AOIS, partition_of
from geostack_dagster.components.reconcile import IN_PROGRESS, REASON
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.learning.spec import STAGES, DetectorSpec
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

DATA = "geostack/data"
"""Run tag: fingerprint of what a training learns from."""
MODEL = "geostack/model"
"""Run tag: digest of the model that looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How often the sensors look, and how much they ask for at a time."""

    retrain_interval_s: int = 300
    reinfer_interval_s: int = 120
    most_requests: int = 20
    most_partitions: int = 2000
    """Newest partitions that a tick looks at."""


def retrain_sensor(spec: DetectorSpec, look: Look) -> dg.SensorDefinition:
    """Asks for a training where labels, drift or age give a reason.

    Its cursor holds the number of entries of the label log that its last request stands for, and
    that request's run key: the fingerprint of pixels, labels and settings, so nothing is trained
    twice.
    """

    @dg.sensor(
        name=f"{spec.name}_retrain",
        target=dg.AssetSelection.assets(*([spec.name, noun] for noun in STAGES)),
        minimum_interval_seconds=look.retrain_interval_s,
        required_resource_keys={"storage"},
        description="Asks for a training when there are enough new labels, when new scenes look "
        "otherwise than before, or when the last training is old; says why, or why not.",
    )
    def retrain(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """One tick."""
        from geostack_dagster.pipeline.labels import label_log
        from geostack_dagster.pipeline.learning.training_set import collect
        from geostack_dagster.pipeline.learning.triggers import advise, trained_on
        from geostack_dagster.pipeline.learning.triggers import look as look_at

        cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        if _is_busy(context.instance, spec.name):
            return dg.SkipReason("a training is already under way")
        loop = loop_of(spec, context.resources.storage)
        asked = cursor.get("asked")
        try:
            entries = len(label_log(loop.workspace))
            known = look_at(
                loop,
                mark=int(cursor.get("entries", 0)),
                asked=None if asked is None else datetime.fromisoformat(asked),
                now=datetime.now(UTC),
            )
            advice = advise(known, spec.retrain)
            if not advice.wanted:
                return dg.SkipReason(advice.note)
            aois = context.instance.get_dynamic_partitions(AOIS.name or "")
            material = collect(loop, aois)
        except GeostackError as error:
            return dg.SkipReason(f"could not look: {redact(str(error))}")
        if not material.scenes:
            return dg.SkipReason(f"{advice.note}; but no label lies on a cube yet")
        if material.fingerprint in (cursor.get("run_key"), trained_on(loop)):
            return dg.SkipReason(
                f"{advice.note}; but the same pixels and labels were trained on before "
                f"({material.fingerprint})"
            )
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        request = dg.RunRequest(
            run_key=material.fingerprint,
            asset_selection=[dg.AssetKey([spec.name, noun]) for noun in STAGES],
            tags={DATA: material.fingerprint, REASON: advice.note},
        )
        context.log.info(advice.note)
        return dg.SensorResult(
            run_requests=[request],
            cursor=json.dumps(
                {"entries": entries, "run_key": material.fingerprint, "asked": stamp}
            ),
        )

    return retrain


def reinfer_sensor(spec: DetectorSpec, look: Look) -> dg.SensorDefinition:
    """Asks for outputs that another model than the champion made, newest first."""

    @dg.sensor(
        name=f"{spec.name}_reinfer",
        target=dg.AssetSelection.assets(*([one.name, "probability"] for one in _watched(spec))),
        minimum_interval_seconds=look.reinfer_interval_s,
        required_resource_keys={"storage"},
        description="Lets the champion look again at partitions whose plumes another model found: "
        "the newest first, so many at a time.",
    )
    def reinfer(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """One tick."""
        workspace: Workspace = context.resources.storage.workspace()
        loop = loop_of(spec, context.resources.storage)
        try:
            champion = loop.registry.aliases.champion
            if champion is None:
                return dg.SkipReason(f"no champion of {spec.name} yet: nothing to look again for")
            digest, turn = loop.registry.digest_of(champion), _turn(loop.registry.history)
            looked, stale = 0, []
            for one in _newest(context.instance, _watched(spec), look.most_partitions):
                looked += 1
                if _made_by(one, workspace) not in (None, digest):
                    stale.append(one)
        except GeostackError as error:
            return dg.SkipReason(f"could not look: {redact(str(error))}")
        if not stale:
            return dg.SkipReason(f"all of {looked} partitions were made by {champion}")
        chosen = stale[: look.most_requests]
        reason = (
            f"{len(stale)} of {looked} partitions were made by another model than {champion}; "
            f"the newest {len(chosen)} are asked for"
        )
        context.log.info(reason)
        return dg.SensorResult(run_requests=[_request(one, digest, turn, reason) for one in chosen])

    return reinfer


def _request(one: "_Output", digest: str, turn: int, reason: str) -> dg.RunRequest:
    # The turn: after a rollback the same model looks again, and Dagster drops keys that it knows.
    return dg.RunRequest(
        run_key=f"{one.spec.name}/{one.key}/{digest}/{turn}",
        partition_key=one.key,
        asset_selection=[dg.AssetKey([one.spec.name, "probability"])],
        tags={MODEL: digest, REASON: reason},
    )


@dataclass(frozen=True, slots=True)
class _Output:
    """One partition that was looked at once."""

    spec: PipelineSpec
    key: str


def _watched(spec: DetectorSpec) -> list[PipelineSpec]:
    """Pipelines that the detector's champion looks at."""
    return [
        one for one in spec.sources if one.methane is not None and one.methane.detector == spec.name
    ]


def _newest(
    instance: dg.DagsterInstance, specs: Sequence[PipelineSpec], most: int
) -> Iterator[_Output]:
    found = [
        (partition_of(spec, key), _Output(spec, key))
        for spec in specs
        for key in instance.get_materialized_partitions(dg.AssetKey([spec.name, "probability"]))
    ]
    found.sort(key=lambda pair: (pair[0].date, pair[0].aoi), reverse=True)
    yield from (output for _, output in found[:most])


def _made_by(one: _Output, workspace: Workspace) -> str | None:
    from geostack_dagster.pipeline.probability import made_by

    return made_by(one.spec, partition_of(one.spec, one.key), workspace)


def _turn(history: Sequence[dict[str, Any]]) -> int:
    """How often the champion has changed."""
    return sum(event["event"] in ("promoted", "rolled back") for event in history)


def _is_busy(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether a run under way makes any of the detector's assets."""
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS)):
        if any(key.path[0] == name for key in run.asset_selection or ()):
            return True
    return False
