"""Plumes have the mass, the place and the days that the world states of them."""

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pyproj import Transformer

from geostack_dagster.domain.grid import Grid
from geostack_dagster.inference.quantify import KG_M2_PER_PPM_M
from geostack_dagster.sandbox import plumes
from geostack_dagster.sandbox.plumes import SOURCES
from geostack_dagster.sandbox.sampling import Axes, Sites
from geostack_dagster.sandbox.world import World

FIRST_FOUR = [date(2024, 6, 3) + timedelta(days=5 * number) for number in range(4)]
EMISSIONS = [
    found
    for number in range(9)
    for found in plumes.emissions(date(2024, 6, 3) + timedelta(days=5 * number))
]
NAMES = [f"{one.source.name}-{one.day}" for one in EMISSIONS]


def around(emission: plumes.Emission, pixel_m: float) -> Axes:
    """A square around a source that holds its whole plume."""
    half = 6000.0
    return Axes(
        crs=emission.source.crs,
        x0=emission.source.x - half + pixel_m / 2,
        y0=emission.source.y + half - pixel_m / 2,
        dx=pixel_m,
        dy=-pixel_m,
        width=int(2 * half / pixel_m),
        height=int(2 * half / pixel_m),
    )


@pytest.mark.parametrize("emission", EMISSIONS, ids=NAMES)
def test_a_plume_holds_what_its_source_emitted(emission):
    column = emission.column(around(emission, 20.0).sites())
    mass = column.sum() * 20.0**2 * KG_M2_PER_PPM_M
    assert_allclose(mass, emission.rate_t_h / 3.6 * emission.duration_s, rtol=1e-3)
    assert column.min() >= 0


@pytest.mark.parametrize("emission", EMISSIONS[:4], ids=NAMES[:4])
def test_mass_up_to_a_distance_is_rate_times_travel_time(emission):
    """`M(X) = Q X / U`, but for the gust that passes X."""
    sites = around(emission, 20.0).sites()
    column = emission.column(sites)
    angle = math.radians(emission.wind_from_deg)
    east, north = sites.x - emission.source.x, sites.y - emission.source.y
    along = -east[None] * math.sin(angle) - north[:, None] * math.cos(angle)
    for distance in (800.0, 1200.0, 1600.0):
        mass = column[along < distance].sum() * 20.0**2 * KG_M2_PER_PPM_M
        expected = emission.rate_t_h / 3.6 * distance / emission.wind_m_s
        assert_allclose(mass, expected, rtol=0.12)


def test_the_demonstration_has_days_with_and_without_plumes():
    for source in SOURCES:
        rates = [source.rate_t_h(day) for day in FIRST_FOUR]
        assert min(rates) == 0
        assert max(rates) >= 5
    assert all(3 <= one.rate_t_h <= 30 for one in EMISSIONS)
    assert all(2 < one.wind_m_s < 6 for one in EMISSIONS)


def test_other_days_emit_now_and_then():
    days = [date(2023, 1, 1) + timedelta(days=number) for number in range(200)]
    rates = np.array([source.rate_t_h(day) for source in SOURCES for day in days])
    assert 0.3 < (rates > 0).mean() < 0.5
    assert rates[rates > 0].min() >= 3
    assert rates.max() <= 30


def test_a_place_has_the_same_column_in_any_window_and_crs():
    emission = EMISSIONS[0]
    axes = around(emission, 60.0)
    whole = plumes.enhancement(axes.sites(), emission.day)
    rows, columns = np.nonzero(whole > 100)
    x, y = axes.x0 + columns * axes.dx, axes.y0 + rows * axes.dy
    points = plumes.enhancement(Sites(axes.crs, x[None], y[None]), emission.day)
    np.testing.assert_array_equal(points[0], whole[rows, columns])
    lon, lat = Transformer.from_crs(axes.crs, 4326, always_xy=True).transform(x, y)
    degrees = plumes.enhancement(Sites("EPSG:4326", lon[None], lat[None]), emission.day)
    assert_allclose(degrees[0], whole[rows, columns], rtol=1e-5)


def test_there_is_none_elsewhere():
    emission = EMISSIONS[0]
    far = around(emission, 60.0).sites().shifted(40_000.0, 0.0)
    assert plumes.enhancement(far, emission.day) is None
    other_side = Sites("EPSG:32760", np.array([5e5, 5.1e5]), np.array([5e6, 5.1e6]))
    assert plumes.enhancement(other_side, emission.day) is None
    assert plumes.enhancement(around(emission, 60.0).sites(), date(2024, 6, 8)) is None


@pytest.mark.parametrize(
    ("crs", "resolution"), [("EPSG:32632", 20.0), ("EPSG:32632", 60.0), ("EPSG:4326", 5.42232e-4)]
)
def test_truth_on_a_grid_holds_the_mass(crs, resolution):
    """Pixel means, so that coarse pixels neither miss nor double the narrow head of a plume."""
    emission = EMISSIONS[0]
    lon, lat = emission.source.degrees
    centre = (lon, lat) if crs == "EPSG:4326" else (emission.source.x, emission.source.y)
    size = 0.14 if crs == "EPSG:4326" else 10_000.0
    grid = Grid(
        crs=crs,
        resolution=resolution,
        left=centre[0] - size / 2,
        top=centre[1] + size / 2,
        width=int(size / resolution),
        height=int(size / resolution),
    )
    moment = datetime.combine(emission.day, datetime.min.time(), tzinfo=UTC).replace(hour=10)
    truth = World().methane(grid, moment)
    area = resolution**2
    if crs == "EPSG:4326":
        metres = math.radians(1) * 6_371_007
        area *= metres**2 * math.cos(math.radians(lat))
    mass = truth.sum() * area * KG_M2_PER_PPM_M
    assert_allclose(mass, emission.mass_kg, rtol=0.01)
