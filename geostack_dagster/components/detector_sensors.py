"""Sensors of a detector: one asks for trainings, one lets a new champion look again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from geostack_dagster.components.detector_assets import loop_of
from geostack_dagster.components.heap import HEAP
from geostack_dagster.components.partitions import AOIS, partition_of
from geostack_dagster.components.reconcile import IN_PROGRESS, MOST_ATTEMPTS, REASON, may_make
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.learning.spec import STAGES, DetectorSpec
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from geostack_dagster.pipeline.learning.training_set import Material

DATA = "geostack/data"
"""Run tag: fingerprint of what a training learns from."""
MODEL = "geostack/model"
"""Run tag: digest of the model that looks again."""
AGAIN = "geostack/reinfer"
"""Run tag: which output which champion looks at again; attempts are counted by it."""
_NAMED = 3
"""Outputs that a reason names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How often the sensors look, and how much they ask for at a time."""

    retrain_interval_s: int = 300
    reinfer_interval_s: int = 120
    most_requests: int = 20
    most_partitions: int = 2000
    """Partitions that a tick looks at."""


def retrain_sensor(spec: DetectorSpec, look: Look) -> dg.SensorDefinition:
    """Asks for a training where labels, drift or age give a reason.

    Its cursor holds the number of entries of the label log that its last request stands for, when
    that was, and its fingerprint of pixels, labels and settings: the run key, so nothing is trained
    twice. Only a training that died before the gate had its say is asked for again.
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
        from geostack_dagster.pipeline.learning.triggers import advise, is_judged, trained_on
        from geostack_dagster.pipeline.learning.triggers import look as look_at

        HEAP.settle()
        cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        if _is_busy(context.instance, spec.name):
            return dg.SkipReason("a training is already under way")
        loop = loop_of(spec, context.resources.storage)
        asked = None if "asked" not in cursor else datetime.fromisoformat(cursor["asked"])
        try:
            entries = len(label_log(loop.workspace))
            died = _died(context.instance, cursor.get("run_key"))
            known = look_at(
                loop,
                mark=int(cursor.get("entries", 0)),
                asked=asked,
                now=datetime.now(UTC),
                has_died=bool(died) and asked is not None and not is_judged(loop, asked),
            )
            advice = advise(known, spec.retrain)
            if not advice.wanted:
                return dg.SkipReason(advice.note)
            aois = context.instance.get_dynamic_partitions(AOIS.name or "")
            material = collect(loop, aois)
        except GeostackError as error:
            return dg.SkipReason(f"could not look: {redact(str(error))}")
        died = died if known.has_died else 0
        why_not = _why_not(material, cursor.get("run_key"), trained_on(loop), died)
        if why_not is not None:
            return dg.SkipReason(f"{advice.note}; {why_not}")
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        request = dg.RunRequest(
            run_key=f"{material.fingerprint}/{died}" if died else material.fingerprint,
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
    """Asks for outputs that another model than the champion made, newest first.

    A tick looks at so many partitions, and its cursor goes on to older ones where those have
    nothing left to ask for. At the end, and with another champion, it begins again at the newest.
    """

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
        HEAP.settle()
        workspace: Workspace = context.resources.storage.workspace()
        loop = loop_of(spec, context.resources.storage)
        try:
            champion = loop.registry.aliases.champion
            if champion is None:
                return dg.SkipReason(f"no champion of {spec.name} yet: nothing to look again for")
            digest = loop.registry.digest_of(champion)
            # The turn: after a rollback the same model looks again, with attempts of its own.
            again = _Again(context.instance, digest, _turn(loop.registry.history))
            outputs = _newest_first(context.instance, _watched(spec))
            first = again.start(context.cursor, outputs)
            part = outputs[first : first + look.most_partitions]
            stale = [one for one in part if _made_by(one, workspace) not in (None, digest)]
        except GeostackError as error:
            return dg.SkipReason(f"could not look: {redact(str(error))}")
        chosen = again.choose(stale, look.most_requests)
        looked = counted(len(outputs), "partition")
        if len(part) < len(outputs):
            looked = f"{counted(len(part), 'partition')} looked at, of {len(outputs)},"
        said = [f"{len(stale)} of {looked} were made by another model than {champion}"]
        if not stale:
            said = [f"all of {looked} were made by {champion}"]
        if chosen:
            said.append(f"the newest {len(chosen)} are asked for")
        reason = "; ".join([*said, *again.notes])
        context.log.info(reason)
        if chosen:
            return dg.SensorResult(run_requests=[again.request(*one, reason) for one in chosen])
        is_last = first + len(part) >= len(outputs)
        at = again.cursor(after=None if is_last else part[-1].name)
        return dg.SensorResult(skip_reason=reason, cursor=context.cursor if again.under_way else at)

    return reinfer


@dataclass(frozen=True, slots=True)
class _Output:
    """One partition that was looked at once."""

    spec: PipelineSpec
    key: str

    @property
    def name(self) -> str:
        """Of pipeline and partition."""
        return f"{self.spec.name}/{self.key}"


@dataclass
class _Again:
    """What one champion is to look at again, in one tick."""

    instance: dg.DagsterInstance
    digest: str
    turn: int
    under_way: int = 0
    notes: list[str] = field(default_factory=list)

    def start(self, cursor: str | None, outputs: Sequence[_Output]) -> int:
        """Where to go on: after the output that the cursor names, if it is of this champion."""
        found = json.loads(cursor) if cursor else {}
        names = [one.name for one in outputs]
        if found.get("model") != self._model or found.get("after") not in names:
            return 0
        return names.index(found["after"]) + 1

    def cursor(self, *, after: str | None) -> str:
        """The cursor from which the next tick goes on."""
        return json.dumps({"model": self._model, "after": after})

    def choose(self, stale: Sequence[_Output], most: int) -> list[tuple[_Output, int]]:
        """The first of them to ask for, and the attempts so far; at most so many are under way."""
        runs = self.instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
        is_busy = [any(may_make(run, one.spec.name, one.key) for run in runs) for one in stale]
        self.under_way = sum(is_busy)
        chosen: list[tuple[_Output, int]] = []
        given_up: list[str] = []
        for one, busy in zip(stale, is_busy, strict=True):
            if self.under_way + len(chosen) >= most:
                break
            if busy:
                continue
            tried = self.instance.get_runs_count(dg.RunsFilter(tags={AGAIN: self._mark(one)}))
            if tried >= MOST_ATTEMPTS:
                given_up.append(one.name)
            else:
                chosen.append((one, tried))
        if self.under_way:
            self.notes.append(f"runs of {self.under_way} are under way")
        if given_up:
            self.notes.append(
                f"{MOST_ATTEMPTS} runs did not mend {', '.join(given_up[:_NAMED])}"
                f"{' and others' if len(given_up) > _NAMED else ''}: look at them"
            )
        return chosen

    def request(self, one: _Output, tried: int, reason: str) -> dg.RunRequest:
        """A run that makes one output again; a run key that Dagster knows would be dropped."""
        mark = self._mark(one)
        return dg.RunRequest(
            run_key=f"{mark}/{tried}",
            partition_key=one.key,
            asset_selection=[dg.AssetKey([one.spec.name, "probability"])],
            tags={MODEL: self.digest, AGAIN: mark, REASON: reason},
        )

    @property
    def _model(self) -> str:
        return f"{self.digest}/{self.turn}"

    def _mark(self, one: _Output) -> str:
        return f"{one.name}/{self._model}"


def _watched(spec: DetectorSpec) -> list[PipelineSpec]:
    """Pipelines that the detector's champion looks at."""
    return [
        one for one in spec.sources if one.methane is not None and one.methane.detector == spec.name
    ]


def _newest_first(instance: dg.DagsterInstance, specs: Sequence[PipelineSpec]) -> list[_Output]:
    found = [
        (partition_of(spec, key), _Output(spec, key))
        for spec in specs
        for key in instance.get_materialized_partitions(dg.AssetKey([spec.name, "probability"]))
    ]
    found.sort(key=lambda pair: (pair[0].date, pair[0].aoi, pair[1].name), reverse=True)
    return [output for _, output in found]


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


def _why_not(
    material: "Material", asked_for: str | None, trained_on: str | None, died: int
) -> str | None:
    """Why these pixels and labels are not trained on; None if they are."""
    found = material.fingerprint
    if not material.scenes:
        return "but no label lies on a cube yet"
    if died >= MOST_ATTEMPTS and found == asked_for:
        return f"{died} runs did not mend it: look at them"
    if not died and found in (asked_for, trained_on):
        return f"but the same pixels and labels were trained on before ({found})"
    return None


def _died(instance: dg.DagsterInstance, data: str | None) -> int:
    """Runs of the last request if the latest of them failed; none if a person stopped it."""
    if data is None:
        return 0
    runs = instance.get_runs(dg.RunsFilter(tags={DATA: data}))  # the latest first
    return len(runs) if runs and runs[0].status is dg.DagsterRunStatus.FAILURE else 0
