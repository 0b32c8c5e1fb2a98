"""Detector columns in sensor geometry: what a column operator gives, and how a scene is walked.

A scene is `(y, x, band)` with y along track. An operator needs whole columns, so a scene is cut
into groups of columns and never along track; cut along track, maps change by as much as their
noise. Kernels see the group as `(x, y, band)`: each column contiguous, one small matrix product
each.
"""

import functools
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntFlag
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int, UInt8
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.background import Moments, Radiance
from geostack_dagster.inference.blocks import Kernel, Sliceable, aligned_empty

_MISSING_BELOW = -900.0  # archives fill radiance with -9999 and reflectance with -32768


class ColumnFlag(IntFlag):
    """Why a column is NaN, or weaker than it looks."""

    FEW_PIXELS = 1
    """Too few pixels count: NaN."""
    DEAD = 2
    """A used band does not vary: NaN."""
    SINGULAR = 4
    """The covariance cannot be inverted with any allowed ridge, or only in name: NaN."""
    OUTLIER = 8
    """The mean spectrum departs from the neighbours': NaN."""
    UNDERDETERMINED = 16
    """Fewer than three pixels per band: noise and signal shrink together; pool columns."""


FATAL = ColumnFlag.FEW_PIXELS | ColumnFlag.DEAD | ColumnFlag.SINGULAR | ColumnFlag.OUTLIER


class ColumnMaps(NamedTuple):
    """Result of an operator on a group of columns; an output of `retrieve` has `y x` maps."""

    enhancement: Any
    """[ppm m], signed unless the operator says otherwise."""
    uncertainty: Any
    """One standard deviation [ppm m]."""
    sensitivity: Any
    """Response of this pixel per ppm m, relative to the column's mean."""
    null_sigma: Any
    """Standard deviation of the enhancement over the column's background [ppm m]."""
    strength: Any
    """Regularisation that was used."""
    mean: Any
    """Mean spectrum of the column."""
    pixels: Any
    """Pixels in the statistics."""
    flags: Any
    """`ColumnFlag` of each column."""


_MAPS = 3  # fields of ColumnMaps that are maps; the others are per column


class Flags(NamedTuple):
    """Flags of a group of columns."""

    all: UInt8[Array, " x"]
    fatal: UInt8[Array, " x"]


@runtime_checkable
class ColumnOperator(Hashable, Protocol):
    """A retrieval that treats each column by itself; equal settings share one kernel."""

    @property
    def usual_group(self) -> int:
        """Columns at a time that the caches of a CPU hold."""
        ...

    def __call__(
        self, radiance: Any, usable: Any, unit_absorption: Any, noise: Any, /
    ) -> ColumnMaps:
        """Maps of a group of columns."""
        ...


def observed_pixels(radiance: Radiance) -> tuple[Bool[Array, "x y"], Float[Array, "x y"]]:
    """Pixels of which every band was measured, and the lowest band of each pixel."""
    lowest = jnp.min(radiance, axis=2)
    total = jnp.einsum("xyb,b->xy", radiance, jnp.ones(radiance.shape[2], radiance.dtype))
    return jnp.isfinite(total) & (lowest > _MISSING_BELOW), lowest


