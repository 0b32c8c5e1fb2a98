"""Leakage is seen whoever made the split: what two splits share, and how near they come."""

import dataclasses

import pytest

from geostack_dagster.learning.leakage import find_leakage
from geostack_dagster.learning.splits import Split, assign
from tests.learning.test_splits import POLICY, chip, distance_km, many

LEARNT = chip(1, longitude=10.0, latitude=50.0, days=-9, orbit="a", plume="x")
JUDGES = chip(2, longitude=12.0, latitude=50.0, days=9, orbit="b", plume="y")


def between(learnt, judges):
    return find_leakage({Split.TRAIN: [learnt], Split.GATE: [judges]}, POLICY)


def test_a_split_by_the_policy_has_none():
    chips = many(600)
    assignment = assign(chips, POLICY)
    parts = {split: assignment.select(chips, split) for split in Split}
    found = find_leakage(parts, POLICY)
    assert found.leaks == ()
    apart = [
        distance_km(a, b)
        for one in Split
        for other in Split
        if one < other
        for a in parts[one]
        for b in parts[other]
    ]
    assert found.nearest_km == pytest.approx(min(apart), rel=1e-3)
    assert found.nearest_km > POLICY.buffer_km


def test_two_that_have_nothing_in_common():
    found = between(LEARNT, JUDGES)
    assert found.leaks == ()
    assert found.nearest_km == pytest.approx(143.0, abs=1.0)  # 2 degrees of longitude at 50 north


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"orbit": "a"}, ["gate and train share the orbit a"]),
        ({"scene": "scene-1"}, ["gate and train share the scene scene-1"]),
        ({"plumes": ("x",)}, ["gate and train share the plume x"]),
        ({"longitude": 10.05}, ["share the site", "3.6 km apart, wanted 15"]),
        ({"acquired": LEARNT.acquired}, ["1 chips of gate lie on the other side"]),
    ],
)
def test_each_way_to_leak_is_named(change, said):
    found = between(LEARNT, dataclasses.replace(JUDGES, **change))
    assert len(found.leaks) == len(said)
    for line, words in zip(found.leaks, said, strict=True):
        assert words in line


def test_one_split_alone_cannot_leak():
    found = find_leakage({Split.TRAIN: [LEARNT, LEARNT], Split.GATE: []}, POLICY)
    assert (found.leaks, found.nearest_km) == ((), float("inf"))
