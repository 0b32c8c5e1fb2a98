"""JPEG 2000 as a tiled file: which bytes hold which tile, read off markers and boxes.

ESA's files have one layer of tiles with a reversible wavelet, and five resolutions in each tile.
Every tile is decoded on its own (`jp2_codec`), so they are fetched and kept like those of a COG.
Files since 2025 or so list the lengths of their tiles (TLM); in older ones each tile says where the
next begins. What goes beyond this is left to rasterio, with the reason.

Source: ISO/IEC 15444-1, annexes A and I; OGC 05-047r3 (GMLJP2 1.0).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import AssetError
from geostack_dagster.stack.reader.georeference import Coefficients
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.level import Compression, Level
from geostack_dagster.stack.reader.ranges import MIB
from geostack_dagster.stack.reader.segments import MissingBytes, Segments

_SIGNATURE, _CODESTREAM = b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"
_SIZ, _COD, _TLM, _SOT, _SOD = 0xFF51, 0xFF52, 0xFF55, 0xFF90, 0xFF93
_CAP, _COC, _PLM, _PPM, _CRG, _COM = 0xFF50, 0xFF53, 0xFF57, 0xFF60, 0xFF63, 0xFF64
_SOT_BYTES, _EOC_BYTES = 12, 2
_SKIPPED = frozenset({_PLM, _CRG, _COM})
"""Markers that a decoder of single tiles does without."""
_BEYOND = {_CAP: "high-throughput coding", _PPM: "packed packet headers"}
_SYCC = b"colr\x01\x00\x00\x00\x00\x00\x12"
_GEOTIFF_UUID = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
# Smaller ones are fetched whole rather than asked tile after tile where the next one begins.
_SMALL = 4 * MIB
_LEAST_OVERVIEW = 128  # GDAL halves no image that is smaller
_UTM = re.compile(rb'srsName="urn:ogc:def:crs:EPSG::(32[67]\d\d)"')
_ORIGIN = re.compile(rb"<gml:pos>\s*(\S+)\s+(\S+)\s*</gml:pos>")
_VECTOR = re.compile(rb"<gml:offsetVector[^>]*>\s*(\S+)\s+(\S+)\s*</gml:offsetVector>")


def recognises(start: bytes) -> bool:
    """Whether a file that begins so is JPEG 2000."""
    return start.startswith((_SIGNATURE, _CODESTREAM))


def parse_jp2(data: Segments, *, size: int | None = None, etag: str | None = None) -> Header:
    """The header, from as much of the file as it takes; `unsupported` says why rasterio has to.

    Raises:
        MissingBytes: If more of the file is needed.
        AssetError: If it contradicts itself.
    """
    try:
        return _parsed(data, size, etag)
    except (struct.error, IndexError, ValueError) as error:
        raise AssetError(f"its JPEG 2000 markers make no sense ({error}); it is damaged") from error


def _parsed(data: Segments, size: int | None, etag: str | None) -> Header:
    boxes = _boxes(data, size)
    start, end = boxes.codestream
    markers, first = _main_header(data, start)
    image = _Image.of(markers)
    reason = boxes.unsupported or image.unsupported or _beyond(markers)
    places = None
    if reason is None:
        places = _tiles(data, first, end or size, image=image, lengths=markers.get(_TLM, []))
        reason = None if places is not None else "scattered parts of its tiles"
    return Header(
        levels=tuple(_levels(image, _tables(markers), places)),
        transform=boxes.transform,
        crs=boxes.crs,
        scales=(1.0,) * image.samples,
        offsets=(0.0,) * image.samples,
        size=size,
        etag=etag,
        unsupported=None if reason is None else f"JPEG 2000 with {reason}",
    )


type _Markers = dict[int, list[bytes]]
"""Bodies of marker segments by marker, in the order of the file."""
type _Places = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""Offset and length of each tile."""


@dataclass(slots=True)
class _Boxes:
    codestream: tuple[int, int | None] = (0, None)
    crs: str | None = None
    transform: Coefficients | None = None
    unsupported: str | None = None


