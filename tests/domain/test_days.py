from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.domain.days import Cadence, Window, solar_day
from geostack_dagster.errors import ConfigurationError

MOMENTS = st.integers(473_000_000, 2_840_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
LONGITUDES = st.floats(-180, 180)
DATES = st.dates(date(1985, 1, 1), date(2060, 1, 1))


@given(MOMENTS, LONGITUDES)
def test_a_moment_lies_in_the_utc_window_of_its_solar_day_and_no_other(moment, longitude):
    day = solar_day(moment, longitude)
    for offset in (-1, 0, 1):
        window = Window.of((day + timedelta(days=offset)).isoformat(), Cadence.DAILY)
        start, end = window.utc(longitude)
        assert (start <= moment < end) == (offset == 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # odc.stac's own imports
@given(MOMENTS, LONGITUDES)
@settings(deadline=None)  # the first example imports odc.stac
def test_solar_days_are_those_of_odc(moment, longitude):
    from odc.stac.model import _convert_to_solar_time

    theirs = _convert_to_solar_time(moment, longitude).date()
    assert solar_day(moment, longitude) == theirs


@given(DATES, st.sampled_from(Cadence))
def test_windows_tile_the_calendar(day, cadence):
    if cadence is Cadence.MONTHLY:
        day = day.replace(day=1)
    window = Window.of(day.isoformat(), cadence)
    following = Window.of(window.end.isoformat(), cadence)
    assert window.days[0] == day
    assert window.days[-1] + timedelta(days=1) == window.end == following.start
    assert len(window.days) in {"daily": {1}, "weekly": {7}, "monthly": {28, 29, 30, 31}}[cadence]


def test_an_overpass_over_the_pacific_does_not_split_at_midnight():
    before = datetime(2024, 6, 3, 23, 59, tzinfo=UTC)
    after = before + timedelta(minutes=2)
    assert solar_day(before, 172.0) == solar_day(after, 172.0) == date(2024, 6, 4)
    assert solar_day(before, 0.0) != solar_day(after, 0.0)


def test_other_time_zones_are_the_same_moment():
    moment = datetime.fromisoformat("2024-06-04T01:30:00+02:00")
    assert solar_day(moment, 0.0) == date(2024, 6, 3)


def test_a_wrong_key_and_a_backward_range_are_named():
    with pytest.raises(ConfigurationError, match="'June'"):
        Window.of("June", Cadence.DAILY)
    with pytest.raises(ConfigurationError, match="backwards"):
        Window(date(2024, 1, 2), date(2024, 1, 1))
