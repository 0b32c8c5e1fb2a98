"""The ledger of an attempt that failed, kept beside the Recipe until one succeeds."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from geostack_dagster import storage
from geostack_dagster.cube.ledger import LedgerEntry, LedgerRow, Status, dumps, entries_of
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, GeostackError, IntegrityError, ServiceError
from geostack_dagster.pipeline.workspace import Workspace

_log = logging.getLogger(__name__)

type Rows = Callable[[], list[LedgerRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an attempt came to."""

    stage: str
    failed_at: datetime
    error: str
    message: str
    rows: tuple[LedgerRow, ...]
    """What became of the assets as far as it went, those that could not be read at least."""

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "stage": self.stage,
            "failed_at": self.failed_at.isoformat(),
            "error": self.error,
            "message": self.message,
            "ledger": {
                day.isoformat(): json.loads(dumps(row.entry for row in self.rows if row.day == day))
                for day in sorted({row.day for row in self.rows})
            },
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Attempt written by `to_json`."""
        return cls(
            stage=document["stage"],
            failed_at=datetime.fromisoformat(document["failed_at"]),
            error=document["error"],
            message=document["message"],
            rows=tuple(
                LedgerRow(date.fromisoformat(day), entry)
                for day, entries in document["ledger"].items()
                for entry in entries_of(entries)
            ),
        )


@contextmanager
def kept(
    partition: Partition, workspace: Workspace, stage: str, rows: Rows | None = None
) -> Iterator[None]:
    """Keep the ledger of what the block reads if it fails; forget an earlier one if it does not.

    Args:
        partition: Whose attempt it is.
        workspace: Where it is kept.
        stage: The stage that is tried.
        rows: What became of the assets; None where only the error can tell.
    """
    try:
        yield
    except GeostackError as error:
        try:
            _keep(partition, workspace, stage, error=error, rows=rows)
        except GeostackError as failure:  # what the block raised matters more
            _log.warning("no ledger of the attempt is kept: %s", failure)
        raise
    forget(partition, workspace)


def forget(partition: Partition, workspace: Workspace) -> None:
    """What failed before does not count any more."""
    url = workspace.layout.attempt(partition)
    if storage.exists(url):  # a store that is read-only refuses to delete what is not there
        storage.delete(url)


def _keep(
    partition: Partition,
    workspace: Workspace,
    stage: str,
    *,
    error: GeostackError,
    rows: Rows | None,
) -> None:
    found = _of(error, partition) if rows is None else rows()
    if not found:
        return
    attempt = Attempt(
        stage=stage,
        failed_at=datetime.now(UTC),
        error=type(error).__name__,
        message=redact(str(error)),
        rows=tuple(found),
    )
    url = workspace.layout.attempt(partition)
    storage.write_bytes(url, json.dumps(attempt.to_json(), indent=1).encode())


def read(partition: Partition, workspace: Workspace) -> Attempt | None:
    """The failed attempt on record; None if the last one succeeded.

    Raises:
        DamagedError: If the record is.
    """
    url = workspace.layout.attempt(partition)
    try:
        content = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    return read_back(
        content, url, Attempt.from_json, remedy="delete it; the next attempt writes its own"
    )


def status_of(error: GeostackError) -> Status:
    """How the reading of an asset ended that ended with this error."""
    if isinstance(error, ServiceError) or not isinstance(error, IntegrityError):
        return Status.FAILED
    return Status.MISSING if error.status in GONE else Status.INVALID


GONE = (404, 410)
"""HTTP statuses of what is not there."""


def is_soft(entry: LedgerEntry) -> bool:
    """Whether an entry is of an asset that should have been read and was not, or not all of it."""
    return entry.status not in (Status.READ, Status.SUPERSEDED) and entry.attempts > 0


def _of(error: GeostackError, partition: Partition) -> list[LedgerRow]:
    """The only thing that is known: one asset, which the message names."""
    if isinstance(error, ConfigurationError):
        return []
    entry = LedgerEntry(
        item="",
        asset="",
        status=status_of(error),
        reason=str(error.reason),
        http_status=error.status,
        attempts=error.attempts,
        detail=str(error),
    )
    return [LedgerRow(partition.window.start, entry)]
