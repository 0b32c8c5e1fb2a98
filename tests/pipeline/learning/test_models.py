"""From challenger to champion: determinism, resumption, the gate, a person's word, and back."""

import dataclasses
import io
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.learning.evaluate import evaluate
from geostack_dagster.learning.finders import Classical, Learned
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.learning.objects import match
from geostack_dagster.learning.scenes import WHOLE
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline.learning import challenger, drift, evaluation, training_set, verdict
from geostack_dagster.pipeline.learning.beside import Side, kept_picture, most_telling
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.report import Outcome as Done
from tests.pipeline.learning.sites import (
    SETTINGS,
    Site,
    label,
    loop_in,
    names,
    poison_of,
    review,
    sites,
    write_cube,
)


class PowerCutError(Exception):
    """Stands for a machine that goes away."""


def poisoned(loop):
    """The loop after a bulk import, a training and an evaluation."""
    taught = [site for site in sites(loop) if site.split is not Split.GATE]
    label(loop, taught, poison_of, reviewer="bulk import")
    training_set.run(loop, names(loop))
    challenger.run(loop)
    evaluation.run(loop)


def other_seed(loop, seed=1):
    """The same loop with another seed, trained and evaluated."""
    training = SETTINGS["training"] | {"seed": seed}
    found = loop_in(loop.workspace.root, training=training)
    challenger.run(found)
    evaluation.run(found)
    return found


def test_the_same_training_is_not_done_again(loop):
    before = loop.registry.history
    report = challenger.run(loop, progress=lambda _: pytest.fail("trained"))
    assert report.outcome is Done.UNCHANGED
    assert report.facts["model"] == loop.registry.aliases.champion
    assert loop.registry.history == before
    assert b"PNG" in report.pictures["loss_curve"][:8]


def test_a_training_that_was_interrupted_ends_in_the_same_weights(loop):
    digest = verdict.champion_digest(loop)
    shutil.rmtree(loop.workspace.layout.models(loop.spec.name))
    short = loop_in(loop.workspace.root, training=SETTINGS["training"] | {"checkpoint_every": 20})

    def fail(progress):
        if progress.step == 50:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        challenger.run(short, progress=fail)
    report = challenger.run(short)
    assert report.facts["resumed_at"] == 40
    assert loop.registry.digest_of(report.facts["model"]) == digest
    assert not list(Path(loop.folder).glob("checkpoints/*"))


def test_the_first_good_model_is_champion_and_says_why(loop):
    document = evaluation.last_evaluation(loop)
    assert document["champion"] is None
    assert document["decision"]["outcome"] == "promote"
    assert {one["finder"] for one in document["finders"]} == {
        loop.registry.aliases.champion,
        "classical",
    }
    assert document["integrity"]["deterministic"]
    assert document["integrity"]["halo_difference"] < 1e-6


def test_a_promotion_is_seen_before_and_after_on_the_scene_that_tells_most(loop):
    """Plumes and false alarms that the picture names are those of the scores."""
    champion = loop.registry.aliases.champion
    (picture,) = kept_picture(loop, champion, None).values()
    assert verdict.promote(loop).pictures == {"before_after": picture}  # later runs show it too
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"

    found = training_set.required(loop)
    source = found.source(loop).counting(found.of(Split.GATE))
    scenes = [one.scene for one in found.gate_scenes]
    finders = [Classical(corrected=True), Learned(detector=loop.registry.load(champion).detector)]
    scored = evaluate(finders, scenes, source)
    sides = [
        Side(role=role, finder=finder, evaluation=one)
        for role, finder, one in zip(("baseline", "challenger"), finders, scored, strict=True)
    ]
    number = most_telling(*scored)
    apart = [
        abs(int(new.counts.found - old.counts.found))
        + abs(int(new.counts.wrong - old.counts.wrong))
        for old, new in zip(scored[0].scenes, scored[1].scenes, strict=True)
    ]
    assert apart[number] == max(apart)
    maps = source.read(scenes[number].id, WHOLE, WHOLE)
    for side in sides:
        panel, counts = side.panel(maps, number), side.evaluation.scenes[number].counts
        here = match(side.finder.find(maps).labels, maps.states, maps.enhancement)
        assert panel.notes[0].startswith(f"here: {sum(t.found for t in here.truths)} of ")
        assert f"{here.wrong} false alarm" in panel.notes[0]
        assert np.array_equal(panel.found, side.finder.find(maps).labels > 0)
        assert int(counts.wrong) == here.wrong
    assert np.nanmax(sides[1].panel(maps, number).values) <= 1.0


