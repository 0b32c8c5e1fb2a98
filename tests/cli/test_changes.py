"""What two looks at a storage folder say: bytes that differ, by partition, and nothing else."""

from datetime import date
from pathlib import Path

import pytest

from geostack_dagster.cli.changes import State, between, look
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.partition import Layout, Partition
from geostack_dagster.storage import write_bytes
from tests.cube import scenes
from tests.cube.scenes import SCHEMA

PIPELINE, AOI = "earth_search_s2", "emmental"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    store = open_store(str(tmp_path / PIPELINE / "cubes" / AOI))
    store.ensure(SCHEMA)
    scenes.write(store, {0: 1, 1: 2}, "one")
    publish(tmp_path, 1, b"one")
    return tmp_path


def publish(storage: Path, number: int, content: bytes) -> None:
    day = scenes.day(number).isoformat()
    folder = storage / PIPELINE / "published" / "indices" / AOI / day
    write_bytes(str(folder / "ndvi.tif"), content)


def place(number: int) -> tuple[str, str, str]:
    return PIPELINE, AOI, scenes.day(number).isoformat()


def test_nothing_happened(storage: Path):
    before = look(storage)
    publish(storage, 1, b"one")  # the same bytes again
    found = between(storage, before, look(storage))
    assert found.places == frozenset()
    assert (found.commits, found.slots, found.chunks, found.files) == (0, 0, 0, 0)


def test_everything_is_new_at_first(storage: Path):
    found = between(storage, State({}, {}), look(storage))
    assert found.places == {place(0), place(1)}
    assert found.slots == 2
    # Six chunks for each variable, of which one holds nothing.
    assert found.chunks == 2 * 2 * 5


def test_a_slot_that_is_rewritten_and_one_that_is_emptied(storage: Path):
    before = look(storage)
    store = open_store(str(storage / PIPELINE / "cubes" / AOI))
    scenes.write(store, {0: 3}, "two", span=scenes.window(0))
    found = between(storage, before, look(storage))
    assert (found.places, found.commits, found.slots) == ({place(0)}, 1, 1)
    assert found.chunks == 2 * 5

    before = look(storage)
    store.clear(SCHEMA.name, scenes.window(1), scenes.commit("gone"))
    publish(storage, 1, b"gone")
    found = between(storage, before, look(storage))
    assert (found.places, found.commits, found.slots, found.files) == ({place(1)}, 1, 1, 1)


def test_a_commit_that_changes_no_byte_is_counted_as_a_commit_alone(storage: Path):
    before = look(storage)
    store = open_store(str(storage / PIPELINE / "cubes" / AOI))
    scenes.write(store, {0: 1, 1: 2}, "one", force=True)
    found = between(storage, before, look(storage))
    assert (found.places, found.commits) == (frozenset(), 1)


def test_every_artefact_of_a_partition_names_it(storage: Path):
    layout, partition = Layout(str(storage)), Partition(PIPELINE, AOI, date(2024, 1, 9).isoformat())
    before = look(storage)
    for url in (layout.snapshot(partition), layout.recipe(partition), layout.tiles(partition)):
        write_bytes(url, b"new")
    found = between(storage, before, look(storage))
    assert (found.places, found.files) == ({(PIPELINE, AOI, "2024-01-09")}, 3)
