"""The gate: what is good passes, and every way of being bad is named."""

import dataclasses
import json
from datetime import UTC, datetime

import equinox as eqx
import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detector import Detector
from geostack_dagster.learning.calibrate import calibrated
from geostack_dagster.learning.canary import CanaryPlan, release
from geostack_dagster.learning.evaluate import Bootstrap, compare, evaluate
from geostack_dagster.learning.finders import Classical, Learned
from geostack_dagster.learning.gate import Decision, Evidence, Outcome, Rules, decide
from geostack_dagster.learning.integrity import Integrity, examine
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.train import fit
from tests.learning.world import GATE, SMALL, TRAIN, VALIDATION

RULES = Rules(plumes=15)
NOW = datetime(2024, 8, 1, 12, tzinfo=UTC)
SOUND = Integrity(reloads=True, deterministic=True, finite=True, halo_difference=1e-8)


def weigh(world, challenger, champion=None):
    """Evidence on a challenger, all on the gate scenes."""
    scenes = world.scenes[GATE]
    finders = [Learned(detector=challenger, name="challenger", core=96), Classical()]
    if champion is not None:
        finders.append(Learned(detector=champion, name="champion", core=96))
    ours, baseline, *others = evaluate(finders, scenes, world)
    plan = CanaryPlan(trials=10, size=48)
    canaries, *rest = release([finders[0], finders[-1]], scenes, world, plan)
    return Evidence(
        challenger=ours,
        baseline=baseline,
        champion=others[0] if others else None,
        integrity=examine(challenger, world.maps[scenes[0].id].channels),
        canaries=canaries,
        other_canaries=rest[-1],
        bootstrap=Bootstrap(draws=200),
    )


@pytest.fixture(scope="module")
def first(world, model):
    """Evidence on the first model, without a champion."""
    return weigh(world, model[0])


@pytest.fixture(scope="module")
def poisoned(world):
    """A model from labels of which half were turned round: plumes are ground, ground is plume."""
    samples = assemble(world.chips(world.scenes[TRAIN]), world)
    rng = np.random.default_rng(0)
    turned = rng.random(len(samples.ids)) < 0.5
    plume = np.where(turned[:, None, None], ~samples.plume & samples.known, samples.plume)
    trained = fit(dataclasses.replace(samples, plume=plume), SMALL)
    return calibrated(trained.detector, assemble(world.chips(world.scenes[VALIDATION]), world))


def failed(decision):
    return {check.name: check.otherwise for check in decision.checks if not check.passed}


def test_a_good_first_model_is_promoted(first):
    decision = decide(first, RULES)
    assert decision.outcome is Outcome.PROMOTE
    assert decision.champion is None
    assert decision.reasons[0].startswith("better than the classical baseline: +")


def test_a_poisoned_challenger_is_rejected_with_its_reasons(world, model, poisoned):
    decision = decide(weigh(world, poisoned, champion=model[0]), RULES)
    assert decision.outcome is Outcome.REJECT
    assert decision.champion == "champion"
    assert "not worse than the champion in average_precision" in failed(decision)
    assert "average_precision" in decision.reasons[0] or "baseline" in decision.reasons[0]


def test_the_champion_itself_gains_nothing(world, model):
    decision = decide(weigh(world, model[0], champion=model[0]), RULES)
    assert decision.outcome is Outcome.SHADOW
    assert set(failed(decision)) == {
        "better than the champion in average_precision",
        "better than the champion in object_f1",
    }


def blind(canaries):
    return dataclasses.replace(canaries, found=np.zeros_like(canaries.found))


def noisy(evaluation, wrong):
    first, *rest = evaluation.scenes
    counts = first.counts._replace(wrong=np.asarray(wrong))
    return dataclasses.replace(
        evaluation, scenes=(dataclasses.replace(first, counts=counts), *rest)
    )


def boastful(evaluation):
    """Every score a few logits too high."""
    scenes = tuple(
        dataclasses.replace(
            scene,
            counts=scene.counts._replace(
                plume=np.roll(scene.counts.plume, 350), free=np.roll(scene.counts.free, 350)
            ),
        )
        for scene in evaluation.scenes
    )
    return dataclasses.replace(evaluation, scenes=scenes)


