"""The training set: nothing leaks, what judges is frozen, unseen ground is no ground."""

import dataclasses

import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.scenes import PixelState
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline.labels import add_labels
from geostack_dagster.pipeline.learning import training_set
from geostack_dagster.pipeline.learning.scenes import whole
from geostack_dagster.pipeline.learning.training_set import collect, latest, required
from geostack_dagster.pipeline.report import Outcome
from tests.pipeline.learning.sites import (
    label,
    labels_of,
    names,
    poison_of,
    review,
    sites,
    write_cube,
)


def of(loop, split):
    return [site for site in sites(loop) if site.split is split]


def made(loop):
    training_set.run(loop, names(loop))
    return required(loop)


def test_without_labels_there_is_nothing_to_learn(fresh):
    with pytest.raises(NoDataError, match="import labels first"):
        training_set.run(fresh, names(fresh))
    with pytest.raises(ConfigurationError, match="materialize finder/training_set first"):
        required(fresh)


def test_no_site_overpass_plume_or_pixel_is_on_two_sides(loop):
    found = required(loop)
    for what in ("site", "orbit", "scene"):
        sides = {}
        for split in Split:
            for chip in found.of(split):
                sides.setdefault(getattr(chip, what), set()).add(split)
        assert all(len(splits) == 1 for splits in sides.values())
    plumes = [{name for chip in found.of(split) for name in chip.plumes} for split in Split]
    assert all(not a & b for n, a in enumerate(plumes) for b in plumes[:n])
    assert all(chip.acquired < loop.splits.holdout for chip in found.of(Split.TRAIN))
    assert all(chip.acquired >= loop.splits.holdout for chip in found.of(Split.GATE))
    assert not [chip for chip in found.of(Split.GATE) if chip.injected]


def test_what_judges_counts_only_where_its_own_chips_are(loop):
    found = required(loop)
    one = found.gate_scenes[0]
    chips = [chip for chip in found.of(Split.GATE) if chip.scene == one.scene.id]
    source = found.source(loop)
    part = source.counting(chips[:1])
    everything, counted = whole(source, one), whole(part, one)
    inside = np.zeros(everything.states.shape, bool)
    inside[chips[0].window] = True
    np.testing.assert_array_equal(counted.states[inside], everything.states[inside])
    known = (counted.states == PixelState.PLUME) | (counted.states == PixelState.NO_PLUME)
    assert known.any()
    assert not known[~inside].any()
    np.testing.assert_array_equal(counted.channels, everything.channels)


def test_the_same_labels_and_pixels_are_the_same_set(loop):
    again = training_set.run(loop, names(loop))
    assert again.outcome is Outcome.UNCHANGED
    assert again.fingerprint == required(loop).data
    assert collect(loop, names(loop)).fingerprint == required(loop).inputs


def test_new_pixels_are_another_set(loop):
    before = required(loop)
    write_cube(loop.workspace, of(loop, Split.TRAIN)[0], gain=1.5)
    assert made(loop).data != before.data


def test_another_label_is_another_set_and_the_old_one_is_kept(loop):
    before = required(loop)
    site = of(loop, Split.TRAIN)[0]
    add_labels(loop.workspace, poison_of(loop.workspace, site), source="test", reviewer="b")
    after = made(loop)
    assert after.data != before.data
    kept = training_set.stored(loop, f"{before.inputs}-{before.data}")
    assert [chip.content for chip in kept.chips] == [chip.content for chip in before.chips]


def test_what_nobody_looked_at_is_no_ground(fresh):
    site = of(fresh, Split.TRAIN)[0]
    outlines = [one for one in labels_of(fresh.workspace, site) if one.state is State.PLUME]
    add_labels(fresh.workspace, outlines, source="test", reviewer="a")
    found = made(fresh)
    states = whole(found.source(fresh), found.scenes[0]).states
    assert (states == PixelState.PLUME).any()
    assert not (states == PixelState.NO_PLUME).any()
    assert not any(chip.injected for chip in found.chips)  # no ground to put a plume on

    add_labels(fresh.workspace, [review(fresh.workspace, site)], source="test", reviewer="a")
    states = whole(made(fresh).source(fresh), required(fresh).scenes[0]).states
    assert (states == PixelState.NO_PLUME).any()
    rim = (states == PixelState.UNCERTAIN).sum()
    assert rim >= 4 * (states == PixelState.PLUME).sum() ** 0.5  # the ring around each plume


def test_later_labels_do_not_change_what_judges(loop):
    before = required(loop)
    label(loop, of(loop, Split.GATE), poison_of, reviewer="bulk")
    after = made(loop)
    assert [one.digest for one in after.gate_scenes] == [one.digest for one in before.gate_scenes]
    assert after.data == before.data


def test_what_a_model_proposed_teaches_but_never_judges(fresh):
    everyone = sites(fresh)
    label(fresh, everyone, lambda workspace, site: labels_of(workspace, site, source="model/x"))
    found = made(fresh)
    for one in found.gate_scenes:
        assert {each.source for each in one.labels} == {"review"}
        assert not (whole(found.source(fresh), one).states == PixelState.PLUME).any()
    assert any(chip.state is State.PLUME for chip in found.of(Split.TRAIN))


def test_a_withdrawn_plume_teaches_nothing(loop):
    site = of(loop, Split.TRAIN)[0]
    (plume, *_) = labels_of(loop.workspace, site)
    doubted = dataclasses.replace(plume, state=State.UNCERTAIN)
    add_labels(loop.workspace, [doubted], source="CH4PLM", reviewer="archive")
    made(loop)
    found = latest(loop)
    (one,) = [each for each in found.scenes if each.aoi == site.name]
    states = whole(found.source(loop), one).states
    others = [each for each in one.labels if each.state is State.PLUME]
    assert (states == PixelState.PLUME).any() == bool(others)
