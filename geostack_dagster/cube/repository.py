"""The promises of a `CubeStore`, kept on top of any `Backend`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import override

import xarray as xr
from zarr.abc.store import Store

from geostack_dagster.cube import chunkio, ledger, plan, slots, template
from geostack_dagster.cube.backend import Backend, Transaction
from geostack_dagster.cube.change import (
    MARKS,
    Change,
    accepted,
    bookkeeping,
    ledger_texts,
    note_text,
    parsed_note,
    pixel_keys,
    read_marks,
    require_unchanged,
)
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.cube.schema import BOOKKEEPING, CubeSchema
from geostack_dagster.cube.slots import Slot, SlotRecord
from geostack_dagster.cube.store import Commit, Expired, HistoryEntry, WriteReport
from geostack_dagster.cube.stream import Sink, Tally, stream
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import ConfigurationError, NoDataError

_SHORTEST_KEEP = timedelta(hours=1)


class Repository:
    """Cubes in one backend."""

    def __init__(self, backend: Backend, *, threads: int) -> None:
        self._backend = backend
        self._threads = threads

    @override
    def __repr__(self) -> str:
        return f"Repository({self._backend!r})"

    @property
    def url(self) -> str:
        """Where the cubes are."""
        return self._backend.url

    def ensure(self, schema: CubeSchema) -> CubeSchema:
        """Create the cube, add its new variables, or find it as it is."""
        self._backend.create()

        def settle(store: Store) -> bool:
            changes = template.changes(store, schema)
            chunkio.put(store, changes)
            return bool(changes)

        if self._exists(schema.name) and not template.changes(self._backend.reader(), schema):
            return self.schema(schema.name)
        self._backend.begin().commit(note_text(f"ensure {schema.name}"), settle)
        return self.schema(schema.name)

    def schema(self, group: str) -> CubeSchema:
        """Schema of a cube."""
        return template.read_schema(self._backend.reader(), group)

    def write(
        self,
        group: str,
        window: Window,
        data: xr.Dataset,
        slots: Sequence[SlotRecord],
        commit: Commit,
        *,
        force: bool = False,
    ) -> WriteReport:
        """Make the partition hold exactly this data, in one commit."""
        schema = self.schema(group)
        days = plan.check(schema, window, data)
        records = accepted(schema, window, days, slots, commit)
        if not force and self.is_current(group, window, commit.fingerprint):
            return WriteReport(written=False, kept=tuple(window.days))
        self._grow(schema, schema.slots(window).stop)
        change = self._change(schema, window, records, commit, force=force)
        transaction = self._backend.begin()
        change = self._unmark(transaction, change)
        tallies = self._stream(transaction, change, data, [schema.slot(day) for day in days])
        texts = ledger_texts(change)
        return self._finish(transaction, change, tallies, texts)

    def clear(self, group: str, window: Window, commit: Commit) -> WriteReport:
        """Empty every day of the partition."""
        schema = self.schema(group)
        if self.is_current(group, window, commit.fingerprint):
            return WriteReport(written=False, kept=tuple(window.days))
        self._grow(schema, schema.slots(window).stop)
        change = self._change(schema, window, {}, commit, force=False)
        transaction = self._backend.begin()
        change = self._unmark(transaction, change)
        self._erase(transaction, change)
        return self._finish(transaction, change, {}, {})

    def is_current(self, group: str, window: Window, fingerprint: str) -> bool:
        """Whether the partition was made from inputs of this fingerprint."""
        return self.fingerprint_of(group, window) == fingerprint

    def fingerprint_of(self, group: str, window: Window) -> str | None:
        """Fingerprint of the partition's inputs."""
        try:
            store = self._backend.reader()
            schema = template.read_schema(store, group)
        except NoDataError:
            return None
        found = {
            marks["made_from"] for marks in read_marks(store, schema, schema.slots(window)).values()
        }
        return found.pop() or None if len(found) == 1 else None

    def slots(self, group: str) -> list[Slot]:
        """Every day that was ever written or cleared."""
        try:
            store = self._backend.reader()
            schema = template.read_schema(store, group)
        except NoDataError:
            return []
        columns = {
            name: self._backend.column(store, f"{group}/{name}")
            for name in BOOKKEEPING
            if name != "ledger"
        }
        known = sorted({index for column in columns.values() for index in column})
        return [
            slots.decoded(
                schema.day(index),
                {name: column[index] for name, column in columns.items() if index in column},
            )
            for index in known
        ]

    def ledger(self, group: str, window: Window | None = None) -> list[LedgerRow]:
        """Every ledger entry, in order of days."""
        try:
            store = self._backend.reader()
            schema = template.read_schema(store, group)
        except NoDataError:
            return []
        if window is None:
            found = self._backend.column(store, f"{group}/ledger")
        else:
            keys = {f"{group}/ledger/c/{slot}": slot for slot in schema.slots(window)}
            found = {keys[key]: value for key, value in chunkio.get(store, keys).items()}
        return [
            LedgerRow(schema.day(slot), entry)
            for slot in sorted(found)
            for entry in ledger.loads(slots.ledger_text(found[slot]))
        ]

    def open(
        self,
        group: str,
        *,
        snapshot: str | None = None,
        chunks: Mapping[str, int] | None = None,
        decode: bool = True,
    ) -> xr.Dataset:
        """The cube as a lazy dataset of one snapshot."""
        store = self._backend.reader(snapshot)
        template.read_schema(store, group)
        dataset: xr.Dataset = xr.open_zarr(
            store,
            group=group,
            chunks=None if chunks is None else dict(chunks),
            consolidated=False,
            mask_and_scale=decode,
            drop_variables=["ledger"],
        )
        # A nested attribute would stop `to_netcdf`.
        dataset.attrs.pop(template.SCHEMA)
        return dataset

    def history(self, limit: int | None = None) -> list[HistoryEntry]:
        """Commits, newest first."""
        try:
            notes = self._backend.notes(limit)
        except NoDataError:
            return []
        return [
            HistoryEntry(
                snapshot=note.snapshot, written_at=note.written_at, **parsed_note(note.text)
            )
            for note in notes
        ]

    def rollback(self, group: str, window: Window, snapshot: str, commit: Commit) -> WriteReport:
        """Make the partition hold what it held in an earlier snapshot."""
        old = self._backend.reader(snapshot)
        schema = self.schema(group)
        transaction = self._backend.begin()
        store = self._backend.reader()
        span = schema.slots(window)
        before = read_marks(store, schema, span)
        for slot in span:
            keys = pixel_keys(schema, slot)
            found, present = chunkio.get(old, keys), chunkio.get(store, keys)
            chunkio.put(transaction.store, {key: found.get(key) for key in {*found, *present}})
        keys = [f"{group}/{name}/c/{slot}" for slot in span for name in BOOKKEEPING]
        found = chunkio.get(old, keys)

        def settle(newest: Store) -> bool:
            require_unchanged(schema, before, read_marks(newest, schema, span))
            chunkio.put(newest, {key: found.get(key) for key in keys})
            return True

        note = note_text(f"rollback {group} to {snapshot}", commit)
        committed = transaction.commit(note, settle)
        return WriteReport(
            written=True,
            snapshot=committed.snapshot if committed else None,
            rewritten=tuple(window.days),
            attempts=committed.attempts if committed else 0,
        )

    def expire(self, keep: timedelta, *, now: datetime | None = None) -> Expired:
        """Forget snapshots older than `keep`."""
        if keep < _SHORTEST_KEEP:
            raise ConfigurationError(
                f"keep {keep} is shorter than {_SHORTEST_KEEP}: readers and unfinished writers "
                "would lose what they hold"
            )
        return self._backend.expire((now or datetime.now(tz=UTC)) - keep)

    def _exists(self, group: str) -> bool:
        try:
            return bool(chunkio.get(self._backend.reader(), [f"{group}/zarr.json"]))
        except NoDataError:
            return False

    def _grow(self, schema: CubeSchema, needed: int) -> None:
        if template.read_length(self._backend.reader(), schema) >= needed:
            return

        def settle(store: Store) -> bool:
            have = template.read_length(store, schema)
            if have >= needed:
                return False
            chunkio.put(store, template.growth(schema, have, template.extent(needed, have)))
            return True

        self._backend.begin().commit(note_text(f"extend {schema.name} to {needed} slots"), settle)

    def _change(
        self,
        schema: CubeSchema,
        window: Window,
        records: Mapping[int, SlotRecord],
        commit: Commit,
        *,
        force: bool,
    ) -> Change:
        span = schema.slots(window)
        before = read_marks(self._backend.reader(), schema, span)
        kept = {
            slot
            for slot, record in records.items()
            if not force and before[slot]["fingerprint"] == record.fingerprint
        }
        return Change(
            schema=schema,
            commit=commit,
            slots=span,
            before=before,
            records={slot: record for slot, record in records.items() if slot not in kept},
            kept=frozenset(kept),
            cleared=frozenset(
                slot for slot in span if slot not in records and before[slot]["fingerprint"]
            ),
        )

    def _unmark(self, transaction: Transaction, change: Change) -> Change:
        """Without transactions, say first that the slots are unfinished."""
        if self._backend.transactional:
            return change
        keys = [
            f"{change.schema.name}/{name}/c/{slot}" for slot in change.touched for name in MARKS
        ]
        chunkio.put(transaction.store, dict.fromkeys(keys))
        unmarked = {slot: dict.fromkeys(MARKS, "") for slot in change.touched}
        return replace(change, before={**change.before, **unmarked})

    def _stream(
        self, transaction: Transaction, change: Change, data: xr.Dataset, order: list[int]
    ) -> dict[int, Tally]:
        def put(values: Mapping[str, bytes | None]) -> None:
            chunkio.put(transaction.store, values)

        sinks = {
            slot: Sink(
                change.schema,
                put,
                # What a crash left in an empty slot is seen only where there are no transactions.
                erase=not self._backend.transactional or bool(change.before[slot]["fingerprint"]),
            )
            for slot in change.records
        }
        self._erase(transaction, change, but=order)
        return stream(sinks, data, order, threads=self._threads)

    def _erase(self, transaction: Transaction, change: Change, but: Sequence[int] = ()) -> None:
        for slot in change.touched:
            if slot not in but:
                keys = pixel_keys(change.schema, slot)
                chunkio.put(transaction.store, dict.fromkeys(keys))

    def _finish(
        self,
        transaction: Transaction,
        change: Change,
        tallies: Mapping[int, Tally],
        texts: Mapping[int, str],
    ) -> WriteReport:
        rows = bookkeeping(change, tallies, texts)

        def settle(store: Store) -> bool:
            newest = read_marks(store, change.schema, change.slots)
            made_from = {marks["made_from"] for marks in newest.values()}
            if newest != change.before and made_from == {change.commit.fingerprint}:
                return False  # another writer did the same work
            require_unchanged(change.schema, change.before, newest)
            for marks in (False, True):  # marks last, for stores without transactions
                chunkio.put(
                    store, {key: rows[key] for key in rows if (key.split("/")[1] in MARKS) is marks}
                )
            return True

        committed = transaction.commit(note_text("write", change.commit), settle)
        if committed is None:
            return WriteReport(written=False, kept=change.days(frozenset(change.slots)))
        total = sum(tallies.values(), Tally())
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
