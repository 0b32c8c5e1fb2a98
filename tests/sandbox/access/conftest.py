"""One sandbox for all tests of access: they add documents, and take nothing away."""

from collections.abc import Iterator

import pytest

from geostack_dagster.sandbox import Sandbox


@pytest.fixture(scope="package")
def sandbox() -> Iterator[Sandbox]:
    """Twins with the usual lifetimes."""
    with Sandbox() as running:
        yield running
