"""One live credential per scope for the whole process, renewed before it dies.

Token services limit their rate, so all threads of a process share what was fetched: at most one
fetch for each scope and lifetime, one flight at a time, whose outcome is that of all who wait for
it. What died on its way is asked for again. Nothing is written anywhere; a forked or pickled
process starts empty and fetches its own.
"""

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import override

from geostack_dagster.auth.signer import Credential
from geostack_dagster.errors import ServiceError

_MARGIN = timedelta(seconds=60)
_MARGIN_SHARE = 0.05
# A living credential refused this soon after its fetch is not stale: fetching again would only
# make every reader of a denied container hammer the token service.
_MIN_AGE = timedelta(seconds=1)
_TRIES = 2  # what is dead on arrival twice was not slow: a clock is wrong


@dataclass(frozen=True, slots=True)
class _Held:
    credential: Credential
    fetched_at: datetime

    def is_dead(self, now: datetime) -> bool:
        expires_at = self.credential.expires_at
        return expires_at is not None and expires_at <= now

    def is_fresh(self, now: datetime) -> bool:
        expires_at = self.credential.expires_at
        if expires_at is None:
            return True
        if not self.credential.is_renewed_early:
            return now < expires_at
        return now < expires_at - min(_MARGIN, (expires_at - self.fetched_at) * _MARGIN_SHARE)


@dataclass(slots=True)
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    held: _Held | None = None
    failures: int = 0
    """Flights that brought nothing."""
    failure: Exception | None = None
    """What the last of them raised."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Broker:
    """Cache of credentials by scope.

    A credential is renewed when less than 60 s or a twentieth of its lifetime is left, whichever is
    less. While one thread fetches, others that need the same scope wait for it; scopes do not wait
    for one another.
    """

    def __init__(self, *, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        _BROKERS.add(self)

    def credential(self, scope: str, fetch: Callable[[], Credential]) -> Credential:
        """The credential of `scope`: the one held, or a new one from `fetch`.

        Raises:
            ServiceError: If `fetch` brings twice a credential that has expired already; and
                whatever `fetch` raises, to every thread that waited for it.
        """
        slot = self._slot(scope)
        failures, held = slot.failures, slot.held
        if held is None or not held.is_fresh(self._clock()):
            with slot.lock:
                if slot.failure is not None and slot.failures > failures:
                    raise slot.failure
                held = slot.held
                if held is None or not held.is_fresh(self._clock()):
                    held = slot.held = self._flown(slot, scope, fetch)
        return held.credential

    def forget(self, scope: str, refused: Credential) -> bool:
        """Drop a credential that a provider refused; True if the next ask brings another.

        Does nothing to a newer credential that another thread fetched meanwhile (the answer is
        True), nor to a living one fetched within the last second (False: it is the access that is
        denied).
        """
        slot = self._slot(scope)
        with slot.lock:
            held = slot.held
            if held is None or held.credential.values != refused.values:
                return True
            now = self._clock()
            if not held.is_dead(now) and now - held.fetched_at < _MIN_AGE:
                return False
            slot.held = None
            return True

    def renew(
        self, scope: str, refused: Credential | None, fetch: Callable[[], Credential]
    ) -> bool:
        """Replace a refused credential; True if there is now another to try.

        False for keys that are merely looked up and have not changed.
        """
        if refused is None or not self.forget(scope, refused):
            return False
        return self.credential(scope, fetch).values != refused.values

    def clear(self) -> None:
        """Forget everything."""
        with self._guard:
            self._slots = {}

    def _slot(self, scope: str) -> _Slot:
        with self._guard:
            return self._slots.setdefault(scope, _Slot())

    def _flown(self, slot: _Slot, scope: str, fetch: Callable[[], Credential]) -> _Held:
        try:
            found = self._fetched(scope, fetch)
        except Exception as error:
            slot.failures, slot.failure = slot.failures + 1, error
            raise
        slot.failure = None
        return found

    def _fetched(self, scope: str, fetch: Callable[[], Credential]) -> _Held:
        for _ in range(_TRIES):
            held = _Held(fetch(), self._clock())
            if not held.is_dead(held.fetched_at):
                return held
        raise ServiceError(
            f"the credential for {scope} from {held.credential.source} expired at "
            f"{held.credential.expires_at}, before it could be used; is this machine's clock right?"
        )

    def _start_over(self) -> None:
        self._guard = threading.Lock()
        self._slots = {}

    @override
    def __repr__(self) -> str:
        """Scopes only, never values."""
        return f"Broker({sorted(self._slots)})"

    @override
    def __reduce__(self) -> tuple[object, ...]:
        message = "a Broker must not be pickled; each process resolves its own credentials"
        raise TypeError(message)


_BROKERS: weakref.WeakSet[Broker] = weakref.WeakSet()


def _empty_after_fork() -> None:
    # A lock that another thread held at the fork would never be released in the child.
    for broker in list(_BROKERS):
        broker._start_over()  # noqa: SLF001 (this module's own class)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_empty_after_fork)

BROKER = Broker()
"""The broker of this process."""
