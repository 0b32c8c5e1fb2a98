"""Pixel evidence for offsets: honest scenes pass, lying ones do not, and doubt is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.dark_pixels import (
    BELOW,
    DIM,
    ENOUGH,
    DarkPixels,
    Verdict,
    is_suspicious,
    judge,
)
from geostack_dagster.domain.radiometry import Radiometry


def decided(offset: float) -> Radiometry:
    return Radiometry(scale=1e-4, offset=offset, reason="stated", evidence={"flag": True})


def dark(
    reflectance: np.ndarray, *items: str, band: str = "B04", classified: bool = True
) -> DarkPixels:
    """Evidence as it is counted from pixels."""
    values = np.sort(reflectance.ravel())
    return DarkPixels(
        items=items or ("a",),
        band=band,
        classified=classified,
        count=values.size,
        least=float(values[int(values.size * 0.001)]) if values.size else 0.0,
        median=float(np.median(values)) if values.size else 0.0,
        below=float((values < BELOW).mean()) if values.size else 0.0,
        dim=float((values < DIM).mean()) if values.size else 0.0,
    )


def ground(mean: float, spread: float, count: int = 5000) -> np.ndarray:
    return np.random.default_rng(1).normal(mean, spread, count).clip(-0.03, 1)


HONEST = {
    "vegetation": ground(0.04, 0.01),
    "clear water": ground(0.005, 0.01),
    "turbid water": ground(0.12, 0.03),
    "overcorrected shadow": ground(-0.005, 0.01),
    "bright crops": ground(0.08, 0.01),
}


@pytest.mark.parametrize("truth", HONEST.values(), ids=HONEST.keys())
@pytest.mark.parametrize("offset", [-0.1, 0.0])
def test_an_honest_item_is_never_contradicted(truth, offset):
    (found,) = judge([dark(truth)], {"a": decided(offset)})

    assert found.verdict is Verdict.SOUND


@pytest.mark.parametrize("truth", [HONEST["vegetation"], HONEST["clear water"]])
def test_an_offset_subtracted_twice_or_never_is_found(truth):
    (twice,) = judge([dark(truth - 0.1)], {"a": decided(-0.1)})
    (never,) = judge([dark(truth + 0.1)], {"a": decided(0.0)})

    assert twice.verdict is never.verdict is Verdict.CONTRADICTED
    assert "subtracted twice" in twice.reason
    assert "nothing is subtracted" in never.reason
    assert is_suspicious(twice.pixels)
    assert is_suspicious(never.pixels)


def test_one_honest_band_clears_an_item():
    turbid = dark(ground(0.15, 0.03))
    infrared = dark(ground(0.01, 0.005), band="B12")

    assert judge([turbid], {"a": decided(0.0)})[0].verdict is Verdict.CONTRADICTED
    assert judge([turbid, infrared], {"a": decided(0.0)})[0].verdict is Verdict.SOUND


def test_too_few_dark_pixels_are_no_evidence():
    few = dark(HONEST["vegetation"][: ENOUGH - 1] - 0.1)

    for found in (judge([few], {"a": decided(-0.1)}), judge([], {"a": decided(-0.1)})):
        assert found[0].verdict is Verdict.UNCLEAR
    assert not is_suspicious([few])


def test_without_classes_bright_ground_proves_nothing_and_negative_ground_does():
    desert = dark(ground(0.35, 0.02), classified=False)
    lied = dark(ground(0.02, 0.01) - 0.1, band="B12", classified=False)

    assert judge([desert], {"a": decided(0.0)})[0].verdict is Verdict.UNCLEAR
    assert judge([desert, lied], {"a": decided(-0.1)})[0].verdict is Verdict.CONTRADICTED


def test_items_of_a_day_are_judged_by_their_own_pixels_first():
    honest, lying = dark(HONEST["vegetation"], "a"), dark(HONEST["vegetation"] - 0.1, "b")
    shared = dark(np.concatenate([HONEST["vegetation"], HONEST["vegetation"] - 0.1]), "a", "b")

    one, two = judge([honest, lying, shared], {"a": decided(-0.1), "b": decided(-0.1)})
    assert (one.verdict, two.verdict) == (Verdict.SOUND, Verdict.CONTRADICTED)
    # Where all pixels are shared nobody can tell whose are wrong.
    both = judge([shared], {"a": decided(-0.1), "b": decided(-0.1)})
    assert {found.verdict for found in both} == {Verdict.CONTRADICTED}


@given(st.floats(0.0, 0.07), st.floats(0.001, 0.01), st.integers(ENOUGH, 5000), st.integers(0, 99))
def test_whatever_the_dark_ground_truth_and_lie_are_told_apart(mean, spread, count, seed):
    truth = np.random.default_rng(seed).normal(mean, spread, count)

    for offset, lie in ((-0.1, -0.1), (0.0, 0.1)):
        assert judge([dark(truth)], {"a": decided(offset)})[0].verdict is Verdict.SOUND
        found = judge([dark(truth + lie)], {"a": decided(offset)})[0]
        assert found.verdict is Verdict.CONTRADICTED


def reflectance(path, offset: float, band: int = 1, nodata: int = 0) -> np.ndarray:
    import rasterio

    with rasterio.open(path) as source:
        numbers = source.read(band)
    return numbers[(numbers != nodata) & (numbers > 0)] * 1e-4 + offset


def test_a_real_tile_of_baseline_0400_is_honest(shared_fixtures):
    """Its 0.1 % percentile is -0.042: a threshold on that alone would call it a liar."""
    path = shared_fixtures / "raster/S2A_T32TLS_20220620_N0400_R60m_B01.jp2"
    truth = reflectance(path, -0.1)
    darkest = np.sort(truth)[: truth.size // 10]

    assert dark(truth).least < -0.04
    for pixels in (truth, darkest):
        assert judge([dark(pixels)], {"a": decided(-0.1)})[0].verdict is Verdict.SOUND
    assert judge([dark(darkest - 0.1)], {"a": decided(-0.1)})[0].verdict is Verdict.CONTRADICTED
    assert judge([dark(darkest + 0.1)], {"a": decided(0.0)})[0].verdict is Verdict.CONTRADICTED


@pytest.mark.parametrize(
    ("name", "band", "nodata"),
    [
        ("s2_cog_34SGA/B01.tif", 1, 0),
        ("openeo_S2-bands.tiff", 3, 32767),
        ("openeo_s2_l1c/ref_input_S2_B04.tif", 1, 65535),
    ],
)
def test_real_rasters_of_before_the_offset_are_honest(shared_fixtures, name, band, nodata):
    truth = reflectance(shared_fixtures / "raster" / name, 0.0, band, nodata)
    darkest = np.sort(truth)[: truth.size // 4]

    assert judge([dark(truth)], {"a": decided(0.0)})[0].verdict is Verdict.SOUND
    assert judge([dark(darkest - 0.1)], {"a": decided(-0.1)})[0].verdict is Verdict.CONTRADICTED
    assert judge([dark(darkest + 0.1)], {"a": decided(0.0)})[0].verdict is Verdict.CONTRADICTED
