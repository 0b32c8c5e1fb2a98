"""Tiles give what the whole gives: bitwise where pixels stand alone, to 1e-6 where they do not."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.tiling import halo_of, tile_kernel, tiled

RADIUS = 6
SIZE = (53, 71)


def scene(*leading: int) -> np.ndarray:
    values = np.random.default_rng(3).normal(size=(*leading, *SIZE)).astype(np.float32)
    values[..., 5:9, 30:34] = np.nan
    values[..., 0, 0] = np.nan
    return values


def gaussian(tile: Any, valid: Any) -> Any:
    """Normalised convolution: nodata and what lies outside weigh nothing."""
    weights = jnp.exp(-0.5 * (jnp.arange(-RADIUS, RADIUS + 1, dtype=jnp.float32) / 2) ** 2)

    def smoothed(image: Any) -> Any:
        for window in (weights[:, None], weights[None, :]):
            image = jax.scipy.signal.convolve(image, window, mode="same")
        return image

    return smoothed(tile) / smoothed(valid.astype(jnp.float32))


def two_convolutions(tile: Any, valid: Any) -> Any:
    """3 x 3, a non-linearity with a bias, 3 x 3: a small network that respects validity."""
    keys = jax.random.split(jax.random.key(0))
    kernels = [jax.random.normal(key, (3, 3), jnp.float32) for key in keys]
    convolve = functools.partial(jax.scipy.signal.convolve, mode="same")
    hidden = jnp.where(valid, jax.nn.relu(convolve(tile, kernels[0]) + 0.3), 0.0)
    return convolve(hidden, kernels[1])


def pooled(tile: Any, valid: Any) -> Any:
    """Mean of each 8 x 8 cell, repeated: depends on where the cells start."""
    rows, columns = tile.shape
    cells = tile.reshape(rows // 8, 8, columns // 8, 8).mean(axis=(1, 3))
    return jnp.repeat(jnp.repeat(cells, 8, axis=0), 8, axis=1)


def whole(function: Any, values: np.ndarray, *, halo: int, align: int = 1) -> np.ndarray:
    """One tile over everything."""
    return tiled(tile_kernel(function), values, halo=halo, core=(80, 80), align=align)


@pytest.mark.parametrize("core", [8, 16, (7, 30), 64])
def test_pixelwise_operators_are_bitwise_equal(core: Any) -> None:
    def pixelwise(tile: Any, valid: Any) -> Any:
        return jnp.sqrt(jnp.abs(tile[0])) / (tile[1] ** 2 + 1) - 0.3 * tile[0]

    values = scene(2)
    reference = whole(pixelwise, values, halo=0)
    found = tiled(tile_kernel(pixelwise), values, halo=0, core=core)
    assert found.tobytes() == reference.tobytes()
    assert np.array_equal(np.isnan(found), np.isnan(values[0]))


@pytest.mark.parametrize(
    ("function", "halo"), [(gaussian, halo_of([RADIUS])), (two_convolutions, halo_of([1, 1]))]
)
@pytest.mark.parametrize("core", [11, 32])
def test_convolutions_equal_the_whole_scene(function: Any, halo: int, core: int) -> None:
    values = scene()
    # The reference never saw a tile: the operator on the bare array, zeros where nodata.
    valid = np.isfinite(values)
    bare = np.where(
        valid, np.asarray(function(np.where(valid, values, 0), jnp.asarray(valid))), np.nan
    )
    found = tiled(tile_kernel(function), values, halo=halo, core=core)
    np.testing.assert_allclose(found, bare, atol=1e-6, rtol=0)
    np.testing.assert_allclose(found, whole(function, values, halo=halo), atol=1e-6, rtol=0)


def test_the_gaussian_agrees_with_scipy() -> None:
    values = scene()
    valid = np.isfinite(values)
    blur = functools.partial(ndimage.gaussian_filter, sigma=2, truncate=RADIUS / 2, mode="constant")
    expected = blur(np.where(valid, values, 0)) / blur(valid.astype(np.float32))
    found = tiled(tile_kernel(gaussian), values, halo=RADIUS, core=16)
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-5)


def test_a_halo_that_is_too_small_is_seen() -> None:
    values = scene()
    found = tiled(tile_kernel(gaussian), values, halo=RADIUS - 3, core=11)
    assert np.nanmax(np.abs(found - whole(gaussian, values, halo=RADIUS))) > 1e-3


@settings(max_examples=12, deadline=None)
@given(origin=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_part_of_a_scene_gives_part_of_the_result(origin: tuple[int, int]) -> None:
    values = np.random.default_rng(4).normal(size=(96, 96)).astype(np.float32)
    kernel = tile_kernel(pooled)
    reference = tiled(kernel, values, halo=0, core=48, align=8)
    top, left = origin
    part = tiled(kernel, values[top:, left:], halo=0, core=16, align=8, origin=origin)
    # Cells that the cut goes through miss values; all others are where they were.
    rows, columns = -top % 8, -left % 8
    np.testing.assert_allclose(
        part[rows:, columns:], reference[top + rows :, left + columns :], atol=1e-6
    )


def test_one_compilation_for_scenes_of_any_size() -> None:
    kernel = tile_kernel(gaussian)
    for size in ((40, 40), (7, 90), (33, 65)):
        tiled(kernel, np.ones(size, np.float32), halo=RADIUS, core=32)
    assert kernel.compilations == 1


def test_integer_scenes_are_valid_inside_only() -> None:
    kernel = tile_kernel(lambda tile, valid: {"sum": tile, "valid": valid})
    found = tiled(kernel, np.zeros((5, 6), np.int16), halo=2, core=4)
    assert found["sum"].dtype == np.int16
    assert found["valid"].all()


def test_halos_add_up_and_cores_must_be_aligned() -> None:
    assert halo_of([1, 2, 3]) == 6
    assert halo_of([1, 2, 3], align=8) == 8
    assert halo_of([]) == 0
    with pytest.raises(ConfigurationError, match="must not be negative"):
        halo_of([2, -1])
    with pytest.raises(ConfigurationError, match="multiples of 8"):
        tiled(tile_kernel(pooled), scene(), halo=0, core=12, align=8)
