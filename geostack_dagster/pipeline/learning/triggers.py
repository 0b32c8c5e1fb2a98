"""Whether a training is worth asking for, and why; a pure function of what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from geostack_dagster.domain.counts import counted
from geostack_dagster.pipeline.labels import LabelSet, label_log, stored_labels
from geostack_dagster.pipeline.learning.documents import CHALLENGER, find_document
from geostack_dagster.pipeline.learning.drift import last_drift
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.learning.spec import RetrainRule
from geostack_dagster.pipeline.learning.training_set import TrainingSet, statement, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What speaks for and against a training."""

    now: datetime
    new_labels: int
    """Labels that say something which the last model did not learn from."""
    learnt_labels: int
    """Labels that the last model learnt from."""
    trained: datetime | None
    """When a training was last asked for or done; None if never."""
    has_died: bool = False
    """Whether the last training that was asked for ended without a verdict."""
    drift: str | None = None
    """What the drift test said, if it found any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is to be done."""

    reasons: tuple[str, ...]
    """For a training; none if it is not wanted."""
    note: str
    """Why not, or all reasons in a line."""

    @property
    def wanted(self) -> bool:
        """Whether to train."""
        return bool(self.reasons)


def advise(known: Known, rule: RetrainRule) -> Advice:
    """Whether to train now: enough new labels, drift, or new labels and an old model."""
    if known.trained is None:
        if not known.new_labels:
            return Advice(reasons=(), note="nothing was labelled yet: nothing to learn from")
        return _wanted([f"first training, on {counted(known.new_labels, 'label')}"])
    wanted = max(rule.new_labels, round(rule.new_share * known.learnt_labels))
    reasons = []
    if known.new_labels >= wanted:
        reasons.append(f"{known.new_labels} new labels, {wanted} are enough")
    age = known.now - known.trained
    if known.new_labels and age >= timedelta(days=rule.oldest_days):
        reasons.append(f"the last training is {age.days} days old, and there are new labels")
    if known.drift is not None:
        reasons.append(known.drift)
    if known.has_died:
        reasons.append("the last training ended without a verdict")
    if not reasons:
        return Advice(
            reasons=(),
            note=f"{known.new_labels} of {wanted} new labels, no drift, last training "
            f"{age.days} days ago",
        )
    left = timedelta(hours=rule.cool_down_hours) - age
    if left > timedelta(0):
        return Advice(
            reasons=(),
            note=f"cooling down for another {left.total_seconds() / 3600:.1f} h, though: "
            + "; ".join(reasons),
        )
    return _wanted(reasons)


def _wanted(reasons: Sequence[str]) -> Advice:
    return Advice(reasons=tuple(reasons), note="; ".join(reasons))


def look(
    loop: Loop, *, mark: int, asked: datetime | None, now: datetime, has_died: bool = False
) -> Known:
    """What is known now.

    Args:
        loop: The detector.
        mark: Entries of the label log that an earlier training already stands for.
        asked: When a training was last asked for.
        now: The present.
        has_died: Whether that one ended without a verdict: then it stands for nothing.
    """
    found = _learnt(loop)
    statements = {} if found is None else found.statements
    entries = len(label_log(loop.workspace))
    since = 0 if has_died or found is None else mark
    # Past the mark all of them are held against what was learnt: also those that a training which
    # was cancelled stood for.
    new = _new(stored_labels(loop.workspace).sets, statements) if entries > since else 0
    times = [one for one in (None if has_died else asked, _trained(loop)) if one is not None]
    drift = last_drift(loop)
    champion = loop.registry.aliases.champion  # drift from what another one learnt is past
    is_drift = drift is not None and drift["drifted"] and drift["champion"] == champion
    return Known(
        now=now,
        new_labels=new,
        learnt_labels=len(statements),
        trained=max(times, default=None),
        has_died=has_died,
        drift=drift["reason"] if drift is not None and is_drift else None,
    )


def _new(sets: Sequence[LabelSet], known: Mapping[str, str]) -> int:
    """Labels whose latest statement is not the one that was learnt."""
    stated = {label.id: label for one in sets for label in one.labels}
    return sum(known.get(name) != statement(label) for name, label in stated.items())


def trained_on(loop: Loop) -> str | None:
    """Fingerprint of the material that the present challenger learnt from."""
    document = find_document(loop.url(CHALLENGER))
    return None if document is None else str(document["inputs"])


def is_judged(loop: Loop, since: datetime) -> bool:
    """Whether a challenger was asked for since then and promoted, shadowed or rejected."""
    document = find_document(loop.url(CHALLENGER))
    if document is None or datetime.fromisoformat(document["asked"]) < since:
        return False
    model, registry = document["model"], loop.registry
    return registry.aliases.champion == model or any(
        event["model"] == model and "decision" in event for event in registry.history
    )


def _learnt(loop: Loop) -> TrainingSet | None:
    """What the present challenger learnt from; a set that no training used is not learnt."""
    document = find_document(loop.url(CHALLENGER))
    return None if document is None else stored(loop, f"{document['inputs']}-{document['data']}")


def _trained(loop: Loop) -> datetime | None:
    document: dict[str, Any] | None = find_document(loop.url(CHALLENGER))
    return None if document is None else datetime.fromisoformat(document["asked"])
