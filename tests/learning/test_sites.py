"""Cells of sites: every point has one, and no near one is forgotten."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geostack_dagster.learning.sites import CELL_DEG, site_of, sites_within

LONGITUDES = st.floats(-180, 180, exclude_max=True)
LATITUDES = st.floats(-90, 90)


def moved(longitude, latitude, distance_km, bearing):
    """End of a walk on a sphere."""
    angle, lat = distance_km / 6371.0, math.radians(latitude)
    north = math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(bearing)
    east = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(lat), math.cos(angle) - math.sin(lat) * north
    )
    there = (longitude + math.degrees(east) + 180) % 360 - 180
    return there, math.degrees(math.asin(max(-1.0, min(1.0, north))))


@given(LONGITUDES, LATITUDES, st.floats(0, 0.999), st.floats(0, 2 * math.pi))
@example(179.99, 10.0, 0.9, math.pi / 2)
@example(-180.0, -45.0, 0.9, -math.pi / 2)
@example(12.0, 89.95, 0.9, 0.0)
def test_whatever_is_near_lies_in_one_of_the_cells(longitude, latitude, part, bearing):
    there = moved(longitude, latitude, part * 15.0, bearing)
    assert site_of(*there) in sites_within(longitude, latitude, 15.0)


def test_cells_are_about_as_wide_as_high():
    for latitude in (0.1, 35.1, 60.1):
        step = 0.01
        names = [site_of(step * n, latitude) for n in range(1000)]
        width_deg = 10 / len(set(names))
        assert width_deg * math.cos(math.radians(latitude)) == pytest.approx(CELL_DEG, rel=0.12)


def test_few_cells_are_near_a_point():
    assert sites_within(10.25, 45.25, 1.0) == {site_of(10.25, 45.25)}
    assert len(sites_within(10.25, 45.25, 15.0)) <= 4
