"""Splits: nothing that is scored was seen, whatever the chips are."""

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.chips import Chip
from geostack_dagster.learning.metrics import Counts, average_precision
from geostack_dagster.learning.splits import Split, SplitPolicy, assign

HOLDOUT = datetime(2024, 7, 1, tzinfo=UTC)
POLICY = SplitPolicy(
    holdout=HOLDOUT,
    shares={Split.TRAIN: 0.4, Split.VALIDATION: 0.2, Split.TEST: 0.2, Split.GATE: 0.2},
)
HELD_OUT_IN_TIME = {Split.TEST, Split.GATE}


def chip(number, *, longitude, latitude, days, orbit, plume=None):
    return Chip(
        scene=f"scene-{number}",
        orbit=str(orbit),
        acquired=HOLDOUT + timedelta(days=days),
        longitude=longitude,
        latitude=latitude,
        corners=((longitude, latitude),) * 4,
        row=0,
        column=0,
        size=64,
        state=State.PLUME if plume else State.NO_PLUME,
        content=str(number),
        plumes=(plume,) if plume else (),
    )


@st.composite
def indexes(draw):
    """Members of chips crowded into few degrees: sites, orbits and buffers all collide.

    Chips are made in the test: their types are checked by samples, which draws random numbers.
    """
    # One overpass has one time and its plumes are its own.
    days = {orbit: draw(st.floats(-30, 30)) for orbit in range(6)}
    west = draw(st.sampled_from([-180.0, 10.0, 178.5]))
    south = draw(st.sampled_from([-1.0, 50.0]))
    found = []
    for number in range(draw(st.integers(0, 40))):
        orbit = draw(st.integers(0, 5))
        plume = draw(st.sampled_from([None, f"{orbit}-a", f"{orbit}-b"]))
        longitude = west + draw(st.floats(0, 3))
        found.append(
            {
                "number": number,
                "longitude": (longitude + 180) % 360 - 180,
                "latitude": south + draw(st.floats(0, 2)),
                "days": days[orbit],
                "orbit": orbit,
                "plume": plume,
            }
        )
    return found


def made(members):
    return [chip(**one) for one in members]


def distance_km(one, other):
    a, b = np.radians([one.longitude, one.latitude]), np.radians([other.longitude, other.latitude])
    cosine = np.sin(a[1]) * np.sin(b[1]) + np.cos(a[1]) * np.cos(b[1]) * np.cos(a[0] - b[0])
    return 6371.0 * np.arccos(np.clip(cosine, -1, 1))


@settings(max_examples=200)
@given(indexes())
def test_no_leakage_is_possible(members):
    chips = made(members)
    assignment = assign(chips, POLICY)
    parts = {split: assignment.select(chips, split) for split in Split}
    for one, other in combinations(Split, 2):
        for what in ("site", "orbit"):
            assert {getattr(c, what) for c in parts[one]}.isdisjoint(
                getattr(c, what) for c in parts[other]
            )
        plumes = [{name for c in parts[split] for name in c.plumes} for split in (one, other)]
        assert plumes[0].isdisjoint(plumes[1])
        for mine in parts[one]:
            for theirs in parts[other]:
                assert distance_km(mine, theirs) > POLICY.buffer_km
    for split, part in parts.items():
        for member in part:
            assert (member.acquired >= HOLDOUT) == (split in HELD_OUT_IN_TIME)
    assert len(assignment.splits) + sum(assignment.left_out.values()) == len(chips)


@settings(max_examples=30)
@given(indexes(), st.randoms(use_true_random=False))
def test_order_does_not_matter(members, random):
    chips = made(members)
    shuffled = list(chips)
    random.shuffle(shuffled)
    one, other = assign(chips, POLICY), assign(shuffled, POLICY)
    assert (one.splits, one.orbits, one.left_out) == (other.splits, other.orbits, other.left_out)


