"""The gate: a challenger is promoted, kept in the shadow or rejected, and told why.

Rejected is what would harm: broken, blind, or worse than what is there. Shadowed is what may be
good but has not shown it: too little evidence, no gain, a loss that chance may explain,
probabilities that cannot be believed. A person may decide otherwise; both decisions are kept.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from scipy.stats import binomtest

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.learning.canary import Canaries, blinder, fewer
from geostack_dagster.learning.evaluate import Bootstrap, Difference, Evaluation, compare
from geostack_dagster.learning.integrity import Integrity
from geostack_dagster.learning.metrics import false_per_1000_km2


class Outcome(StrEnum):
    """What becomes of a challenger, worst last."""

    PROMOTE = "promote"
    SHADOW = "shadow"
    """It may run beside the champion; nothing depends on it."""
    REJECT = "reject"


_GAIN = "better than"
_SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a challenger must show."""

    halo_difference: float = 1e-6
    ap_loss: float = 0.01
    """Most average precision that it may lose to the champion, at the 5th percentile."""
    f1_loss: float = 0.02
    """Most F1 of plumes that it may lose to the champion, at the 5th percentile."""
    baseline_gain: float = 0.02
    """Least average precision above the classical baseline."""
    slice_plumes: int = 30
    """Plumes from which a slice has a say."""
    slice_ap_loss: float = 0.03
    slice_recall_loss: float = 0.05
    recall_chance: float = 0.05
    """Chance below which missing more plumes of one strength than the champion is no accident."""
    false_alarm_growth: float = 1.1
    """Most false alarms per area, relative to the champion, or to the baseline without one."""
    false_alarm_chance: float = 0.05
    """Chance below which more false alarms than that are no accident."""
    calibration_error: float = 0.03
    canary_chance: float = 0.01
    """Chance below which missing more canaries than the champion is no accident, over all rates."""
    sites: int = 8
    """Least sites for a verdict."""
    plumes: int = 20
    """Least true plumes for a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a challenger, all on the same gate scenes."""

    challenger: Evaluation
    baseline: Evaluation
    integrity: Integrity
    canaries: Canaries
    other_canaries: Canaries
    """Of the champion, or of the baseline without one."""
    champion: Evaluation | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str
    """What was found against what was asked, in words and figures."""
    otherwise: Outcome
    """The best outcome left if it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A person's decision against the gate's."""

    outcome: Outcome
    person: str
    reason: str
    decided: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a challenger, and why."""

    challenger: str
    champion: str | None
    checks: tuple[Check, ...]
    override: Override | None = None

    @property
    def verdict(self) -> Outcome:
        """What the checks say."""
        failed = [check.otherwise for check in self.checks if not check.passed]
        return max(failed, key=lambda outcome: _SEVERITY[outcome], default=Outcome.PROMOTE)

    @property
    def outcome(self) -> Outcome:
        """What holds: the person's decision if there is one."""
        return self.verdict if self.override is None else self.override.outcome

    @property
    def reasons(self) -> tuple[str, ...]:
        """What stood against it, worst first; without that, what speaks for it, gains first."""
        failed = [check for check in self.checks if not check.passed]
        failed.sort(key=lambda check: -_SEVERITY[check.otherwise])
        gains_first = sorted(self.checks, key=lambda check: not check.name.startswith(_GAIN))
        told = tuple(f"{check.name}: {check.found}" for check in failed or gains_first)
        if self.override is None:
            return told
        decided = f"{self.override.person} decided {self.override.outcome}: {self.override.reason}"
        return (decided, *told)

    def overridden(
        self, outcome: Outcome, *, person: str, reason: str, decided: datetime
    ) -> "Decision":
        """The decision with a person's own beside it.

        Raises:
            ConfigurationError: If the person or the reason is not named.
        """
        if not person.strip() or not reason.strip():
            raise ConfigurationError("a decision against the gate needs a person and a reason")
        override = Override(outcome=outcome, person=person, reason=reason, decided=decided)
        return replace(self, override=override)

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON, outcome and reasons spelled out."""
        document = asdict(self)
        if self.override is not None:
            document["override"]["decided"] = self.override.decided.isoformat()
        return document | {
            "verdict": self.verdict,
            "outcome": self.outcome,
            "reasons": list(self.reasons),
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> "Decision":
        """The decision that `to_json` wrote."""
        checks = tuple(
            Check(**(check | {"otherwise": Outcome(check["otherwise"])}))
            for check in document["checks"]
        )
        override = document.get("override")
        return cls(
            challenger=document["challenger"],
            champion=document["champion"],
            checks=checks,
            override=None
            if override is None
            else Override(
                outcome=Outcome(override["outcome"]),
                person=override["person"],
                reason=override["reason"],
                decided=datetime.fromisoformat(override["decided"]),
            ),
        )


def decide(evidence: Evidence, rules: Rules | None = None) -> Decision:
    """The gate's decision: the worst that any failed check allows."""
    rules = rules or Rules()
    return Decision(
        challenger=evidence.challenger.finder,
        champion=None if evidence.champion is None else evidence.champion.finder,
        checks=tuple(check for look in _LOOKS for check in look(evidence, rules)),
    )


