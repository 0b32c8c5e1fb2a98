"""Items in a stac-geoparquet file and back, equal member for member.

Arrow does the work, column by column; Items that columns may not hold in full are read back and
compared, and what is missing is kept as patches in the file's footer, where other readers do not
see it. Other programs read the file as
ordinary stac-geoparquet.
"""

import gc
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import batched
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geostack_dagster.catalog.decode import to_items
from geostack_dagster.catalog.encode import Encoded, to_table
from geostack_dagster.catalog.layout import Spellings
from geostack_dagster.catalog.patches import Patches, difference
from geostack_dagster.domain.item import Item
from geostack_dagster.errors import DamagedError, IntegrityError

_SPELLINGS, _PATCHES = b"geostack:spellings", b"geostack:patches"
_BATCH = 1024  # Items turned into dictionaries at once
_ROW_GROUP = 16 * _BATCH
# What is said of a damaged file: by Arrow, by JSON, by base64 and zlib under the patches.
_STUMBLES = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, zlib.error)
# Statistics of every nested column would outweigh the Items of a small snapshot.
_PRUNED_BY = ("id", "datetime", "bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax")


def write_items(items: Sequence[Item], sink: Any, *, facts: Mapping[str, str]) -> None:
    """Write Items to a path or file object; `facts` are kept in the footer under their names."""
    with _collector_paused():
        encoded = to_table(items)
        patches = _patches(items, encoded)
    table = encoded.table
    metadata = {
        **table.schema.metadata,
        _SPELLINGS: json.dumps(encoded.spellings).encode(),
        _PATCHES: patches.encode(),
        **{name.encode(): value.encode() for name, value in facts.items()},
    }
    names = {*table.column_names, *_PRUNED_BY[2:]}
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        row_group_size=_ROW_GROUP,
        write_statistics=[name for name in _PRUNED_BY if name in names],
    )


def iter_items(source: Any) -> Iterator[dict[str, Any]]:
    """Items of a stac-geoparquet file, ours or another program's, a batch at a time.

    Raises:
        IntegrityError: If the file is not stac-geoparquet, or is cut off.
    """
    with _opened(source) as file, _readable(source):
        metadata = file.schema_arrow.metadata or {}
        spelled: Spellings = json.loads(metadata.get(_SPELLINGS, b"{}"))
        patches = Patches.decode(metadata.get(_PATCHES, b""))
        first_row = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            with _collector_paused():
                items = to_items(pa.Table.from_batches([batch]), spelled)
                patches.restore(items, first_row)
            first_row += len(items)
            yield from items


def read_items(source: Any) -> list[dict[str, Any]]:
    """All Items of a stac-geoparquet file, in its order.

    Raises:
        IntegrityError: If the file is not stac-geoparquet, or is cut off.
    """
    with _collector_paused():
        return list(iter_items(source))


def read_facts(source: Any) -> dict[str, str]:
    """What the footer says beside the columns, without reading a row.

    Raises:
        IntegrityError: If the file is not Parquet, or is cut off.
    """
    with _opened(source) as file, _readable(source):
        metadata = file.schema_arrow.metadata or {}
        return {
            name.decode(): value.decode()
            for name, value in metadata.items()
            if name not in (_SPELLINGS, _PATCHES)
        }


def column_types(source: Any) -> dict[str, str]:
    """Arrow types of the columns by name.

    Raises:
        IntegrityError: If the file is not Parquet, or is cut off.
    """
    with _opened(source) as file:
        return {column.name: str(column.type) for column in file.schema_arrow}


def _patches(items: Sequence[Item], encoded: Encoded) -> Patches:
    """What the columns do not say about the rows that are in doubt, found by reading them back."""
    patches = Patches()
    for rows in batched(np.flatnonzero(encoded.doubtful).tolist(), _BATCH):
        found = to_items(encoded.table.take(rows), encoded.spellings)
        for row, item in zip(rows, found, strict=True):
            if item != items[row]:
                patches.add(row, difference(items[row], item))
    return patches


def _opened(source: Any) -> pq.ParquetFile:
    with _readable(source):
        file = pq.ParquetFile(source)
    if "geometry" not in file.schema_arrow.names or "id" not in file.schema_arrow.names:
        file.close()
        raise IntegrityError(f"{_name(source)} is not stac-geoparquet: it lacks `id` or `geometry`")
    return file


@contextmanager
def _readable(source: Any) -> Iterator[None]:
    """Whatever Arrow and what follows it say of a damaged file, as this package's error."""
    try:
        yield
    except _STUMBLES as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Arrow's
            raise
        raise DamagedError(
            f"{_name(source)} is not readable Parquet ({error}); write the snapshot again"
        ) from error


def _name(source: Any) -> Any:
    return getattr(source, "name", source) if isinstance(source, io.IOBase) else source


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cycle collection meanwhile: it would walk millions of new objects without a cycle.

    Measured: half of the time that reading 50,000 Items takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