def column_flags(moments: Moments, power: Float64[Array, " x"], *, minimum_pixels: int) -> Flags:
    """Flags that a column earns by itself."""
    variance = jnp.diagonal(moments.covariance, axis1=1, axis2=2)
    few = moments.pixels < minimum_pixels
    dead = ~few & jnp.any(variance <= 0, axis=1)
    fatal = jnp.where(few, ColumnFlag.FEW_PIXELS.value, 0)
    fatal = fatal + jnp.where(dead, ColumnFlag.DEAD.value, 0)
    singular = ~few & ~dead & ~(power > 0)
    fatal = fatal + jnp.where(singular, ColumnFlag.SINGULAR.value, 0)
    weak = ~few & (moments.pixels < 3 * moments.mean.shape[1])
    everything = fatal + jnp.where(weak, ColumnFlag.UNDERDETERMINED.value, 0)
    return Flags(everything.astype(jnp.uint8), fatal.astype(jnp.uint8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How a scene is cut."""

    group: int = 16
    """Columns at a time: on a CPU the operator's `usual_group`, on a GPU several hundred."""
    pool: int = 1
    """Neighbouring columns that share one background, where lines are too few for the bands."""
    threads: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        if self.pool < 1 or self.group < 1 or self.group % self.pool or self.threads < 1:
            raise ConfigurationError(
                f"groups of {self.group} columns with {self.pool} pooled and {self.threads} "
                "threads cannot be walked; the group must be a multiple of the pool"
            )


def check_whole_columns(
    dims: Sequence[str], chunks: Mapping[str, int], sizes: Mapping[str, int]
) -> None:
    """Nothing if every chunk holds whole columns.

    Args:
        dims: Of the radiance; its first is the along-track axis.
        chunks: Chunk length by dim.
        sizes: Array length by dim.

    Raises:
        ConfigurationError: If the along-track axis is cut.
    """
    track = dims[0]
    if chunks[track] < sizes[track]:
        raise ConfigurationError(
            f"chunks of {chunks[track]} along {track!r} cut detector columns of {sizes[track]} "
            f"lines; rechunk to one chunk along {track!r} and 16 to 64 columns"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signature:
    """What an operator looks for, and in which bands."""

    bands: Int[np.ndarray, " band"]
    """Indices of the used bands."""
    unit_absorption: Float64[np.ndarray, " band"] | Float64[np.ndarray, "x band"]
    """Change of ln radiance per ppm m in the used bands; per column where wavelengths bend."""
    noise: Any = None
    """Passed to the operator."""


@functools.cache
def column_kernel(operator: ColumnOperator) -> Kernel:
    """The operator, compiled once per shape of group; counts its compilations."""
    return Kernel(operator)


def walk_columns(
    radiance: Sliceable,
    operator: ColumnOperator,
    signature: Signature,
    *,
    usable: Bool[np.ndarray, "y x"],
    walk: Walk | None = None,
) -> ColumnMaps:
    """Maps of a whole scene, group by group, each group's columns by themselves.

    Args:
        radiance: `(y, x, band)` in sensor geometry, all bands; read by groups of columns, of a
            chunked store by as many whole groups as a chunk holds.
        operator: `MatchedFilter` or `Mag1c`; hashable, so that its kernel is compiled once.
        signature: What to look for.
        usable: Pixels that may enter statistics.
        walk: How to cut; in groups of the operator's `usual_group` if None.
    """
    walk = walk or Walk(group=operator.usual_group)
    height, width = radiance.shape[:2]
    kernel = column_kernel(operator)
    unit = np.broadcast_to(signature.unit_absorption, (width, signature.bands.size))
    usable = np.ascontiguousarray(usable.T)
    whole: list[NDArray[Any]] = []
    read = _read_columns(radiance, walk)

    def run(first: int) -> None:
        last = min(first + read, width)
        block = np.asarray(radiance[:, first:last, _band_key(signature.bands)])
        for start in range(first, last, walk.group):
            filter_group(block[:, start - first : start - first + walk.group], start)

    def filter_group(block: NDArray[Any], start: int) -> None:
        stop = start + block.shape[1]
        columns = slice(start, stop)
        spectra = _staged(block, walk)
        inputs = (
            _pooled(spectra, walk.pool),
            _pooled(_padded(usable[columns], walk.group), walk.pool),
            _padded(unit[columns], walk.group)[:: walk.pool],
        )
        result = _unpooled(kernel(*inputs, signature.noise), height, walk)
        if not whole:
            whole.extend(np.empty((width, *part.shape[1:]), part.dtype) for part in result)
        for target, part in zip(whole, result, strict=True):
            target[columns] = part[: stop - start]

    # LAPACK's own threads spin over matrices this small: 7 to 25 times the time on a busy machine
    with _blas().limit(limits=1, user_api="blas"):
        _for_each(run, range(0, width, read), walk.threads)
    return ColumnMaps(*(part.T for part in whole[:_MAPS]), *whole[_MAPS:])


@functools.cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of this process: looking for them takes longer than a small scene."""
    # JAX solves with SciPy's LAPACK and loads it late: what is not loaded yet is not limited
    import_module("scipy.linalg")
    return ThreadpoolController()


def _for_each(run: Callable[[int], None], starts: Sequence[int], threads: int) -> None:
    """Every start once; the first alone, so that the kernel is compiled once and not per thread."""
    first, *rest = starts
    run(first)
    if threads == 1:
        for start in rest:
            run(start)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(run, rest):
            pass


def _read_columns(radiance: Sliceable, walk: Walk) -> int:
    """Columns to read at a time: whole groups, and no more than a stored chunk holds.

    A chunk is decoded whole whatever is asked of it: once for each group would be many times.
    """
    chunks: Sequence[int] | None = getattr(radiance, "chunks", None)
    return walk.group * (1 if chunks is None else max(chunks[1] // walk.group, 1))


def _staged(block: NDArray[Any], walk: Walk) -> Float[np.ndarray, "x y band"]:
    """A group of columns, band last, padded with NaN to the group's size."""
    dtype = np.float64 if block.dtype == np.float64 else np.float32
    height, width, depth = block.shape
    staged = aligned_empty((walk.group, height, depth), np.dtype(dtype))
    for column in range(width):  # one transposed copy of all takes 1.5 times as long
        staged[column] = block[:, column]
    staged[width:] = np.nan
    return staged


def _band_key(bands: Int[np.ndarray, " band"]) -> slice | Int[np.ndarray, " band"]:
    """A slice where the bands are consecutive: it copies far less than an index array."""
    start, stop = int(bands[0]), int(bands[-1]) + 1
    return slice(start, stop) if stop - start == bands.size else bands


def _padded(part: NDArray[Any], group: int) -> NDArray[Any]:
    if part.shape[0] == group:
        return part
    padding = [(0, group - part.shape[0])] + [(0, 0)] * (part.ndim - 1)
    return np.pad(part, padding)


def _pooled(part: NDArray[Any], pool: int) -> NDArray[Any]:
    """Neighbouring columns one after the other, as one long column."""
    return part.reshape(part.shape[0] // pool, pool * part.shape[1], *part.shape[2:])


def _unpooled(result: ColumnMaps, height: int, walk: Walk) -> list[NDArray[Any]]:
    parts = [np.asarray(part) for part in result]
    return [
        *(part.reshape(walk.group, height) for part in parts[:_MAPS]),
        *(np.repeat(part, walk.pool, axis=0) for part in parts[_MAPS:]),
    ]