SPOILED = {
    "weights survive writing and reading": lambda evidence: {
        "integrity": dataclasses.replace(SOUND, reloads=False)
    },
    "the same input gives the same bits": lambda evidence: {
        "integrity": dataclasses.replace(SOUND, deterministic=False)
    },
    "every observed pixel has a finite result": lambda evidence: {
        "integrity": dataclasses.replace(SOUND, finite=False)
    },
    "tiles equal the whole scene": lambda evidence: {
        "integrity": dataclasses.replace(SOUND, halo_difference=1e-5)
    },
    "better than the classical baseline": lambda evidence: {
        "challenger": dataclasses.replace(evidence.baseline, probabilistic=True)
    },
    "false alarms": lambda evidence: {"challenger": noisy(evidence.challenger, 30)},
    "injected plumes of 5 t/h": lambda evidence: {"canaries": blind(evidence.canaries)},
}


@pytest.mark.parametrize("name", SPOILED)
def test_each_way_to_harm_is_enough_for_rejection(first, name):
    decision = decide(dataclasses.replace(first, **SPOILED[name](first)), RULES)
    assert decision.outcome is Outcome.REJECT
    assert failed(decision)[name] is Outcome.REJECT


@pytest.mark.parametrize(
    ("name", "change", "rules"),
    [
        ("enough evidence", lambda evidence: {}, Rules(plumes=10_000)),
        ("enough evidence", lambda evidence: {}, Rules(plumes=15, sites=500)),
        (
            "probabilities mean what they say",
            lambda evidence: {"challenger": boastful(evidence.challenger)},
            RULES,
        ),
    ],
)
def test_what_is_only_not_shown_is_kept_in_the_shadow(first, name, change, rules):
    decision = decide(dataclasses.replace(first, **change(first)), rules)
    assert decision.outcome is Outcome.SHADOW
    assert failed(decision) == {name: Outcome.SHADOW}


def test_a_slice_that_loses_is_named(first):
    champion = dataclasses.replace(first.challenger, finder="champion")
    dim = {"surface": "dark"}
    worse = dataclasses.replace(
        first.challenger,
        scenes=tuple(
            dataclasses.replace(
                scene,
                counts=scene.counts._replace(found=np.asarray(0)),
                truths=tuple(truth._replace(found=False) for truth in scene.truths),
            )
            if scene.tags == dim
            else scene
            for scene in first.challenger.scenes
        ),
    )
    evidence = dataclasses.replace(first, challenger=worse, champion=champion)
    lenient = dataclasses.replace(RULES, f1_loss=1.0, slice_plumes=5)
    names = failed(decide(evidence, lenient))
    assert names["detection_rate where surface=dark"] is Outcome.REJECT
    assert "detection_rate where surface=bright" not in names
    assert any(name.startswith("recall of ") for name in names)
    few = failed(decide(evidence, dataclasses.replace(lenient, slice_plumes=500)))
    assert not any("where" in name or "recall of" in name for name in few)


def without_plumes(evaluation):
    """The same scenes, had there been no plume in them."""
    nothing = np.asarray(0)
    return dataclasses.replace(
        evaluation,
        scenes=tuple(
            dataclasses.replace(
                scene,
                truths=(),
                counts=scene.counts._replace(
                    plume=0 * scene.counts.plume, truths=nothing, found=nothing, hits=nothing
                ),
            )
            for scene in evaluation.scenes
        ),
    )


def unobserved(evaluation):
    """The same scenes under cloud: nothing can be said anywhere."""
    return dataclasses.replace(
        evaluation,
        scenes=tuple(
            dataclasses.replace(
                scene, truths=(), counts=scene.counts._make(0 * count for count in scene.counts)
            )
            for scene in evaluation.scenes
        ),
    )


@pytest.mark.parametrize("spoil", [without_plumes, unobserved])
def test_where_there_is_nothing_to_tell_by_nothing_is_rejected(first, spoil):
    """Nor promoted, and it is said why."""
    champion = dataclasses.replace(first.challenger, finder="champion")
    parts = {"challenger": first.challenger, "baseline": first.baseline, "champion": champion}
    decision = decide(
        dataclasses.replace(first, **{name: spoil(one) for name, one in parts.items()}), RULES
    )
    assert decision.outcome is Outcome.SHADOW
    assert "enough evidence" in failed(decision)
    assert any("no plume to tell by" in reason for reason in decision.reasons)
    json.dumps(decision.to_json(), allow_nan=False)


