"""Encoded tiles back to values, by the libraries behind `imagecodecs`.

Decoding writes into memory that each thread keeps: a fresh half megabyte per tile would cost as
many page faults as the predictor costs time.
"""

import threading
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.reader.jp2_codec import decode_tile
from geostack_dagster.stack.reader.level import Compression, Level
from geostack_dagster.stack.reader.transport import Buffer

_YCBCR = 6
_EARLY = 0.9  # of a tile; to stop later than this saves nothing, for ISA-L is a little slower
_scratch = threading.local()

type Raw = NDArray[Any]


class DamagedTileError(AssetError):
    """A tile's bytes are not what its header promises: read header and tile once more."""

    reason = Reason.CORRUPT_TILE


def decompress(level: Level, data: Buffer, rows: int, *, wanted: int | None = None) -> Raw:
    """Values of a tile, shape (rows, columns, samples), as stored before compression.

    A predictor is still in them. The array belongs to this thread until its next call.

    Args:
        level: How the tile is coded.
        data: Its bytes.
        rows: How many it stores.
        wanted: How many are of use; deflate stops there, and what it leaves is not checked.

    Raises:
        DamagedTileError: If the bytes do not decode to as many values as the tile has.
    """
    stride = level.tile_width * level.samples_per_tile * np.dtype(level.dtype).itemsize
    try:
        if wanted is not None and wanted < _EARLY * rows and _can_stop(level):
            rows, decoded = wanted, _inflate_start(data, wanted * stride)
        else:
            decoded = _DECODERS[Compression(level.compression)](level, data, rows * stride)
    except (imagecodecs.DelayedImportError, ImportError) as error:
        raise AssetError(f"imagecodecs lacks a codec: {error}; install its full build") from error
    except (RuntimeError, ValueError) as error:
        raise DamagedTileError(f"a tile does not decode ({error}); the file is damaged") from error
    shape = (rows, level.tile_width, level.samples_per_tile)
    flat = np.frombuffer(decoded, np.uint8) if not isinstance(decoded, np.ndarray) else decoded
    if flat.dtype != np.uint8 or flat.ndim != 1:
        return _image(level, flat, shape)
    length = rows * stride
    if flat.size < length:
        raise DamagedTileError(
            f"a tile decodes to {flat.size} bytes of {length}; the file is damaged"
        )
    return flat[:length].view(np.dtype(level.dtype)).reshape(shape)


def _image(level: Level, found: Raw, shape: tuple[int, int, int]) -> Raw:
    if found.size != np.prod(shape) or found.dtype != np.dtype(level.dtype):
        raise DamagedTileError(
            f"a tile decodes to {found.shape} {found.dtype}, not {shape} {level.dtype}; "
            "the file is damaged"
        )
    return found.reshape(shape)


def _buffer(length: int) -> Any:
    kept: NDArray[np.uint8] | None = getattr(_scratch, "buffer", None)
    if kept is None or kept.size < length:
        kept = _scratch.buffer = np.empty(length, np.uint8)
    return kept[:length]


def _stored(level: Level, data: Buffer, length: int) -> Any:
    return data


def _deflate(level: Level, data: Buffer, length: int) -> Any:
    return imagecodecs.deflate_decode(data, raw=False, out=_buffer(length))


def _can_stop(level: Level) -> bool:
    return level.compression in _DEFLATES and bool(imagecodecs.ISAL.available)


def _inflate_start(data: Buffer, length: int) -> Any:
    """The first bytes of a deflated tile; libdeflate would leave the last of them unwritten."""
    out = _buffer(length)
    try:
        return imagecodecs.isal_decode(data, out=out)
    except imagecodecs.IsalError as error:
        if "OUT_OVERFLOW" not in str(error):
            raise
    return out


def _zstd(level: Level, data: Buffer, length: int) -> Any:
    return imagecodecs.zstd_decode(data, out=_buffer(length))


def _lzw(level: Level, data: Buffer, length: int) -> Any:
    return imagecodecs.lzw_decode(data, out=length)


def _packbits(level: Level, data: Buffer, length: int) -> Any:
    return imagecodecs.packbits_decode(data, out=length)


def _lzma(level: Level, data: Buffer, length: int) -> Any:
    return imagecodecs.lzma_decode(data, out=length)


def _jpeg(level: Level, data: Buffer, length: int) -> Any:
    colours = ("YCBCR", "RGB") if level.photometric == _YCBCR else (None, None)
    return imagecodecs.jpeg8_decode(
        data, tables=level.jpeg_tables, colorspace=colours[0], outcolorspace=colours[1]
    )


def _jpeg2000(level: Level, data: Buffer, length: int) -> Any:
    shape = level.tile_height, level.tile_width
    return decode_tile(data, level.jpeg_tables or b"", reduction=level.reduction, shape=shape)


def _lerc(level: Level, data: Buffer, length: int) -> Any:
    plain: bytes | bytearray | memoryview = data
    if level.lerc_packing == 1:
        plain = imagecodecs.zlib_decode(data)
    elif level.lerc_packing == 2:
        plain = imagecodecs.zstd_decode(data)
    decoded: Any = imagecodecs.lerc_decode(plain, masks=True)
    values, valid = decoded  # `valid` is None where every pixel is
    if valid is not None and values.dtype.kind == "f":
        values[~np.asarray(valid, bool).reshape(values.shape)] = np.nan
    return values


_DEFLATES = (Compression.DEFLATE, Compression.DEFLATE_OLD)
_DECODERS: dict[Compression, Callable[[Level, Buffer, int], Any]] = {
    Compression.NONE: _stored,
    Compression.LZW: _lzw,
    Compression.JPEG: _jpeg,
    Compression.DEFLATE: _deflate,
    Compression.DEFLATE_OLD: _deflate,
    Compression.PACKBITS: _packbits,
    Compression.JPEG2000: _jpeg2000,
    Compression.LERC: _lerc,
    Compression.LZMA: _lzma,
    Compression.ZSTD: _zstd,
}
