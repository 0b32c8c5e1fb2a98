"""Calibration finds the numbers that made the data."""

import dataclasses

import numpy as np
import pytest

from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.detector import probability
from geostack_dagster.learning.calibrate import best_threshold, calibrated, fit_platt
from geostack_dagster.learning.samples import assemble
from tests.learning.world import VALIDATION


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, -1.5), (2.0, 0.7)])
def test_platt_finds_slope_and_intercept(slope, intercept):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 100_000)
    plume = rng.random(logits.size) < probability(slope * logits + intercept)
    found = fit_platt(logits, plume)
    assert found.slope == pytest.approx(slope, abs=0.05)
    assert found.intercept == pytest.approx(intercept, abs=0.05)


def test_separable_pixels_give_finite_numbers():
    logits = np.array([-3.0, -2.0, 2.0, 3.0])
    found = fit_platt(logits, logits > 0)
    assert np.isfinite([found.slope, found.intercept]).all()
    assert found.slope > 1


def test_the_threshold_gives_the_best_f1():
    rng = np.random.default_rng(1)
    plume = rng.random(20_000) < 0.05
    believed = np.clip(rng.normal(np.where(plume, 0.6, 0.2), 0.15), 0.001, 0.999)

    def f1(threshold):
        found = believed > threshold
        return 2 * (found & plume).sum() / (found.sum() + plume.sum())

    tried = np.linspace(0.02, 0.98, 97)
    best = best_threshold(believed, plume)
    assert f1(best) == max(f1(one) for one in tried)


def test_a_calibrated_model_says_plume_as_often_as_there_is_one(world, model):
    detector, trained = model
    validation = assemble(world.chips(world.scenes[VALIDATION]), world)
    assert trained.detector.platt != detector.platt
    said, there, pixels = 0.0, 0, 0
    for maps, plume, known in zip(validation.maps, validation.plume, validation.known, strict=True):
        chance = probability(detector.logit(maps, core=32))
        counts = known & np.isfinite(chance)
        said += chance[counts].sum()
        there += plume[counts].sum()
        pixels += counts.sum()
    assert said / pixels == pytest.approx(there / pixels, rel=0.05)
    assert there / pixels < 0.2


def test_validation_needs_both_kinds_of_pixels(world, model):
    validation = assemble(world.chips(world.scenes[VALIDATION]), world)
    empty = dataclasses.replace(validation, plume=np.zeros_like(validation.plume))
    with pytest.raises(NoDataError, match="other sites"):
        calibrated(model[0], empty)
