"""Chunks of HDF5 files back to values: the filters in reverse, by the libraries behind imagecodecs.

The codes are registered: 1 deflate, 2 shuffle, 3 Fletcher-32 checksum, 32000 LZF. Files with
others are read by the HDF5 library itself.
"""

from collections.abc import Callable, Mapping

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.stack.reader.transport import Buffer
from geostack_dagster.stack.swath.layout import ArrayLayout, Chunked, Filter, Raw, StoredChunk

type _Bytes = NDArray[np.uint8]

_CHECKSUM = 4


def decoded(layout: ArrayLayout, storage: Chunked, stored: StoredChunk, data: Buffer) -> Raw:
    """Values of a whole chunk, in the chunk's shape.

    Raises:
        AssetError: If the bytes do not decode to as many values as a chunk has.
    """
    dtype = np.dtype(layout.dtype)
    length = int(np.prod(storage.shape)) * dtype.itemsize
    plain = np.frombuffer(data, np.uint8)
    try:
        for number, one in reversed(list(enumerate(storage.filters))):
            if not stored.skipped >> number & 1:
                plain = _DECODERS[one.code](plain, one, length)
    except (RuntimeError, ValueError) as error:
        raise AssetError(
            f"a chunk of {layout.name} does not decode ({error})", reason=Reason.CORRUPT_TILE
        ) from error
    if plain.size != length:
        raise AssetError(
            f"a chunk of {layout.name} decodes to {plain.size} bytes of {length}",
            reason=Reason.CORRUPT_TILE,
        )
    values: Raw = plain.view(dtype).reshape(storage.shape)
    return values


def _deflated(data: _Bytes, one: Filter, length: int) -> _Bytes:
    # A checksum may follow, or an earlier filter have made it a little longer: no size is given.
    return np.frombuffer(imagecodecs.zlib_decode(data), np.uint8)


def _lzf(data: _Bytes, one: Filter, length: int) -> _Bytes:
    return np.frombuffer(imagecodecs.lzf_decode(data, out=length + _CHECKSUM), np.uint8)


def _shuffled(data: _Bytes, one: Filter, length: int) -> _Bytes:
    size = one.parameters[0] if one.parameters else 1
    count = data.size // size
    whole = data[: count * size].reshape(size, count).T.ravel()
    return np.concatenate([whole, data[count * size :]]) if data.size % size else whole


def _checked(data: _Bytes, one: Filter, length: int) -> _Bytes:
    body, stated = data[:-_CHECKSUM], bytes(data[-_CHECKSUM:])
    if int(imagecodecs.h5checksum_fletcher32(body)) != int.from_bytes(stated, "little"):
        raise ValueError("its checksum is wrong")
    return body


_DECODERS: Mapping[int, Callable[[_Bytes, Filter, int], _Bytes]] = {
    1: _deflated,
    2: _shuffled,
    3: _checked,
    32000: _lzf,
}
KNOWN_FILTERS = frozenset(_DECODERS)
"""Codes of the filters that are undone here."""
