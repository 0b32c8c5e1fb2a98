"""TIFF structure: byte order, classic or BigTIFF, and the tags of every directory.

Follows TIFF 6.0 and the BigTIFF design; nothing here knows what a tag means for pixels.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.reader.segments import Segments

_NUMBERS = {
    1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4",
    11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
_TEXT, _UNDEFINED = 2, 7
_MAX_DIRECTORIES = 128
_MAX_TAG_BYTES = 256 * 1024 * 1024

type Tags = dict[int, NDArray[np.generic] | bytes]


@dataclass(frozen=True, slots=True)
class Flavour:
    """Byte order and pointer width."""

    order: str
    """`<` or `>`, as in struct and numpy."""
    big: bool

    @property
    def pointer(self) -> str:
        """Format of an offset."""
        return self.order + ("Q" if self.big else "I")

    @property
    def inline(self) -> int:
        """Bytes that fit into a directory entry."""
        return 8 if self.big else 4


def directories(data: Segments) -> tuple[Flavour, list[Tags]]:
    """Tags of all directories in the order of the chain, whose first is the full image.

    Raises:
        MissingBytes: If more of the file is needed.
        AssetError: If it is not a TIFF, or its directories are damaged.
    """
    flavour, offset = _preamble(data)
    found: list[Tags] = []
    seen: set[int] = set()
    while offset and len(found) < _MAX_DIRECTORIES:
        if offset in seen:
            raise AssetError("the TIFF directories form a loop; the file is damaged")
        seen.add(offset)
        tags, offset = _directory(data, flavour, offset)
        found.append(tags)
    if not found:
        raise AssetError("the TIFF has no directory; the file is damaged")
    return flavour, found


def _preamble(data: Segments) -> tuple[Flavour, int]:
    start = bytes(data.take(0, 8))
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack((order or "<") + "H", start[2:4])[0]
    if order is None or version not in (42, 43):
        raise AssetError(
            f"not a TIFF: the file begins with {start[:4]!r}", reason=Reason.NOT_A_TIFF
        )
    flavour = Flavour(order, big=version == 43)
    if not flavour.big:
        return flavour, struct.unpack(order + "I", start[4:8])[0]
    width, _, offset = struct.unpack(order + "HHQ", data.take(4, 12))
    if width != 8:
        raise AssetError(f"not a BigTIFF: offsets of {width} bytes")
    return flavour, offset


def _directory(data: Segments, flavour: Flavour, offset: int) -> tuple[Tags, int]:
    counter, entry = ("Q", "HHQ8s") if flavour.big else ("H", "HHI4s")
    head = struct.calcsize("<" + counter)
    count = struct.unpack(flavour.order + counter, data.take(offset, head))[0]
    size = struct.calcsize("<" + entry)
    if count > 4096:
        raise AssetError(f"a TIFF directory of {count} entries; the file is damaged")
    body = data.take(offset + head, count * size + flavour.inline)
    tags: Tags = {}
    for code, kind, number, value in struct.iter_unpack(
        flavour.order + entry, body[: count * size]
    ):
        content = _content(data, flavour, kind, number, value)
        if content is not None:
            tags[code] = content
    return tags, struct.unpack(flavour.pointer, body[count * size :])[0]


def _content(
    data: Segments, flavour: Flavour, kind: int, number: int, value: bytes
) -> NDArray[np.generic] | bytes | None:
    dtype = _NUMBERS.get(kind)
    if dtype is None and kind not in (_TEXT, _UNDEFINED):
        return None  # rationals: resolutions in dots per inch, of no use here
    width = 1 if dtype is None else np.dtype(dtype).itemsize
    length = number * width
    if length > _MAX_TAG_BYTES:
        raise AssetError(f"a TIFF tag of {length} bytes; the file is damaged")
    if length <= flavour.inline:
        raw = memoryview(value)[:length]
    else:
        raw = data.take(struct.unpack(flavour.pointer, value)[0], length)
    if dtype is None:
        return bytes(raw)
    return np.frombuffer(raw, flavour.order + dtype).astype(dtype)
