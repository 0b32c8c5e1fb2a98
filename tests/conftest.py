"""Fixtures that every test may use; no test reaches beyond loopback."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
