"""The promises of a `CubeStore`, kept on top of any `Backend`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import override

import xarray as xr

from geostack_dagster.cube import plan, template
from geostack_dagster.cube.backend import Backend
from geostack_dagster.cube.change import (
    accepted,
    made_from,
    note_text,
    parsed_note,
    pixel_keys,
    planned,
    read_marks,
    require_unchanged,
)
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.ledger import LedgerRow, loads
from geostack_dagster.cube.schema import BOOKKEEPING, CubeSchema
from geostack_dagster.cube.slots import Slot, SlotRecord, decoded, ledger_text, text_chunk
from geostack_dagster.cube.store import Commit, Expired, HistoryEntry, WriteReport
from geostack_dagster.cube.writing import Pixels, carry_out
from geostack_dagster.domain.days import Window
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ConfigurationError, ConflictError, NoDataError

_SHORTEST_KEEP = timedelta(hours=1)


class Repository:
    """Cubes in one backend."""

    def __init__(self, backend: Backend, *, engine: Engine) -> None:
        self._backend = backend
        self._engine = engine

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
        present = self._present(schema.name)
        if present is None or template.changes(present[0], schema):

            def settle(newest: Keys) -> bool:
                return self._describe(newest, template.changes(newest, schema))

            self._backend.begin().commit(note_text(f"ensure {schema.name}"), settle)
        return self.schema(schema.name)

    def schema(self, group: str) -> CubeSchema:
        """Schema of a cube."""
        return template.read(self._backend.reader(), group).schema

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
        keys = self._backend.reader()
        stored = template.read(keys, group)
        schema = stored.schema
        days = plan.check(schema, window, data)
        records = accepted(schema, window, days, slots, commit)
        marks = read_marks(keys, schema, schema.slots(window))
        if not force and made_from(marks) == commit.fingerprint:
            return WriteReport(written=False, kept=tuple(window.days))
        self._grow(stored, schema.slots(window).stop)
        order = tuple(schema.slot(day) for day in days)
        return carry_out(
            planned(schema, commit, marks, records, force=force),
            self._backend.begin(),
            Pixels(data, order, self._engine),
            transactional=self._backend.transactional,
        )

    def clear(self, group: str, window: Window, commit: Commit) -> WriteReport:
        """Empty every day of the partition."""
        keys = self._backend.reader()
        stored = template.read(keys, group)
        schema = stored.schema
        marks = read_marks(keys, schema, schema.slots(window))
        if made_from(marks) == commit.fingerprint:
            return WriteReport(written=False, kept=tuple(window.days))
        self._grow(stored, schema.slots(window).stop)
        return carry_out(
            planned(schema, commit, marks, {}, force=False),
            self._backend.begin(),
            None,
            transactional=self._backend.transactional,
        )

    def is_current(self, group: str, window: Window, fingerprint: str) -> bool:
        """Whether the partition was made from inputs of this fingerprint."""
        return self.fingerprint_of(group, window) == fingerprint

    def fingerprint_of(self, group: str, window: Window) -> str | None:
        """Fingerprint of the partition's inputs."""
        present = self._present(group)
        if present is None:
            return None
        keys, schema = present
        return made_from(read_marks(keys, schema, schema.slots(window)))

    def slots(self, group: str, window: Window | None = None) -> list[Slot]:
        """Days that were ever written or cleared."""
        present = self._present(group)
        if present is None:
            return []
        keys, schema = present
        names = [name for name in BOOKKEEPING if name != "ledger"]
        columns = self._columns(keys, schema, names, window)
        known = sorted({index for column in columns.values() for index in column})
        return [
            decoded(
                schema.day(index),
                {name: column[index] for name, column in columns.items() if index in column},
            )
            for index in known
        ]

    def ledger(self, group: str, window: Window | None = None) -> list[LedgerRow]:
        """Every ledger entry, in order of days."""
        present = self._present(group)
        if present is None:
            return []
        keys, schema = present
        found = self._columns(keys, schema, ["ledger"], window)["ledger"]
        days = {slot: schema.day(slot) for slot in sorted(found)}
        return [
            LedgerRow(day, entry)
            for slot, day in days.items()
            for entry in loads(ledger_text(found[slot]), f"{keys.where} (its ledger of {day})")
        ]

    def _columns(
        self, keys: Keys, schema: CubeSchema, names: Sequence[str], window: Window | None
    ) -> dict[str, dict[int, bytes]]:
        """Columns of the bookkeeping, by name and slot; those of a window in one request."""
        paths = {name: f"{schema.name}/{name}" for name in names}
        if window is None:
            return {name: self._backend.column(keys, path) for name, path in paths.items()}
        found: dict[str, dict[int, bytes]] = {name: {} for name in names}
        places = {
            f"{path}/c/{slot}": (name, slot)
            for name, path in paths.items()
            for slot in schema.slots(window)
        }
        for key, value in keys.get(places).items():
            name, slot = places[key]
            found[name][slot] = value
        return found

    def open(
        self,
        group: str,
        *,
        snapshot: str | None = None,
        chunks: Mapping[str, int] | None = None,
        decode: bool = True,
    ) -> xr.Dataset:
        """The cube as a lazy dataset of one snapshot."""
        keys = self._backend.reader(snapshot)
        template.read(keys, group)
        try:
            dataset: xr.Dataset = xr.open_zarr(
                keys.store,
                group=group,
                chunks=None if chunks is None else dict(chunks),
                consolidated=False,
                mask_and_scale=decode,
                drop_variables=["ledger"],
            )
        except ValueError as error:
            if self._backend.transactional or "conflicting sizes" not in str(error):
                raise
            raise ConflictError(
                f"the time axis of cube {group!r} at {self.url} is being extended: open it again; "
                "if its writer died, the next one that writes to the cube completes it"
            ) from error
        for nested in (template.SCHEMA, "zarr_conventions"):  # they would stop `to_netcdf`
            dataset.attrs.pop(nested)
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
        old, now = self._backend.reader(snapshot), self._backend.reader()
        stored = template.read(now, group)
        schema = stored.schema
        span = schema.slots(window)
        before = read_marks(now, schema, span)
        self._grow(stored, span.stop)
        transaction = self._backend.begin()
        for slot in span:
            pixels = pixel_keys(schema, slot)
            found = old.get(pixels)
            transaction.keys.put({key: found.get(key) for key in {*found, *now.get(pixels)}})
        rows = [f"{group}/{name}/c/{slot}" for slot in span for name in BOOKKEEPING]
        recorded: dict[str, bytes | None] = dict(old.get(rows))
        if made_from(read_marks(old, schema, span)) is None:
            # Nothing, or parts of other partitions: what is made of it needs to know of which.
            own = text_chunk(commit.fingerprint)
            recorded |= {f"{group}/made_from/c/{slot}": own for slot in span}

        def settle(newest: Keys) -> bool:
            require_unchanged(schema, before, read_marks(newest, schema, span))
            newest.put({key: recorded.get(key) for key in rows})
            return True

        committed = transaction.commit(note_text(f"rollback {group} to {snapshot}", commit), settle)
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

    def _present(self, group: str) -> tuple[Keys, CubeSchema] | None:
        try:
            keys = self._backend.reader()
            return keys, template.read(keys, group).schema
        except NoDataError:
            return None

    def _grow(self, stored: template.Stored, needed: int) -> None:
        if stored.length >= needed:
            return
        schema = stored.schema

        def settle(newest: Keys) -> bool:
            return self._describe(newest, template.growth(newest, schema.name, needed))

        self._backend.begin().commit(note_text(f"extend {schema.name} to {needed} slots"), settle)

    def _describe(self, newest: Keys, changes: Mapping[str, bytes | None]) -> bool:
        """Set what changes of a template; False if that is nothing."""
        for step in [changes] if self._backend.transactional else template.steps(changes):
            newest.put(step)
        return bool(changes)
