"""Spectral indices of surface reflectance: two ways to run the formulas of `domain.indices`.

`compute` takes reflectance by role and returns one map each, in float32 or float64. `index_maps`
takes what a cube holds, encoded numbers with scale, offset and fill, and decodes, masks and
computes in one pass over memory.

A value is NaN, never clipped and never a made-up number, where a band the index needs is nodata,
where the pixel is not clear, and where the denominator is within 0.01 of zero: such a quotient is
noise. Reflectance slightly below 0 is legitimate, so indices may leave [-1, 1].
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Num

from geostack_dagster.domain.indices import BANDS, INDICES, Index
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.blocks import Kernel, Sliceable, map_blocks, plan_blocks

_SMALLEST_DENOMINATOR = 0.01
_BLOCK = (256, 2048)  # tried: smaller blocks cost dispatches, larger ones fresh pages of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a stack holds reflectance: `R = DN * scale + offset` wherever `DN != fill`."""

    bands: tuple[str, ...]
    """Role of each layer, in order; a layer that no index needs may have any name."""
    scale: float = 1e-4
    offset: float = 0.0
    fill: float | None = 0
    """None if every number is a value; NaN needs no fill."""

    def parameters(self, dtype: DTypeLike) -> tuple[Any, ...]:
        """Scale, offset and fill as arrays for `index_kernel` over a stack of this dtype.

        Raises:
            ConfigurationError: If the dtype cannot hold the fill.
        """
        scale, offset = np.asarray(self.scale, np.float32), np.asarray(self.offset, np.float32)
        if self.fill is None:
            return scale, offset, None
        if np.issubdtype(dtype, np.integer) and not (
            float(self.fill).is_integer()
            and np.iinfo(dtype).min <= self.fill <= np.iinfo(dtype).max
        ):
            raise ConfigurationError(
                f"{np.dtype(dtype)} numbers cannot hold the fill value {self.fill}; give the one "
                "that the stack was encoded with, or None"
            )
        return scale, offset, np.asarray(self.fill, dtype)


def compute(
    names: Iterable[str],
    reflectance: Mapping[str, Float[Array | np.ndarray, "*batch y x"]],
    *,
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Float[Array, "*batch y x"]]:
    """Index maps by name, in the order asked.

    Args:
        names: Names from `domain.indices.INDICES`.
        reflectance: Reflectance [1] by role (see `BANDS`); NaN where there is none.
        dtype: Of the arithmetic and the result; float64 compares with other implementations.

    Raises:
        ConfigurationError: If an index is unknown, a band it needs is missing, or the bands
            differ in shape.
    """
    chosen = indices_named(names, available=reflectance)
    bands = {role: jnp.asarray(reflectance[role], dtype) for role in _roles(chosen)}
    if len({band.shape for band in bands.values()}) > 1:
        found = ", ".join(f"{role} {band.shape}" for role, band in bands.items())
        raise ConfigurationError(f"bands must lie on one grid; found {found}: resample first")
    maps = _compute(tuple(index.name for index in chosen), bands)
    return {index.name: maps[index.name] for index in chosen}


def index_maps(
    names: Iterable[str],
    encoded: Sliceable,
    clear: Sliceable,
    *,
    encoding: Encoding,
    block: tuple[int, int] = _BLOCK,
) -> dict[str, Float[np.ndarray, "*batch y x"]]:
    """Index maps of an encoded stack by name, float32, in the order asked.

    Memory is bounded by the result: blocks of a fixed shape are decoded, masked and computed one
    after the other, so XLA compiles once whatever the size and the number of dates.

    Args:
        names: Names from `domain.indices.INDICES`.
        encoded: Numbers as stored, `*batch band y x`.
        clear: True where a pixel is usable, `*batch y x`.
        encoding: Layers of `encoded`, and how to decode them.
        block: Rows and columns computed at once; multiples of the chunks of a store.

    Raises:
        ConfigurationError: If an index is unknown, a band it needs is missing, or the shapes
            contradict one another or the encoding.
    """
    chosen = indices_named(names, available=encoding.bands)
    _check_shapes(encoded, clear, encoding)
    wanted = tuple(index.name for index in chosen)
    *batch, _, height, width = encoded.shape
    maps = map_blocks(
        index_kernel(wanted, encoding.bands),
        (encoded, clear),
        blocks=plan_blocks((*batch, height, width), core=_fitting(block, height, width)),
        parameters=encoding.parameters(encoded.dtype),
    )
    return {name: maps[..., number, :, :] for number, name in enumerate(wanted)}


