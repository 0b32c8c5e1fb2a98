import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geostack_dagster.domain.bands import Band
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import EARTH_SEARCH
from geostack_dagster.stack.encoding import (
    REFLECTANCE,
    VALUES,
    Encoding,
    encode,
    encoding_of,
    paste,
    values_of,
)

CODES = Encoding(dtype="uint8", fill=0, categorical=True)


def coded(numbers, *, offset, encoding=REFLECTANCE, nodata=0, scale=1e-4, dtype="uint16"):
    pixels = np.array(numbers, dtype)
    return encode(pixels, pixels != nodata, encoding, scale=scale, offset=offset).tolist()


@pytest.mark.parametrize(
    ("offset", "numbers", "wanted"),
    [
        (-0.1, [0, 1, 1000, 10000, 65535], [0, 1, 1000, 10000, 65535]),
        (0.0, [0, 1, 9000, 64535, 64536, 65535], [0, 1001, 10000, 65535, 65535, 65535]),
        # An offset beyond ours would need negative codes: they saturate at 1 and never wrap.
        (-0.2, [0, 500, 1001, 2000], [0, 1, 1, 1000]),
    ],
)
def test_every_processing_lands_on_one_encoding(offset, numbers, wanted):
    assert coded(numbers, offset=offset) == wanted


def test_nodata_is_dropped_before_the_offset():
    assert coded([-9999, -500, 0, 3000], offset=0.0, nodata=-9999, dtype="int16") == [
        0,
        500,
        1000,
        4000,
    ]


@given(
    arrays(np.uint16, (64,), elements=st.integers(0, 64535)),
    st.sampled_from([-0.1, 0.0]),
)
def test_sentinel2_reflectance_survives_exactly(pixels, offset):
    found = encode(pixels, pixels != 0, REFLECTANCE, scale=1e-4, offset=offset)
    decoded = values_of(found, REFLECTANCE)
    wanted = np.where(pixels != 0, pixels * 1e-4 + offset, np.nan)
    np.testing.assert_allclose(decoded, wanted, rtol=0, atol=5e-7)
    back = np.where(found != 0, found.astype(int) + round((-0.1 - offset) / 1e-4), 0)
    np.testing.assert_array_equal(back, pixels)


def test_another_scale_is_rounded_not_truncated():
    # Landsat: 2.75e-5 * DN - 0.2
    assert coded([0, 7273, 43636], offset=-0.2, scale=2.75e-5) == [0, 1000, 11000]


def test_values_keep_their_numbers_and_missing_is_nan():
    pixels = np.array([-9999.0, 1.5, np.nan], np.float32)
    found = encode(pixels, pixels != -9999, VALUES, scale=2.0, offset=1.0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([np.nan, 4.0, np.nan], np.float32))


def test_reflectance_in_floats_is_coded_and_nan_and_infinity_are_not_undefined():
    pixels = np.array([0.25, np.nan, np.inf, -np.inf, -9999.0])
    found = encode(pixels, pixels != -9999, REFLECTANCE, scale=1.0, offset=0.0)
    assert found.tolist() == [3500, 0, 65535, 1, 0]


def test_class_codes_are_never_calibrated_and_never_wrap():
    pixels = np.array([0, 4, 255, 256, 300], np.uint16)
    found = encode(pixels, pixels != 0, CODES, scale=1.0, offset=0.0)
    assert found.tolist() == [0, 4, 255, 0, 0]


def test_source_nodata_becomes_the_fill():
    encoding = Encoding(dtype="uint8", fill=255, categorical=True)
    assert coded([0, 1, 254, 7], offset=0.0, nodata=7, encoding=encoding, dtype="uint8") == [
        0,
        1,
        254,
        255,
    ]


@pytest.mark.parametrize(
    ("band", "wanted"),
    [
        (Band(name="B04", wavelength_nm=664.6), REFLECTANCE),
        (Band(name="B04", wavelength_nm=664.6, dtype="int16", nodata=-9999), REFLECTANCE),
        (Band(name="SCL", dtype="uint8", categorical=True), CODES),
        (
            Band(name="Fmask", dtype="uint8", categorical=True, nodata=255),
            Encoding(dtype="uint8", fill=255, categorical=True),
        ),
        (
            Band(name="classes", dtype="uint16", categorical=True, nodata=None),
            Encoding(dtype="uint16", fill=65535, categorical=True),
        ),
        (Band(name="AOT"), VALUES),
        (Band(name="B10", wavelength_nm=10895.0), VALUES),
        (Band(name="ENH", dtype="float32"), VALUES),
        (Band(name="rfl", dtype="float32", wavelength_nm=2300.0), VALUES),
    ],
)
def test_the_encoding_follows_from_the_band_alone(band, wanted):
    found = encoding_of(band)
    assert (found.to_json()) == wanted.to_json()


def test_all_sentinel2_bands_have_an_encoding():
    table = EARTH_SEARCH.collection("sentinel-2-l2a").bands
    kinds = {band.name: encoding_of(band).dtype for band in table.bands}
    assert kinds["B8A"] == "uint16"
    assert kinds["SCL"] == "uint8"
    assert kinds["WVP"] == "float32"


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "uint16", "fill": 7},
        {"dtype": "uint8", "fill": 300, "categorical": True},
        {"dtype": "float32", "fill": 0},
        {"dtype": "float32", "fill": math.nan, "scale": 0.1},
        {"dtype": "complex64", "fill": 0},
        {"dtype": "uint16", "fill": 0, "scale": 0.0},
    ],
)
def test_encodings_that_would_lose_values_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Encoding(**wrong)


@pytest.mark.parametrize("encoding", [REFLECTANCE, VALUES, CODES])
def test_json_round_trip(encoding):
    again = Encoding.from_json(encoding.to_json())
    assert again.to_json() == encoding.to_json()
    assert again.fill_value.dtype == np.dtype(encoding.dtype)


def test_paste_keeps_what_is_there():
    target = np.array([0, 5, 0], np.uint16)
    paste(target, np.array([7, 8, 0], np.uint16), REFLECTANCE)
    assert target.tolist() == [7, 5, 0]
    target = np.array([np.nan, 5.0], np.float32)
    paste(target, np.array([1.0, 2.0], np.float32), VALUES)
    assert target.tolist() == [1.0, 5.0]
