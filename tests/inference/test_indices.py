"""Index maps: formulas by hand, guards, nodata, clear mask, and the path from encoded numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from geostack_dagster.domain.indices import INDICES
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.indices import (
    Encoding,
    bands_needed,
    compute,
    index_kernel,
    index_maps,
)

ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
PIXEL = {"blue": 0.05, "green": 0.08, "red": 0.06, "nir": 0.40, "swir16": 0.20, "swir22": 0.10}
BY_HAND = {
    "NDVI": 0.34 / 0.46,
    "EVI": 2.5 * 0.34 / (0.40 + 0.36 - 0.375 + 1.0),
    "NDWI": -0.32 / 0.48,
    "MNDWI": -0.12 / 0.28,
    "NDMI": 0.20 / 0.60,
    "NBR": 0.30 / 0.50,
    "NDSI": -0.12 / 0.28,
    "SAVI": 1.5 * 0.34 / 0.96,
    "BSI": (0.26 - 0.45) / (0.26 + 0.45),
}
ENCODING = Encoding(bands=ROLES, scale=1e-4, offset=-0.1)


def one_pixel(**changes: float) -> dict[str, np.ndarray]:
    return {
        role: np.full((1, 1), value, np.float32) for role, value in {**PIXEL, **changes}.items()
    }


def encoded_world(shape: tuple[int, ...] = (70, 90)) -> np.ndarray:
    """Every DN of every layer is unique within its neighbourhood, and none is nodata."""
    count = int(np.prod(shape))
    ramp = np.arange(count, dtype=np.uint32).reshape(shape)
    return np.stack(
        [(1501 + (ramp * (7 + 2 * layer)) % 9000).astype(np.uint16) for layer in range(6)], axis=-3
    )


@pytest.mark.parametrize("name", sorted(INDICES))
def test_values_are_those_computed_by_hand(name: str) -> None:
    found = compute([name], one_pixel())[name]
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[0, 0], BY_HAND[name], rtol=1e-6)


def test_every_index_is_documented_and_asks_for_known_bands() -> None:
    assert set(BY_HAND) == set(INDICES)
    for index in INDICES.values():
        assert set(index.bands) <= set(ROLES)
        assert index.long_name
        assert index.reference
        value = eval(index.words, {"__builtins__": {}}, PIXEL)
        assert value == pytest.approx(BY_HAND[index.name])


def test_order_and_duplicates_of_the_names_are_kept_and_dropped() -> None:
    assert list(compute(["NBR", "NDVI", "NBR"], one_pixel())) == ["NBR", "NDVI"]
    assert bands_needed(["NBR", "EVI"]) == ("blue", "red", "nir", "swir22")


@pytest.mark.parametrize(
    ("changes", "name", "is_nan"),
    [
        ({"nir": 0.004, "red": 0.005}, "NDVI", True),
        ({"nir": 0.006, "red": 0.006}, "NDVI", False),
        ({"nir": -0.004, "red": -0.005}, "NDVI", True),
        ({"nir": 0.0, "red": 0.0}, "NDVI", True),
        ({"nir": -0.25, "red": -0.25}, "SAVI", True),
        ({"blue": 0.3, "red": 0.2, "nir": 0.05}, "EVI", True),  # 0.05 + 1.2 - 2.25 + 1 = 0
        ({"swir16": -0.06, "red": -0.05, "nir": 0.05, "blue": 0.06}, "BSI", True),
    ],
)
def test_a_denominator_near_zero_gives_nan(
    changes: dict[str, float], name: str, is_nan: bool
) -> None:
    assert bool(jnp.isnan(compute([name], one_pixel(**changes))[name][0, 0])) is is_nan


def test_slightly_negative_reflectance_is_not_clipped() -> None:
    found = compute(["NDVI"], one_pixel(red=-0.02, nir=0.3))["NDVI"][0, 0]
    np.testing.assert_allclose(found, 0.32 / 0.28, rtol=1e-6)
    assert found > 1


def test_nan_stays_in_the_maps_that_use_the_band() -> None:
    maps = compute(["NDVI", "NDWI", "EVI"], one_pixel(blue=np.nan))
    assert not jnp.isnan(maps["NDVI"][0, 0])
    assert not jnp.isnan(maps["NDWI"][0, 0])
    assert jnp.isnan(maps["EVI"][0, 0])


def test_encoded_numbers_give_the_maps_of_their_reflectance() -> None:
    encoded = encoded_world()
    clear = np.random.default_rng(1).random(encoded.shape[-2:]) < 0.7
    maps = index_maps(list(INDICES), encoded, clear, encoding=ENCODING, block=(32, 64))
    reflectance = encoded.astype(np.float64) * 1e-4 - 0.1
    expected = compute(list(INDICES), dict(zip(ROLES, reflectance, strict=True)), dtype=jnp.float64)
    for name, found in maps.items():
        assert found.dtype == np.float32
        wanted = np.where(clear, expected[name], np.nan)
        # float32 decoding is off by 1e-8; the worst denominator magnifies that a hundredfold.
        assert np.array_equal(np.isnan(found), np.isnan(wanted))
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_blocks_give_bitwise_what_the_whole_gives() -> None:
    encoded, clear = encoded_world(), np.ones((70, 90), bool)
    whole = index_maps(["NDVI", "EVI"], encoded, clear, encoding=ENCODING, block=(128, 128))
    for block in ((16, 16), (7, 13), (70, 90)):
        parts = index_maps(["NDVI", "EVI"], encoded, clear, encoding=ENCODING, block=block)
        for name, values in whole.items():
            assert values.tobytes() == parts[name].tobytes()


def test_dates_are_walked_one_by_one_with_one_compilation() -> None:
    encoded = np.stack([encoded_world((40, 50)), encoded_world((40, 50)) + np.uint16(3)])
    clear = np.ones((2, 40, 50), bool)
    index_kernel.cache_clear()
    maps = index_maps(["NDMI"], encoded, clear, encoding=ENCODING, block=(16, 32))
    assert index_kernel(("NDMI",), ROLES).compilations == 1
    for date in range(2):
        alone = index_maps(["NDMI"], encoded[date], clear[date], encoding=ENCODING, block=(16, 32))
        assert maps["NDMI"][date].tobytes() == alone["NDMI"].tobytes()
    # Neither another date, size, scale nor offset compiles again; another dtype does.
    other = Encoding(bands=ROLES, scale=2e-4, offset=0.0, fill=7)
    index_maps(["NDMI"], encoded[0, :, :33], clear[0, :33], encoding=other, block=(16, 32))
    assert index_kernel(("NDMI",), ROLES).compilations == 1
    index_maps(["NDMI"], encoded.astype(np.int16)[0], clear[0], encoding=ENCODING, block=(16, 32))
    assert index_kernel(("NDMI",), ROLES).compilations == 2


def test_a_block_of_nodata_alone_is_nan() -> None:
    encoded = encoded_world((64, 64))
    encoded[:, :32, :32] = 0
    maps = index_maps(
        list(INDICES), encoded, np.ones((64, 64), bool), encoding=ENCODING, block=(32, 32)
    )
    for values in maps.values():
        assert np.isnan(values[:32, :32]).all()
        assert np.isfinite(values[32:, 32:]).any()


def test_nodata_in_one_band_spoils_only_the_indices_that_use_it() -> None:
    encoded = encoded_world((8, 8))
    encoded[ROLES.index("swir22"), 2, 3] = 0
    maps = index_maps(
        ["NBR", "NDVI"], encoded, np.ones((8, 8), bool), encoding=ENCODING, block=(8, 8)
    )
    assert np.argwhere(np.isnan(maps["NBR"])).tolist() == [[2, 3]]
    assert np.isfinite(maps["NDVI"]).all()


def test_the_smallest_numbers_are_values_and_do_not_wrap() -> None:
    encoded = np.full((6, 1, 2), 3000, np.uint16)
    encoded[ROLES.index("red")] = [[1, 999]]  # DN 1 is a value; both have DN + A < 0
    found = index_maps(["NDVI"], encoded, np.ones((1, 2), bool), encoding=ENCODING)["NDVI"]
    red = np.array([1, 999]) * 1e-4 - 0.1
    np.testing.assert_allclose(found[0], (0.2 - red) / (0.2 + red), rtol=1e-5)
    assert (found > 1).all()


def test_float_stacks_carry_nan_and_a_fill_of_none_keeps_zeros() -> None:
    stack = np.full((2, 1, 3), 0.4, np.float32)
    stack[0] = [[0.1, np.nan, 0.0]]
    encoding = Encoding(bands=("red", "nir"), scale=1.0, fill=None)
    found = index_maps(["NDVI"], stack, np.ones((1, 3), bool), encoding=encoding)["NDVI"]
    np.testing.assert_allclose(found[0], [0.6, np.nan, 1.0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["u2", "i2", "f4", "f8"])
def test_the_byte_order_of_a_file_does_not_matter(kind: str) -> None:
    """XLA would take big-endian bytes as they lie, and say nothing."""
    encoded, clear = encoded_world((40, 50)), np.ones((40, 50), bool)
    little, big = (
        index_maps(list(INDICES), encoded.astype(f"{order}{kind}"), clear, encoding=ENCODING)
        for order in "<>"
    )
    for name, values in little.items():
        assert np.isfinite(values).any()
        assert values.tobytes() == big[name].tobytes()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["NDV"], r"unknown index 'NDV'; did you mean 'NDVI'\? Known: NDVI, EVI"),
        (["ndvi"], r"did you mean 'NDVI'"),
        (["EVI"], r"index EVI needs the bands nir, red, blue; missing: blue; there are: red, nir"),
        ([], "at least one index"),
    ],
)
def test_a_wrong_ask_is_named_before_anything_is_compiled(names: list[str], message: str) -> None:
    bands = {"red": np.ones((1, 1), np.float32), "nir": np.ones((1, 1), np.float32)}
    with pytest.raises(ConfigurationError, match=message):
        compute(names, bands)
    with pytest.raises(ConfigurationError, match=message):
        index_maps(
            names,
            np.ones((2, 4, 4), np.uint16),
            np.ones((4, 4), bool),
            encoding=Encoding(bands=("red", "nir")),
        )


def test_shapes_and_fills_that_contradict_are_refused() -> None:
    stack, clear = np.ones((2, 4, 4), np.uint16), np.ones((4, 4), bool)
    encoding = Encoding(bands=("red", "nir"))
    with pytest.raises(ConfigurationError, match="bool of shape"):
        index_maps(["NDVI"], stack, clear[:3], encoding=encoding)
    with pytest.raises(ConfigurationError, match="clear mask is uint8"):
        index_maps(["NDVI"], stack, clear.astype(np.uint8), encoding=encoding)
    with pytest.raises(ConfigurationError, match="one layer for each of the 2 bands red, nir"):
        index_maps(["NDVI"], stack[:1], clear, encoding=encoding)
    with pytest.raises(ConfigurationError, match="uint16 numbers cannot hold the fill value -9999"):
        index_maps(["NDVI"], stack, clear, encoding=Encoding(bands=("red", "nir"), fill=-9999))
    with pytest.raises(ConfigurationError, match=r"one grid; found red \(1, 1\), nir \(2, 2\)"):
        compute(["NDVI"], {"red": np.ones((1, 1)), "nir": np.ones((2, 2))})
