"""Fixtures that every test may use; no test reaches beyond loopback."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from geostack_dagster.sandbox import Sandbox

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


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Twins of the providers on loopback, started once; `in_sandbox` puts a test inside."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def in_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox, with this process inside it, no faults set and an empty request log."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    sandbox.control.clear_faults()
    sandbox.control.clear_log()
    yield sandbox
    sandbox.control.clear_faults()