def _integrity(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    found = evidence.integrity
    facts = {
        "weights survive writing and reading": found.reloads,
        "the same input gives the same bits": found.deterministic,
        "every observed pixel has a finite result": found.finite,
    }
    for name, holds in facts.items():
        yield _check(name, passed=holds, found="yes" if holds else "no")
    yield _check(
        "tiles equal the whole scene",
        passed=found.halo_difference < rules.halo_difference,
        found=f"difference {found.halo_difference:.1e}, allowed {rules.halo_difference:.0e}",
    )


def _size(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    found = evidence.challenger.summary
    yield _check(
        "enough evidence",
        passed=found["sites"] >= rules.sites and found["plumes"] >= rules.plumes,
        found=f"{found['plumes']:.0f} plumes at {found['sites']:.0f} sites, wanted "
        f"{rules.plumes} at {rules.sites}",
        otherwise=Outcome.SHADOW,
    )


def _against_baseline(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    gain = compare(evidence.challenger, evidence.baseline, "average_precision", evidence.bootstrap)
    yield _check(
        "better than the classical baseline",
        passed=gain.value > rules.baseline_gain,
        found=f"{_spoken(gain)}, wanted more than {rules.baseline_gain:+.3f}",
        otherwise=Outcome.SHADOW if math.isnan(gain.value) else Outcome.REJECT,
    )


def _against_champion(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    if evidence.champion is None:
        return
    allowed = {"average_precision": rules.ap_loss, "object_f1": rules.f1_loss}
    for metric, loss in allowed.items():
        gain = compare(evidence.challenger, evidence.champion, metric, evidence.bootstrap)
        yield _check(
            f"not worse than the champion in {metric}",
            passed=gain.low > -loss,
            found=f"{_spoken(gain)}, allowed {-loss:+.3f} at the 5th percentile",
            # Few plumes leave a wide interval: only where such a loss is the likelier case is it
            # harm, else it is not shown that there is none.
            otherwise=Outcome.REJECT if gain.median < -loss else Outcome.SHADOW,
        )
        yield _check(
            f"better than the champion in {metric}",
            passed=gain.median > 0,
            found=f"{_spoken(gain)}, wanted a median above 0",
            otherwise=Outcome.SHADOW,
        )


def _slices(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    if evidence.champion is None:
        return
    theirs = evidence.champion.slices()
    for name, part in evidence.challenger.slices().items():
        plumes = int(part.counts.truths)
        if plumes < rules.slice_plumes:
            continue
        for metric, loss in (
            ("average_precision", rules.slice_ap_loss),
            ("detection_rate", rules.slice_recall_loss),
        ):
            gain = compare(part, theirs[name], metric, evidence.bootstrap)
            yield _check(
                f"{metric} where {name}",
                passed=gain.value >= -loss,
                found=f"{_spoken(gain)} on {plumes} plumes, allowed {-loss:+.3f}",
                otherwise=Outcome.REJECT if gain.high < 0 else Outcome.SHADOW,
            )


def _strengths(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    if evidence.champion is None:
        return
    theirs = evidence.champion.found_by_strength
    for name, ours in evidence.challenger.found_by_strength.items():
        there = len(ours)
        if there < rules.slice_plumes:
            continue
        change = float(ours.mean() - theirs[name].mean())
        chance = fewer(ours, theirs[name])
        yield _check(
            f"recall of {name} plumes",
            passed=change >= -rules.slice_recall_loss,
            found=f"{change:+.3f} of {there}, allowed {-rules.slice_recall_loss:+.3f} "
            f"(chance {chance:.3g})",
            otherwise=Outcome.REJECT if chance < rules.recall_chance else Outcome.SHADOW,
        )


def _false_alarms(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    reference = evidence.champion or evidence.baseline
    ours, theirs = evidence.challenger.counts, reference.counts
    wrong, others = int(ours.wrong), int(theirs.wrong)
    # Of all false alarms, ours would be at most this share: exact, however few there are.
    area = rules.false_alarm_growth * float(ours.area_km2)
    chance = 1.0
    if wrong + others:
        share = area / (area + float(theirs.area_km2))
        chance = float(binomtest(wrong, wrong + others, share, alternative="greater").pvalue)
    rates = [float(false_per_1000_km2(counts)) for counts in (ours, theirs)]
    yield _check(
        "false alarms",
        passed=chance >= rules.false_alarm_chance,
        found=f"{rates[0]:.2f} per 1000 km2 ({wrong}), {reference.finder} {rates[1]:.2f} "
        f"({others}), allowed {rules.false_alarm_growth:g} times as many (chance {chance:.3g})",
    )


def _calibration(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    found = evidence.challenger.summary["calibration_error"]
    yield _check(
        "probabilities mean what they say",
        passed=found <= rules.calibration_error,
        found=f"calibration error {found:.4f}, allowed {rules.calibration_error}",
        otherwise=Outcome.SHADOW,
    )


def _canaries(evidence: Evidence, rules: Rules) -> Iterator[Check]:
    chances = blinder(evidence.canaries, evidence.other_canaries)
    ours, theirs = evidence.canaries.by_rate, evidence.other_canaries.by_rate
    for rate, chance in chances.items():
        yield _check(
            f"injected plumes of {rate:g} t/h",
            passed=chance >= rules.canary_chance / len(chances),
            found=f"found {ours[rate]:.0%}, {evidence.other_canaries.finder} {theirs[rate]:.0%} "
            f"(chance {chance:.3g})",
        )


_LOOKS: tuple[Callable[[Evidence, Rules], Iterator[Check]], ...] = (
    _integrity,
    _size,
    _against_baseline,
    _against_champion,
    _slices,
    _strengths,
    _false_alarms,
    _calibration,
    _canaries,
)


def _check(name: str, *, passed: bool, found: str, otherwise: Outcome = Outcome.REJECT) -> Check:
    return Check(name=name, passed=bool(passed), found=found, otherwise=otherwise)


def _spoken(gain: Difference) -> str:
    if math.isnan(gain.value):
        return "no plume to tell by"
    return f"{gain.value:+.3f} (90 % between {gain.low:+.3f} and {gain.high:+.3f})"
