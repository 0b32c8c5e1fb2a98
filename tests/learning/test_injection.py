"""Injected plumes: mass and shape are right, and a window says so."""

import dataclasses

import numpy as np
import pytest

from geostack_dagster.inference.quantify import KG_M2_PER_PPM_M
from geostack_dagster.learning.injection import Emission, RandomPlume, add_column, plume_column
from geostack_dagster.learning.scenes import PixelState
from tests.inference import scenes
from tests.learning.world import maps

STILL = Emission(rate_t_h=5.0, wind_m_s=4.0, direction_deg=0.0, texture=0.0)


def column(emission, source=(48, 10), shape=(96, 96), seed=0):
    rng = np.random.default_rng(seed)
    return plume_column(shape, source, emission, pixel_m=60.0, rng=rng)


@pytest.mark.parametrize("direction", [0.0, 90.0, 180.0, 270.0])
def test_the_mass_within_a_distance_is_rate_times_time(direction):
    source = {0.0: (64, 8), 90.0: (8, 64), 180.0: (64, 119), 270.0: (119, 64)}[direction]
    emission = dataclasses.replace(STILL, direction_deg=direction)
    found = column(emission, source, (128, 128)).sum() * KG_M2_PER_PPM_M * 60.0**2
    length_m = (128 - 8.5) * 60.0  # from the source, in the middle of its pixel, to the edge
    expected = 5.0 * 1000 / 3600 / 4.0 * length_m
    assert found == pytest.approx(expected, rel=0.01)


def test_it_agrees_with_an_independent_plume():
    other = scenes.plume((96, 96), rate_t_h=5.0, wind_m_s=4.0, source=(48, 10)).enhancement
    np.testing.assert_allclose(column(STILL), other, rtol=1e-9, atol=1e-9)


def test_texture_changes_shape_and_keeps_the_mean():
    rough = [column(dataclasses.replace(STILL, texture=0.5), seed=seed).sum() for seed in range(30)]
    assert np.mean(rough) == pytest.approx(column(STILL).sum(), rel=0.05)
    assert np.std(rough) > 0


def test_the_retrieval_sees_it_through_the_sensitivity():
    ground = maps(5, plumes=0)
    gas = column(STILL)
    found = add_column(ground, gas)
    seen = found.enhancement - ground.enhancement
    observed = np.isfinite(seen)
    weak = observed & (gas > 1) & (gas < 500)
    ratio = seen[weak] / (ground.sensitivity * gas)[weak]
    assert ratio == pytest.approx(1.0, rel=0.02)
    strong = np.full_like(gas, 5e4)
    saturated = add_column(ground, strong).enhancement - ground.enhancement
    assert np.nanmedian(saturated / ground.sensitivity) == pytest.approx(5e4 / (1 + 5e4 / 1.36e5))


def test_the_window_is_labelled_where_the_gas_is():
    ground = maps(5, plumes=0)
    gas = column(STILL)
    states = add_column(ground, gas, threshold_ppm_m=250.0, ring_px=2).states
    observed = ground.states != PixelState.UNOBSERVABLE
    assert np.array_equal(states == PixelState.PLUME, (gas > 250) & observed)
    assert (states == PixelState.UNCERTAIN).any()
    assert (states[gas < 1] != PixelState.PLUME).all()
    assert np.array_equal(states == PixelState.UNOBSERVABLE, ~observed)


def test_a_random_plume_depends_on_its_generator_alone():
    ground = maps(5, plumes=0)
    inject = RandomPlume()
    one, same, other = (inject(ground, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.enhancement.tobytes() == same.enhancement.tobytes()
    assert one.enhancement.tobytes() != other.enhancement.tobytes()
    assert np.isfinite(one.enhancement).sum() == np.isfinite(ground.enhancement).sum()
