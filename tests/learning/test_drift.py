"""Drift: alarms come as often as stated without a cause, and when there is one."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.learning.drift import (
    DriftRule,
    Observations,
    detect_drift,
    psi,
    psi_critical,
    season_matched,
)

NAMES = ("enhancement spread", "sensitivity", "nodata", "B12 over B11")
SUMMER = datetime(2023, 7, 1, tzinfo=UTC)
QUICK = DriftRule(permutations=99, false_alarm_rate=0.05)


def observations(rng, groups, *, per_group=1, within=0.0, start=SUMMER, shift=(0, 0, 0, 0)):
    """Correlated features with tails; rows of one group share a part of their deviation."""
    common = np.repeat(rng.standard_normal((groups, 4)), per_group, axis=0)
    own = rng.standard_normal((groups * per_group, 4))
    normal = np.sqrt(within) * common + np.sqrt(1 - within) * own
    mixing = np.array([[1, 0.5, 0, 0.3], [0, 1, 0, 0.3], [0, 0, 1, 0], [0, 0, 0, 0.9]])
    features = normal @ mixing + np.asarray(shift, float)
    features[:, 0] = np.exp(0.5 * features[:, 0])
    rows = groups * per_group
    return Observations(
        features=features,
        names=NAMES,
        acquired=tuple(start + timedelta(days=float(d)) for d in rng.uniform(0, 30, rows)),
        groups=tuple(f"g{n // per_group}" for n in range(rows)),
    )


def alarms(trials, rule, *, current, reference, shift=(0, 0, 0, 0), **kind):
    """Part of the trials that raise an alarm."""
    found = 0
    for trial in range(trials):
        rng = np.random.default_rng([7, trial])
        then = observations(rng, reference, **kind)
        now = observations(rng, current, start=SUMMER.replace(year=2024), shift=shift, **kind)
        found += bool(detect_drift(then, now, dataclasses.replace(rule, seed=trial)).drifted)
    return found / trials


@pytest.mark.parametrize(("current", "reference", "trials"), [(10, 40, 200), (60, 120, 100)])
def test_false_alarms_come_as_often_as_stated(current, reference, trials, capsys):
    rate = alarms(trials, QUICK, current=current, reference=reference)
    with capsys.disabled():
        told = f"false alarms, {current} scenes: {rate:.3f}, stated {QUICK.false_alarm_rate}"
        print("\n" + told)  # noqa: T201 - the figure is the point
    # three standard deviations of so many trials
    assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_scenes_of_one_orbit_are_no_independent_witnesses(capsys):
    """Three of four parts of the deviation are shared within an orbit of six scenes."""
    crowd = {"current": 10, "reference": 25, "per_group": 6, "within": 0.75}
    grouped = alarms(40, QUICK, **crowd)

    found = 0
    for trial in range(16):
        rng = np.random.default_rng([7, trial])
        then = observations(rng, 25, per_group=6, within=0.75)
        now = observations(rng, 10, per_group=6, within=0.75, start=SUMMER.replace(year=2024))
        loose = [
            dataclasses.replace(one, groups=tuple(map(str, range(len(one))))) for one in (then, now)
        ]
        found += bool(detect_drift(*loose, dataclasses.replace(QUICK, seed=trial)).drifted)
    with capsys.disabled():
        told = f"false alarms, 6 scenes an orbit: {grouped:.3f}; without groups {found / 16:.3f}"
        print("\n" + told)  # noqa: T201
    assert grouped <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert found / 16 > 0.3


@pytest.mark.parametrize(
    ("name", "shift", "most_missed"),
    [
        ("one feature by 1.5 sd", (0, 0, 1.5, 0), 0.05),
        ("all features by 0.5 sd", (0.5, 0.5, 0.5, 0.5), 0.25),
        ("one feature by 0.5 sd", (0, 0, 0.5, 0), 0.9),
    ],
)
def test_drift_is_missed_as_seldom_as_written_down(name, shift, most_missed, capsys):
    missed = 1 - alarms(40, QUICK, current=60, reference=120, shift=shift)
    with capsys.disabled():
        print(f"\nmissed, {name}, 60 scenes: {missed:.2f}")  # noqa: T201
    assert missed <= most_missed


def test_the_feature_that_moved_is_named():
    rng = np.random.default_rng(0)
    then = observations(rng, 120)
    now = observations(rng, 60, start=SUMMER.replace(year=2024), shift=(0, 0, 0, 2.0))
    found = detect_drift(then, now)
    assert found.drifted
    assert found.chance <= 0.01
    assert found.features[0].name == "B12 over B11"
    assert found.features[0].shift > 1
    assert found.features[0].psi > found.features[0].psi_critical
    assert found.features[0].ks_chance < 1e-6
    assert "most in B12 over B11" in found.reason
    still = [one for one in found.features if one.name == "nodata"]
    assert still[0].psi < still[0].psi_critical


def test_winter_is_not_held_against_summer():
    rng = np.random.default_rng(1)
    summer = observations(rng, 60)
    winter_start = datetime(2023, 1, 1, tzinfo=UTC)
    winter = observations(rng, 60, start=winter_start, shift=(3, -3, 3, 3))
    both = Observations(
        features=np.concatenate([summer.features, winter.features]),
        names=NAMES,
        acquired=summer.acquired + winter.acquired,
        groups=tuple(map(str, range(120))),
    )
    now = observations(rng, 40, start=SUMMER.replace(year=2024))
    found = detect_drift(both, now)
    assert found.reference == 60
    assert not found.drifted
    again = observations(rng, 40, start=winter_start.replace(year=2024), shift=(3, -3, 3, 3))
    assert not detect_drift(both, again).drifted
    assert detect_drift(both, observations(rng, 40, start=winter_start)).drifted


def test_seasons_reach_across_the_new_year():
    rng = np.random.default_rng(2)
    december = observations(rng, 10, start=datetime(2023, 12, 20, tzinfo=UTC))
    january = observations(rng, 10, start=datetime(2025, 1, 5, tzinfo=UTC))
    assert len(season_matched(december, january, days=45)) == 10
    july = observations(rng, 10)
    assert len(season_matched(july, january, days=45)) == 0


def test_too_little_is_no_verdict():
    rng = np.random.default_rng(3)
    then = observations(rng, 50)
    now = observations(rng, 2, per_group=20, shift=(9, 9, 9, 9))
    found = detect_drift(then, now)
    assert found.drifted is None
    assert np.isnan(found.chance)
    assert "2 independent groups" in found.reason


def test_rows_without_a_number_are_left_out():
    rng = np.random.default_rng(4)
    then, now = observations(rng, 50), observations(rng, 30)
    holed = now.features.copy()
    holed[:5, 2] = np.nan
    assert detect_drift(then, dataclasses.replace(now, features=holed)).current == 25


@settings(max_examples=25)
@given(st.floats(0.01, 1e4), st.floats(-1e4, 1e4))
def test_units_do_not_matter(scale, offset):
    rng = np.random.default_rng(5)
    then, now = observations(rng, 30), observations(rng, 20)
    found = [
        detect_drift(
            *(
                dataclasses.replace(one, features=one.features * factor + add)
                for one in (then, now)
            ),
            dataclasses.replace(QUICK, permutations=19),
        )
        for factor, add in ((1.0, 0.0), (scale, offset))
    ]
    assert found[1].discrepancy == pytest.approx(found[0].discrepancy, abs=1e-6)


def test_psi_of_a_known_shift():
    reference = np.arange(1000.0)
    assert psi(reference, reference) == 0.0
    upper = reference[500:]
    # five bins empty (half a row of 500), five twice as full
    expected = 5 * ((0.001 - 0.1) * np.log(0.001 / 0.1) + 0.1 * np.log(2))
    assert psi(reference, upper) == pytest.approx(expected, rel=1e-6)


def test_the_critical_psi_knows_the_sample_size():
    rng = np.random.default_rng(6)
    for n, m in ((400, 60), (400, 300)):
        found = [psi(rng.normal(size=n), rng.normal(size=m)) for _ in range(400)]
        above = np.mean(np.array(found) > psi_critical(n, m, chance=0.05))
        assert above < 0.11
    assert psi_critical(400, 60, chance=0.01) > 0.25 > psi_critical(400, 300, chance=0.01)


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(8)
    one = observations(rng, 20)
    with pytest.raises(ConfigurationError, match="features differ"):
        detect_drift(one, dataclasses.replace(one, names=("a", "b", "c", "d")))
    with pytest.raises(ConfigurationError, match="permutations"):
        DriftRule(permutations=50, false_alarm_rate=0.01)
    with pytest.raises(ConfigurationError, match="names"):
        dataclasses.replace(one, names=("a",))
