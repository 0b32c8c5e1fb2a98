"""Blocks cover a scene once, have one shape, compile once and give what the whole gives."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.blocks import Kernel, map_blocks, plan_blocks, stream_blocks


def unique(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)


def _is_zero(block: Any) -> Any:
    return block == jnp.zeros((), block.dtype)


class Store:
    """Reads what is sliced and remembers it, as a chunked store would."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.reads: list[tuple[int, ...]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        part = self.values[key]
        self.reads.append(part.shape)
        return part


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    core=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    halo=st.integers(0, 9),
    origin=st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
)
def test_cores_cover_every_pixel_once_and_start_on_the_global_grid(
    size: tuple[int, int], core: tuple[int, int], halo: int, origin: tuple[int, int]
) -> None:
    seen = np.zeros(size, int)
    for block in plan_blocks(size, core=core, halo=halo, origin=origin):
        seen[block.target] += 1
        assert block.shape == (core[0] + 2 * halo, core[1] + 2 * halo)
        for span, step, first in zip((block.y, block.x), core, origin, strict=True):
            assert (span.start + halo + first) % step == 0
            # The core lies in the window, with the halo around it.
            assert halo <= span.kept.start < span.kept.stop <= step + halo
    assert (seen == 1).all()


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    core=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    halo=st.integers(0, 5),
)
def test_the_identity_returns_the_scene(
    size: tuple[int, int], core: tuple[int, int], halo: int
) -> None:
    scene = unique(2, *size)
    found = map_blocks(
        Kernel(lambda block: block), (scene,), blocks=plan_blocks(size, core=core, halo=halo)
    )
    assert np.array_equal(found, scene)


def test_edges_are_padded_to_one_shape_and_compiled_once() -> None:
    shapes = set()

    def doubled(block: Any) -> Any:
        shapes.add(block.shape)
        return block * 2

    kernel = Kernel(doubled)
    for size in ((50, 70), (16, 16), (33, 1)):
        scene = unique(*size)
        found = map_blocks(kernel, (scene,), blocks=plan_blocks(size, core=(16, 16)))
        assert np.array_equal(found, scene * 2)
    assert shapes == {(16, 16)}
    assert kernel.compilations == 1
    map_blocks(kernel, (unique(4, 4),), blocks=plan_blocks((4, 4), core=(4, 4)))
    assert kernel.compilations == 2


@pytest.mark.parametrize(
    ("dtype", "is_padding"), [(np.float32, jnp.isnan), (np.uint16, _is_zero), (np.bool_, _is_zero)]
)
def test_padding_is_nodata_of_the_dtype(dtype: Any, is_padding: Any) -> None:
    def window(block: Any) -> Any:
        return jnp.broadcast_to(is_padding(block).sum(), block.shape)

    found = map_blocks(
        Kernel(window), (np.ones((2, 3), dtype),), blocks=plan_blocks((2, 3), core=(4, 4))
    )
    assert (found == 4 * 4 - 2 * 3).all()


@pytest.mark.parametrize("lookahead", [0, 1, 3, 100])
def test_double_buffering_changes_nothing(lookahead: int) -> None:
    scene, offset = unique(3, 2, 20, 30), np.float32(0.5)
    found = map_blocks(
        Kernel(lambda block, add: {"sum": block.sum(axis=0) + add, "both": block - add}),
        (scene,),
        blocks=plan_blocks((3, 20, 30), core=(8, 8)),
        parameters=(offset,),
        lookahead=lookahead,
    )
    assert np.array_equal(found["sum"], scene.sum(axis=1) + offset)
    assert np.array_equal(found["both"], scene - offset)


def test_results_can_be_kept_while_later_blocks_are_computed() -> None:
    scene = unique(12, 12)
    kernel = Kernel(lambda block: block)
    kept = list(stream_blocks(kernel, (scene,), blocks=plan_blocks((12, 12), core=(4, 4))))
    for block, result in kept:
        assert np.array_equal(result, scene[block.target])


def test_only_the_window_of_a_block_is_read_from_a_store() -> None:
    store = Store(unique(5, 3, 40, 40))
    blocks = plan_blocks((5, 40, 40), core=(16, 16), halo=2)
    found = map_blocks(Kernel(lambda block: block), (store,), blocks=blocks, lookahead=1)
    assert np.array_equal(found, store.values)
    assert len(store.reads) == len(blocks) == 5 * 9
    assert max(store.reads) == (3, 20, 20)


def test_a_plan_of_another_scene_is_refused() -> None:
    blocks = plan_blocks((8, 8), core=(4, 4))
    with pytest.raises(ConfigurationError, match=r"shape \(9, 8\).*plan for 8 x 8"):
        map_blocks(Kernel(lambda block: block), (unique(9, 8),), blocks=blocks)
    with pytest.raises(ConfigurationError, match="plan is empty"):
        map_blocks(Kernel(lambda block: block), (unique(9, 8),), blocks=[])
    with pytest.raises(ConfigurationError, match="core must"):
        plan_blocks((8, 8), core=(0, 4))
