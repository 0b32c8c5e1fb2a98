"""Which bytes a part of an array needs, and which part of the answer goes where."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.reader.transport import Buffer
from geostack_dagster.stack.swath.layout import ArrayLayout, Raw, Window

_LONGEST = 8 * MIB
"""Bytes of one piece beyond which it is cut: requests end before their token does."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Byte ranges of a contiguous array that hold a window; each is one block of the result.

    A block is what a window holds at one index of its first `depth` axes. Its range goes from its
    first to its last element and reads over the small holes between: single bands of a pixel are
    a kilobyte apart.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    depth: int
    shape: tuple[int, ...]
    """Of a block."""
    strides: tuple[int, ...]
    """Bytes from element to element inside a range."""

    def block(self, data: Buffer, dtype: str) -> Raw:
        """The values of a block, out of its range."""
        flat = np.frombuffer(data, dtype)
        found: Raw = as_strided(flat, self.shape, self.strides, writeable=False)
        return found


def pieces(layout: ArrayLayout, offset: int, window: Window, *, gap: int) -> Pieces:
    """Byte ranges of a window of an array that begins at `offset`.

    Args:
        layout: The array.
        offset: Of its first element [bytes].
        window: The part that is wanted; not empty.
        gap: Largest hole that is read over [bytes].
    """
    itemsize = np.dtype(layout.dtype).itemsize
    strides = _strides(layout.shape, itemsize)
    sizes = tuple(stop - start for start, stop in window)
    # Bytes from the first to the last element of the part at one index of the axes before.
    extents = [itemsize]
    for stride, size in zip(reversed(strides), reversed(sizes), strict=True):
        extents.append(extents[-1] + stride * (size - 1))
    extents.reverse()
    holes = [
        stride - extent if size > 1 else 0
        for stride, extent, size in zip(strides, extents[1:], sizes, strict=True)
    ]
    depth = next(
        number
        for number in range(len(sizes) + 1)
        if number >= len(sizes) - 1 or (max(holes[number:]) <= gap and extents[number] <= _LONGEST)
    )
    outer = [
        stride * np.arange(*span) for stride, span in zip(strides, window[:depth], strict=False)
    ]
    first = offset + sum(
        s * span[0] for s, span in zip(strides[depth:], window[depth:], strict=True)
    )
    starts = np.asarray(first, np.int64)
    for steps in outer:
        starts = np.add.outer(starts, steps)
    starts = starts.ravel().astype(np.int64)
    return Pieces(starts, starts + extents[depth], depth, sizes[depth:], strides[depth:])


def covering(shape: Sequence[int], window: Window) -> Iterator[tuple[int, ...]]:
    """First elements of all chunks of this shape that a window touches."""
    firsts = [
        range(start // size * size, stop, size)
        for size, (start, stop) in zip(shape, window, strict=True)
    ]
    return product(*firsts)


def overlap(
    corner: Sequence[int], shape: Sequence[int], window: Window
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a chunk and a window meet: the part of the chunk, and its place in the window."""
    part, place = [], []
    for at, size, (start, stop) in zip(corner, shape, window, strict=True):
        low, high = max(at, start), min(at + size, stop)
        part.append(slice(low - at, high - at))
        place.append(slice(low - start, high - start))
    return tuple(part), tuple(place)


def is_empty(window: Window) -> bool:
    """Whether nothing is in it."""
    return any(stop <= start for start, stop in window)


def _strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
