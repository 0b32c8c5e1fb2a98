"""The bookkeeping of a slot: what it was made from, how much of it holds values.

Every variable has one chunk for each slot, so partitions that touch different days never touch
the same chunk and their commits never conflict. Icechunk keeps such small chunks in the manifest.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from geostack_dagster.cube.encode import compressor
from geostack_dagster.cube.ledger import LedgerEntry
from geostack_dagster.cube.unread import Unread
from geostack_dagster.errors import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTES = np.dtype("uint8")
_HEADER = 8  # vlen-utf8: one string, then its length, both uint32


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRecord:
    """What a caller says about one solar day that it writes."""

    day: date
    item_count: int
    acquired: datetime | None = None
    """First acquisition of the day, with its time zone."""
    fingerprint: str | None = None
    """Of what this day was made from; None takes the partition's."""
    coverage: float | None = None
    """Fraction of pixels that hold a value; None measures it while writing."""
    ledger: Callable[[], Iterable[LedgerEntry]] | None = None
    """What became of the day's assets; called once its pixels were read, before the commit."""
    unread: Callable[[], Iterable[Unread]] | None = None
    """What could not be read of it; called after `ledger`. Any makes the slot a partial one."""

    def __post_init__(self) -> None:
        if self.acquired is not None and self.acquired.tzinfo is None:
            raise ConfigurationError(f"acquired of {self.day} needs a time zone")
        if self.fingerprint == "":
            raise ConfigurationError(f"fingerprint of {self.day} is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What a cube says about one solar day."""

    day: date
    fingerprint: str | None
    """Of what the pixels were made from; None for a day that holds nothing."""
    made_from: str | None
    """Of the inputs of the partition that last wrote or cleared the day; None if none did."""
    item_count: int
    coverage: float | None
    acquired: datetime | None


def encoded(slot: Slot, ledger: str) -> dict[str, bytes | None]:
    """Bytes of each bookkeeping variable; None where it holds its fill value."""
    nanoseconds = None if slot.acquired is None else _nanoseconds(slot.acquired)
    return {
        "acquired": None if nanoseconds is None else np.array(nanoseconds, "<i8").tobytes(),
        "item_count": np.array(slot.item_count, "<i4").tobytes() if slot.item_count else None,
        "fingerprint": text_chunk(slot.fingerprint),
        "coverage": None if slot.coverage is None else np.array(slot.coverage, "<f4").tobytes(),
        "made_from": text_chunk(slot.made_from),
        "ledger": _compressed(text_chunk(ledger)),
    }


def decoded(day: date, found: Mapping[str, bytes]) -> Slot:
    """Slot of the bytes of its variables, those that are stored."""
    return Slot(
        day=day,
        fingerprint=text(found.get("fingerprint")) or None,
        made_from=text(found.get("made_from")) or None,
        item_count=int(np.frombuffer(found.get("item_count", bytes(4)), "<i4")[0]),
        coverage=_coverage(found.get("coverage")),
        acquired=_instant(found.get("acquired")),
    )


def text_chunk(value: str | None) -> bytes | None:
    """The vlen-utf8 chunk of one string; None, which is not stored, for no text."""
    if not value:
        return None
    raw = value.encode()
    return np.array([1, len(raw)], "<u4").tobytes() + raw


def text(chunk: bytes | None) -> str:
    """The string of a vlen-utf8 chunk of one; empty when the chunk is not stored."""
    return "" if chunk is None else chunk[_HEADER:].decode()


def ledger_text(chunk: bytes | None) -> str:
    """The JSON of a ledger chunk; empty when the chunk is not stored."""
    return "" if chunk is None else text(bytes(compressor(_BYTES).decode(chunk)))


def _compressed(chunk: bytes | None) -> bytes | None:
    if chunk is None:
        return None
    found: bytes = compressor(_BYTES).encode(chunk)
    return found


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _instant(chunk: bytes | None) -> datetime | None:
    if chunk is None:
        return None
    return _EPOCH + timedelta(microseconds=int(np.frombuffer(chunk, "<i8")[0]) // 1000)


def _coverage(chunk: bytes | None) -> float | None:
    return None if chunk is None else float(np.frombuffer(chunk, "<f4")[0])
