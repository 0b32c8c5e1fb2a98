"""Scores from counts equal scores from pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from geostack_dagster.learning.metrics import (
    Counts,
    average_precision,
    calibration_error,
    detection_rate,
    false_alarm_ratio,
    false_per_1000_km2,
    object_f1,
    pixel_f1,
    reliability,
    resampled,
    score_histogram,
    total,
)


def counts(score, truth, **sizes):
    names = ("hits", "findings", "truths", "found", "right", "wrong", "area_km2")
    return Counts(
        score_histogram(score, truth),
        score_histogram(score, ~truth),
        **{name: np.asarray(sizes.get(name, 0)) for name in names},
    )


def exact_average_precision(score, truth):
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    return float((hits / np.arange(1, hits.size + 1))[truth[order]].mean())


@pytest.mark.parametrize("separation", [0.0, 1.0, 3.0])
def test_average_precision_of_bins_is_that_of_pixels(separation):
    rng = np.random.default_rng(0)
    truth = rng.random((300, 200)) < 0.02
    score = rng.normal(np.where(truth, separation, 0.0), 1.0)
    found = average_precision(counts(score, truth))
    assert found == pytest.approx(exact_average_precision(score.ravel(), truth.ravel()), abs=0.01)


def test_perfect_and_useless_scores():
    truth = np.zeros((50, 50), bool)
    truth[:5] = True
    assert average_precision(counts(np.where(truth, 5.0, -5.0), truth)) == 1.0
    assert average_precision(counts(np.zeros((50, 50)), truth)) == pytest.approx(0.1)
    assert np.isnan(average_precision(counts(np.zeros((50, 50)), np.zeros((50, 50), bool))))


def test_scores_beyond_the_ends_are_counted():
    score = np.array([[-1e9, 1e9, 0.0]])
    assert score_histogram(score, np.ones((1, 3), bool)).sum() == 3


def test_counts_of_things():
    found = counts(
        np.zeros((2, 2)),
        np.zeros((2, 2), bool),
        truths=10,
        found=8,
        right=6,
        wrong=2,
        area_km2=4000.0,
        hits=30,
        findings=40,
    )
    assert detection_rate(found) == 0.8
    assert false_alarm_ratio(found) == 0.25
    assert object_f1(found) == pytest.approx(2 * 0.75 * 0.8 / 1.55)
    assert false_per_1000_km2(found) == 0.5
    nothing = counts(np.zeros((2, 2)), np.zeros((2, 2), bool), truths=3)
    assert object_f1(nothing) == 0.0


def test_pixel_f1():
    truth = np.zeros((10, 10), bool)
    truth[:4] = True
    found = counts(np.zeros((10, 10)), truth, hits=20, findings=30)
    assert pixel_f1(found) == pytest.approx(2 * 20 / (30 + 40))


def test_calibration_error_of_honest_and_boastful_logits():
    rng = np.random.default_rng(3)
    chance = rng.beta(0.5, 3.0, (500, 400)).clip(1e-4, 1 - 1e-4)
    truth = rng.random(chance.shape) < chance
    assert calibration_error(counts(logit(chance), truth)) < 0.005
    boast = counts(logit(chance) + 1.5, truth)
    expected = (1 / (1 + np.exp(-logit(chance) - 1.5)) - chance).mean()
    assert calibration_error(boast) == pytest.approx(expected, abs=0.01)
    bins = reliability(boast)
    assert sum(one.pixels for one in bins) == chance.size
    assert all(one.confidence > one.frequency for one in bins[3:])
    assert max(one.pixels for one in bins) < 2 * chance.size / 15


@given(st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_a_resample_is_the_sum_of_what_was_drawn(weights):
    rng = np.random.default_rng(4)
    parts = [counts(rng.normal(size=(4, 4)), rng.random((4, 4)) < 0.5, truths=n) for n in range(3)]
    repeated = [part for part, times in zip(parts, weights, strict=True) for _ in range(times)]
    found = resampled(parts, np.array([weights], np.float64))
    if not repeated:
        assert found.plume.sum() == 0
        return
    expected = total(repeated)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours)[0], theirs)
