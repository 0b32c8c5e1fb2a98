"""Any seekable file of bytes as a file of arrays, read by the HDF5 library."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geostack_dagster.stack.swath.hdf5 import contents, read_through
from geostack_dagster.stack.swath.layout import ArrayLayout, Raw, Window, found


@dataclass(slots=True)
class SeekableFile:
    """Arrays of one open file; what is read ahead is the file's own business."""

    file: Any = field(repr=False)
    name: str
    arrays: Mapping[str, ArrayLayout] = field(repr=False)
    attrs: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    values_read: int = 0
    """Bytes of the values that were asked for; what travelled only the file knows."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """A file has one position."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the values that were asked for."""
        return self.values_read

    def read(self, name: str, window: Window | None = None) -> Raw:
        """Values of a part of an array, as stored."""
        found(self, name)
        with self.lock:
            values = read_through(self.file, self.name, name, window)
            self.values_read += values.nbytes
        return values

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_seekable(file: Any, name: str, *, note: str = "") -> SeekableFile:
    """A file that was opened by somebody else, such as `earthaccess.open`.

    Raises:
        AssetError: If it is no HDF5 file, or a damaged one.
    """
    told = contents(file, name)
    return SeekableFile(file, name, told.arrays, told.attrs, (note,) if note else ())
