"""Where an array lies in a file: plain values, so that readers can be pickled and need no HDF5."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.errors import AssetError

type Raw = NDArray[Any]
type Window = tuple[tuple[int, int], ...]
"""Start and stop along each axis."""


@dataclass(frozen=True, slots=True)
class Contiguous:
    """One piece; None if it was never written."""

    offset: int | None


@dataclass(frozen=True, slots=True)
class Filter:
    """One step that a chunk went through when it was written."""

    code: int
    parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Bytes of one chunk."""

    offset: int
    size: int
    skipped: int = 0
    """Bit mask of the filters that this chunk did without."""


@dataclass(frozen=True, slots=True)
class Chunked:
    """Pieces of one shape on a regular grid; those that were never written are absent."""

    shape: tuple[int, ...]
    filters: tuple[Filter, ...]
    chunks: Mapping[tuple[int, ...], StoredChunk] = field(repr=False)
    """By the index of the chunk's first element."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """What only the HDF5 library can read, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """An array of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """With its byte order, as numpy writes it."""
    fill: Any
    """What stands where nothing was written."""
    storage: Contiguous | Chunked | Opaque
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Window:
        """The window that leaves nothing out."""
        return tuple((0, size) for size in self.shape)

    @property
    def missing(self) -> Any:
        """The value that marks what was not measured: `_FillValue`, else the storage's own."""
        return self.attrs.get("_FillValue", self.fill)

    def blank(self, window: Window) -> Raw:
        """An array for this window, as if nothing had been written."""
        shape = tuple(stop - start for start, stop in window)
        return np.full(shape, self.fill, np.dtype(self.dtype))


class SwathFile(Protocol):
    """An open file of arrays."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def arrays(self) -> Mapping[str, ArrayLayout]:
        """Its arrays by path."""
        ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the file as a whole."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes that were asked for so far."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read in another way than the usual one, and why."""
        ...

    def read(self, name: str, window: Window | None = None) -> Raw:
        """Values as stored, of a part of an array or the whole of it; text as `str`.

        Raises:
            AssetError: If there is no such array, or its bytes are damaged.
            CredentialError, ServiceError: As every read.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def found(file: SwathFile, name: str) -> ArrayLayout:
    """Layout of an array.

    Raises:
        AssetError: If the file has none of that name.
    """
    layout = file.arrays.get(name)
    if layout is None:
        raise AssetError(
            f"{file.name} has no array {name!r}; it has {', '.join(sorted(file.arrays)) or 'none'}."
            " It is another product, or its layout has changed"
        )
    return layout