@functools.cache
def index_kernel(names: tuple[str, ...], bands: tuple[str, ...]) -> Kernel:
    """Kernel that decodes, masks and computes: one for each list of names and layers.

    It takes a stack `band y x`, a clear mask `y x` (True = usable), scale, offset and fill, and
    returns float32 `index y x`. Its `compilations` go into an asset's metadata.

    Raises:
        ConfigurationError: If an index is unknown, or a band it needs is missing.
    """
    chosen = indices_named(names, available=bands)
    layer = {role: bands.index(role) for role in _roles(chosen)}

    def decoded_maps(
        encoded: Num[Array, "band y x"],
        clear: Bool[Array, "y x"],
        scale: Float[Array, ""],
        offset: Float[Array, ""],
        fill: Num[Array, ""] | None,
    ) -> Float[Array, "index y x"]:
        # Cast before the offset: uint16 arithmetic would wrap for DN + A < 0. Validity is kept
        # beside the numbers, not as NaN inside them: XLA then fuses all maps into one pass.
        reflectance = {
            role: encoded[number].astype(jnp.float32) * scale + offset
            for role, number in layer.items()
        }
        maps = []
        for index in chosen:
            valid = clear
            if fill is not None:
                for role in index.bands:
                    valid = valid & (encoded[layer[role]] != fill)
            maps.append(_quotient(index, reflectance, valid))
        return jnp.stack(maps)

    return Kernel(decoded_maps)


def indices_named(names: Iterable[str], *, available: Iterable[str]) -> tuple[Index, ...]:
    """Indices of these names, in the order asked.

    Raises:
        ConfigurationError: If there is no name, a name is unknown, or a band is not available.
    """
    wanted, there = tuple(names), tuple(available)
    if not wanted:
        raise ConfigurationError(f"name at least one index of {', '.join(INDICES)}")
    for name in wanted:
        if name not in INDICES:
            near = get_close_matches(name.upper(), INDICES, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(f"unknown index {name!r}; {hint}Known: {', '.join(INDICES)}")
        missing = [role for role in INDICES[name].bands if role not in there]
        if missing:
            raise ConfigurationError(
                f"index {name} needs the bands {', '.join(INDICES[name].bands)}; missing: "
                f"{', '.join(missing)}; there are: {', '.join(there) or 'none'}"
            )
    return tuple(INDICES[name] for name in dict.fromkeys(wanted))


def bands_needed(names: Iterable[str]) -> tuple[str, ...]:
    """Roles of the bands that these indices need, shortest wavelength first.

    Raises:
        ConfigurationError: If a name is unknown.
    """
    return _roles(indices_named(names, available=BANDS))


@functools.partial(jax.jit, static_argnums=0)
def _compute(
    names: tuple[str, ...], reflectance: dict[str, Float[Array, "*batch y x"]]
) -> dict[str, Float[Array, "*batch y x"]]:
    return {name: _quotient(INDICES[name], reflectance, None) for name in names}


def _quotient(index: Index, reflectance: Mapping[str, Array], valid: Array | None) -> Array:
    numerator, denominator = index.formula(*(reflectance[role] for role in index.bands))
    kept = jnp.abs(denominator) > _SMALLEST_DENOMINATOR  # False for NaN
    kept = kept if valid is None else kept & valid
    return jnp.where(kept, numerator / denominator, jnp.nan)


def _roles(chosen: Sequence[Index]) -> tuple[str, ...]:
    needed = {role for index in chosen for role in index.bands}
    return tuple(role for role in BANDS if role in needed)


def _fitting(block: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """The block, or a smaller one for a scene that would fill less than half of it."""
    rows, columns = block
    while rows >= 2 * height and rows % 2 == 0:
        rows //= 2
    while columns >= 2 * width and columns % 2 == 0:
        columns //= 2
    return rows, columns


def _check_shapes(encoded: Sliceable, clear: Sliceable, encoding: Encoding) -> None:
    expected = (*encoded.shape[:-3], *encoded.shape[-2:])
    if len(encoded.shape) < 3 or encoded.shape[-3] != len(encoding.bands):
        raise ConfigurationError(
            f"a stack of shape {encoded.shape} does not have one layer for each of the "
            f"{len(encoding.bands)} bands {', '.join(encoding.bands)}; dims are *batch, band, y, x"
        )
    if clear.shape != expected or clear.dtype != np.bool_:
        raise ConfigurationError(
            f"the clear mask is {clear.dtype} of shape {clear.shape}; a stack of shape "
            f"{encoded.shape} needs bool of shape {expected}, True where a pixel is usable"
        )
