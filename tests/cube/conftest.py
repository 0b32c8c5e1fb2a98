from pathlib import Path

import pytest

from geostack_dagster.cube.store import CubeStore, open_store
from tests.cube import scenes


@pytest.fixture(params=["icechunk", "zarr"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CubeStore:
    """An empty cube in each kind of store."""
    made = open_store(str(tmp_path / "cube"), kind=request.param)
    made.ensure(scenes.SCHEMA)
    return made


@pytest.fixture
def versioned(tmp_path: Path) -> CubeStore:
    """An empty cube in a store with transactions and snapshots."""
    made = open_store(str(tmp_path / "cube"))
    made.ensure(scenes.SCHEMA)
    return made
