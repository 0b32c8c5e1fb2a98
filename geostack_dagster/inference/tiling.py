"""Run an operator with a neighbourhood over a scene of any size, as if over the whole at once.

A pixel of the result depends on the pixels within the halo and on nothing else: not on where the
scene was cut, since tiles start at global multiples of `align`, and not on what lies outside,
since everything outside the scene and every nodata pixel reaches the operator as 0 with a
validity of False. So tiles give what one tile over the whole scene gives.

It holds for convolutions, morphology and networks without normalisation over the scene. A
`GroupNorm`, a global mean or a fit over the image sees the tile instead of the scene: compute
such numbers first and pass them in.

Pixelwise arithmetic is equal to the bit, sums over a neighbourhood to rounding (1e-6). Tiles of
a few pixels are the exception: XLA gives them other vector code, with another last bit in `exp`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Num

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.blocks import Kernel, Sliceable, map_blocks, plan_blocks


def halo_of(stages: Iterable[int], *, align: int = 1) -> int:
    """Halo of operators run one after the other [pixels]: the sum of their radii.

    Rounded up to a multiple of `align`, so that a network that pools by 2 `k` times sees the same
    cells (`align = 2**k`) in every tile.

    Args:
        stages: Radius of each operator: 1 for a 3 x 3 filter, the dilation of a mask, the
            receptive-field radius of a network.
        align: Coarsest stride of any of them.

    Raises:
        ConfigurationError: If a radius is negative.
    """
    radii = list(stages)
    if min(radii, default=0) < 0:
        raise ConfigurationError(f"radii of stages must not be negative; found {radii}")
    return math.ceil(sum(radii) / align) * align


def tile_kernel(function: Callable[[Array, Array], Any]) -> Kernel:
    """Kernel of an operator that takes a tile and its validity, for use with `tiled`.

    Make it once and keep it: it holds what XLA compiled, and counts it.

    Args:
        function: Takes `*batch y x` without NaN and a Bool `y x`; returns an array or a dict of
            arrays with the same `y x`.
    """

    def masked(tile: Num[Array, "*batch y x"], inside: Bool[Array, "y x"]) -> Any:
        valid = inside & jnp.all(jnp.isfinite(tile), axis=tuple(range(tile.ndim - 2)))
        filled = jnp.where(jnp.broadcast_to(valid, tile.shape), tile, jnp.zeros((), tile.dtype))
        return jax.tree.map(lambda result: _blanked(result, valid), function(filled, valid))

    return Kernel(masked)


def tiled(
    kernel: Kernel,
    array: Sliceable,
    *,
    halo: int,
    core: int | tuple[int, int],
    align: int = 1,
    origin: tuple[int, int] = (0, 0),
) -> Any:
    """Result of the operator over the whole array; float results are NaN where the array is.

    Args:
        kernel: From `tile_kernel`.
        array: `*batch y x`; invalid where any value of the leading axes is not finite.
        halo: From `halo_of`; rounded up to a multiple of `align`.
        core: Rows and columns kept of each tile; multiples of `align`.
        align: Coarsest stride of the operator (`2**depth` of a network that pools).
        origin: Row and column of the array's first pixel on the global grid, so that part of a
            scene gives part of the result.

    Raises:
        ConfigurationError: If the core is not a multiple of `align`.
    """
    rows, columns = (core, core) if isinstance(core, int) else core
    if rows % align or columns % align:
        raise ConfigurationError(
            f"tiles of {rows} x {columns} do not start at multiples of {align}; choose a core "
            f"that {align} divides"
        )
    shape = (array.shape[-2], array.shape[-1])
    blocks = plan_blocks(
        shape, core=(rows, columns), halo=halo_of([halo], align=align), origin=origin
    )
    inside = np.broadcast_to(np.True_, shape)  # blocks pad it with False
    return map_blocks(kernel, (array, inside), blocks=blocks)


def _blanked(result: Array, valid: Bool[Array, "y x"]) -> Array:
    if not jnp.issubdtype(result.dtype, jnp.inexact):
        return result
    return jnp.where(jnp.broadcast_to(valid, result.shape), result, jnp.nan)
