"""A partition of granules as one commit."""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np
import xarray as xr
from zarr.core.sync import sync

from geostack_dagster.cube.backend import Transaction
from geostack_dagster.cube.change import note_text
from geostack_dagster.cube.encode import Pixels
from geostack_dagster.cube.failure import translated
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.ledger import LedgerEntry
from geostack_dagster.cube.store import Commit
from geostack_dagster.cube.swaths.book import (
    DAYS,
    Book,
    DayRecord,
    StoredGranule,
    documents,
    made_from,
    read_days,
)
from geostack_dagster.cube.swaths.group import GroupTemplate, template
from geostack_dagster.cube.unread import partial_mark
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    GeostackError,
    IntegrityError,
    ServiceError,
)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME = 120
_ENCODERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GranuleRecord:
    """A granule that is to be stored."""

    id: str
    day: date
    acquired: datetime
    """With its time zone."""
    fingerprint: str
    """Of what it is made from; the same one again is not written again."""
    open: Callable[[], AbstractContextManager[xr.Dataset]] = field(repr=False)
    """Gives its Dataset as long as its values are read."""
    ledger: Callable[[], Iterable[LedgerEntry]] | None = field(default=None, repr=False)
    """What became of its files; called once its values were read."""
    missed: Callable[[GeostackError], Iterable[LedgerEntry]] | None = field(
        default=None, repr=False
    )
    """What became of them where an error kept them from being read; None, or what it raises, ends
    the write. The day does without the granule, and is partial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathReport:
    """What a write did."""

    written: bool
    """False when the partition was current and nothing was touched."""
    snapshot: str | None = None
    """Of the commit; None when nothing was written, or the store has no snapshots."""
    rewritten: tuple[str, ...] = ()
    """Ids of granules."""
    kept: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    chunks: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    attempts: int = 0
    fingerprint: str | None = None
    """What the partition is recorded to be made from, if it was written."""


@dataclass(slots=True)
class Tally:
    """What was stored of a granule."""

    chunks: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    known: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to the granules of a partition."""

    quantity: str
    commit: Commit
    before: Book
    """What each day of the partition was when the write began."""
    records: tuple[GranuleRecord, ...]
    kept: tuple[StoredGranule, ...]

    @property
    def stale(self) -> tuple[StoredGranule, ...]:
        """Stored granules that go: replaced or withdrawn."""
        kept = {granule.path for granule in self.kept}
        stored = [granule for record in self.before.values() for granule in record.granules]
        return tuple(granule for granule in stored if granule.path not in kept)


def path_of(quantity: str, granule: str) -> str:
    """Group of a granule's arrays: its id as far as a key may hold it.

    Raises:
        ConfigurationError: If the id is that of the bookkeeping.
    """
    name = _UNSAFE.sub("_", granule)[:_LONGEST_NAME]
    if name != granule:
        name = f"{name}-{hashlib.sha256(granule.encode()).hexdigest()[:8]}"
    if not granule or name == DAYS or name.startswith("."):
        raise ConfigurationError(f"a granule cannot be called {granule!r}")
    return f"{quantity}/{name}"


def planned(
    quantity: str, commit: Commit, before: Book, records: Sequence[GranuleRecord], *, force: bool
) -> Plan:
    """What has to be done so that the days hold what the records say.

    Raises:
        ConfigurationError: If a record is of another day, listed twice or without a time zone.
    """
    ids = [record.id for record in records]
    strange = [record.id for record in records if record.day not in before]
    naive = [record.id for record in records if record.acquired.tzinfo is None]
    if strange or naive or len(set(ids)) < len(ids):
        raise ConfigurationError(
            "granules of a partition are listed once, of its days, with a time zone; not of its "
            f"days: {', '.join(strange) or 'none'}, without a zone: {', '.join(naive) or 'none'}"
        )
    stored = {granule.id: granule for record in before.values() for granule in record.granules}
    kept = {
        record.id
        for record in records
        if not force
        and record.id in stored
        and (stored[record.id].fingerprint, stored[record.id].day)
        == (record.fingerprint, record.day)
    }
    return Plan(
        quantity=quantity,
        commit=commit,
        before=before,
        records=tuple(record for record in records if record.id not in kept),
        kept=tuple(stored[one] for one in ids if one in kept),
    )


def carry_out(plan: Plan, transaction: Transaction, *, transactional: bool) -> SwathReport:
    """Write a partition and commit it.

    Raises:
        ConflictError: If another writer changed the same days meanwhile.
    """
    before = plan.before
    if not transactional:
        before = _unmarked(plan)
        transaction.keys.put(documents(plan.quantity, before))
    for granule in plan.stale:
        remove(transaction.keys, granule.path)
    total = Tally()
    written: list[StoredGranule] = []
    missed: dict[str, tuple[date, list[LedgerEntry]]] = {}
    for record in plan.records:
        try:
            stored, tally = _stored(plan.quantity, record, transaction.keys)
        except (IntegrityError, ServiceError) as error:
            missed[record.id] = (record.day, _missed(plan, record, error, transaction.keys))
        else:
            written.append(stored)
            total += tally
    if missed:
        mark = partial_mark(plan.commit.fingerprint, sorted(missed))
        plan = replace(plan, commit=replace(plan.commit, fingerprint=mark))
    after = _after(plan, written, [*missed.values()])
    committed = transaction.commit(
        note_text("write", plan.commit), lambda newest: _settled(plan, before, after, newest)
    )
    if committed is None:
        return SwathReport(written=False, kept=tuple(one.id for one in (*plan.kept, *written)))
    rewritten = tuple(one.id for one in written)
    return SwathReport(
        written=True,
        snapshot=committed.snapshot,
        rewritten=rewritten,
        kept=tuple(granule.id for granule in plan.kept),
        cleared=tuple(one.id for one in plan.stale if one.id not in rewritten),
        chunks=total.chunks,
        raw_bytes=total.raw_bytes,
        stored_bytes=total.stored_bytes,
        attempts=committed.attempts,
        fingerprint=plan.commit.fingerprint,
    )


