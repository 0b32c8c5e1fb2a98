"""Canaries: the blind are found out, equals are not."""

import dataclasses

import numpy as np
import pytest

from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.detection import Detection
from geostack_dagster.learning.canary import Canaries, CanaryPlan, blinder, release
from geostack_dagster.learning.finders import Classical
from geostack_dagster.learning.scenes import PixelState
from tests.learning.world import GATE, World

PLAN = CanaryPlan(rates_t_h=(1.0, 5.0), trials=20, size=48)
BLIND = Classical(name="blind", settings=Detection(core=40.0, grow=30.0))


@pytest.fixture(scope="module")
def scenes(world):
    return world.scenes[GATE]


def test_strong_plumes_are_found_more_often_than_weak_ones(world, scenes):
    found, same = release([Classical(), Classical()], scenes, world, PLAN)
    assert found.by_rate[5.0] > 0.9
    assert found.by_rate[1.0] <= found.by_rate[5.0]
    np.testing.assert_array_equal(found.found, same.found)
    assert found.found.size == 40


def test_who_has_gone_blind_is_found_out(world, scenes):
    seeing, blind = release([Classical(), BLIND], scenes, world, PLAN)
    assert max(blinder(blind, seeing).values()) < 1e-3
    assert min(blinder(seeing, blind).values()) > 0.5


def test_equals_are_not_accused():
    rates = np.full(50, 1.0)
    rng = np.random.default_rng(0)
    accused = 0
    for _ in range(1000):
        one, other = (
            Canaries(finder="x", rates_t_h=rates, found=rng.random(50) < 0.7) for _ in range(2)
        )
        accused += blinder(one, other)[1.0] < 0.01
    assert accused / 1000 <= 0.015


def test_scenes_full_of_plumes_cannot_hold_canaries():
    world = World(2)
    for name, maps in world.maps.items():
        states = np.full_like(maps.states, PixelState.UNCERTAIN)
        world.maps[name] = dataclasses.replace(maps, states=states)
    with pytest.raises(NoDataError, match="known to be free"):
        release([Classical()], world.scenes, world, PLAN)
