"""Virtual JPEG 2000 files as ESA writes them: every byte is computed when it is asked for.

All offsets are known before a tile is encoded, because each tile has one tile-part whose length is
fixed beforehand: comments in its header fill what the encoder leaves over. TLM markers hold the
lengths. Each tile is encoded as an image of its own and its packets are taken over. For that the
partition into code blocks has to be the same at every tile, so a tile has 64 pixels or a multiple
at its lowest resolution; ESA's tiles of 640 and 192 pixels have not, and are 512 here.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import imagecodecs
import numpy as np

from geostack_dagster.sandbox.cog import Pixels, RasterSpec, Window
from geostack_dagster.sandbox.jp2_boxes import file_boxes

_FINE_TILE, _COARSE_TILE = 1024, 512
_FINE_M = 10.0
_CODE_BLOCK, _SMALLEST = 64, 8
# Who reads 64 KiB where a tile begins must not cause it to be painted, nor its neighbour.
_ALIGNMENT = 64 << 10
# Bytes for a pixel and sample, lossless: the world with its sensor noise takes 1.0, its clouds
# 1.1; colours and classes have no noise.
_BUDGET = {15: 1.5, 8: 0.5}
_LONGEST_COMMENT, _SHORTEST_COMMENT = 65537, 7
_SOT_BYTES = 12
_TLM_ENTRIES = 10_000  # of six bytes, in one marker segment

_SOC, _SIZ, _COD, _QCD, _COM, _TLM = 0xFF4F, 0xFF51, 0xFF52, 0xFF5C, 0xFF64, 0xFF55
_SOT, _EOC = 0xFF90, b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class TilePart:
    """Where one tile lies in the file."""

    index: int
    window: Window
    start: int
    length: int
    is_empty: bool
    """Whether it holds nothing but nodata."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How the tiles of one file are encoded: reversible wavelet, one layer, no precincts."""

    tile: int
    resolutions: int
    bits: int
    samples: int

    @classmethod
    def of(cls, spec: RasterSpec) -> "Coding":
        """ESA's choice as far as the raster allows: five resolutions, 15 bits for reflectance."""
        tile = _FINE_TILE if spec.pixel[0] <= _FINE_M else _COARSE_TILE
        edge = min(size % tile or tile for size in spec.shape)
        most = (tile // _CODE_BLOCK).bit_length()
        # The encoder halves no tile below eight pixels, and all tiles must be halved as often.
        resolutions = max(1, min(most, (edge // _SMALLEST).bit_length()))
        return cls(tile, resolutions, 8 if spec.dtype == "uint8" else 15, spec.samples)

    def packets(self, pixels: Pixels) -> bytes:
        """What follows the SOT segment when these pixels are the only tile."""
        codestream = self.encoded(np.minimum(pixels, 2**self.bits - 1))
        start = codestream.index(struct.pack(">HHH", _SOT, 10, 0))
        return codestream[start + _SOT_BYTES : -len(_EOC)]

    def blank(self, height: int, width: int) -> bytes:
        """Packets of a tile that is 0 throughout."""
        return _blank(self, height, width)

    def segments(self) -> bytes:
        """COD and QCD, which do not depend on the pixels."""
        return _segments(self)

    def zeros(self, height: int, width: int) -> Pixels:
        """A blank tile."""
        shape = (height, width, self.samples) if self.samples > 1 else (height, width)
        return np.zeros(shape, np.uint8 if self.bits <= 8 else np.uint16)

    def encoded(self, pixels: Pixels) -> bytes:
        """The codestream of an image of one tile."""
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels,
                level=0,
                codecformat="J2K",
                reversible=True,
                bitspersample=self.bits,
                resolutions=self.resolutions,
            )
        )


@dataclass(frozen=True)
class VirtualJp2:
    """The layout of a JP2 file: boxes, main header, then one tile-part for each tile."""

    spec: RasterSpec
    is_empty: Callable[[Window], bool]
    """Whether a window holds nothing but nodata; asked for every tile, so it must be cheap."""
    has_lengths: bool = True
    """Whether there are TLM markers; the recorded file of 2022 has none."""

    @cached_property
    def coding(self) -> Coding:
        """How its tiles are encoded."""
        return Coding.of(self.spec)

    @cached_property
    def parts(self) -> tuple[TilePart, ...]:
        """All tile-parts, row by row."""
        found, at = [], len(self.header)
        for index, (window, length) in enumerate(self._sized):
            found.append(TilePart(index, window, at, length, length == _ALIGNMENT))
            at += length
        return tuple(found)

    @cached_property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + self._tile_bytes + len(_EOC)

    @cached_property
    def header(self) -> bytes:
        """Boxes and main header, up to the first tile-part."""
        boxes = file_boxes(self.spec, self.coding.bits)
        main = struct.pack(">H", _SOC) + self._siz() + self.coding.segments()
        if self.has_lengths:
            main += self._tlm()
        used = len(boxes) + 8 + len(main)
        main += _comments(_aligned(used + _SHORTEST_COMMENT) - used)
        codestream = len(main) + self._tile_bytes + len(_EOC)
        return boxes + struct.pack(">I4s", 8 + codestream, b"jp2c") + main

    def pieces(self, start: int, stop: int) -> Iterator[tuple[TilePart | None, bytes, slice]]:
        """Parts that make up bytes start..stop: tile-part, the bytes known of it, slice of it.

        A tile-part that has to be painted is known at its beginning only; a slice that reaches
        farther is one of `encode`'s result.
        """
        end = self.size - len(_EOC)
        if start < len(self.header):
            yield None, self.header, slice(start, min(stop, len(self.header)))
        for part in self.parts:
            first, last = max(start - part.start, 0), min(stop - part.start, part.length)
            if first < last:
                yield part, self._known(part), slice(first, last)
        if stop > end:
            yield None, _EOC, slice(max(start - end, 0), stop - end)

    def encode(self, part: TilePart, pixels: Pixels) -> bytes:
        """The whole tile-part of a painted tile.

        Raises:
            ValueError: If it takes more bytes than the layout has for it.
        """
        packets, guard = self.coding.packets(pixels), _guard(part)
        spare = part.length - len(guard) - len(packets)
        if spare < _SHORTEST_COMMENT:
            raise ValueError(f"tile {part.index} is encoded in {len(packets)} bytes, too many")
        return guard + _comments(spare) + packets

    def _known(self, part: TilePart) -> bytes:
        if not part.is_empty:
            return _guard(part)
        packets = self.coding.blank(part.window.height, part.window.width)
        return _sot(part) + _comments(part.length - _SOT_BYTES - len(packets)) + packets

    @cached_property
    def _sized(self) -> tuple[tuple[Window, int], ...]:
        """Each tile's window and the length of its tile-part."""
        (height, width), tile = self.spec.shape, self.coding.tile
        windows = [
            Window(
                step=1,
                row=row,
                column=column,
                height=min(tile, height - row),
                width=min(tile, width - column),
            )
            for row in range(0, height, tile)
            for column in range(0, width, tile)
        ]
        return tuple(
            (window, _ALIGNMENT if self.is_empty(window) else self._budget(window))
            for window in windows
        )

    @cached_property
    def _tile_bytes(self) -> int:
        return sum(length for _, length in self._sized)

    def _budget(self, window: Window) -> int:
        per_pixel = _BUDGET[self.coding.bits] * self.coding.samples
        return _ALIGNMENT + _aligned(1 + int(window.height * window.width * per_pixel))

    def _siz(self) -> bytes:
        (height, width), coding = self.spec.shape, self.coding
        body = struct.pack(
            ">H8IH", 0, width, height, 0, 0, coding.tile, coding.tile, 0, 0, coding.samples
        )
        return _segment(_SIZ, body + bytes((coding.bits - 1, 1, 1)) * coding.samples)

    def _tlm(self) -> bytes:
        """Number and length of every tile-part."""
        entries = [
            struct.pack(">HI", index, length) for index, (_, length) in enumerate(self._sized)
        ]
        return b"".join(
            _segment(_TLM, bytes((number, 0x60)) + b"".join(entries[at : at + _TLM_ENTRIES]))
            for number, at in enumerate(range(0, len(entries), _TLM_ENTRIES))
        )


def _guard(part: TilePart) -> bytes:
    """The beginning of a tile-part, which says nothing of its pixels."""
    return _sot(part) + _comments(_ALIGNMENT - _SOT_BYTES)


def _sot(part: TilePart) -> bytes:
    return struct.pack(">HHHIBB", _SOT, 10, part.index, part.length, 0, 1)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">HH", marker, len(body) + 2) + body


def _comments(length: int) -> bytes:
    """Comment segments that fill so many bytes, 7 at the least."""
    count = -(-length // _LONGEST_COMMENT)
    cuts = [length * number // count for number in range(count + 1)]
    return b"".join(_segment(_COM, bytes(stop - start - 4)) for start, stop in pairwise(cuts))


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


@lru_cache(maxsize=64)
def _segments(coding: Coding) -> bytes:
    codestream = coding.encoded(coding.zeros(coding.tile, coding.tile))
    found, at = b"", 2
    while (marker := _u16(codestream, at)) != _SOT:
        end = at + 2 + _u16(codestream, at + 2)
        if marker in (_COD, _QCD):
            found += codestream[at:end]
        at = end
    return found


@lru_cache(maxsize=64)
def _blank(coding: Coding, height: int, width: int) -> bytes:
    return coding.packets(coding.zeros(height, width))
