"""The assets of a detector: what it learns from, what it learnt, and who is champion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from geostack_dagster.components.boundary import verdict
from geostack_dagster.components.columns import loop_schema
from geostack_dagster.components.events import metadata_of
from geostack_dagster.components.partitions import AOIS
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import GeostackError, IntegrityError
from geostack_dagster.pipeline.learning.spec import DetectorSpec
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.resources.storage import Storage

if TYPE_CHECKING:
    from geostack_dagster.pipeline.learning.settings import Loop

_DRIFT_DAYS = 8
_TOLD = 10
"""Times that a training tells how far it is."""


@dataclass(frozen=True, slots=True)
class Noun:
    """One asset: what it is made from, and what people see of it."""

    upstream: str | None
    kinds: frozenset[str]
    artefact: str
    """Where it lies, `{0}` being the detector."""
    description: str


NOUNS: Mapping[str, Noun] = {
    "training_set": Noun(
        None,
        frozenset({"parquet"}),
        "learning/{0}/sets/<digest>.parquet",
        "Windows of labelled scenes to learn from, and those that judge: a GeoParquet index "
        "without pixels. Sites and overpasses are split, never windows; its data version is the "
        "digest of what is learnt.",
    ),
    "challenger": Noun(
        "training_set",
        frozenset({"jax"}),
        "models/{0}/<model>/<model>.json",
        "A U-Net trained on the training set: the same data, code and seed give the same model, "
        "which is then not trained again. Interrupted trainings go on from their checkpoint.",
    ),
    "evaluation": Noun(
        "challenger",
        frozenset({"jax"}),
        "learning/{0}/evaluations/<model>-<match>.json",
        "Challenger, champion and classical baseline on the same whole scenes of unseen sites: "
        "pixels, plumes, false alarms, calibration, injected plumes; differences over resampled "
        "sites.",
    ),
    "gate": Noun(
        "evaluation",
        frozenset({"json"}),
        "learning/{0}/evaluations/<model>-<match>.json",
        "The decision on the challenger, promote, shadow or reject, with every reason; a person "
        "may decide otherwise by `geostack model override`, which is recorded.",
    ),
    "champion": Noun(
        "gate",
        frozenset({"stac", "jax"}),
        "models/{0}/collection.json",
        "The model that looks for plumes. Its alias in the registry is swapped in one step; its "
        "data version is the digest of its weights.",
    ),
    "drift": Noun(
        "champion",
        frozenset({"json"}),
        "learning/{0}/drift.json",
        "Whether new scenes still look like those that the champion learned from, in the same "
        "season: one permutation test decides, PSI and KS explain.",
    ),
}
"""What people see of each asset."""


def detector_assets(spec: DetectorSpec, *, owners: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The assets `[detector, training_set]`, ... of a detector, in a group of its name."""
    return [_asset(spec, noun, owners) for noun in NOUNS]


def loop_of(spec: DetectorSpec, storage: Storage) -> "Loop":
    """The detector in the storage of a resource."""
    from geostack_dagster.pipeline.learning.settings import Loop

    return Loop(spec, storage.workspace())


