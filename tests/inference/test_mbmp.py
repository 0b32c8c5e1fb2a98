"""Sentinel-2 methane: definitions, signs, fits and choices, on small made-up scenes."""

from datetime import date, timedelta

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.errors import ConfigurationError, IntegrityError, NoDataError
from geostack_dagster.inference.darkening import ABSORPTION, Geometry, fractional_change
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.inference.mbmp import (
    SATURATION_PPM_M,
    FractionalChange,
    Pass,
    methane_column,
    multi_pass,
    single_band,
    single_pass,
)
from geostack_dagster.inference.references import Acquisition, ReferenceRule, choose_references
from tests.inference import scenes

GEOMETRY = Geometry(platform="S2A", solar_zenith_deg=30.0, view_zenith_deg=5.0)


def _pass(seed=0, shape=(60, 60), column=None, geometry=GEOMETRY, noise=1e-3, texture=0):
    ground = np.random.default_rng(texture)
    b11 = 0.35 * np.exp(0.1 * ground.standard_normal(shape))
    b12 = b11 * (0.9 + 0.01 * ground.standard_normal(shape))
    rng = np.random.default_rng(seed + 100)
    b11, b12 = (
        band * (1 + 0.02 * rng.standard_normal()) * (1 + noise * rng.standard_normal(shape))
        for band in (b11, b12)
    )
    if column is not None:
        b12 = b12 * (1 + np.asarray(fractional_change(jnp.asarray(column), geometry, "mbsp")))
    return Pass(b11=b11, b12=b12, clear=np.ones(shape, bool))


def _plume(rate=10.0):
    return scenes.plume((60, 60), rate_t_h=rate, wind_m_s=3, pixel_m=20, source=(30, 8)).enhancement


