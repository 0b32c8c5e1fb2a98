"""The training set: nothing leaks, what judges is frozen, unseen ground is no ground."""

import dataclasses

import numpy as np
import pytest
import shapely

from geostack_dagster import storage
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.errors import ConfigurationError, IntegrityError, NoDataError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.chips import index_scene
from geostack_dagster.learning.labels import read_labels
from geostack_dagster.learning.scenes import PixelState
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline.labels import add_labels
from geostack_dagster.pipeline.learning import training_set
from geostack_dagster.pipeline.learning.scenes import CubeSource, scenes_of, whole
from geostack_dagster.pipeline.learning.training_set import collect, latest, required
from geostack_dagster.pipeline.report import Outcome
from tests.pipeline.learning.sites import (
    SPEC,
    Site,
    label,
    labels_of,
    loop_in,
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


class AtTheDateLine(Site):
    """An AOI across the antimeridian, with one scene."""

    @property
    def aoi(self):
        return AOI.from_bbox(self.name, (179.97, 38.2, -179.97, 38.25))


@pytest.mark.parametrize("west", [179.99, -180.01], ids=["beyond 180", "beyond -180"])
def test_labels_across_the_antimeridian_belong_to_the_scene_there(tmp_path, west):
    """However their longitudes are written, and no label from the other way round does."""
    loop = loop_in(tmp_path)
    site = AtTheDateLine(1, Split.TRAIN)
    loop.workspace.pin(site.aoi)
    write_cube(loop.workspace, site)
    there = shapely.box(west, 38.21, west + 0.02, 38.24)
    elsewhere = shapely.box(10.0, 38.21, 10.02, 38.24)
    labels = read_labels(
        {
            "features": [
                dataclasses.replace(
                    review(loop.workspace, site), id=name, geometry=place, state=State.PLUME
                ).to_feature()
                for name, place in (("there", there), ("elsewhere", elsewhere))
            ]
        }
    )
    (scene,) = scenes_of(SPEC, loop.workspace, site.name, labels)
    assert [one.id for one in scene.labels] == ["there"]
    source = CubeSource.of(loop.workspace, [SPEC], [scene], loop.caution)
    plume = whole(source, scene).states == PixelState.PLUME
    metres = 0.02 * 111_195 * np.cos(np.radians(38.225)), 0.03 * 111_195
    assert plume.sum() * 60.0**2 == pytest.approx(metres[0] * metres[1], rel=0.05)
    chips = index_scene(scene.scene, whole(source, scene), scene.labels, loop.cutting)
    assert {chip.plumes for chip in chips if chip.plume_fraction} == {("there",)}


def test_all_of_a_day_is_one_overpass_where_granules_state_no_orbit(tmp_path):
    """No full hour, and no midnight of UTC, comes between neighbours."""
    loop = loop_in(tmp_path)
    site = sites(loop)[0]
    loop.workspace.pin(site.aoi)
    write_cube(loop.workspace, site)
    (scene,) = scenes_of(SPEC, loop.workspace, site.name, None)
    assert scene.scene.orbit == f"lpcloud-{site.day}"


def test_a_document_that_is_cut_off_is_named(loop):
    url = loop.url("training_set.json")
    storage.write_bytes(url, storage.read_bytes(url)[:-5])
    with pytest.raises(IntegrityError, match=r"training_set\.json is damaged .* restore it"):
        training_set.run(loop, names(loop))
    storage.write_bytes(url, b"{}")
    with pytest.raises(IntegrityError, match=r"training_set\.json is damaged \(it lacks 'set'\)"):
        training_set.latest(loop)
