"""The gate's decision, a person's against it, and who is champion after either."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.learning.gate import Check, Decision, Outcome
from geostack_dagster.learning.registry import Aliases
from geostack_dagster.pipeline.artefacts import Artefact
from geostack_dagster.pipeline.learning.beside import kept_picture
from geostack_dagster.pipeline.learning.documents import find_document, write_document
from geostack_dagster.pipeline.learning.evaluation import (
    Match,
    decision_of,
    evaluation_url,
    match_of,
)
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.report import Outcome as Done
from geostack_dagster.pipeline.report import StageReport

_BY = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate asset says, and whether it lets the champion change."""

    report: StageReport
    decision: Decision | None
    """None where the challenger is the champion already."""

    @property
    def passed(self) -> bool:
        """Whether nothing stands against the champion that there will be."""
        return self.decision is None or self.decision.outcome is not Outcome.REJECT


def judge(loop: Loop) -> Verdict:
    """Decide on the present challenger and record a rejection or a place in the shadow.

    A person's decision on this match holds if there is one (`override`).

    Raises:
        ConfigurationError: If the match was not evaluated yet.
    """
    started = perf_counter()
    match = match_of(loop)
    if loop.registry.aliases.champion == match.challenger:
        return _nothing_to_decide(loop, match, perf_counter() - started)
    decision = _decision(loop, match)
    if decision.outcome is not Outcome.PROMOTE and not _is_recorded(loop, decision):
        loop.registry.apply(decision, by=_BY, at=datetime.now(UTC))
    failed = [check for check in decision.checks if not check.passed]
    report = StageReport(
        outcome=Done.WRITTEN,
        fingerprint=fingerprint([match.name, decision.to_json()]),
        note=f"{decision.outcome.value}: {'; '.join(decision.reasons[:3])}",
        facts={
            "decision": decision.outcome.value,
            "verdict": decision.verdict.value,
            "challenger": decision.challenger,
            "champion": decision.champion,
            "failed_checks": len(failed),
            "overridden_by": None if decision.override is None else decision.override.person,
        },
        tables={
            "checks": [
                {"check": one.name, "passed": one.passed, "found": one.found}
                for one in decision.checks
            ]
        },
        pictures=kept_picture(loop, match.challenger, match.champion),
        artefact=_judgement(loop, match),
        seconds=perf_counter() - started,
    )
    return Verdict(report=report, decision=decision)


def promote(loop: Loop) -> StageReport:
    """Make the challenger champion if the gate, or a person, says so; else keep the champion.

    Raises:
        ConfigurationError: If the match was not evaluated yet.
        ConflictError: If the champion changed since the decision.
        IntegrityError: If the challenger's weights are not whole.
    """
    started = perf_counter()
    match = match_of(loop)
    before = loop.registry.aliases.champion
    if before != match.challenger:
        decision = _decision(loop, match)
        if decision.outcome is Outcome.PROMOTE:
            loop.registry.apply(decision, by=_BY, at=datetime.now(UTC))
    after = loop.registry.aliases.champion
    note = (
        f"still {after or 'none'}" if after == before else f"{after} in place of {before or 'none'}"
    )
    return replace(
        standing(loop, before, note),
        artefact=Artefact(loop.registry.url, {"evaluation": evaluation_url(loop, match)}),
        seconds=perf_counter() - started,
    )


def standing(loop: Loop, before: str | None, note: str) -> StageReport:
    """Who is champion now, and how that came about."""
    after = loop.registry.aliases.champion
    return StageReport(
        outcome=Done.UNCHANGED if after == before else Done.WRITTEN,
        fingerprint=champion_digest(loop) or "none",
        note=note,
        facts={"champion": after, "previous": before, "models": len(loop.registry.models)},
        tables={"history": [_row(event) for event in loop.registry.history[-20:]]},
        pictures=_promotion(loop, after),
        artefact=Artefact(loop.registry.url),
    )