@settings(max_examples=40)
@given(indexes(), indexes())
def test_what_was_decided_stays_when_chips_are_added(members, more):
    chips = made(members)
    later = [
        dataclasses.replace(c, scene=f"later-{n}", orbit=f"{int(c.orbit) % 3 + 4}")
        for n, c in enumerate(made(more))
    ]
    before = assign(chips, POLICY)
    after = assign([*chips, *later], POLICY, earlier=before.orbits)
    assert all(after.splits[name] is split for name, split in before.splits.items())
    assert before.orbits.items() <= after.orbits.items()


def many(count=4000, seed=0):
    """Chips all over the globe, an overpass each."""
    rng = np.random.default_rng(seed)
    return [
        chip(
            number,
            longitude=float(rng.uniform(-180, 179.9)),
            latitude=float(rng.uniform(-55, 55)),
            days=float(rng.uniform(-100, 100)),
            orbit=number,
        )
        for number in range(count)
    ]


def test_shares_are_those_asked_for():
    policy = dataclasses.replace(POLICY, buffer_km=0.0)
    found = [policy.of_site(c.site) for c in many()]
    for split, share in policy.shares.items():
        assert found.count(split) / len(found) == pytest.approx(share, abs=0.03)


def test_what_is_left_out_is_said():
    chips = many(600)
    crowded = [dataclasses.replace(c, orbit=str(n % 20)) for n, c in enumerate(chips)]
    found = assign(crowded, POLICY)
    assert set(found.left_out) == {
        "on the other side of the temporal hold-out",
        "within the buffer of a stricter split",
        "of an orbit that serves another split",
    }
    assert all(found.left_out.values())


def test_another_salt_draws_other_sites():
    chips = many(400)
    one, other = (
        {c.id for c in assign(chips, dataclasses.replace(POLICY, salt=salt)).select(chips, part)}
        for salt, part in (("a", Split.TRAIN), ("b", Split.TRAIN))
    )
    assert one != other


def test_a_model_that_knows_only_the_place_learns_nothing():
    """Nearest neighbours in longitude, latitude and time: good on random splits, no good on ours.

    Plumes crowd at a few places, as they do in reality, and every place is visited again.
    """
    rng = np.random.default_rng(5)
    chips = []
    for number in range(1500):
        place = int(rng.integers(0, 150))
        spot = np.random.default_rng(place)
        longitude, latitude = spot.uniform(-100, 100), spot.uniform(-40, 40)
        plumes = spot.random() < 0.3
        chips.append(
            chip(
                number,
                longitude=float(longitude + rng.normal(0, 0.02)),
                latitude=float(latitude + rng.normal(0, 0.02)),
                days=float(rng.uniform(-100, 100)),
                orbit=number,
                plume=f"p{number}" if plumes and rng.random() < 0.9 else None,
            )
        )
    assignment = assign(chips, POLICY)
    train = assignment.select(chips, Split.TRAIN)
    test = [c for split in HELD_OUT_IN_TIME for c in assignment.select(chips, split)]
    assert min(len(train), len(test)) > 100
    assert _skill(train, test) < _prevalence(test) + 0.15
    shuffled = rng.permutation(len(chips))
    random_train, random_test = ([chips[n] for n in part] for part in np.split(shuffled, [750]))
    assert _skill(random_train, random_test) > _prevalence(random_test) + 0.4


def _prevalence(chips):
    return np.mean([c.state is State.PLUME for c in chips])


def _skill(train, test):
    known = np.array([c.state is State.PLUME for c in train], float)
    places, theirs = (np.array([(c.longitude, c.latitude) for c in part]) for part in (test, train))
    nearest = np.argsort(((places[:, None] - theirs[None]) ** 2).sum(axis=2), axis=1)[:, :5]
    scores = known[nearest].mean(axis=1)
    truth = np.array([c.state is State.PLUME for c in test])
    histograms = [np.histogram(scores[truth == side], 6, (0, 1.001))[0] for side in (True, False)]
    nothing = np.zeros(())
    counts = Counts(*histograms, *[nothing] * 7)
    return float(average_precision(counts))


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="add up to 1"):
        SplitPolicy(holdout=HOLDOUT, shares={Split.TRAIN: 0.5})
    with pytest.raises(ConfigurationError, match="no time zone"):
        SplitPolicy(holdout=datetime(2024, 7, 1))  # noqa: DTZ001 - that is what is refused