def test_definitions_against_numpy():
    plume, reference = _pass(1, column=_plume()), _pass(2)

    def change(top, bottom, kept):
        c = np.sum(top[kept] * bottom[kept]) / np.sum(top[kept] ** 2)
        return (c * top - bottom) / bottom

    everything = np.ones(plume.b11.shape, bool)
    assert_allclose(
        single_band(plume, reference, rounds=0).change,
        change(plume.b12, reference.b12, everything),
        rtol=0,
        atol=1e-10,
    )
    mbsp = change(plume.b12, plume.b11, everything)
    assert_allclose(single_pass(plume, rounds=0).change, mbsp, rtol=0, atol=1e-10)
    assert_allclose(
        multi_pass(plume, [reference], rounds=0).change,
        mbsp - change(reference.b12, reference.b11, everything),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("platform", list(ABSORPTION))
def test_recovers_ten_tonnes_an_hour_within_15_percent(platform):
    geometry = Geometry(platform=platform, solar_zenith_deg=40.0, view_zenith_deg=3.0)
    true = _plume()
    plume = _pass(1, column=true, geometry=geometry)
    result = methane_column(multi_pass(plume, [_pass(2)]), geometry)
    strong = true > 1000
    assert 0.85 < result.enhancement[strong].sum() / true[strong].sum() < 1.15


def test_robust_fit_is_not_pulled_by_the_plume():
    true = _plume(rate=40.0)
    plume, reference = _pass(1, column=true), _pass(2)
    clean = true < 50
    first, last = (
        multi_pass(plume, [reference], rounds=rounds).change[clean].mean() for rounds in (0, 3)
    )
    assert abs(last) < 0.2 * abs(first)


def test_noise_gives_signed_columns_around_zero():
    result = methane_column(multi_pass(_pass(1), [_pass(2)]), GEOMETRY)
    column = result.enhancement
    assert column.min() < 0 < column.max()
    assert abs(column.mean()) < 0.1 * column.std()
    # what the scene's spread promises is what the map shows
    assert 0.8 < np.median(result.uncertainty) / column.std() < 1.25


def test_odd_extension_and_clamp():
    change = np.array([[-0.05, 0.05, -0.5, np.nan, 0.0]])
    fractional = FractionalChange(change=change, spread=1e-3, fits=(), method="mbmp")
    result = methane_column(fractional, GEOMETRY)
    column = result.enhancement[0]
    assert column[0] == -column[1] > 0
    assert column[2] == SATURATION_PPM_M
    assert np.isnan(column[3])
    assert column[4] == 0
    assert result.facts["saturated_pixels"] == 1


def test_inversion_undoes_the_darkening():
    true = np.array([[100.0, 3000.0, 12_000.0, 35_000.0]])
    for method in ("sbmp", "mbsp", "mbmp"):
        change = np.asarray(fractional_change(jnp.asarray(true), GEOMETRY, method))
        fractional = FractionalChange(change=change, spread=1e-3, fits=(), method=method)
        result = methane_column(fractional, GEOMETRY)
        assert_allclose(result.enhancement, true, rtol=1e-5)
        assert (np.diff(result.sensitivity[0]) < 0).all()
        assert_allclose(result.sensitivity[0, 0], 1, rtol=0.01)


def test_compiled_once_per_shape():
    def compiled(shape):
        change = np.full(shape, -0.01)
        fractional = FractionalChange(change=change, spread=1e-3, fits=(), method="mbmp")
        return methane_column(fractional, GEOMETRY).facts["compilations"]

    first = compiled((17, 19))
    assert compiled((17, 19)) == first
    assert compiled((19, 17)) == first + 1


def test_unusable_pixels_stay_out_and_are_nan():
    plume, reference = _pass(1), _pass(2)
    plume.b11[:5] = np.nan
    plume.b12[5:8] = 0.0
    plume.b12[8:10] = np.inf  # one such pixel would take the scale of all with it
    reference.clear[:, :7] = False
    result = multi_pass(plume, [reference])
    unusable = np.zeros(plume.b11.shape, bool)
    unusable[:10] = True
    unusable[:, :7] = True
    assert (np.isnan(result.change) == unusable).all()
    # a second reference that is clear there fills the gap
    filled = multi_pass(plume, [reference, _pass(3)])
    assert np.isfinite(filled.change[10:, :7]).all()


def test_a_higher_sun_path_darkens_more():
    column = jnp.array([5000.0])
    low, high = (
        float(
            fractional_change(
                column, Geometry(platform="S2A", solar_zenith_deg=z, view_zenith_deg=0.0)
            )[0]
        )
        for z in (60.0, 20.0)
    )
    assert low < high < 0


def test_surface_reflectance_is_uncalibrated():
    result = methane_column(multi_pass(_pass(1), [_pass(2)]), GEOMETRY, level="L2A")
    assert result.calibration is Calibration.RELATIVE


def test_unknown_platform_names_the_known():
    with pytest.raises(ConfigurationError, match=r"S2D.*S2A, S2B, S2C"):
        _ = Geometry(platform="S2D", solar_zenith_deg=0.0, view_zenith_deg=0.0).absorption


def test_no_clear_pixel_is_no_data():
    dark = _pass(1)
    dark.clear[:] = False
    with pytest.raises(NoDataError, match="no clear pixel"):
        single_pass(dark)


def test_a_reference_that_shares_no_ground_is_left_out():
    true = _plume()
    plume, good, elsewhere, cloudy, blind = _pass(1, column=true), *(_pass(n) for n in range(2, 6))
    plume.clear[:, 50:] = False
    elsewhere.clear[:, :50] = False
    cloudy.clear[:] = False
    blind.b12[:] = np.nan
    alone = multi_pass(plume, [good])
    among = multi_pass(plume, [elsewhere, cloudy, good, blind])
    assert_allclose(among.change, alone.change)
    assert len(among.fits) == 2
    with pytest.raises(NoDataError, match="none of 3 references"):
        multi_pass(plume, [elsewhere, cloudy, blind])


@pytest.mark.parametrize("zenith", [90.0, 95.0, -1.0, float("nan")])
def test_a_sun_below_the_horizon_has_no_light_path(zenith):
    with pytest.raises(IntegrityError, match="no light path"):
        Geometry(platform="S2A", solar_zenith_deg=zenith, view_zenith_deg=0.0)


def test_mbmp_without_reference_is_refused():
    with pytest.raises(ConfigurationError, match="MBSP"):
        multi_pass(_pass(1), [])


DAY = date(2024, 6, 1)


def _acquisition(name, days, *, orbit=22, platform="S2A", cloud=0.0):
    return Acquisition(
        name=name,
        day=DAY + timedelta(days=days),
        relative_orbit=orbit,
        platform=platform,
        cloud_fraction=cloud,
    )


def test_references_follow_the_rule_whatever_the_order():
    candidates = [
        _acquisition("near-other-platform", -5, platform="S2B"),
        _acquisition("near", 10),
        _acquisition("before", -10),
        _acquisition("cloudy", -10, cloud=0.3),
        _acquisition("other-orbit", 3, orbit=65),
        _acquisition("late", 70),
        _acquisition("itself", 0),
    ]
    for order in (candidates, candidates[::-1]):
        chosen = choose_references(_acquisition("itself", 0), order)
        assert [one.name for one in chosen] == ["before", "near", "near-other-platform"]
    assert len(choose_references(_acquisition("i", 0), candidates, ReferenceRule(at_most=1))) == 1


def test_an_unknown_orbit_is_nobodys():
    with pytest.raises(NoDataError, match="0 share orbit None"):
        choose_references(_acquisition("i", 0, orbit=None), [_acquisition("c", 5, orbit=None)])


def test_no_reference_says_why():
    with pytest.raises(NoDataError, match="1 share orbit 22, 1 lie within 60 days"):
        choose_references(
            _acquisition("i", 0), [_acquisition("c", 5, cloud=0.9), _acquisition("o", 5, orbit=1)]
        )