def override(loop: Loop, model: str, outcome: Outcome, *, person: str, reason: str) -> Aliases:
    """Record a person's decision on the challenger, and do as it says.

    Raises:
        ConfigurationError: If the model is not the present challenger, was not evaluated, or the
            person or reason is not named.
        ConflictError: If another decision came between.
    """
    match = match_of(loop)
    if model not in (match.challenger, "challenger"):
        raise ConfigurationError(
            f"{model} is not what the gate looks at, which is {match.challenger}; "
            "to go back to an older champion use `geostack model rollback`"
        )
    decision = decision_of(loop, match)
    if decision is None:
        raise ConfigurationError(
            f"{match.challenger} was not evaluated against {match.champion or 'the baseline'}; "
            f"materialize {loop.spec.name}/evaluation first"
        )
    decided = decision.overridden(outcome, person=person, reason=reason, decided=datetime.now(UTC))
    found = loop.registry.apply(decided, by=person, at=datetime.now(UTC))
    write_document(_override_url(loop, match), decided.to_json())
    return found


def champion_digest(loop: Loop) -> str | None:
    """Digest of the champion's weights; None if there is none."""
    champion = loop.registry.aliases.champion
    return None if champion is None else loop.registry.digest_of(champion)


def _decision(loop: Loop, match: Match) -> Decision:
    """The gate's decision or a person's; a model that was rolled back needs a person's since."""
    found = decision_of(loop, match)
    if found is None:
        raise ConfigurationError(
            f"{match.challenger} was not evaluated; materialize {loop.spec.name}/evaluation first"
        )
    document = find_document(_override_url(loop, match))
    decided = None if document is None else Decision.of_json(document)
    event = _rollback_of(loop, match.challenger)
    since = None if event is None else datetime.fromisoformat(event["at"])
    if (
        decided is not None
        and decided.override is not None
        and (since is None or decided.override.decided > since)
    ):
        return decided
    if event is None:
        return found
    check = Check(
        name="never rolled back",
        passed=False,
        found=f"{event['by']} rolled it back: {event['reason']}",
        otherwise=Outcome.SHADOW,
    )
    return replace(found, checks=(*found.checks, check))


def _rollback_of(loop: Loop, model: str) -> dict[str, Any] | None:
    """The last time that a model lost its role to the champion before it."""
    events = [
        one
        for one in loop.registry.history
        if one["event"] == "rolled back" and one["previous"] == model
    ]
    return events[-1] if events else None


def _is_recorded(loop: Loop, decision: Decision) -> bool:
    """Whether the last that happened to the challenger is this decision."""
    events = [one for one in loop.registry.history if one["model"] == decision.challenger]
    told = events[-1].get("decision") if events else None
    return told is not None and Decision.of_json(told) == decision


def _override_url(loop: Loop, match: Match) -> str:
    return loop.url("overrides", f"{match.name}.json")


def _nothing_to_decide(loop: Loop, match: Match, seconds: float) -> Verdict:
    report = StageReport(
        outcome=Done.UNCHANGED,
        fingerprint=fingerprint([match.name, "champion"]),
        note=f"{match.challenger} is the champion already: the same data, code and settings",
        facts={"challenger": match.challenger, "champion": match.challenger},
        pictures=_promotion(loop, match.challenger),
        artefact=_judgement(loop, match),
        seconds=seconds,
    )
    return Verdict(report=report, decision=None)


def _judgement(loop: Loop, match: Match) -> Artefact:
    """The evaluation holds the decision; it is made from the challenger."""
    item = loop.registry.item_url(match.challenger)
    return Artefact(evaluation_url(loop, match), {"challenger": item})


def _promotion(loop: Loop, champion: str | None) -> dict[str, bytes]:
    """What changed when the champion was promoted last."""
    events = [
        one
        for one in loop.registry.history
        if one["event"] == "promoted" and one["model"] == champion
    ]
    return kept_picture(loop, events[-1]["model"], events[-1]["previous"]) if events else {}


def _row(event: dict[str, Any]) -> dict[str, Any]:
    reasons = (event.get("decision") or {}).get("reasons") or [event.get("reason") or ""]
    told = {name: event.get(name) for name in ("at", "event", "model", "previous", "by")}
    return told | {"why": "; ".join(map(str, reasons[:3]))}
