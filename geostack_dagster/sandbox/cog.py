"""Virtual Cloud-Optimised GeoTIFFs: every byte is computed when it is asked for.

A tile is Deflate with predictor 2 (3 for floats) whose zlib stream consists of *stored* blocks,
so its length depends on nothing but the tile's shape. All offsets are known without rendering a
pixel, a full 10980 x 10980 scene needs no disk, and readers still run real inflate and predictor
code.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

type Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16] | NDArray[np.float32]

_STORED_LIMIT = 65535  # bytes of one stored Deflate block
_OVERVIEWS_BELOW = 512  # a level this small needs no further overview
_MAX_DECIMATION = 16
# GDAL reads whole 16 KiB blocks: tiles that share one would be painted for their neighbour's sake.
_ALIGNMENT = 16 << 10
_TILES_FROM = 64 << 10  # a reader that fetches the head of the file must not cause any painting

# TIFF field types: code and struct letter.
_SHORT, _LONG, _DOUBLE, _ASCII = (3, "H"), (4, "I"), (12, "d"), (2, "s")
_SAMPLE_FORMAT = {"u": 1, "i": 2, "f": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Pixels of one decimation level.

    Pixel (i, j) is full-resolution row `(row + i) * step + step // 2` and column
    `(column + j) * step + step // 2`.
    """

    step: int
    row: int
    column: int
    height: int
    width: int
    sample: int | None = None
    """The one band that is wanted of a raster with planes; None for all that there are."""

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows, shape (height, 1), and columns, shape (1, width), at full resolution."""
        rows = (self.row + np.arange(self.height)) * self.step + self.step // 2
        columns = (self.column + np.arange(self.width)) * self.step + self.step // 2
        return rows[:, None], columns[None]


class Painter(Protocol):
    """Gives the pixels of a raster; shape (height, width) or (height, width, samples)."""

    def __call__(self, window: Window) -> Pixels:
        """Pixels of a window, also beyond the edge of the raster."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterSpec:
    """What a GeoTIFF states about itself."""

    epsg: int
    geographic: bool
    origin: tuple[float, float]
    """Outer corner of the first pixel."""
    pixel: tuple[float, float]
    """Width and height of a pixel, both positive: the raster is north-up."""
    shape: tuple[int, int]
    dtype: str = "uint16"
    samples: int = 1
    has_planes: bool = False
    """Whether each band has tiles of its own (PlanarConfiguration 2)."""
    tile: int = 512
    nodata: float | None = 0

    def tiled(self, tile: int) -> "RasterSpec":
        """The same raster in tiles of another size."""
        return replace(self, tile=tile)

    @property
    def tile_bytes(self) -> int:
        """Bytes of one decoded tile."""
        return self.tile * self.tile * self.tile_samples * np.dtype(self.dtype).itemsize

    @property
    def tile_samples(self) -> int:
        """Bands that one tile holds."""
        return 1 if self.has_planes else self.samples

    @property
    def planes(self) -> int:
        """Images that are stored one after the other."""
        return self.samples if self.has_planes else 1


