"""The evaluation: challenger, champion and classical baseline on the scenes that judge.

All see the same whole scenes and the same injected plumes. What comes out is kept under the names
of challenger, champion and gate scenes, with the gate's decision on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.learning.canary import release
from geostack_dagster.learning.evaluate import METRICS, Evaluation, compare, evaluate
from geostack_dagster.learning.finders import Classical, Finder, Learned
from geostack_dagster.learning.gate import Decision, Evidence, decide
from geostack_dagster.learning.integrity import examine
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline.artefacts import Artefact
from geostack_dagster.pipeline.learning.beside import Side, keep_picture, kept_picture, picture_of
from geostack_dagster.pipeline.learning.documents import (
    CHALLENGER,
    find_document,
    write_document,
)
from geostack_dagster.pipeline.learning.scenes import Labelled, whole
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.learning.training_set import TrainingSet, required
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.publish.chart import Axes, chart

_POINTER = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Who is judged against whom, on what."""

    challenger: str
    champion: str | None
    """None where there is none, or where the challenger is the champion itself."""
    scenes: str
    """Digest of the scenes that judge, with their labels, and of the rules."""

    @property
    def name(self) -> str:
        """Of the evaluation's file."""
        return fingerprint([self.challenger, self.champion, self.scenes])


def match_of(loop: Loop, found: TrainingSet | None = None) -> Match:
    """The present challenger against the present champion.

    Raises:
        ConfigurationError: If there is no challenger or no training set.
    """
    pointer = find_document(loop.url(CHALLENGER))
    if pointer is None:
        raise ConfigurationError(
            f"{loop.spec.name} has no challenger; materialize {loop.spec.name}/challenger first"
        )
    champion = loop.registry.aliases.champion
    found = found or required(loop)
    scenes = [[one.scene.id, one.digest] for one in found.gate_scenes]
    return Match(
        challenger=pointer["model"],
        champion=None if champion == pointer["model"] else champion,
        scenes=fingerprint([scenes, loop.spec.code_version("evaluation")]),
    )


def run(loop: Loop) -> StageReport:
    """Score the challenger; nothing is done if it was scored on these scenes before.

    Raises:
        ConfigurationError: If there is no challenger or no training set.
        NoDataError: If no labelled scene falls to the gate, or none has ground without a plume.
    """
    started = perf_counter()
    found = required(loop)
    match = match_of(loop, found)
    document = find_document(evaluation_url(loop, match))
    unchanged = document is not None
    if document is None:
        document = _judged(loop, found, match)
        write_document(evaluation_url(loop, match), document)
    write_document(loop.url(_POINTER), {"evaluation": _file(match)})
    return _report(loop, match, document, seconds=perf_counter() - started, unchanged=unchanged)


def decision_of(loop: Loop, match: Match) -> Decision | None:
    """The gate's own decision on a match; None if it was not evaluated yet."""
    document = find_document(evaluation_url(loop, match))
    return None if document is None else Decision.of_json(document["decision"])


def last_evaluation(loop: Loop) -> dict[str, Any] | None:
    """What was found in the last evaluation; None if there was none."""
    pointer = find_document(loop.url(_POINTER))
    if pointer is None:
        return None
    return find_document(loop.url("evaluations", pointer["evaluation"]))


def evaluation_url(loop: Loop, match: Match) -> str:
    """What was found in a match, and the gate's decision on it."""
    return loop.url("evaluations", _file(match))


def _file(match: Match) -> str:
    return f"{match.challenger}-{match.name}.json"