def _asset(spec: DetectorSpec, noun: str, owners: Sequence[str]) -> dg.AssetsDefinition:
    told = NOUNS[noun]
    key = dg.AssetKey([spec.name, noun])
    if told.upstream is None:
        # Where the archive gives the enhancement itself the cube holds it.
        parents = [
            dg.AssetKey([one.name, "enhancement" if "enhancement" in one.stages else "cube"])
            for one in spec.sources
        ]
    else:
        parents = [dg.AssetKey([spec.name, told.upstream])]

    @dg.asset(
        key=key,
        deps=parents,
        group_name=spec.name,
        kinds=set(told.kinds),
        owners=owners,
        metadata=_metadata(spec, noun),
        pool=spec.name,
        code_version=spec.code_version(noun),
        description=f"{told.description}\n\n{_OF_DRIFT if noun == 'drift' else _OF_LOOP}",
        freshness_policy=_freshness(spec, noun),
        required_resource_keys={"storage"},
        check_specs=_CHECKS[noun](key) if noun in _CHECKS else [],
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from geostack_dagster.pipeline.claim import claimed

        loop = loop_of(spec, context.resources.storage)
        try:
            with claimed(loop.url("detector.claim")):  # the same model is not trained twice
                report, checks = _RUNS[noun](context, loop)
        except GeostackError as error:
            raise verdict({f"{spec.name}/{noun}": error}) from error
        context.log.info("%s: %s", noun, redact(report.note))
        yield dg.MaterializeResult(
            metadata=metadata_of(report),
            data_version=dg.DataVersion(report.fingerprint),
            check_results=checks,
        )

    return materialize


def _metadata(spec: DetectorSpec, noun: str) -> dict[str, Any]:
    """What is known before anything is made."""
    where = f"<storage>/{NOUNS[noun].artefact.format(spec.name)}"
    return {
        "artefact": dg.MetadataValue.text(where),
        "dagster/column_schema": loop_schema(noun),
    }


_OF_LOOP = (
    "It is fresh as long as the retrain rule's age allows; whether there is anything new to learn "
    "is for the retrain sensor to say."
)
_OF_DRIFT = "It is fresh for a week and a day: its schedule looks once a week."


def _freshness(spec: DetectorSpec, noun: str) -> dg.FreshnessPolicy:
    days = _DRIFT_DAYS if noun == "drift" else spec.retrain.oldest_days
    return dg.FreshnessPolicy.time_window(
        warn_window=timedelta(days=days), fail_window=timedelta(days=2 * days)
    )


type _Made = tuple[StageReport, list[dg.AssetCheckResult]]


def _training_set(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import training_set

    report = training_set.run(loop, context.instance.get_dynamic_partitions(AOIS.name or ""))
    leaks = [row["leak"] for row in report.tables["leaks"]]
    check = dg.AssetCheckResult(
        check_name="no_leakage",
        passed=not leaks,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(leaks) or "no site, overpass, scene or plume is on two sides",
        metadata={"nearest_km": report.facts["nearest_km"] or 0.0},
    )
    return report, [check]


def _challenger(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import challenger

    every = max(loop.training.steps // _TOLD, 1)

    def tell(progress: Any) -> None:
        if progress.step % every == 0 or progress.step == progress.steps:
            done = round(20 * progress.step / progress.steps)
            context.log.info(
                "%s%s step %d of %d, loss %.3f",
                "#" * done,
                "." * (20 - done),
                progress.step,
                progress.steps,
                progress.loss,
            )

    report = challenger.run(loop, progress=tell)
    first, last = report.facts["first_loss"], report.facts["loss"]
    check = dg.AssetCheckResult(
        check_name="learns",
        passed=last < first,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"loss {first:.3f} at the beginning, {last:.3f} at the end",
    )
    return report, [check]


def _evaluation(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import evaluation

    report = evaluation.run(loop)
    (found,) = report.tables["integrity"]
    limit = loop.rules.halo_difference
    check = dg.AssetCheckResult(
        check_name="integrity",
        passed=found["reloads"]
        and found["deterministic"]
        and found["finite"]
        and found["halo_difference"] <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"tiles differ by {found['halo_difference']:.2g}, {limit:g} is allowed",
        metadata={name: dg.MetadataValue.bool(found[name]) for name in _SAME}
        | {"halo_difference": found["halo_difference"]},
    )
    return report, [check]


def _gate(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import verdict as judging

    found = judging.judge(loop)
    check = dg.AssetCheckResult(
        check_name="promotable",
        passed=found.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.report.note,
        metadata={
            "decision": str(found.report.facts.get("decision", "unchanged")),
            "failed_checks": int(found.report.facts.get("failed_checks", 0)),
        },
    )
    return found.report, [check]


def _champion(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import verdict as judging

    return judging.promote(loop), [_weights(loop)]


def _weights(loop: "Loop") -> dg.AssetCheckResult:
    """Whether the champion's weights are those that were registered; nothing else would load."""
    champion = loop.registry.aliases.champion
    broken: IntegrityError | None = None
    parameters = 0
    try:
        if champion is not None:
            parameters = loop.registry.load(champion).detector.parameters
    except IntegrityError as error:
        broken = error
    return dg.AssetCheckResult(
        check_name="weights",
        passed=broken is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=redact(str(broken)) if broken else f"{champion or 'no champion yet'}: whole",
        metadata={"parameters": parameters},
    )


def _drift(context: dg.AssetExecutionContext, loop: "Loop") -> _Made:
    from geostack_dagster.pipeline.learning import drift

    report = drift.run(loop, context.instance.get_dynamic_partitions(AOIS.name or ""))
    check = dg.AssetCheckResult(
        check_name="no_drift",
        passed=report.facts["drifted"] is not True,
        severity=dg.AssetCheckSeverity.WARN,
        description=report.note,
        metadata={
            name: report.facts[name]
            for name in ("chance", "discrepancy", "reference_scenes", "current_scenes")
            if report.facts[name] is not None
        },
    )
    return report, [check]


_RUNS: Mapping[str, Callable[[dg.AssetExecutionContext, "Loop"], _Made]] = {
    "training_set": _training_set,
    "challenger": _challenger,
    "evaluation": _evaluation,
    "gate": _gate,
    "champion": _champion,
    "drift": _drift,
}
_SAME = ("reloads", "deterministic", "finite")
_CHECKS: Mapping[str, Callable[[dg.AssetKey], list[dg.AssetCheckSpec]]] = {
    "training_set": lambda key: [
        dg.AssetCheckSpec(
            "no_leakage",
            asset=key,
            blocking=True,
            description="What judges was never learnt from, nor anything within the buffer of it.",
        )
    ],
    "challenger": lambda key: [
        dg.AssetCheckSpec(
            "learns", asset=key, description="The loss is lower at the end than at the beginning."
        )
    ],
    "evaluation": lambda key: [
        dg.AssetCheckSpec(
            "integrity",
            asset=key,
            description="Tiling, repeating and reloading give the same probabilities.",
        )
    ],
    "champion": lambda key: [
        dg.AssetCheckSpec(
            "weights", asset=key, description="The weights are those that were registered."
        )
    ],
    "gate": lambda key: [
        dg.AssetCheckSpec(
            "promotable",
            asset=key,
            blocking=True,
            description="The challenger would do no harm; a rejected one stops here.",
        )
    ],
    "drift": lambda key: [
        dg.AssetCheckSpec("no_drift", asset=key, description="New scenes look as they did.")
    ],
}
