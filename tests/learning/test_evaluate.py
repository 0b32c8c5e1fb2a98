"""Evaluation on whole scenes, and comparisons over sites."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.learning.evaluate import METRICS, Bootstrap, Evaluation, compare, evaluate
from geostack_dagster.learning.finders import Classical, Found, Learned
from geostack_dagster.learning.scenes import PixelState
from tests.learning.world import GATE


@dataclass(frozen=True)
class Oracle:
    """Knows the truth, and blurs it: errors of a stated size, the same for the same pixels."""

    blur: float = 0.0
    name: str = "oracle"
    probabilistic: bool = True

    def find(self, maps):
        plume = maps.states == PixelState.PLUME
        noise = np.nan_to_num(maps.enhancement - np.nanmedian(maps.enhancement)) / 200.0
        score = np.where(plume, 4.0, -4.0) + self.blur * noise
        score = np.where(maps.observed, score, np.nan)
        labels = np.where(np.nan_to_num(score, nan=-9.0) > 0, 1, 0).astype(np.int32)
        return Found(score, labels)


@pytest.fixture(scope="module")
def scenes(world):
    return world.scenes[GATE]


@pytest.fixture(scope="module")
def evaluations(world, model, scenes):
    return evaluate([Learned(detector=model[0], core=96), Classical()], scenes, world)


def test_the_truth_scores_perfectly(world, scenes):
    (found,) = evaluate([Oracle()], scenes, world)
    summary = found.summary
    assert summary["average_precision"] == summary["pixel_f1"] == summary["detection_rate"] == 1.0
    assert summary["false_per_1000_km2"] == 0.0
    assert summary["sites"] == summary["scenes"] == len(scenes)


def test_unknown_pixels_count_for_nothing(world, scenes):
    (found,) = evaluate([Oracle()], scenes, world)
    known = sum(
        np.isin(world.maps[one.id].states, (PixelState.PLUME, PixelState.NO_PLUME)).sum()
        for one in scenes
    )
    counts = found.counts
    assert counts.plume.sum() + counts.free.sum() == known
    assert counts.area_km2 == pytest.approx(known * scenes[0].pixel_km2, rel=0.1)


def test_the_model_beats_the_classical_detector(evaluations):
    learned, classical = evaluations
    gain = compare(learned, classical, "average_precision")
    assert gain.low > 0.02
    assert gain.low < gain.median < gain.high
    assert gain.value == pytest.approx(
        learned.summary["average_precision"] - classical.summary["average_precision"]
    )
    assert learned.summary["calibration_error"] < 0.02
    assert "calibration_error" not in classical.summary


def test_a_finder_does_not_differ_from_itself(evaluations):
    for metric in METRICS:
        difference = compare(evaluations[0], evaluations[0], metric, Bootstrap(draws=20))
        assert (difference.low, difference.median, difference.high) == (0.0, 0.0, 0.0)


def test_comparisons_repeat(evaluations):
    one, same = (compare(*evaluations, "object_f1", Bootstrap(draws=300)) for _ in range(2))
    other = compare(*evaluations, "object_f1", Bootstrap(draws=300, seed=1))
    assert one == same
    assert one != other


def test_sites_are_drawn_and_not_scenes(evaluations):
    """Ten scenes of one place say no more about other places than one does."""
    learned, classical = (dataclasses.replace(one, scenes=one.scenes[:8]) for one in evaluations)

    def repeated(evaluation):
        copies = [
            dataclasses.replace(scene, scene=f"{scene.scene}-{copy}")
            for scene in evaluation.scenes
            for copy in range(10)
        ]
        return dataclasses.replace(evaluation, scenes=tuple(copies))

    draws = Bootstrap(draws=200)
    few = compare(learned, classical, "average_precision", draws)
    many = compare(repeated(learned), repeated(classical), "average_precision", draws)
    assert many.sites == few.sites == 8
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=1e-6)


def test_intervals_cover_the_truth_as_often_as_they_say(world):
    """Difference of two oracles over all scenes, from samples of 20 of them."""
    sharp, blunt = evaluate([Oracle(1.5), Oracle(3.0, "blunt")], world.scenes, world)
    truth = compare(sharp, blunt, "average_precision", Bootstrap(draws=10)).value
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(40):
        rows = rng.integers(0, len(world.scenes), 20)
        samples = [
            dataclasses.replace(
                one,
                scenes=tuple(
                    dataclasses.replace(one.scenes[row], scene=f"{n}", site=f"{n}")
                    for n, row in enumerate(rows)
                ),
            )
            for one in (sharp, blunt)
        ]
        found = compare(*samples, "average_precision", Bootstrap(draws=100, seed=trial))
        covered += found.low <= truth <= found.high
    assert 0.75 <= covered / 40 <= 1.0  # 0.9 is stated


def test_slices_partition_the_scenes(evaluations):
    slices = evaluations[0].slices()
    assert set(slices) == {"surface=bright", "surface=dark"}
    names = [scene.scene for part in slices.values() for scene in part.scenes]
    assert sorted(names) == sorted(scene.scene for scene in evaluations[0].scenes)


def test_recall_is_told_by_strength(evaluations):
    found = evaluations[0].recall_by_strength
    assert list(found) == ["weak", "middling", "strong"]
    assert sum(there for _, there in found.values()) == evaluations[0].summary["plumes"]
    assert all(0 <= seen <= there for seen, there in found.values())


def test_what_cannot_be_compared_or_scored_is_said(evaluations, world, scenes):
    learned, classical = evaluations
    part = dataclasses.replace(classical, scenes=classical.scenes[1:])
    with pytest.raises(ConfigurationError, match="different scenes"):
        compare(learned, part, "average_precision")
    with pytest.raises(ConfigurationError, match="not probabilities"):
        _ = classical.reliability
    assert len(learned.reliability) <= 15
    with pytest.raises(NoDataError, match="no scene"):
        _ = Evaluation(finder="x", probabilistic=True, scenes=()).counts
    with pytest.raises(NoDataError):
        evaluate([Classical()], [dataclasses.replace(scenes[0], id="gone")], world)