def _missed(
    plan: Plan, record: GranuleRecord, error: GeostackError, keys: Keys
) -> list[LedgerEntry]:
    """What to say of a granule that the day does without; what was stored of it goes."""
    if record.missed is None:
        raise error
    entries = list(record.missed(error))
    remove(keys, path_of(plan.quantity, record.id))
    return entries


def remove(keys: Keys, path: str) -> None:
    """Delete a granule's group and all below it."""
    if not keys.get([f"{path}/zarr.json"]):
        return
    with translated(keys.where):
        sync(keys.store.delete_dir(path))


def _unmarked(plan: Plan) -> dict[date, DayRecord]:
    """Say that the days are unfinished, where readers see values before the commit."""
    kept = {granule.path for granule in plan.kept}
    return {
        day: DayRecord(granules=tuple(one for one in record.granules if one.path in kept))
        for day, record in plan.before.items()
    }


def _after(
    plan: Plan,
    written: Sequence[StoredGranule],
    missed: Sequence[tuple[date, Sequence[LedgerEntry]]],
) -> dict[date, DayRecord]:
    granules = sorted((*plan.kept, *written), key=lambda one: (one.acquired, one.id))
    return {
        day: DayRecord(
            made_from=plan.commit.fingerprint,
            granules=tuple(one for one in granules if one.day == day),
            unread=tuple(entry for of, entries in missed if of == day for entry in entries),
        )
        for day in plan.before
    }


def _settled(plan: Plan, before: Book, after: Book, newest: Keys) -> bool:
    found = read_days(newest, plan.quantity, before)
    if found != before and made_from(found) == plan.commit.fingerprint:
        return False  # another writer did the same work
    changed = [day.isoformat() for day in before if found[day] != before[day]]
    if changed:
        raise ConflictError(
            f"another writer changed {', '.join(changed)} of {plan.quantity!r} meanwhile; nothing "
            "was written: retry from the newest inputs"
        )
    newest.put(documents(plan.quantity, after))
    return True


def _stored(quantity: str, record: GranuleRecord, keys: Keys) -> tuple[StoredGranule, Tally]:
    with record.open() as data:
        made = template(path_of(quantity, record.id), quantity, data)
        remove(keys, made.path)  # what a writer who died left behind, where nothing is atomic
        keys.put(made.documents)
        tally = Tally()
        for part in _streamed(made, data[quantity], keys):
            tally += part
    granule = StoredGranule(
        id=record.id,
        path=made.path,
        day=record.day,
        acquired=record.acquired,
        fingerprint=record.fingerprint,
        coverage=tally.known / int(np.prod(made.shape)),
        shape=made.shape,
        ledger=() if record.ledger is None else tuple(record.ledger()),
    )
    return granule, tally


def _streamed(made: GroupTemplate, values: xr.DataArray, keys: Keys) -> Iterator[Tally]:
    """Store the columns block by block; a block is read while the one before is encoded."""
    with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="geostack-swath") as pool:
        pending: deque[Future[Tally]] = deque()
        for columns in _reads(made, values):
            # Here, and not on a cluster: the ranges of a block are fetched concurrently anyway, and
            # a file that somebody else opened does not travel.
            block = values[:, columns].compute(scheduler="synchronous").to_numpy()
            pending.append(pool.submit(_write, made, columns, block, keys))
            if len(pending) > 1:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


def _reads(made: GroupTemplate, values: xr.DataArray) -> Iterator[slice]:
    """Columns that are read at once: those of a block of the Dataset, in whole chunks."""
    width = made.shape[1]
    chunks = values.chunks
    largest = max(chunks[1]) if chunks else width
    step = max(largest // made.columns, 1) * made.columns
    return (slice(at, min(at + step, width)) for at in range(0, width, step))


def _write(made: GroupTemplate, columns: slice, block: Pixels, keys: Keys) -> Tally:
    tally = Tally(raw_bytes=block.nbytes, known=block.size - int(np.isnan(block).sum()))
    for part in made.blocks:
        if columns.start <= part.start < columns.stop:
            values = block[:, part.start - columns.start : part.stop - columns.start]
            chunk = made.chunk(part, values)
            keys.put(chunk)
            tally.chunks += len(chunk)
            tally.stored_bytes += sum(len(value) for value in chunk.values() if value)
    return tally
