"""Carrying out a `Change`: pixels into the transaction, bookkeeping into the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import xarray as xr
from dask.base import is_dask_collection

from geostack_dagster.cube.backend import Committed, Transaction
from geostack_dagster.cube.change import (
    MARKS,
    Change,
    bookkeeping,
    ledger_texts,
    made_from,
    note_text,
    pixel_keys,
    read_marks,
    require_unchanged,
)
from geostack_dagster.cube.distributed import scatter
from geostack_dagster.cube.flagging import flag
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.store import WriteReport
from geostack_dagster.cube.stream import Sink, Tally, stream
from geostack_dagster.cube.unread import partial_mark
from geostack_dagster.engine import Engine


@dataclass(frozen=True, slots=True)
class Pixels:
    """A dataset that was checked, and the slot of each step of its time axis."""

    data: xr.Dataset
    order: tuple[int, ...]
    engine: Engine


def carry_out(
    change: Change, transaction: Transaction, pixels: Pixels | None, *, transactional: bool
) -> WriteReport:
    """Write a partition and commit it.

    Raises:
        ConflictError: If another writer changed the same slots meanwhile.
    """
    asked = change
    if not transactional:
        change = _unmarked(change, transaction)
    _erase(change, transaction, but=pixels.order if pixels else ())
    tallies = _stored(change, transaction, pixels, transactional=transactional)
    texts = ledger_texts(change)
    change = _marked(change, transaction.keys)
    rows = bookkeeping(change, tallies, texts)
    committed = transaction.commit(
        note_text("write", change.commit),
        lambda newest: _settled(change, rows, newest, at_once=transactional),
    )
    report = _report(asked, sum(tallies.values(), Tally()), committed)
    return replace(report, fingerprint=change.commit.fingerprint)


def _marked(change: Change, keys: Keys) -> Change:
    """Flag what was unread, and say in the fingerprints that it was."""
    unread = {
        slot: found
        for slot, record in change.records.items()
        if record.unread is not None and (found := list(record.unread()))
    }
    if not unread:
        return change
    for slot, found in unread.items():
        flag(keys, change.schema, slot, found)
    parts = {slot: sorted(one.part for one in found) for slot, found in sorted(unread.items())}
    records = {
        slot: replace(record, fingerprint=partial_mark(record.fingerprint or "", parts[slot]))
        if slot in parts
        else record
        for slot, record in change.records.items()
    }
    commit = replace(
        change.commit, fingerprint=partial_mark(change.commit.fingerprint, parts.values())
    )
    return replace(change, records=records, commit=commit)


def _unmarked(change: Change, transaction: Transaction) -> Change:
    """Say that the slots are unfinished, where readers see pixels before the commit.

    A slot without a mark may be one that a writer who died left unfinished: it is cleared too.
    """
    doubtful = {slot for slot, marks in change.before.items() if not any(marks.values())}
    change = replace(change, cleared=change.cleared | (doubtful - change.records.keys()))
    group = change.schema.name
    keys = [f"{group}/{name}/c/{slot}" for slot in change.touched for name in MARKS]
    transaction.keys.put(dict.fromkeys(keys))
    blank = {slot: dict.fromkeys(MARKS, "") for slot in change.touched}
    return replace(change, before={**change.before, **blank})


def _erase(change: Change, transaction: Transaction, *, but: tuple[int, ...]) -> None:
    for slot in change.touched:
        if slot not in but:
            transaction.keys.put(dict.fromkeys(pixel_keys(change.schema, slot)))


def _stored(
    change: Change, transaction: Transaction, pixels: Pixels | None, *, transactional: bool
) -> dict[int, Tally]:
    if pixels is None:
        return {}
    sinks = {
        slot: Sink(
            change.schema,
            slot,
            # An empty slot holds no chunks, unless a crash left some where nothing is atomic.
            erase=not transactional or bool(change.before[slot]["fingerprint"]),
        )
        for slot in change.records
    }
    data, order, engine = pixels.data, pixels.order, pixels.engine
    if engine.is_cluster and is_dask_collection(data):
        return scatter(sinks, data, order=order, transaction=transaction, engine=engine)
    return stream(sinks, data, order=order, put=transaction.keys.put, engine=engine)


def _settled(
    change: Change, rows: Mapping[str, bytes | None], newest: Keys, *, at_once: bool
) -> bool:
    found = read_marks(newest, change.schema, change.slots)
    if found != change.before and made_from(found) == change.commit.fingerprint:
        return False  # another writer did the same work
    require_unchanged(change.schema, change.before, found)
    marks = {key for key in rows if key.split("/")[1] in MARKS}
    order = [rows.keys()] if at_once else [rows.keys() - marks, marks]  # marks last
    for keys in order:
        newest.put({key: rows[key] for key in keys})
    return True


def _report(change: Change, total: Tally, committed: Committed | None) -> WriteReport:
    if committed is None:
        return WriteReport(written=False, kept=change.days(change.slots))
    return WriteReport(
        written=True,
        snapshot=committed.snapshot,
        rewritten=change.days(change.records),
        kept=change.days(change.kept),
        cleared=change.days(change.cleared),
        chunks=total.chunks,
        raw_bytes=total.raw_bytes,
        stored_bytes=total.stored_bytes,
        attempts=committed.attempts,
    )
