"""Fixtures that every test may use; no test reaches beyond loopback."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.sandbox import Sandbox
from tests.bucket import Bucket

# The first example of a test often pays for imports, and two cores are shared by many.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

SHARED_FIXTURES = Path(
    os.environ.get("GEOSTACK_FIXTURES", Path(__file__).parents[2] / "shared" / "fixtures")
)


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Folder of recorded items, conversations, spectra and rasters kept beside the checkout."""
    if not SHARED_FIXTURES.is_dir():
        pytest.skip(f"no recorded fixtures at {SHARED_FIXTURES}; set GEOSTACK_FIXTURES")
    return SHARED_FIXTURES


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Twins of the providers on loopback; `in_sandbox` puts a test inside.

    Each module has its own: what one adds to the catalogues or withdraws is no other's surprise.
    """
    with Sandbox() as running:
        yield running


@pytest.fixture
def in_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox, with this process inside it, no faults set and an empty request log."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    sandbox.control.clear_faults()
    sandbox.control.set_token_lifetime(45 * 60)
    sandbox.control.clear_log()
    yield sandbox
    sandbox.control.clear_faults()
    BROKER.clear()  # its credentials open nothing elsewhere


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Where a pipeline keeps its state."""
    return str(tmp_path / "storage")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket with its endpoint and credential in the environment."""
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "never shown",
        "AWS_REGION": "eu-central-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
