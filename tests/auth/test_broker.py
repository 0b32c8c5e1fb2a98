import itertools
import pickle
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.signer import Credential
from geostack_dagster.errors import RejectedCredentialError, ServiceError

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Service:
    """Mints a credential of `lifetime_s` at every fetch."""

    def __init__(self, clock: Clock, lifetime_s: float | None) -> None:
        self.clock, self.lifetime_s, self.fetched_at = clock, lifetime_s, []

    def __call__(self) -> Credential:
        self.fetched_at.append(self.clock.now)
        expires = self.lifetime_s and self.clock.now + timedelta(seconds=self.lifetime_s)
        values = {"token": f"t{len(self.fetched_at)}"}
        return Credential(values=values, expires_at=expires, source="test")


@given(
    lifetime_s=st.floats(1.0, 100_000.0),
    steps=st.lists(st.floats(0.0, 50_000.0), max_size=30),
)
def test_a_credential_is_alive_with_margin_and_fetched_once_per_lifetime(lifetime_s, steps):
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, lifetime_s)
    margin = min(60.0, 0.05 * lifetime_s)
    for step in steps:
        clock.advance(step)
        credential = broker.credential("scope", service)
        left = (credential.expires_at - clock.now).total_seconds()
        assert left > margin - 1e-3
    for earlier, later in zip(service.fetched_at, service.fetched_at[1:], strict=False):
        assert (later - earlier).total_seconds() >= lifetime_s - margin - 1e-3


def test_what_a_service_gives_again_is_used_to_its_end():
    clock = Clock()
    broker, fetches = Broker(clock=clock), []

    def found() -> Credential:
        fetches.append(clock.now)
        ends = START + timedelta(seconds=100 * (1 + (clock.now - START).total_seconds() // 100))
        return Credential(
            values={"token": str(ends)}, expires_at=ends, source="test", is_renewed_early=False
        )

    for _ in range(1000):
        broker.credential("scope", found)
        clock.advance(1)
    assert len(fetches) == 10


def test_what_does_not_expire_is_fetched_once():
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, None)
    for _ in range(3):
        broker.credential("scope", service)
        clock.advance(1e8)
    assert len(service.fetched_at) == 1


def test_many_threads_share_one_flight_per_scope():
    broker = Broker()
    fetches: list[str] = []
    in_flight, most = [0], [0]

    def fetch(scope: str) -> Credential:
        fetches.append(scope)
        in_flight[0] += 1
        most[0] = max(most[0], in_flight[0])
        time.sleep(0.05)
        in_flight[0] -= 1
        return Credential(
            values={"token": scope},
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            source="test",
        )

    seen: list[Credential] = []
    barrier = threading.Barrier(32)

    def read(scope: str) -> None:
        barrier.wait()
        seen.append(broker.credential(scope, lambda: fetch(scope)))

    scopes = [f"container{i % 4}" for i in range(32)]
    threads = [threading.Thread(target=read, args=(scope,)) for scope in scopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetches) == [f"container{i}" for i in range(4)]
    assert len({id(credential) for credential in seen}) == 4
    assert most[0] > 1, "scopes must not wait for one another"


def test_a_failed_fetch_is_not_remembered():
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, 100)

    def refused() -> Credential:
        raise RejectedCredentialError("no")

    with pytest.raises(RejectedCredentialError):
        broker.credential("scope", refused)
    assert broker.credential("scope", service).values == {"token": "t1"}


def test_a_refused_credential_is_replaced_once_for_all_its_readers():
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, 3600)
    refused = broker.credential("scope", service)
    clock.advance(10)
    for _ in range(5):  # five chunks were refused with the same token
        assert broker.forget("scope", refused)
        broker.credential("scope", service)
    assert len(service.fetched_at) == 2


def test_a_denied_container_does_not_hammer_the_token_service():
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, 3600)
    for _ in range(100):
        assert not broker.forget("scope", broker.credential("scope", service))
        clock.advance(0.009)
    assert len(service.fetched_at) == 1


def test_a_credential_that_always_arrives_dead_is_an_error_and_not_a_loop():
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, -5)
    with pytest.raises(ServiceError, match="clock"):
        broker.credential("scope", service)
    assert len(service.fetched_at) == 2


def test_a_credential_that_died_on_its_way_is_asked_for_again():
    clock = Clock()
    broker, service, journeys_s = Broker(clock=clock), Service(clock, 5), [6, 1]

    def slow() -> Credential:
        credential = service()
        clock.advance(journeys_s.pop(0))
        return credential

    assert broker.credential("scope", slow).values == {"token": "t2"}
    clock.advance(3)
    assert broker.credential("scope", slow).values == {"token": "t2"}


def test_a_young_credential_that_died_is_replaced_and_not_taken_for_denied():
    """What a service gives again may have but a moment to live: it dies on its way to a reader."""
    clock = Clock()
    broker, service = Broker(clock=clock), Service(clock, 0.2)
    refused = broker.credential("scope", service)
    clock.advance(0.3)
    for _ in range(5):  # five chunks were refused with the same token
        assert broker.renew("scope", refused, service)
    assert len(service.fetched_at) == 2
    assert not broker.renew("scope", broker.credential("scope", service), service), "it is alive"


def test_a_flight_that_fails_fails_for_all_who_wait_for_it():
    """Threads that each tried would ask a service that is down as often as there are readers."""
    clock, readers = Clock(), 8
    broker, service = Broker(clock=clock), Service(clock, 5)
    broker.credential("scope", service)
    clock.advance(6)
    looks, all_wait = itertools.count(1), threading.Event()

    def counted() -> datetime:
        if next(looks) > readers:  # each before it waits, and the one that flies once more
            all_wait.set()
        return clock()

    broker._clock = counted
    fetches, errors = [], []

    def down() -> Credential:
        fetches.append(1)
        assert all_wait.wait(30)
        raise ServiceError("the token service is down")

    def read() -> None:
        try:
            broker.credential("scope", down)
        except ServiceError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == ["the token service is down"] * readers
    assert len(fetches) == 1
    assert broker.credential("scope", service).values == {"token": "t2"}, "it is not remembered"


def test_secrets_neither_travel_nor_show():
    broker = Broker()
    credential = broker.credential(
        "scope", lambda: Credential(values={"token": "hush"}, expires_at=None, source="VAR")
    )
    assert "hush" not in repr(broker)
    assert "hush" not in repr(credential)
    assert "scope" in repr(broker)
    for secret in (broker, credential):
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(secret)


def test_a_forked_child_starts_empty_and_unlocked():
    script = """
import os, threading, time
from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.signer import Credential
broker = Broker()
made = lambda: Credential(values={"token": "x"}, expires_at=None, source="s")
broker.credential("held", made)
child = []
def slow():
    pid = os.fork()  # while this scope's lock is held
    if pid == 0:
        assert repr(broker) == "Broker([])"
        broker.credential("busy", made)
        os._exit(7)
    child.append(pid)
    return made()
broker.credential("busy", slow)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child[0], 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)
    assert done.returncode == 7
