"""Dagster's SQLite event log, in the same files, but many events in one transaction.

Dagster opens, commits (fsync) and closes two SQLite files for each event, and compiles every
statement anew: 30 to 60 ms, in which a run of thousands of partitions spends most of its time.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import batched
from pathlib import Path
from typing import Any, override

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sql import create_engine, safe_commit
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from geostack_dagster.resources import migrations

BATCH = 200
"""Events in one transaction: about half a second, for which other processes wait to write."""

migrations.remember()  # before the second opening, for Dagster names no hook before the first


class Instance(dg.DagsterInstance):
    """Dagster's instance, named in `dagster.yaml`; its event log takes many events at once."""

    def __init__(self, *, event_storage: EventLogStorage, **others: Any) -> None:
        if type(event_storage) is SqliteEventLogStorage:
            event_storage = EventLog(
                str(Path(event_storage.path_for_shard(INDEX_SHARD_NAME)).parent)
            )
        super().__init__(event_storage=event_storage, **others)

    @staticmethod
    def config_schema() -> Mapping[str, Any]:
        """No settings besides Dagster's own."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, Any]:
        """Dagster's own."""
        return InstanceRef.config_defaults(base_dir)

    @override
    def _get_event_batch_size(self) -> int:
        # Dagster hands over what a run intends to make in one batch, but only if asked to.
        return BATCH


class EventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log with `together`."""

    def __init__(self, base_dir: str) -> None:
        self._writer: int | None = None
        self._open: dict[str, Connection] = {}
        self._newest: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread stores in the block becomes durable and visible at its end.

        Also if the block fails: what was stored until then has happened.
        """
        if self._writer == threading.get_ident():  # a batch within a block
            yield
            return
        with self._db_lock, ExitStack() as self._connections:
            self._writer = threading.get_ident()
            try:
                yield
            finally:
                self._finish()

    def _finish(self) -> None:
        """Commit; a run's own file first, as Dagster does."""
        newest, self._newest = self._newest, {}
        opened, self._open = self._open, {}
        self._writer = None
        for event, event_id in newest.values():
            super()._store_asset_event(opened[INDEX_SHARD_NAME], event, event_id)
        for connection in opened.values():
            safe_commit(connection)

    @override
    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """What is told of an asset as a whole is its newest event."""
        if self._writer == threading.get_ident() and event.dagster_event:
            kind = event.dagster_event.event_type_value, str(event.dagster_event.asset_key)
            self._newest[kind] = event, event_id
        else:
            super()._store_asset_event(conn, event, event_id)

    @override
    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        with self.together():
            for event in events:
                self.store_event(event)

    @override
    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._writer != threading.get_ident():
            with super()._connect(shard) as connection:
                yield connection
            return
        if shard not in self._open:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            connection = self._connections.enter_context(engine.connect())
            connection.begin()  # else Dagster begins, and commits, by itself
            self._open[shard] = connection
        yield self._open[shard]

    @override
    def has_table(self, table_name: str) -> bool:
        # Asked for each event, of a connection of its own.
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables


def log_together(
    context: dg.OpExecutionContext,
    events: Iterable[dg.AssetMaterialization | dg.AssetCheckEvaluation],
) -> None:
    """Log events in as few transactions as the instance's event log can."""
    log = context.instance.event_log_storage
    for some in batched(events, BATCH):
        with log.together() if isinstance(log, EventLog) else nullcontext():
            for event in some:
                context.log_event(event)  # type: ignore[arg-type]  # it takes evaluations, too
