"""What became of every asset of a slot: what could not be read never becomes silent nodata.

A slot's ledger is one JSON document in the cube itself, committed together with the pixels.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from geostack_dagster.cube.damage import RESTORE
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.hrefs import redact


class Status(StrEnum):
    """How the reading of one asset ended."""

    READ = "read"
    PARTIAL = "partial"
    """Some of its blocks could not be read."""
    MISSING = "missing"
    """The Item has no such asset, or the archive has no such object."""
    SUPERSEDED = "superseded"
    """Another Item of the same acquisition was taken instead."""
    INVALID = "invalid"
    """It was read and is not what it says it is."""
    FAILED = "failed"
    """Every attempt failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One asset of one Item."""

    item: str
    asset: str
    status: Status
    reason: str | None = None
    """Code such as `http-404` or `truncated`, by which a rerun selects."""
    http_status: int | None = None
    attempts: int = 1
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """An entry and the solar day whose slot it belongs to."""

    day: date
    entry: LedgerEntry


def dumps(entries: Iterable[LedgerEntry]) -> str:
    """Ledger of a slot as JSON; equal ledgers give equal text."""
    rows = sorted(entries, key=lambda entry: (entry.item, entry.asset))
    return json.dumps([_plain(entry) for entry in rows], separators=(",", ":"), sort_keys=True)


def loads(text: str, where: str) -> list[LedgerEntry]:
    """Entries written by `dumps`; none for a slot without a ledger.

    Raises:
        DamagedError: If it is no ledger; says where it lies.
    """
    return read_back(text, where, entries_of, remedy=RESTORE) if text else []


def entries_of(rows: Iterable[Mapping[str, Any]]) -> list[LedgerEntry]:
    """Entries of a parsed ledger."""
    return [LedgerEntry(**{**row, "status": Status(row["status"])}) for row in rows]


def _plain(entry: LedgerEntry) -> dict[str, Any]:
    row = {name: value for name, value in asdict(entry).items() if value is not None}
    if entry.detail is not None:
        row["detail"] = redact(entry.detail)
    return row