def missing(evaluation, count):
    """The finder, had it missed one of the plumes that it found in so many scenes."""
    left, scenes = count, []
    for scene in evaluation.scenes:
        taken = min(left, int(scene.counts.found), 1)
        left -= taken
        counts = scene.counts._replace(
            found=scene.counts.found - taken, right=scene.counts.right - taken
        )
        scenes.append(dataclasses.replace(scene, counts=counts))
    return dataclasses.replace(evaluation, scenes=tuple(scenes))


def test_a_loss_is_rejected_where_it_is_likely_and_else_it_is_not_shown_that_there_is_none(first):
    """The same evidence against two rules: the 5th percentile fails both, the median but one."""
    champion = dataclasses.replace(first.challenger, finder="champion")
    ours = missing(first.challenger, 3)
    gain = compare(ours, champion, "object_f1", first.bootstrap)
    assert gain.low < gain.median < 0
    evidence = dataclasses.replace(first, challenger=ours, champion=champion)
    name = "not worse than the champion in object_f1"
    for loss, outcome in (
        (-gain.median / 2, Outcome.REJECT),
        (-(gain.low + gain.median) / 2, Outcome.SHADOW),
    ):
        rules = dataclasses.replace(RULES, f1_loss=loss, slice_plumes=10_000)
        decision = decide(evidence, rules)
        assert failed(decision)[name] is outcome
        assert decision.outcome is outcome


def test_a_slice_is_rejected_only_where_chance_does_not_explain_its_loss(first):
    champion = dataclasses.replace(first.challenger, finder="champion")
    rules = dataclasses.replace(RULES, f1_loss=1.0, slice_plumes=5, slice_recall_loss=0.0)
    one = dataclasses.replace(first, challenger=missing(first.challenger, 1), champion=champion)
    losses = [
        outcome
        for name, outcome in failed(decide(one, rules)).items()
        if name.startswith("detection_rate where")
    ]
    assert losses == [Outcome.SHADOW]


def test_one_false_alarm_more_is_no_proof(first):
    few = dataclasses.replace(
        first, challenger=noisy(first.challenger, 1), baseline=noisy(first.baseline, 0)
    )
    assert "false alarms" not in failed(decide(few, RULES))


def test_a_person_may_decide_otherwise_and_both_decisions_are_kept(first):
    decision = decide(first, Rules(plumes=10_000))
    final = decision.overridden(
        Outcome.PROMOTE, person="Ada", reason="the season ends", decided=NOW
    )
    assert (final.verdict, final.outcome) == (Outcome.SHADOW, Outcome.PROMOTE)
    assert final.reasons[0] == "Ada decided promote: the season ends"
    assert final.reasons[1:] == decision.reasons
    document = json.loads(json.dumps(final.to_json()))
    assert document["outcome"] == "promote"
    assert document["verdict"] == "shadow"
    assert Decision.of_json(document) == final
    assert Decision.of_json(json.loads(json.dumps(decision.to_json()))) == decision
    for person, reason in (("", "because"), ("Ada", " ")):
        with pytest.raises(ConfigurationError, match="a person and a reason"):
            decision.overridden(Outcome.REJECT, person=person, reason=reason, decided=NOW)


class TestIntegrity:
    def test_a_sound_model(self, world, model):
        found = examine(model[0], world.maps["scene-000"].channels)
        assert (found.reloads, found.deterministic, found.finite) == (True, True, True)
        assert found.halo_difference < 1e-6

    def test_a_model_that_gives_no_numbers(self, world, model):
        network = eqx.tree_at(
            lambda net: net.bias, model[0].network, model[0].network.bias * float("nan")
        )
        broken = dataclasses.replace(model[0], network=network)
        assert not examine(broken, world.maps["scene-000"].channels).finite

    def test_a_model_that_looks_at_the_whole_tile(self, world):
        """A detector with a mean over the map, as group normalisation has: tiles show."""

        small = Detector.untrained(SMALL.architecture)
        maps = world.maps["scene-001"].channels

        class Mean(type(small.network)):
            def __call__(self, maps):
                return super().__call__(maps) + maps[..., 0].mean()

        mean = object.__new__(Mean)
        for field in dataclasses.fields(small.network):
            object.__setattr__(mean, field.name, getattr(small.network, field.name))
        found = examine(dataclasses.replace(small, network=mean), maps)
        assert found.halo_difference > 1e-4
