"""Archives that misbehave while a pipeline runs: the same bytes in the end, or nothing at all."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.errors import AssetError, CredentialError, ServiceError
from geostack_dagster.sandbox import Sandbox
from tests.faults.chains import NOTHING, chain_at, everything, onlooker, reconcile, stale, state
from tests.pipeline.conftest import Chain

pytestmark = pytest.mark.faults

DAY = "2024-07-03"
PIXELS = {
    "planetary_computer": {"host": "*.blob.core.windows.net"},
    "earth_search": {"host": "sentinel-cogs*"},
    "cdse": {"host": "eodata.dataspace.copernicus.eu"},
    "sentinel_hub": {"path": "*/process*", "method": "POST"},
}
"""Requests for pixels of each archive."""
STOPPED_S = 10.0
SKEWS_S = (600.0, -600.0)


@pytest.fixture(scope="module")
def wanted(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What undisturbed pipelines leave."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        found = {}
        for provider in PIXELS:
            chain = chain_at(tmp_path_factory.mktemp(provider), provider)
            chain.run(DAY)
            found[provider] = everything(chain)
    BROKER.clear()
    return found


@pytest.fixture(params=PIXELS)
def chain(request: pytest.FixtureRequest, in_sandbox, tmp_path) -> Chain:
    return chain_at(tmp_path / "storage", request.param)


def pixels_of(chain: Chain) -> dict[str, str]:
    return PIXELS[chain.spec.provider.slug]


def assert_as_undisturbed(chain: Chain, wanted: dict[str, dict]) -> None:
    assert stale(chain, DAY) is None
    assert everything(chain) == wanted[chain.spec.provider.slug]


class TestStorms:
    def test_every_other_request_is_refused_at_first(self, chain, in_sandbox, wanted):
        for number in range(16):
            status, patience_s = (503, None) if number % 2 else (429, 1.0 if number == 2 else None)
            in_sandbox.control.fault(
                status=status, retry_after_s=patience_s, skip=2 * number + 1, times=1
            )
        with onlooker(chain) as seen:
            chain.run(DAY)
        hits = [rule["status"] for rule in in_sandbox.control.faults() if rule["hits"]]
        assert {429, 503} == set(hits)
        assert set(seen) <= {NOTHING, state(chain)}
        in_sandbox.control.clear_faults()
        assert_as_undisturbed(chain, wanted)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_storm_without_end_is_an_error_that_says_when_to_come_back(
        self, chain, in_sandbox, wanted, status
    ):
        chain.run(DAY, "snapshot", "stack")
        in_sandbox.control.fault(status=status, retry_after_s=3600.0, **pixels_of(chain))
        with onlooker(chain) as seen, pytest.raises(ServiceError) as failure:
            chain.run(DAY, "cube")
        assert failure.value.status == status
        assert failure.value.retry_after_s == 3600
        assert set(seen) == {NOTHING}
        in_sandbox.control.clear_faults()
        assert reconcile(chain, DAY) == "cube"
        assert_as_undisturbed(chain, wanted)


WRONG = {
    "truncated": ({"truncate_bytes": 700}, (AssetError, ServiceError)),
    "another file's": ({"corrupt": True}, AssetError),
    "a login page": ({"html": True}, CredentialError),
}


class TestBytes:
    @pytest.mark.parametrize("kind", ["truncated", "another file's"])
    def test_once_is_read_again(self, chain, in_sandbox, wanted, kind):
        chain.run(DAY, "snapshot", "stack")
        in_sandbox.control.fault(**WRONG[kind][0], **pixels_of(chain), times=1)
        chain.run(DAY, "cube", "indices")
        assert in_sandbox.control.faults()[0]["hits"] == 1
        assert_as_undisturbed(chain, wanted)

    @pytest.mark.parametrize("kind", WRONG)
    def test_always_is_an_error_and_never_nodata(self, chain, in_sandbox, wanted, kind):
        fault, error = WRONG[kind]
        chain.run(DAY, "snapshot", "stack")
        in_sandbox.control.fault(**fault, **pixels_of(chain))
        with onlooker(chain) as seen, pytest.raises(error):
            chain.run(DAY, "cube")
        assert set(seen) == {NOTHING}
        in_sandbox.control.clear_faults()
        assert reconcile(chain, DAY) == "cube"
        assert_as_undisturbed(chain, wanted)


def test_an_item_that_vanishes_between_snapshot_and_read(in_sandbox, tmp_path):
    chain, day = chain_at(tmp_path, "planetary_computer"), "2024-06-23"
    chain.run(day, "snapshot")
    row, *others = chain.run(day, "stack")["stack"].tables["radiometry"]
    in_sandbox.control.withdraw(row["item"])
    with onlooker(chain) as seen, pytest.raises(AssetError):
        chain.run(day, "cube")
    assert set(seen) == {NOTHING}
    assert reconcile(chain, day) == "snapshot"
    left = {one["item"] for one in others} - {row["item"]}
    kept = {one["item"] for one in chain.run(day, "stack")["stack"].tables["radiometry"]}
    assert kept == left


@contextmanager
def stopped(sandbox: Sandbox, seconds: float) -> Iterator[None]:
    """The archives do not move for so long; the block may go on."""
    pid = sandbox._process.pid
    waker = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
    os.kill(pid, signal.SIGSTOP)
    waker.start()
    try:
        yield
    finally:
        waker.join()


def test_archives_that_stop_for_ten_seconds(in_sandbox, tmp_path, wanted):
    chain = chain_at(tmp_path, "cdse")
    chain.run(DAY, "snapshot", "stack")
    started = time.monotonic()
    with stopped(in_sandbox, STOPPED_S), onlooker(chain) as seen:
        chain.run(DAY, "cube")
    assert time.monotonic() - started > STOPPED_S - 1, "it did not wait for the archive"
    assert set(seen) <= {NOTHING, state(chain)}
    chain.run(DAY, "indices")
    assert_as_undisturbed(chain, wanted)


@pytest.mark.parametrize("skew_s", SKEWS_S)
def test_clocks_that_are_ten_minutes_apart(chain, in_sandbox, wanted, skew_s):
    """Signatures are within S3's tolerance; tokens of five minutes end by the archive's clock."""
    control = in_sandbox.control
    control.set_token_lifetime(300)
    control.set_clock(skew_s)
    try:
        chain.run(DAY)
        assert_as_undisturbed(chain, wanted)
        refused = [entry for entry in control.log() if entry["status"] in (400, 401, 403, 409)]
        assert refused == []
    finally:
        control.set_clock(0)
        control.set_token_lifetime(45 * 60)


def test_a_clock_beyond_all_tolerance_is_named(in_sandbox, tmp_path):
    chain = chain_at(tmp_path, "cdse")
    chain.run(DAY, "snapshot")
    in_sandbox.control.set_clock(20 * 60)
    try:
        with pytest.raises(CredentialError, match="clock"):
            chain.run(DAY, "stack")
    finally:
        in_sandbox.control.set_clock(0)
