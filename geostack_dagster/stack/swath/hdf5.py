"""HDF5 metadata through h5py: where each array lies, without reading one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, override

import h5py
import numpy as np

from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import AssetError, GeostackError
from geostack_dagster.stack.reader.byte_file import ByteFile, RemoteBlocks
from geostack_dagster.stack.swath.filters import KNOWN_FILTERS
from geostack_dagster.stack.swath.layout import (
    ArrayLayout,
    Chunked,
    Contiguous,
    Filter,
    Opaque,
    Raw,
    StoredChunk,
    Window,
)

_LIBRARY_ERRORS = (OSError, RuntimeError, ValueError, KeyError)
_NUMBERS = "iufb"


class HdfFile(ByteFile):
    """A remote object as h5py wants a file: it fills buffers that it is given."""

    @override
    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file says about itself."""

    arrays: dict[str, ArrayLayout]
    attrs: dict[str, Any]


def contents(file: Any, name: str, *, blocks: RemoteBlocks | None = None) -> Contents:
    """Arrays and attributes of a file.

    Args:
        file: A seekable file of bytes.
        name: For messages.
        blocks: Where its bytes come from; holds the error that a read ended in.

    Raises:
        AssetError: If it is no HDF5 file, or a damaged one.
        CredentialError, ServiceError: From the reads.
    """
    with opened(file, name, blocks=blocks) as root:
        arrays: dict[str, ArrayLayout] = {}

        def visit(path: str, entry: Any) -> None:
            if isinstance(entry, h5py.Dataset):
                arrays[path] = _layout(path, entry)

        root.visititems(visit)
        return Contents(arrays, _attributes(root))


def read_through(file: Any, name: str, path: str, window: Window | None, **kw: Any) -> Raw:
    """Values of an array, read by the HDF5 library; raises as `contents`."""
    with opened(file, name, **kw) as root:
        return values(root[path], window)


def values(dataset: Any, window: Window | None) -> Raw:
    """Values of an open dataset, text as `str`."""
    where = () if window is None else tuple(slice(*span) for span in window)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[where], dtype=np.str_)
    return np.asarray(dataset[where])


@contextmanager
def opened(file: Any, name: str, *, blocks: RemoteBlocks | None = None) -> Iterator[Any]:
    """The file in h5py; its errors are raised as ours."""
    try:
        with h5py.File(file, "r") as root:
            yield root
    except GeostackError:
        raise
    except _LIBRARY_ERRORS as error:
        failure = redact(str(error))
    else:
        return
    raise (blocks.failure if blocks else None) or AssetError(
        f"{name} cannot be read as HDF5 ({failure}); it is truncated, needs a filter that h5py "
        "lacks, or is of another format (a login page?). Open it by hand, then search again"
    )


def _layout(path: str, dataset: Any) -> ArrayLayout:
    plain = dataset.dtype.kind in _NUMBERS
    return ArrayLayout(
        name=path,
        shape=dataset.shape,
        dtype=dataset.dtype.str if plain else "O",
        fill=dataset.fillvalue if plain else None,
        storage=_storage(dataset) if plain else Opaque("its values are not plain numbers"),
        attrs=_attributes(dataset),
    )


def _storage(dataset: Any) -> Contiguous | Chunked | Opaque:
    plist = dataset.id.get_create_plist()
    kind = plist.get_layout()
    if kind == h5py.h5d.CHUNKED:
        return _chunked(dataset, plist)
    if kind != h5py.h5d.CONTIGUOUS:
        return Opaque("it is stored inside the header or in other files")
    if plist.get_external_count():
        return Opaque("it is stored in other files")
    # With a user block the library gives what was never written an address as well.
    written = dataset.id.get_storage_size() == math.prod(dataset.shape) * dataset.dtype.itemsize
    return Contiguous(dataset.id.get_offset() if written and dataset.size else None)


def _chunked(dataset: Any, plist: Any) -> Chunked | Opaque:
    filters = []
    for number in range(plist.get_nfilters()):
        code, _, parameters, label = plist.get_filter(number)
        if code not in KNOWN_FILTERS:
            return Opaque(f"filter {code} ({label.decode(errors='replace') or 'unnamed'})")
        filters.append(Filter(code, tuple(parameters)))
    chunks: dict[tuple[int, ...], StoredChunk] = {}

    def collect(info: Any) -> None:
        stored = StoredChunk(info.byte_offset, info.size, info.filter_mask)
        chunks[tuple(info.chunk_offset)] = stored

    dataset.id.chunk_iter(collect)
    return Chunked(tuple(dataset.chunks), tuple(filters), chunks)


def _attributes(holder: Any) -> dict[str, Any]:
    """Attributes as plain Python values; what is no number or text is left out."""
    plain: dict[str, Any] = {}
    for name in holder.attrs:
        if name in ("DIMENSION_LIST", "REFERENCE_LIST"):
            continue
        value = holder.attrs[name]
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS:
            value = value.item() if value.size == 1 else value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str | int | float | list):
            plain[name] = value
    return plain
