"""Writers in processes beside each other on a local disk: none lost, none doubled."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from geostack_dagster.cube.icechunk_backend import IcechunkBackend
from geostack_dagster.cube.store import CubeStore, Kind, open_store
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, day, window

WRITERS = 8


def assert_complete(store: CubeStore, partitions: int) -> None:
    slots = store.slots(SCHEMA.name)
    assert [slot.day for slot in slots] == [day(number) for number in range(partitions)]
    assert [slot.made_from for slot in slots] == [f"made-{n}" for n in range(partitions)]
    assert_holds(store, {number: number for number in range(partitions)})
    commits = Counter(entry.commit.fingerprint for entry in store.history() if entry.commit)
    assert commits == {f"made-{number}": 1 for number in range(partitions)}


def test_what_is_imported_before_a_fork_leaves_icechunk_out():
    code = (
        "import sys, tests.cube.scenes, tests.pipeline.dying; sys.exit('icechunk' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_eight_writers_of_neighbouring_and_of_the_same_partitions(tmp_path: Path):
    url, partitions = str(tmp_path / "cube"), 12
    work = [
        [number % partitions for number in range(writer, writer + partitions // 3)]
        for writer in range(WRITERS)
    ]
    codes = scenes.run_all([(scenes.write_partitions, (url, numbers)) for numbers in work])
    assert codes == [0] * WRITERS
    wanted = len({number for numbers in work for number in numbers})
    assert_complete(open_store(url), wanted)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_eight_writers_of_two_hundred_partitions(tmp_path: Path):
    url, partitions = str(tmp_path / "cube"), 200
    # Each partition is written by two writers, which meet in the middle.
    halves = [list(range(writer, partitions, WRITERS // 2)) for writer in range(WRITERS // 2)]
    work = halves + [numbers[::-1] for numbers in halves]
    codes = scenes.run_all([(scenes.write_partitions, (url, numbers)) for numbers in work])
    assert codes == [0] * WRITERS
    assert_complete(open_store(url), partitions)


@pytest.mark.parametrize("kind", ["icechunk", "zarr"])
def test_a_writer_killed_before_its_commit(tmp_path: Path, kind: Kind):
    url, stalled = str(tmp_path / "cube"), tmp_path / "stalled"
    store = open_store(url, kind=kind)
    store.ensure(SCHEMA)
    scenes.write(store, {0: 1, 1: 4}, "made-1")
    process = scenes.spawner().Process(
        target=scenes.write_and_stall, args=(url, kind, str(stalled), 0, 2)
    )
    process.start()
    while not stalled.exists():
        assert process.is_alive()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    if kind == "icechunk":
        assert_holds(store, {0: 1, 1: 4})
        assert store.is_current(SCHEMA.name, window(0, 2), "made-1")
        assert [row.entry.item for row in store.ledger(SCHEMA.name)] == ["item-0", "item-1"]
    else:
        assert store.fingerprint_of(SCHEMA.name, window(0)) is None
        assert store.is_current(SCHEMA.name, window(1), "made-1")
    # The lock died with the process, and the same work is simply done again.
    assert scenes.write(store, {0: 2}, "made-2").written
    assert_holds(store, {0: 2, 1: 4})


@pytest.mark.parametrize(
    "left", [["snapshots"], ["config.yaml"], ["snapshots", "config.yaml"], ["snapshots", "refs"]]
)
def test_a_creator_killed_before_it_was_done(tmp_path: Path, left: list[str]):
    debris = tmp_path / "debris"
    undisturbed = IcechunkBackend(str(tmp_path / "empty"), {})
    undisturbed.create()
    debris.mkdir()
    for name in left:
        found = tmp_path / "empty" / name
        (shutil.copytree if found.is_dir() else shutil.copy)(found, debris / name)
    store = open_store(str(debris))
    assert store.slots(SCHEMA.name) == []
    store.ensure(SCHEMA)
    scenes.write(store, {0: 2}, "made-2")
    assert_holds(open_store(str(debris)), {0: 2})
    assert IcechunkBackend(str(debris), {}).repository.config.manifest.splitting is not None