@dataclass(frozen=True, slots=True)
class Level:
    """One image of the file: the full raster or an overview."""

    step: int
    shape: tuple[int, int]
    tile: int
    start: int
    """Offset of its first tile in the file."""
    tile_bytes: int
    """Length of an encoded tile."""
    planes: int | None = None
    """Bands that have tiles of their own; None where a tile holds them all."""

    @property
    def stride(self) -> int:
        """Bytes from one tile to the next."""
        return -(-self.tile_bytes // _ALIGNMENT) * _ALIGNMENT

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.shape[1] // self.tile)

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return self._tiles_of_plane * (self.planes or 1)

    @property
    def _tiles_of_plane(self) -> int:
        return self.across * -(-self.shape[0] // self.tile)

    def window(self, index: int) -> Window:
        """Pixels of one tile."""
        plane, within = divmod(index, self._tiles_of_plane)
        row, column = divmod(within, self.across)
        return Window(
            step=self.step,
            row=row * self.tile,
            column=column * self.tile,
            height=self.tile,
            width=self.tile,
            sample=None if self.planes is None else plane,
        )


@dataclass(frozen=True)
class VirtualCog:
    """The layout of a COG: header, then overviews from the smallest on, then the full raster."""

    spec: RasterSpec

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Full resolution first, as the IFDs are ordered."""
        steps = [1]
        while steps[-1] < _MAX_DECIMATION and max(self._shape(steps[-1])) > _OVERVIEWS_BELOW:
            steps.append(steps[-1] * 2)
        encoded = encoded_size(self.spec.tile_bytes)
        levels: list[Level] = []
        start = self._header_size(steps)
        for step in reversed(steps):
            level = self._level(step, start, encoded)
            start += level.tiles * level.stride
            levels.append(level)
        return tuple(reversed(levels))

    @cached_property
    def size(self) -> int:
        """Bytes of the whole file."""
        full = self.levels[0]
        return full.start + full.tiles * full.stride

    @cached_property
    def header(self) -> bytes:
        """Everything before the first tile: directories, then padding."""
        head = b"II*\0" + struct.pack("<I", 8) + self._directories(list(self.levels))
        return head.ljust(self._header_size([level.step for level in self.levels]), b"\0")

    def pieces(self, start: int, stop: int) -> Iterator[tuple[Level | None, int, slice]]:
        """Parts that make up bytes start..stop: level (None: header), tile number, slice of it.

        A slice may reach beyond the tile: what is missing there is padding, zeros.
        """
        if start < len(self.header):
            yield None, 0, slice(start, min(stop, len(self.header)))
        for level in reversed(self.levels):
            end = level.start + level.tiles * level.stride
            if stop <= level.start or start >= end:
                continue
            first = max(start - level.start, 0) // level.stride
            last = (min(stop, end) - level.start - 1) // level.stride
            for index in range(first, last + 1):
                at = level.start + index * level.stride
                yield level, index, slice(max(start - at, 0), min(stop - at, level.stride))

    def _shape(self, step: int) -> tuple[int, int]:
        height, width = self.spec.shape
        return -(-height // step), -(-width // step)

    def _header_size(self, steps: list[int]) -> int:
        draft = [self._level(step, 0, 0) for step in steps]
        needed = max(8 + len(self._directories(draft)), _TILES_FROM)
        return -(-needed // _ALIGNMENT) * _ALIGNMENT

    def _level(self, step: int, start: int, encoded: int) -> Level:
        planes = self.spec.planes if self.spec.has_planes else None
        return Level(step, self._shape(step), self.spec.tile, start, encoded, planes)

    def _directories(self, levels: list[Level]) -> bytes:
        parts: list[bytes] = []
        at = 8
        for number, level in enumerate(levels):
            directory = _directory(self._tags(level), at, is_last=number == len(levels) - 1)
            parts.append(directory)
            at += len(directory)
        return b"".join(parts)

    def _tags(self, level: Level) -> list[tuple[int, tuple[int, str], tuple[float, ...] | bytes]]:
        spec = self.spec
        kind, size = np.dtype(spec.dtype).kind, np.dtype(spec.dtype).itemsize
        is_colour = (spec.samples, spec.dtype) == (3, "uint8")
        height, width = level.shape
        tags: list[tuple[int, tuple[int, str], tuple[float, ...] | bytes]] = [
            (254, _LONG, (int(level.step > 1),)),
            (256, _LONG, (width,)),
            (257, _LONG, (height,)),
            (258, _SHORT, (8 * size,) * spec.samples),
            (259, _SHORT, (8,)),  # Deflate
            (262, _SHORT, (2 if is_colour else 1,)),
            (277, _SHORT, (spec.samples,)),
            (284, _SHORT, (1 + spec.has_planes,)),
            (317, _SHORT, (3 if kind == "f" else 2,)),  # differences along the row
            (322, _SHORT, (level.tile,)),
            (323, _SHORT, (level.tile,)),
            (324, _LONG, tuple(level.start + i * level.stride for i in range(level.tiles))),
            (325, _LONG, (level.tile_bytes,) * level.tiles),
            (339, _SHORT, (_SAMPLE_FORMAT[kind],) * spec.samples),
        ]
        if spec.samples > 1 and not is_colour:
            tags.insert(-1, (338, _SHORT, (0,) * (spec.samples - 1)))
        if level.step == 1:
            tags += self._geo_tags()
        if spec.nodata is not None:
            tags.append((42113, _ASCII, f"{spec.nodata:g}\0".encode()))
        return tags

    def _geo_tags(self) -> list[tuple[int, tuple[int, str], tuple[float, ...] | bytes]]:
        spec = self.spec
        model, key = (2, 2048) if spec.geographic else (1, 3072)
        keys = (1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, spec.epsg)
        return [
            (33550, _DOUBLE, (*spec.pixel, 0.0)),
            (33922, _DOUBLE, (0.0, 0.0, 0.0, *spec.origin, 0.0)),
            (34735, _SHORT, keys),
        ]


def encode(pixels: Pixels) -> bytes:
    """Predictor 2, or 3 for floats, then a zlib stream of stored blocks."""
    if pixels.dtype.kind == "f":
        raw = _float_differences(pixels)
    else:
        differences = pixels.copy()
        differences[:, 1:] -= pixels[:, :-1]  # between pixels, sample by sample
        raw = differences.tobytes()
    parts = [b"\x78\x01"]
    for start in range(0, len(raw), _STORED_LIMIT):
        block = raw[start : start + _STORED_LIMIT]
        is_last = start + _STORED_LIMIT >= len(raw)
        parts += (struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block)
    parts.append(struct.pack(">I", zlib.adler32(raw)))
    return b"".join(parts)


def _float_differences(pixels: Pixels) -> bytes:
    """Predictor 3: first bytes of a row's numbers, then second ones, ..., as differences."""
    height, size = pixels.shape[0], pixels.dtype.itemsize
    numbers = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1)
    planes = numbers.view(np.uint8).reshape(height, -1, size).swapaxes(1, 2).reshape(height, -1)
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    differences = planes.copy()
    differences[:, samples:] -= planes[:, :-samples]
    return differences.tobytes()


def encoded_size(decoded: int) -> int:
    """Length of `encode`'s result for so many bytes of pixels."""
    return 2 + decoded + 5 * -(-decoded // _STORED_LIMIT) + 4


def _directory(
    tags: list[tuple[int, tuple[int, str], tuple[float, ...] | bytes]], at: int, *, is_last: bool
) -> bytes:
    """One IFD at offset `at` with its long values after it."""
    tail_at = at + 2 + 12 * len(tags) + 4
    entries, tail = [], b""
    for tag, (code, letter), values in tags:
        packed = (
            values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{letter}", *values)
        )
        count = len(values)
        if len(packed) <= 4:
            entries.append(struct.pack("<HHI4s", tag, code, count, packed))
        else:
            entries.append(struct.pack("<HHII", tag, code, count, tail_at + len(tail)))
            tail += packed + b"\0" * (len(packed) % 2)
    following = 0 if is_last else tail_at + len(tail)
    return struct.pack("<H", len(tags)) + b"".join(entries) + struct.pack("<I", following) + tail
