"""A claim on a partition: others that are to make it wait, and then find the work done.

Schedules, sensors, backfills and people ask for the same partition without knowing of each other.
Each stage decides what there is to do while it holds the claim, so nothing is computed twice, in
threads, processes and machines that share a storage.

On a file system the claim is a lock of the operating system, which frees that of a process that
dies. A bucket has conditional writes instead: there the claim is an object whose holder renews it,
and one that was silent for long is taken over. No clocks are compared: who waits counts the time
for which the object does not change. A holder that was cut off for so long, and comes back, works
beside its successor; what both commit is the same, and the later commit gives way to the other.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from filelock import FileLock, Timeout

from geostack_dagster import storage
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    CredentialError,
    GeostackError,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often holders and those who wait move."""

    poll_s: float = 0.2
    renew_s: float = 10.0
    silent_s: float = 60.0
    """After so long without a renewal the holder counts as dead, in a bucket."""
    patience_s: float = 3600.0
    """A cube takes minutes; a holder that takes longer than this hangs."""


@contextmanager
def claimed(url: str, pace: Pace | None = None) -> Iterator[None]:
    """Hold the claim at `url` while the block runs; wait for it as long as another holds it.

    A place that takes no claim, such as a read-only disk, takes no work either: the block runs
    unclaimed, and what it wants to write fails with its own words.

    Raises:
        ConflictError: If another held it for `patience_s`.
        ServiceError: If the object store does not answer.
    """
    pace, local = pace or Pace(), storage.local_path(url)
    with ExitStack() as held:
        with suppress(OSError, ConfigurationError, CredentialError):
            held.enter_context(_leased(url, pace) if local is None else _locked(local, pace))
        yield


@contextmanager
def _locked(path: Path, pace: Pace) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=pace.patience_s, poll_interval=pace.poll_s)
    try:
        lock.acquire()
    except Timeout:
        raise _given_up(str(path), pace) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _leased(url: str, pace: Pace) -> Iterator[None]:
    lease, over = _Lease(url, pace), Event()
    lease.acquire()
    renewing = Thread(target=lease.renew, args=(over,), name="claim", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        lease.release()


class _Lease:
    """An object that says who works here, and is renewed as long as they do."""

    def __init__(self, url: str, pace: Pace) -> None:
        self._url, self._pace = url, pace
        self._owner, self._number = uuid4().hex, 0
        self._held = b""
        self._renewed_at = 0.0

    def acquire(self) -> None:
        """Wait until it is ours."""
        seen: bytes | None = None
        changed_at = begun_at = time.monotonic()
        while not self._take(expected=None):
            found, now = self._found(), time.monotonic()
            if found is None:  # it was given back meanwhile
                continue
            if found != seen:
                seen, changed_at = found, now
            elif now - changed_at > self._pace.silent_s and self._take(expected=found):
                return
            if now - begun_at > self._pace.patience_s:
                raise _given_up(self._url, self._pace)
            time.sleep(self._pace.poll_s)

    def renew(self, over: Event) -> None:
        """Show every now and then that we live, until the work is over or the claim is lost."""
        while not over.wait(self._pace.renew_s):
            try:
                if not self._take(expected=self._held):
                    _log.warning("lost the claim %s: it was not renewed in time", self._url)
                    return
            except GeostackError as error:  # the next time may go well
                _log.warning("could not renew a claim: %s", error)

    def release(self) -> None:
        """Give it back, unless so much time has passed that another may have taken it."""
        if time.monotonic() - self._renewed_at < self._pace.silent_s / 2:
            with suppress(GeostackError):  # it is taken over in time
                storage.delete(self._url)

    def _take(self, *, expected: bytes | None) -> bool:
        # The same again after an answer that was lost, so that it is known as ours.
        content, now = f"{self._owner} {self._number}".encode(), time.monotonic()
        try:
            storage.swap_bytes(self._url, content, expected=expected)
        except ConflictError:
            if self._found() != content:
                return False
        self._held, self._renewed_at = content, now
        self._number += 1
        return True

    def _found(self) -> bytes | None:
        try:
            return storage.read_bytes(self._url)
        except FileNotFoundError:
            return None


def _given_up(url: str, pace: Pace) -> ConflictError:
    return ConflictError(
        f"another run has held {canonical(url)} for {pace.patience_s:.0f} s: look what it does"
    )