def _judged(loop: Loop, found: TrainingSet, match: Match) -> dict[str, Any]:
    scenes = found.gate_scenes
    if not scenes:
        raise NoDataError(
            f"no labelled scene of {loop.spec.name} falls to the gate: it takes "
            f"{loop.splits.shares[Split.GATE]:.0%} of the sites, from "
            f"{loop.splits.holdout:%Y-%m-%d} on; label scenes there"
        )
    source = found.source(loop).counting(found.of(Split.GATE))
    registry = loop.registry
    challenger = Learned(detector=registry.load(match.challenger).detector, name=match.challenger)
    finders: list[Finder] = [challenger, Classical(corrected=True)]
    if match.champion is not None:
        champion = registry.load(match.champion)
        finders.append(Learned(detector=champion.detector, name=champion.id))
    places = [one.scene for one in scenes]
    evaluations = evaluate(finders, places, source)
    role = "baseline" if match.champion is None else "champion"
    before = Side(role=role, finder=finders[-1], evaluation=evaluations[-1])
    after = Side(role="challenger", finder=challenger, evaluation=evaluations[0])
    picture = picture_of(before, after, places, source)
    keep_picture(loop, match.challenger, match.champion, picture)
    ours, other = release([challenger, finders[-1]], places, source, loop.canaries)
    evidence = Evidence(
        challenger=evaluations[0],
        baseline=evaluations[1],
        integrity=examine(challenger.detector, whole(source, _largest(scenes)).channels),
        canaries=ours,
        other_canaries=other,
        champion=evaluations[2] if match.champion is not None else None,
        bootstrap=loop.bootstrap,
    )
    return {
        **asdict(match),
        "set": found.name,
        "decision": decide(evidence, loop.rules).to_json(),
        "finders": [_scores(one) for one in evaluations],
        "gains": _gains(evidence),
        "canaries": {
            one.finder: {f"{q:g}": p for q, p in one.by_rate.items()} for one in (ours, other)
        },
        "integrity": asdict(evidence.integrity),
        "reliability": [list(one) for one in evidence.challenger.reliability],
    }


def _largest(scenes: Sequence[Labelled]) -> Labelled:
    return max(scenes, key=lambda one: one.scene.shape[0] * one.scene.shape[1])


def _scores(one: Evaluation) -> dict[str, Any]:
    return {
        "finder": one.finder,
        "summary": _numbers(one.summary),
        "recall_by_strength": {
            name: {"found": found, "there": there}
            for name, (found, there) in one.recall_by_strength.items()
        },
        "slices": {name: _numbers(part.summary) for name, part in one.slices().items()},
    }


def _gains(evidence: Evidence) -> list[dict[str, Any]]:
    others = [one for one in (evidence.baseline, evidence.champion) if one is not None]
    return [
        {"over": other.finder, **_numbers(asdict(gain))}
        for other in others
        for metric in ("average_precision", "object_f1")
        for gain in [compare(evidence.challenger, other, metric, evidence.bootstrap)]
    ]


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: what could not be scored is null."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }


def _report(
    loop: Loop, match: Match, document: Mapping[str, Any], *, seconds: float, unchanged: bool
) -> StageReport:
    challenger = document["finders"][0]["summary"]
    facts = {name: challenger[name] for name in (*METRICS, "calibration_error", "sites")}
    # A table has the same columns in every row; only what has probabilities is calibrated.
    rows: list[Mapping[str, Any]] = [
        {"finder": one["finder"]} | {name: one["summary"].get(name) for name in challenger}
        for one in document["finders"]
    ]
    return StageReport(
        outcome=Outcome.UNCHANGED if unchanged else Outcome.WRITTEN,
        fingerprint=match.name,
        note=f"{match.challenger} against {match.champion or 'the baseline alone'}: "
        f"{_precision(challenger)} on {challenger['plumes']:.0f} plumes",
        facts={
            "challenger": match.challenger,
            "champion": match.champion,
            **facts,
            "plumes": round(challenger["plumes"]),
        },
        tables={
            "scores": rows,
            "gains": document["gains"],
            "integrity": [document["integrity"]],
            "canaries": [
                {"finder": name, **{f"{rate} t/h": part for rate, part in found.items()}}
                for name, found in document["canaries"].items()
            ],
            "recall_by_strength": [
                {"finder": one["finder"], "plumes": name, **counts}
                for one in document["finders"]
                for name, counts in one["recall_by_strength"].items()
            ],
        },
        pictures={
            **kept_picture(loop, match.challenger, match.champion),
            "reliability": _diagram(match.challenger, document["reliability"]),
        },
        artefact=Artefact(
            evaluation_url(loop, match), {"challenger": loop.registry.item_url(match.challenger)}
        ),
        seconds=seconds,
    )


def _precision(summary: Mapping[str, Any]) -> str:
    found = summary["average_precision"]
    return "nothing to score" if found is None else f"average precision {found:.3f}"


def _diagram(model: str, bins: Sequence[Sequence[float]]) -> bytes:
    axes = Axes(
        title=f"Reliability of {model}",
        x="probability that it says",
        y="part that are plume",
        diagonal=True,
    )
    return chart(axes, {"pixels": ([b[0] for b in bins], [b[1] for b in bins])})
