"""Sentinel-2 methane against a real crop with a published plume, and an independent table."""

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.inference.darkening import Geometry, fractional_change
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.inference.mbmp import Pass, methane_column, multi_pass, single_band

DRY_AIR_MOL_M2 = 3.57e5
PPM_M_PER_MOL_M2 = 22414.0
CROP = "S2A_MSICH4_20210702T101031_N0301_R022_T32SKA_20210702T121947_plume0_{}.nc"


@pytest.fixture(scope="module")
def crops(shared_fixtures):
    """Pass with 5 t/h, the same without, true column [ppm m], geometry."""

    def read(name):
        with h5py.File(shared_fixtures / "s2ch4" / CROP.format(name)) as file:
            toa = file["S2TOA"][()]
            angles = {
                "solar_zenith_deg": float(file["SZA"][()]),
                "view_zenith_deg": float(file["VZA"][()]),
            }
            return toa, file["xch4"][()], angles

    plume, column, angles = read("Q5000")
    clean, _, _ = read("Q0")
    clear = np.ones(plume.shape[:2], bool)
    passes = [
        Pass(b11=toa[..., 11].copy(), b12=toa[..., 12].copy(), clear=clear)
        for toa in (plume, clean)
    ]
    return (*passes, column * DRY_AIR_MOL_M2 * PPM_M_PER_MOL_M2, angles)


def _skill(true, retrieved):
    strong = true > 0.05 * true.max()
    x, y = true[strong], retrieved[strong]
    return strong.sum(), np.polyfit(x, y, 1)[0], (x @ y) / (x @ x), np.corrcoef(x, y)[0, 1]


def test_the_real_crop_gives_back_its_plume(crops):
    plume, clean, true, angles = crops
    result = methane_column(multi_pass(plume, [clean]), Geometry(platform="S2A", **angles))
    pixels, slope, through_origin, correlation = _skill(true, result.enhancement)
    assert pixels == 295
    assert 0.95 < slope < 1.05
    assert 0.95 < through_origin < 1.05
    assert correlation > 0.999
    assert result.facts["saturated_pixels"] == 0
    assert result.calibration is Calibration.ABSOLUTE


def test_single_band_sees_the_plume_too(crops):
    plume, clean, true, angles = crops
    result = methane_column(single_band(plume, clean), Geometry(platform="S2A", **angles))
    _, slope, _, correlation = _skill(true, result.enhancement)
    assert 0.95 < slope < 1.05
    assert correlation > 0.999


def test_the_wrong_platform_is_a_third_too_much(crops):
    plume, clean, true, angles = crops
    result = methane_column(multi_pass(plume, [clean]), Geometry(platform="S2B", **angles))
    assert 1.25 < _skill(true, result.enhancement)[1] < 1.5


def test_several_references_give_their_median(crops):
    plume, clean, true, angles = crops
    rng = np.random.default_rng(1)
    noisy = [
        Pass(b11=clean.b11, b12=clean.b12 * rng.normal(1, 0.005, true.shape), clear=clean.clear)
        for _ in range(5)
    ]
    geometry = Geometry(platform="S2A", **angles)
    one, five = (
        methane_column(multi_pass(plume, used), geometry).enhancement for used in (noisy[:1], noisy)
    )
    quiet = true < 100
    assert five[quiet].std() < 0.7 * one[quiet].std()


@pytest.mark.parametrize("platform", ["S2A", "S2B"])
def test_darkening_agrees_with_a_line_by_line_table(shared_fixtures, platform):
    with np.load(shared_fixtures / "spectra" / "openearth_s2_ch4_lut_v5.npz") as table:
        added = table["delta_omega"]
        weak = (added > 0.04) & (added * PPM_M_PER_MOL_M2 < 16_000)
        for number, factor in enumerate(table["amf"]):
            # nadir view: the factor decides the solar zenith angle
            zenith = np.degrees(np.arccos(1 / (factor - 1)))
            geometry = Geometry(
                platform=platform, solar_zenith_deg=float(zenith), view_zenith_deg=0.0
            )
            assert_allclose(geometry.air_mass_factor, factor)
            column = jnp.asarray(added[weak] * PPM_M_PER_MOL_M2)
            expected = table[f"m_{platform.lower()}"][number][weak]
            assert_allclose(fractional_change(column, geometry), expected, rtol=0.045)
