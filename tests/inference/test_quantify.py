"""Emission rates against plumes whose rate is known, and intervals against what they claim."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from geostack_dagster.errors import ConfigurationError, NoDataError, UncalibratedError
from geostack_dagster.inference.detection import Detected, detect
from geostack_dagster.inference.enhancement import Calibration, Enhancement
from geostack_dagster.inference.plumes import find_plumes
from geostack_dagster.inference.quantify import (
    DEFAULT_SCHEME,
    KG_M2_PER_PPM_M,
    SCHEMES,
    Spacing,
    conformal_factor,
    placement_noise,
    quantify,
)
from geostack_dagster.inference.wind import ConstantWind, GriddedWind, Wind, WindSource, usual_sigma
from tests.inference import scenes

SHAPE = (112, 112)
SPACING = Spacing(dy_m=60.0, dx_m=60.0)
SIGMA = 200.0
STEADY = Wind(speed_m_s=4.0, sigma_m_s=1e-9)


def _scene(plume, seed):
    noisy = plume.enhancement + scenes.correlated_noise(plume.enhancement.shape, SIGMA, seed)
    result = Enhancement(
        enhancement=noisy,
        uncertainty=np.full(noisy.shape, SIGMA),
        sensitivity=np.ones(noisy.shape),
        calibration=Calibration.ABSOLUTE,
        target="synthetic",
    )
    clear = np.ones(noisy.shape, bool)
    detected = detect(noisy, result.uncertainty, clear)
    found = find_plumes(detected, noisy, clear)
    return result, detected, max(found, key=lambda one: one.pixels, default=None)


ENSEMBLES = {
    "usual": {"first": 40_000, "wind": (2.0, 6.0)},
    "calm": {"first": 50_000, "wind": (1.5, 3.0)},
    "windy": {"first": 60_000, "wind": (4.0, 8.0)},
}
"""Seeds and winds that nothing was tuned on."""


@cache
def _ensemble(name="usual", count=200):
    """True rates [kg/h], true winds, sizes, and estimates with a wrong wind.

    The wind is wrong by what it says of itself, a quarter: by every quantile of that once, so that
    the share of intervals that hold is left to chance by the plumes alone.
    """
    rows = []
    first, wind = ENSEMBLES[name]["first"], ENSEMBLES[name]["wind"]
    errors = np.random.default_rng(first).permutation(norm.ppf((np.arange(count) + 0.5) / count))
    for seed, error in zip(range(first, first + count), errors, strict=True):
        rng = np.random.default_rng(seed)
        rate, speed = float(np.exp(rng.uniform(np.log(2), np.log(20)))), rng.uniform(*wind)
        plume = scenes.plume(
            SHAPE,
            rate_t_h=rate,
            wind_m_s=speed,
            direction_deg=rng.uniform(0, 360),
            source=(56, 56),
            stability=rng.choice(list("BCD")),
            texture_seed=seed,
            meander_m=rng.uniform(0, 150),
            oversampling=2,
        )
        result, detected, found = _scene(plume, seed + 10**6)
        if found is None:
            continue
        sigma = 0.25 * speed
        guess = Wind(speed_m_s=abs(speed + sigma * error), sigma_m_s=sigma)
        estimate = quantify(result, detected, found, wind=guess, spacing=SPACING)
        rows.append((1000 * rate, speed, found.pixels, estimate))
    return rows


def test_units_add_up():
    assert_allclose(KG_M2_PER_PPM_M, 7.156e-7, rtol=1e-3)
    # a kilogram on a square metre, in ppm m, back to a kilogram
    plume = scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, oversampling=2)
    downwind_m = 60.0 * (SHAPE[1] - plume.source[1] - 0.5)
    mass = plume.enhancement.sum() * SPACING.area_m2 * KG_M2_PER_PPM_M
    assert_allclose(mass, 10_000 / 3600 / 4 * downwind_m, rtol=0.02)


@pytest.mark.parametrize("name", list(ENSEMBLES))
def test_two_hundred_plumes_without_bias(name):
    rows = _ensemble(name)
    assert len(rows) >= 190
    # with the right wind: the rate scales with it exactly
    ratio = np.array(
        [
            estimate.rate_kg_h / true * speed / estimate.wind.speed_m_s
            for true, speed, pixels, estimate in rows
            if pixels >= 60
        ]
    )
    assert len(ratio) > 150
    assert abs(np.median(ratio) - 1) < 0.10
    assert abs(ratio.mean() - 1) < 0.10
    assert np.percentile(np.abs(np.log(ratio)), 90) < np.log(1.4)


LEVELS = [(0.68, "interval_68_kg_h"), (0.95, "interval_95_kg_h")]


def _covered(rows, interval):
    """Share of the true rates that lie in the interval."""
    limits = [(true, *getattr(estimate, interval)) for true, _, _, estimate in rows]
    return np.mean([low <= true <= high for true, low, high in limits])


@pytest.mark.parametrize(("level", "interval"), LEVELS)
@pytest.mark.parametrize("name", list(ENSEMBLES))
def test_intervals_hold_what_they_claim(name, level, interval):
    assert abs(_covered(_ensemble(name), interval) - level) <= 0.05


@pytest.mark.parametrize(("level", "interval"), LEVELS)
def test_six_hundred_plumes_leave_less_to_chance(level, interval):
    rows = [row for name in ENSEMBLES for row in _ensemble(name)]
    assert abs(_covered(rows, interval) - level) <= 0.03


def test_conformal_intervals_hold_on_plumes_that_did_not_tune_them():
    rows = _ensemble()
    true = np.array([row[0] for row in rows])
    estimated = np.array([row[3].rate_kg_h for row in rows])
    factor = conformal_factor(estimated[::2], true[::2], level=0.9)
    inside = np.abs(np.log(estimated[1::2] / true[1::2])) <= np.log(factor)
    assert abs(inside.mean() - 0.9) < 0.07
    assert 1.2 < factor < 2.6
    with pytest.raises(ConfigurationError, match="19 are needed"):
        conformal_factor(estimated[:10], true[:10], level=0.95)


@pytest.mark.parametrize("direction", [0.0, 37.0, 90.0])
def test_a_smooth_plume_is_recovered_within_15_percent(direction):
    plume = scenes.plume(
        (180, 180), rate_t_h=10, wind_m_s=4, direction_deg=direction, source=(60, 60)
    )
    result, detected, found = _scene(plume, 7)
    estimate = quantify(result, detected, found, wind=STEADY, spacing=SPACING)
    assert_allclose(estimate.rate_kg_h, 10_000, rtol=0.15)
    assert estimate.interval_95_kg_h[0] < estimate.interval_68_kg_h[0] < estimate.rate_kg_h
    assert estimate.rate_kg_h < estimate.interval_68_kg_h[1] < estimate.interval_95_kg_h[1]


@pytest.fixture(scope="module")
def steady():
    plume = scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, source=(56, 20), oversampling=2)
    return _scene(plume, 3)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_every_scheme_pairs_length_and_wind(steady, name):
    estimate = quantify(*steady, wind=STEADY, spacing=SPACING, scheme=SCHEMES[name])
    by_hand = estimate.mass_kg / estimate.length_m * SCHEMES[name].effective_wind(np.array(4.0))
    assert_allclose(estimate.rate_kg_h, 3600 * by_hand, rtol=0.03)
    assert 0.5 < estimate.rate_kg_h / 10_000 < 1.6
    assert estimate.scheme.name == name


def test_the_wrong_pairing_is_twice_too_much(steady):
    """Why length and wind law are one choice."""
    wrong = replace(SCHEMES["ime-emit"], slope=1.0, offset_m_s=0.0)
    right, bad = (
        quantify(*steady, wind=STEADY, spacing=SPACING, scheme=scheme).rate_kg_h
        for scheme in (SCHEMES["ime-emit"], wrong)
    )
    assert bad > 1.7 * right


def test_a_wider_wind_widens_the_interval(steady):
    widths = []
    for sigma in (0.1, 1.0, 2.0):
        wind = Wind(speed_m_s=4.0, sigma_m_s=sigma)
        low, high = quantify(*steady, wind=wind, spacing=SPACING).interval_68_kg_h
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]


def test_a_background_level_is_taken_off(steady):
    result, detected, plume = steady
    shifted = replace(result, enhancement=result.enhancement + 50.0)
    clean, lifted = (
        quantify(one, detected, plume, wind=STEADY, spacing=SPACING).rate_kg_h
        for one in (result, shifted)
    )
    assert_allclose(lifted, clean, rtol=1e-3)


def test_noise_of_a_region_grows_beyond_independent_pixels(steady):
    result, detected, plume = steady
    region = detected.labels == plume.number
    _, sigma = placement_noise(result.enhancement, detected.mask, region, SPACING)
    independent = SIGMA * np.sqrt(region.sum()) * SPACING.area_m2 * KG_M2_PER_PPM_M
    assert sigma > 1.2 * independent


def test_gaps_are_reported_and_filled_by_the_mean(steady):
    result, detected, plume = steady
    holes = result.enhancement.copy()
    region = detected.labels == plume.number
    rows, columns = np.nonzero(region)
    holes[rows[::10], columns[::10]] = np.nan
    whole = quantify(*steady, wind=STEADY, spacing=SPACING)
    gappy = quantify(
        replace(result, enhancement=holes), detected, plume, wind=STEADY, spacing=SPACING
    )
    assert whole.masked_fraction == 0
    assert 0 < gappy.masked_fraction < 0.1
    assert_allclose(gappy.rate_kg_h, whole.rate_kg_h, rtol=0.1)


def _width(estimate):
    low, high = estimate.interval_68_kg_h
    return (high - low) / estimate.rate_kg_h


@pytest.mark.parametrize(
    "clouds", [[(48, 49)], [(44, 56)], [(30, 38)], [(30, 42), (50, 62), (70, 82)]]
)
def test_a_cloud_across_the_plume_takes_no_methane_away(steady, clouds):
    whole = quantify(*steady, wind=STEADY, spacing=SPACING)
    result, _, _ = steady
    clear = np.ones(SHAPE, bool)
    for first, last in clouds:
        clear[:, first:last] = False
    holes = np.where(clear, result.enhancement, np.nan)
    detected = detect(holes, result.uncertainty, clear)
    (plume,) = find_plumes(detected, holes, clear)
    cut = quantify(
        replace(result, enhancement=holes), detected, plume, wind=STEADY, spacing=SPACING
    )
    assert cut.length_m < whole.length_m
    assert 0 < cut.masked_fraction < 0.6
    assert_allclose(cut.rate_kg_h, whole.rate_kg_h, rtol=0.05)
    assert _width(cut) > _width(whole)  # fewer transects scatter more


@pytest.mark.parametrize("row", [1, 110])
def test_a_plume_half_outside_of_the_scene_has_no_rate(row):
    """Its transects would carry half of the flux, and the interval would not say so."""
    plume = scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, source=(row, 20), oversampling=2)
    result, detected, found = _scene(plume, 3)
    with pytest.raises(NoDataError, match="transects through the plume are seen whole"):
        quantify(result, detected, found, wind=STEADY, spacing=SPACING)


def test_a_plume_that_leaves_the_scene_keeps_its_rate():
    plume = scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, source=(56, 70), oversampling=2)
    result, detected, found = _scene(plume, 3)
    estimate = quantify(result, detected, found, wind=STEADY, spacing=SPACING)
    assert_allclose(estimate.rate_kg_h, 10_000, rtol=0.15)


def test_a_neighbour_is_not_weighed_twice():
    both = [
        scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, source=(row, 20), oversampling=2)
        for row in (40, 74)
    ]
    noise = scenes.correlated_noise(SHAPE, SIGMA, 0)
    enhancement = both[0].enhancement + both[1].enhancement + noise
    result, _, _ = _scene(both[0], 0)
    result = replace(result, enhancement=enhancement)
    clear = np.ones(SHAPE, bool)
    detected = detect(enhancement, result.uncertainty, clear)
    found = find_plumes(detected, enhancement, clear)
    assert len(found) == 2
    for plume in found:
        estimate = quantify(result, detected, plume, wind=STEADY, spacing=SPACING)
        assert_allclose(estimate.rate_kg_h, 10_000, rtol=0.15)


def test_relative_enhancements_have_no_rate(steady):
    result, detected, plume = steady
    relative = replace(result, calibration=Calibration.RELATIVE)
    with pytest.raises(UncalibratedError, match="adds up to no mass"):
        quantify(relative, detected, plume, wind=STEADY, spacing=SPACING)


def test_a_plume_that_fills_the_scene_cannot_be_measured_against_it(steady):
    result, _, plume = steady
    everywhere = Detected(labels=np.ones(SHAPE, np.int32), score=np.full(SHAPE, 9.0))
    whole, scheme = replace(plume, number=1), SCHEMES["ime-emit"]
    with pytest.raises(NoDataError, match="larger scene"):
        quantify(result, everywhere, whole, wind=STEADY, spacing=SPACING, scheme=scheme)


def test_the_same_plume_gives_the_same_numbers(steady):
    first, second = (quantify(*steady, wind=STEADY, spacing=SPACING) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("size_m", [float("nan"), float("inf"), 0.0, -60.0])
@pytest.mark.parametrize("side", ["dy_m", "dx_m"])
def test_pixels_without_a_size_are_refused(side, size_m):
    with pytest.raises(ConfigurationError, match="cover no ground"):
        replace(SPACING, **{side: size_m})


def test_spacing_of_degrees_needs_a_latitude():
    with pytest.raises(ConfigurationError, match="cover no ground"):
        Spacing.of_degrees(latitude_deg=float("nan"), dy_deg=0.001, dx_deg=0.001)


def test_spacing_of_degrees_is_true_metres():
    spacing = Spacing.of_degrees(latitude_deg=35.0, dy_deg=-0.000542232520256367, dx_deg=0.00054223)
    assert_allclose(spacing.dy_m, 60.3, atol=0.1)
    assert_allclose(spacing.dx_m / spacing.dy_m, np.cos(np.radians(35)), rtol=1e-4)


def test_a_calm_is_no_wind():
    calm = GriddedWind(components=lambda lon, lat, when: (0.0, 0.0), name="reanalysis")
    with pytest.raises(NoDataError, match="reanalysis is calm"):
        calm.at(0.0, 0.0, datetime(2024, 6, 1, tzinfo=UTC))


def test_default_scheme_is_mass_balance():
    assert DEFAULT_SCHEME.name == "csf"


def test_wind_sources_share_one_protocol():
    when = datetime(2024, 6, 1, tzinfo=UTC)
    constant = ConstantWind(speed_m_s=3.0)
    gridded = GriddedWind(components=lambda lon, lat, when: (3.0, 4.0), name="reanalysis")
    assert isinstance(constant, WindSource)
    assert constant.at(0.0, 0.0, when).sigma_m_s == 1.5
    wind = gridded.at(0.0, 0.0, when)
    assert wind.speed_m_s == 5.0
    assert wind.sigma_m_s == usual_sigma(5.0) == 1.5
    assert_allclose(wind.from_deg, 216.87, atol=0.01)
    assert usual_sigma(2.0) == 1.0


@pytest.mark.parametrize(
    ("speed", "sigma"),
    [(0.0, 1.0), (np.nan, 1.0), (3.0, -1.0), (np.inf, 1.0), (3.0, np.inf), (3.0, np.nan)],
)
def test_a_wind_that_carries_nothing_is_refused(speed, sigma):
    with pytest.raises(ConfigurationError, match="carries no plume"):
        Wind(speed_m_s=speed, sigma_m_s=sigma)
