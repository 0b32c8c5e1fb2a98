"""A tile index: headers of many files in one Parquet file, kept beside the Recipe that names them.

A second visit then begins with the tiles: no header is read. Every header carries the entity tag of
its file, and tile reads demand that tag, so an index never outlives the files it describes. Files
of archives that give no tag are left out.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geostack_dagster import storage
from geostack_dagster.domain.hrefs import Href, canonical
from geostack_dagster.errors import IntegrityError
from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.level import Level

_log = logging.getLogger(__name__)
_VERSION = 1
_ARRAYS = ("offsets", "counts")
_SCHEMA = pa.schema(
    [
        ("href", pa.string()),
        ("header", pa.string()),
        ("offsets", pa.list_(pa.list_(pa.uint64()))),
        ("counts", pa.list_(pa.list_(pa.uint64()))),
    ],
    metadata={"geostack:tile_index": str(_VERSION)},
)


def write_index(headers: Mapping[Href, Header], url: str) -> int:
    """Number of headers written; those of files that only rasterio reads are left out.

    Raises:
        RejectedCredentialError, ServiceError: If the storage does not take the file.
    """
    rows = [
        (str(canonical(href)), header)
        for href, header in sorted(headers.items())
        if header.unsupported is None and header.etag is not None
    ]
    table = pa.Table.from_pylist(
        [
            {
                "href": href,
                "header": json.dumps(_document(header)),
                "offsets": [level.offsets for level in _all_levels(header)],
                "counts": [level.counts for level in _all_levels(header)],
            }
            for href, header in rows
        ],
        schema=_SCHEMA,
    )
    with storage.staged(url) as path:
        pq.write_table(table, path, compression="zstd")
    return len(rows)


def read_index(url: str) -> dict[Href, Header]:
    """The headers written by `write_index`.

    Raises:
        FileNotFoundError: If there is no such file.
        IntegrityError: If the file is no tile index, or of another version.
    """
    content = storage.read_bytes(url)
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise IntegrityError(f"{url} is no tile index: {error}; delete it") from error
    version = (table.schema.metadata or {}).get(b"geostack:tile_index", b"").decode()
    if version != str(_VERSION):
        raise IntegrityError(
            f"{url} is a tile index of version {version!r}, not {_VERSION}; delete it"
        )
    return {Href(row["href"]): _header(row) for row in table.to_pylist()}


def recalled(url: str | None) -> dict[Href, Header]:
    """The headers of an index, or none: without it, reading takes a little longer and no harm."""
    if url is None:
        return {}
    try:
        return read_index(url)
    except FileNotFoundError:
        return {}
    except IntegrityError as error:
        _log.warning("headers are read anew: %s", error)
        return {}


def _all_levels(header: Header) -> tuple[Level, ...]:
    return (*header.levels, *header.masks)


def _document(header: Header) -> dict[str, Any]:
    plain = {
        each.name: getattr(header, each.name)
        for each in fields(header)
        if each.name not in ("levels", "masks")
    }
    levels = [_level_document(level) for level in header.levels]
    return {**plain, "levels": levels, "masks": [_level_document(level) for level in header.masks]}


def _level_document(level: Level) -> dict[str, Any]:
    found = {
        each.name: getattr(level, each.name) for each in fields(level) if each.name not in _ARRAYS
    }
    tables = found["jpeg_tables"]
    return {**found, "jpeg_tables": None if tables is None else tables.hex()}


def _header(row: Mapping[str, Any]) -> Header:
    document = json.loads(row["header"])
    levels, masks = document.pop("levels"), document.pop("masks")
    arrays = zip(row["offsets"], row["counts"], strict=True)
    built = [
        _level(level, *places) for level, places in zip([*levels, *masks], arrays, strict=True)
    ]
    for name in ("transform", "scales", "offsets"):
        document[name] = None if document[name] is None else tuple(document[name])
    return Header(levels=tuple(built[: len(levels)]), masks=tuple(built[len(levels) :]), **document)


def _level(document: Mapping[str, Any], offsets: list[int], counts: list[int]) -> Level:
    tables = document["jpeg_tables"]
    return Level(
        **{**document, "jpeg_tables": None if tables is None else bytes.fromhex(tables)},
        offsets=np.asarray(offsets, np.uint64),
        counts=np.asarray(counts, np.uint64),
    )
