"""Single tiles of JPEG 2000: each becomes a small image of its own and is decoded by OpenJPEG.

The image keeps its place on the grid of the file, for the partition into code blocks begins at the
grid's origin and not at the tile's. To decode a tile takes a hundred times as long as to inflate
one, so the latest of them are kept: chunks that are not aligned with tiles share them.
"""

import hashlib
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.reader.transport import Buffer

type Pixels = NDArray[Any]

_SOC, _SOT, _EOC = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
_SOT_BYTES = 12
_SIZ_FIELDS = struct.Struct(">8I")
_SIZ_AT = 6  # marker, length and capabilities come first
_KEPT_BYTES = 128 * MIB


class _Recent:
    """The latest decoded tiles, by their content; each is decoded by one thread only."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.reset()

    def reset(self) -> None:
        self._held: OrderedDict[bytes, Pixels] = OrderedDict()
        self._making: dict[bytes, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: bytes, decode: Callable[[], Pixels]) -> Pixels:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                found = self._held.get(key)
                return self._keep(key, decode() if found is None else found)
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _keep(self, key: bytes, pixels: Pixels) -> Pixels:
        pixels.flags.writeable = False
        with self._lock:
            self._held[key] = pixels
            self._held.move_to_end(key)
            while sum(each.nbytes for each in self._held.values()) > self._max_bytes:
                self._held.popitem(last=False)
        return pixels


_recent = _Recent(_KEPT_BYTES)
# A lock that another thread held at the fork would never be released in the child.
os.register_at_fork(after_in_child=_recent.reset)


def decode_tile(data: Buffer, tables: bytes, *, reduction: int, shape: tuple[int, int]) -> Pixels:
    """Pixels of a tile, shape (*shape, samples) or `shape`; 0 beyond the edge of the image.

    Args:
        data: All tile-parts of the tile.
        tables: The main header of the file, SIZ first.
        reduction: How many resolutions are left out.
        shape: Rows and columns of a whole tile at that resolution.

    Raises:
        RuntimeError: If it does not decode.
    """
    digest = hashlib.blake2b(data, digest_size=16)
    digest.update(tables + bytes((reduction,)))
    return _recent.get(digest.digest(), lambda: _decoded(data, tables, reduction, shape))


def _decoded(data: Buffer, tables: bytes, reduction: int, shape: tuple[int, int]) -> Pixels:
    tile, parts = _renumbered(data)
    pixels: Pixels = imagecodecs.jpeg2k_decode(
        b"".join((_SOC, _alone(tables, tile), parts, _EOC)), skipres=reduction
    )
    if pixels.shape[:2] == shape:
        return pixels
    whole = np.zeros((*shape, *pixels.shape[2:]), pixels.dtype)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole


def _renumbered(data: Buffer) -> tuple[int, bytearray]:
    """The number of the tile, and its parts as those of tile 0."""
    parts, at, tile = bytearray(data), 0, 0
    while at < len(parts):
        if len(parts) - at < _SOT_BYTES or parts[at : at + 2] != _SOT:
            raise RuntimeError("a part of the tile does not begin with its marker")
        tile, length = struct.unpack_from(">HI", parts, at + 4)
        struct.pack_into(">H", parts, at + 4, 0)
        at += length or len(parts)
    return tile, parts


def _alone(tables: bytes, tile: int) -> bytes:
    """The main header of an image that consists of one tile, at its place."""
    header = bytearray(tables)
    width, height, _, _, tile_width, tile_height, _, _ = _SIZ_FIELDS.unpack_from(header, _SIZ_AT)
    row, column = divmod(tile, -(-width // tile_width))
    left, top = column * tile_width, row * tile_height
    right, bottom = min(left + tile_width, width), min(top + tile_height, height)
    sizes = (right, bottom, left, top, tile_width, tile_height, left, top)
    _SIZ_FIELDS.pack_into(header, _SIZ_AT, *sizes)
    return bytes(header)
