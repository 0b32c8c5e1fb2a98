"""Run a kernel over blocks of one fixed shape: one compilation, bounded memory, whole results.

Blocks at the edges are padded to the shape of the others (NaN, 0 or False, by dtype) and cropped
again, so XLA compiles a kernel once per block shape whatever the size of a scene. On request the
next blocks are read and staged while one is computed.
"""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import ConfigurationError

_ALIGNMENT = 64  # bytes: XLA takes a host buffer as it is from here on, and copies any other


@runtime_checkable
class Sliceable(Protocol):
    """What blocks are cut from: a numpy array, or a store that reads what is sliced."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of `(..., y, x)`."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """The part that a tuple of ints and slices selects."""
        ...


class Kernel:
    """A jitted function of arrays that counts how often XLA had to compile it.

    Args:
        function: Takes arrays whose last axes are `y, x`, then parameters; returns an array, or a
            dict of arrays, with the same last axes.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.compilations = 0
        """One for every combination of shapes and dtypes seen so far in this process."""

        @functools.wraps(function)
        def traced(*arrays: Any) -> Any:
            self.compilations += 1  # a jitted body runs in Python only when it is traced
            return function(*arrays)

        self._compiled: Callable[..., Any] = jax.jit(traced)

    def __call__(self, *arrays: Any) -> Any:
        """Result of the function; JAX may still be computing it."""
        return self._compiled(*map(_native, arrays))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One axis of a block: a window of fixed length and the core of it that is kept.

    Positions count pixels of the array; a window may reach beyond it on both sides.
    """

    start: int
    length: int
    core: slice
    size: int
    """Pixels of the array along this axis."""

    @property
    def source(self) -> slice:
        """The part of the array that the window covers."""
        return slice(max(self.start, 0), min(self.start + self.length, self.size))

    @property
    def placed(self) -> slice:
        """Where `source` lies in the window."""
        return slice(self.source.start - self.start, self.source.stop - self.start)

    @property
    def kept(self) -> slice:
        """Where the core lies in the window."""
        return slice(self.core.start - self.start, self.core.stop - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A window of `y, x`, at one position of the leading axes that are walked one by one."""

    lead: tuple[int, ...]
    y: Span
    x: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window: the same for all blocks of a plan."""
        return self.y.length, self.x.length

    @property
    def target(self) -> tuple[Any, ...]:
        """Index of the core in an array of the whole: `result[block.target] = core`."""
        return (*self.lead, ..., self.y.core, self.x.core)


def plan_blocks(
    shape: tuple[int, ...],
    *,
    core: tuple[int, int],
    halo: int = 0,
    origin: tuple[int, int] = (0, 0),
) -> list[Block]:
    """Blocks whose cores cover an array exactly once, in the order of memory.

    Args:
        shape: Sizes of the leading axes to walk one by one, then rows and columns.
        core: Rows and columns kept of each block.
        halo: Pixels read around the core on each side.
        origin: Global row and column of the array's first pixel. Cores start at global multiples
            of their size, so a scene and a part of it are cut at the same places.

    Raises:
        ConfigurationError: If a size is not positive.
    """
    if min(core) < 1 or halo < 0:
        raise ConfigurationError(
            f"blocks of {core} pixels with a halo of {halo} cannot cover anything; the core must "
            "be at least 1 x 1 and the halo not negative"
        )
    *leading, height, width = shape
    spans = itertools.product(
        _spans(height, core[0], halo, origin[0]), _spans(width, core[1], halo, origin[1])
    )
    return [
        Block(lead=lead, y=y, x=x)
        for lead, (y, x) in itertools.product(itertools.product(*map(range, leading)), list(spans))
    ]


def map_blocks(
    kernel: Kernel,
    arrays: Sequence[Sliceable],
    *,
    blocks: Sequence[Block],
    parameters: Sequence[Any] = (),
    lookahead: int = 0,
) -> Any:
    """Result of the kernel over the whole: an array, or a dict of arrays, of `(*lead, ..., y, x)`.

    Args:
        kernel: Called with one block of each array, then with the parameters.
        arrays: Share the walked leading axes and `y, x`; axes between them reach the kernel whole.
        blocks: From `plan_blocks`.
        parameters: Passed to every call as they are.
        lookahead: Blocks read and staged while one is computed: worth it when reading waits for
            a store; from memory to memory 0 is as fast and keeps memory lowest.

    Raises:
        ConfigurationError: If the arrays disagree on rows and columns.
    """
    whole: dict[str, NDArray[Any]] = {}
    structure = None
    for block, result in stream_blocks(
        kernel, arrays, blocks=blocks, parameters=parameters, lookahead=lookahead
    ):
        leaves, structure = jax.tree.flatten(result)
        for number, core in enumerate(leaves):
            if str(number) not in whole:
                whole[str(number)] = _whole(arrays[0].shape, block, core)
            whole[str(number)][block.target] = core
    if structure is None:
        raise ConfigurationError("no block to compute: the plan is empty")
    return jax.tree.unflatten(structure, whole.values())


def stream_blocks(
    kernel: Kernel,
    arrays: Sequence[Sliceable],
    *,
    blocks: Sequence[Block],
    parameters: Sequence[Any] = (),
    lookahead: int = 0,
) -> Iterator[tuple[Block, Any]]:
    """Each block with the core of its result, in order; for results written out as they come.

    Arguments and errors are those of `map_blocks`.
    """
    _check_sizes(arrays, blocks)
    running: deque[tuple[Block, Any]] = deque()
    for block in blocks:
        running.append((block, kernel(*(_staged(array, block) for array in arrays), *parameters)))
        if len(running) > lookahead:
            yield _collected(*running.popleft())
    while running:
        yield _collected(*running.popleft())


def _spans(size: int, core: int, halo: int, origin: int) -> list[Span]:
    first = -(origin % core)
    return [
        Span(
            start=start - halo,
            length=core + 2 * halo,
            core=slice(max(start, 0), min(start + core, size)),
            size=size,
        )
        for start in range(first, size, core)
    ]


def _check_sizes(arrays: Sequence[Sliceable], blocks: Sequence[Block]) -> None:
    for array in arrays:
        for block in blocks[:1]:
            if array.shape[-2:] != (block.y.size, block.x.size):
                raise ConfigurationError(
                    f"an array of shape {array.shape} cannot be cut by a plan for "
                    f"{block.y.size} x {block.x.size} pixels"
                )


def _staged(array: Sliceable, block: Block) -> NDArray[Any]:
    """The window of one array, padded, in memory that XLA uses without another copy."""
    source = np.asarray(array[(*block.lead, ..., block.y.source, block.x.source)])
    staged = aligned_empty((*source.shape[:-2], *block.shape), source.dtype)
    if source.shape != staged.shape:
        staged[...] = np.nan if np.issubdtype(source.dtype, np.inexact) else 0
    staged[..., block.y.placed, block.x.placed] = source
    return staged


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Uninitialised host memory that XLA on a CPU takes as it is, without another copy."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    return memory[offset : offset + size].view(dtype).reshape(shape)


def _native(array: Any) -> Any:
    """The array in this machine's byte order: XLA takes the bytes of any other as they lie."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _collected(block: Block, result: Any) -> tuple[Block, Any]:
    return block, jax.tree.map(
        lambda array: np.asarray(array)[..., block.y.kept, block.x.kept], result
    )


def _whole(shape: tuple[int, ...], block: Block, core: NDArray[Any]) -> NDArray[Any]:
    walked = shape[: len(block.lead)]
    return np.empty((*walked, *core.shape[:-2], block.y.size, block.x.size), core.dtype)