def test_the_champion_is_not_judged_against_itself(loop):
    before = loop.registry.history
    evaluation.run(loop)
    judged = verdict.judge(loop)
    assert judged.passed
    assert "champion already" in judged.report.note
    assert verdict.promote(loop).outcome is Done.UNCHANGED
    assert loop.registry.history == before


def test_scenes_without_a_plume_cannot_judge_and_it_is_said(fresh):
    taught = [site for site in sites(fresh) if site.split is not Split.GATE]
    label(fresh, taught)
    judging = [site for site in sites(fresh) if site.split is Split.GATE]
    label(fresh, judging, lambda workspace, site: [review(workspace, site)])
    short = loop_in(fresh.workspace.root, training=SETTINGS["training"] | {"steps": 10})
    training_set.run(short, names(short))
    challenger.run(short)
    report = evaluation.run(short)
    assert "nothing to score on 0 plumes" in report.note
    judged = verdict.judge(short)
    assert judged.decision.outcome is Outcome.SHADOW
    assert judged.passed
    assert any("no plume to tell by" in one for one in judged.decision.reasons)
    assert verdict.promote(short).facts["champion"] is None


def test_poisoned_labels_are_rejected_with_the_reason(loop):
    champion = loop.registry.aliases.champion
    poisoned(loop)
    judged = verdict.judge(loop)
    assert not judged.passed
    assert judged.decision.outcome is Outcome.REJECT
    assert any("average_precision" in reason for reason in judged.decision.reasons)
    assert verdict.promote(loop).facts["champion"] == champion
    history = loop.registry.history
    assert (history[-1]["event"], history[-1]["by"]) == ("rejected", "gate")
    verdict.judge(loop)
    assert loop.registry.history == history  # once is enough
    assert [one["event"] for one in history].count("rejected") == 1


def test_a_person_decides_otherwise_and_it_is_on_record(loop):
    poisoned(loop)
    rejected = verdict.judge(loop).decision.challenger
    with pytest.raises(ConfigurationError, match="needs a person and a reason"):
        verdict.override(loop, rejected, Outcome.PROMOTE, person=" ", reason="because")
    verdict.override(loop, rejected, Outcome.PROMOTE, person="ada", reason="labels were right")
    assert loop.registry.aliases.champion == rejected
    decision = loop.registry.history[-1]["decision"]
    assert decision["verdict"] == "reject"
    assert decision["override"]["person"] == "ada"
    assert decision["reasons"][0] == "ada decided promote: labels were right"


def test_only_the_challenger_can_be_decided_on(loop):
    with pytest.raises(ConfigurationError, match="is not what the gate looks at"):
        verdict.override(loop, "finder-unknown", Outcome.PROMOTE, person="ada", reason="why")


def test_a_model_that_was_rolled_back_needs_a_person_to_come_again(loop):
    first = loop.registry.aliases.champion
    second = other_seed(loop)
    judged = verdict.judge(second).decision
    verdict.override(second, judged.challenger, Outcome.PROMOTE, person="ada", reason="try it")
    assert loop.registry.aliases.champion == judged.challenger
    later = datetime.fromisoformat(loop.registry.history[-1]["at"]) + timedelta(seconds=2)
    loop.registry.rollback(by="bob", reason="blind over snow", at=later)
    assert loop.registry.aliases.champion == first

    again = verdict.judge(second)
    assert again.decision.outcome is not Outcome.PROMOTE
    assert any("bob rolled it back: blind over snow" in one for one in again.decision.reasons)
    assert verdict.promote(second).facts["champion"] == first


class Later(Site):
    """The same place, three days on."""

    @property
    def day(self):
        return super().day + timedelta(days=3)


def test_drift_is_seen_where_pixels_change(loop):
    quiet = drift.run(loop, names(loop))
    assert quiet.facts["drifted"] is None  # nothing is as new as that
    wide = Loop(dataclasses.replace(loop.spec, recent_days=10_000), loop.workspace)
    for site in sites(loop):
        write_cube(loop.workspace, Later(site.number, site.split), gain=2.0)
    loud = drift.run(wide, names(loop))
    assert loud.facts["drifted"] is True
    assert loud.facts["current_scenes"] == len(sites(loop))
    assert drift.last_drift(loop)["reason"].startswith("drift: ")

    again = drift.run(wide, names(loop))
    assert again.outcome is Done.UNCHANGED
    assert again.fingerprint == loud.fingerprint != quiet.fingerprint
    assert (again.facts, again.tables, again.note) == (loud.facts, loud.tables, loud.note)
    one = sites(loop)[0]
    write_cube(loop.workspace, Later(one.number, one.split), gain=2.1)
    after = drift.run(wide, names(loop))
    assert after.outcome is Done.WRITTEN
    assert after.fingerprint != loud.fingerprint