@dataclass(frozen=True, slots=True)
class _Image:
    width: int
    height: int
    tile_width: int
    tile_height: int
    samples: int
    bits: int
    resolutions: int
    unsupported: str | None

    @classmethod
    def of(cls, markers: _Markers) -> "_Image":
        """Size and coding.

        Raises:
            AssetError: If the markers that state them are missing or make no sense.
        """
        if not markers.get(_SIZ) or not markers.get(_COD):
            raise AssetError("the JPEG 2000 file does not state its size; it is damaged")
        body = markers[_SIZ][0]
        width, height, left, top, *tiling, samples = struct.unpack_from(">8IH", body, 2)
        tile_width, tile_height, tile_left, tile_top = tiling
        parts = [tuple(body[at : at + 3]) for at in range(36, 36 + 3 * samples, 3)]
        if min(width, height, tile_width, tile_height, samples, len(parts)) < 1:
            raise AssetError(f"a JPEG 2000 image of {width} x {height} pixels; it is damaged")
        depth, *_ = parts[0]
        reasons = (
            (bool(left or top or tile_left or tile_top), "an image that is off its own grid"),
            (len(set(parts)) > 1, "components of different kinds"),
            (parts[0][1:] != (1, 1), "subsampled components"),
            (depth & 0x80 != 0 or depth > 15, "signed components, or of more than 16 bits"),
        )
        return cls(
            width=width,
            height=height,
            tile_width=min(tile_width, width),
            tile_height=min(tile_height, height),
            samples=samples,
            bits=(depth & 0x7F) + 1,
            resolutions=markers[_COD][0][5] + 1,
            unsupported=next((reason for found, reason in reasons if found), None),
        )

    @property
    def tiles(self) -> int:
        """How many there are."""
        return -(-self.width // self.tile_width) * -(-self.height // self.tile_height)


def _boxes(data: Segments, size: int | None) -> _Boxes:
    """What lies around the codestream; boxes after it are not looked for."""
    found, at = _Boxes(), 0
    if bytes(data.take(0, 4)) == _CODESTREAM:
        return found
    while True:
        length, kind = struct.unpack(">I4s", data.take(at, 8))
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", data.take(start, 8))
            start += 8
        if kind == b"jp2c":
            found.codestream = start, at + length if length else size
            return found
        if length < start - at:
            raise AssetError("a box of the JPEG 2000 file has no length; it is damaged")
        if kind == b"asoc":
            _place(found, bytes(data.take(start, at + length - start)))
        elif kind == b"jp2h":
            found.unsupported = _colours(bytes(data.take(start, at + length - start)))
        elif kind == b"uuid" and bytes(data.take(start, 16)) == _GEOTIFF_UUID:
            found.unsupported = "a place stated as GeoJP2"
        at += length


def _colours(header: bytes) -> str | None:
    """Why the values of the codestream are not those of the image, if they are not."""
    if b"pclr" in header:
        return "a palette"
    return "sYCC colours" if _SYCC in header else None


def _place(found: _Boxes, gml: bytes) -> None:
    """Take the place from a GMLJP2 box; its origin is the middle of the first pixel."""
    code, origin, vectors = _UTM.search(gml), _ORIGIN.search(gml), _VECTOR.findall(gml)
    if b"gml.data" not in gml:
        return
    if code is None or origin is None or len(vectors) != 2:
        # Axes of other systems may be in any order; GDAL knows.
        found.unsupported = "a place that is not stated in UTM"
        return
    (a, d), (b, e) = ((float(x), float(y)) for x, y in vectors)
    x, y = float(origin[1]), float(origin[2])
    found.crs = f"EPSG:{code[1].decode()}"
    found.transform = (a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)


def _main_header(data: Segments, start: int) -> tuple[_Markers, int]:
    """Marker segments of the main header, and where the first tile-part begins."""
    found: _Markers = {}
    at = start + 2
    while True:
        marker, length = struct.unpack(">HH", data.take(at, 4))
        if marker == _SOT:
            return found, at
        if marker < 0xFF00 or length < 2:
            raise AssetError("the JPEG 2000 header is no list of markers; it is damaged")
        if marker not in _SKIPPED:
            found.setdefault(marker, []).append(bytes(data.take(at + 4, length - 2)))
        at += 2 + length


def _beyond(markers: _Markers) -> str | None:
    return next((reason for marker, reason in _BEYOND.items() if marker in markers), None)


def _tables(markers: _Markers) -> bytes:
    """The main header that each tile is decoded with, SIZ first."""
    return b"".join(
        struct.pack(">HH", marker, len(body) + 2) + body
        for marker, bodies in markers.items()
        if marker != _TLM
        for body in bodies
    )


def _tiles(
    data: Segments, first: int, end: int | None, *, image: _Image, lengths: list[bytes]
) -> _Places | None:
    """Where each tile lies; None if the parts of one are not next to each other."""
    offsets, counts = np.zeros(image.tiles, np.uint64), np.zeros(image.tiles, np.uint64)
    at, last = first, -1
    listed = _listed(lengths) if lengths else _chained(data, first, end, image.tiles)
    for tile, length in listed:
        number = last + 1 if tile is None else tile
        if number >= image.tiles:
            raise AssetError(f"the file has a tile {number} of {image.tiles}; it is damaged")
        if counts[number] == 0:
            offsets[number] = at
        elif number != last:
            return None
        counts[number] += np.uint64(length)
        at, last = at + length, number
    if not counts.all():
        raise AssetError(f"{int((counts == 0).sum())} of {image.tiles} tiles are missing")
    return offsets, counts


def _listed(bodies: list[bytes]) -> Iterator[tuple[int | None, int]]:
    """Tile number, where it is stated, and length of each tile-part."""
    for body in sorted(bodies):  # each begins with its own number
        numbered, wide = body[1] >> 4 & 3, body[1] >> 6 & 1
        kinds = {0: "", 1: "B", 2: "H"}
        layout = f">{kinds.get(numbered, '')}{'I' if wide else 'H'}"
        for entry in struct.iter_unpack(layout, body[2:]):
            yield (entry[0] if numbered else None), entry[-1]


def _chained(
    data: Segments, at: int, end: int | None, tiles: int
) -> Iterator[tuple[int | None, int]]:
    """The same without a list: every tile-part states how long it is."""
    complete: set[int] = set()
    while len(complete) < tiles:
        if end is not None and at >= end - _EOC_BYTES:
            return
        marker, _, tile, length, part, parts = struct.unpack(
            ">HHHIBB", _taken(data, at, end, tiles)
        )
        if marker != _SOT or 0 < length < _SOT_BYTES:
            raise AssetError("a tile does not begin where the one before it ends; it is damaged")
        if length == 0:  # up to the end of the codestream
            if end is None:
                raise AssetError("the length of the last tile is not stated anywhere")
            length = end - _EOC_BYTES - at
        if part + 1 == parts:  # how many there are may be left out, 0, until the last of them
            complete.add(tile)
        yield tile, length
        at += length


def _taken(data: Segments, at: int, end: int | None, tiles: int) -> memoryview:
    try:
        return data.take(at, _SOT_BYTES)
    except MissingBytes as missing:
        if end is not None and end - at <= _SMALL:
            raise MissingBytes(missing.start, end) from None
        raise


def _levels(image: _Image, tables: bytes, places: _Places | None) -> Iterator[Level]:
    """The full image and its halves, as many as GDAL shows as overviews."""
    offsets, counts = places or (np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    step, width, height = 1, image.width, image.height
    for reduction in range(image.resolutions):
        yield Level(
            width=width,
            height=height,
            tile_width=-(-image.tile_width // step),
            tile_height=-(-image.tile_height // step),
            samples=image.samples,
            dtype="uint8" if image.bits <= 8 else "uint16",
            compression=Compression.JPEG2000,
            reduction=reduction,
            jpeg_tables=tables,
            offsets=offsets,
            counts=counts,
        )
        odd = (image.tile_width // step) % 2 or (image.tile_height // step) % 2
        if odd or max(width, height) <= _LEAST_OVERVIEW:
            return
        step *= 2
        width, height = -(-image.width // step), -(-image.height // step)
