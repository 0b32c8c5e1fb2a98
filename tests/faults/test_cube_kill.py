"""Runs that die at random moments: readers see whole states, and a reconcile finds the rest."""

import random
import signal
import time
from pathlib import Path

import pytest

from geostack_dagster.cube.store import CubeStore, open_store
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, day, window

pytestmark = pytest.mark.faults

PARTITIONS = range(12)
KILLS = 20
PAUSE_S = 0.02  # for each of the twelve blocks: a partition takes about 50 ms


def test_killed_at_twenty_random_moments(tmp_path: Path):
    url = str(tmp_path / "cube")
    store = open_store(url)
    store.ensure(SCHEMA)
    rng = random.Random(4)
    context = scenes.spawner()
    killed = 0
    while killed < KILLS:
        behind = [number for number in PARTITIONS if not is_current(store, number)]
        if len(behind) < len(PARTITIONS) // 2:
            store.clear(SCHEMA.name, window(0, len(PARTITIONS)), scenes.commit("withdrawn"))
            behind = list(PARTITIONS)
        writer = context.Process(target=scenes.write_slowly, args=(url, behind, PAUSE_S))
        writer.start()
        first = len(store.history())
        while len(store.history()) == first and writer.is_alive():
            time.sleep(0.005)  # past the imports: something of it is committed
        time.sleep(rng.uniform(0, 0.2))
        writer.kill()
        writer.join()
        killed += writer.exitcode == -signal.SIGKILL
        assert_whole(store)
    scenes.write_slowly(url, PARTITIONS, 0)
    assert_same_bytes(store, tmp_path)


def is_current(store: CubeStore, number: int) -> bool:
    return store.is_current(SCHEMA.name, window(number), f"made-{number}")


def assert_whole(store: CubeStore) -> None:
    """Every day holds all of its pixels with its bookkeeping and ledger, or nothing at all."""
    slots = {slot.day: slot for slot in store.slots(SCHEMA.name)}
    held = {
        number: day(number) in slots and slots[day(number)].fingerprint is not None
        for number in PARTITIONS
    }
    assert_holds(store, {number: number if held[number] else None for number in PARTITIONS})
    for number in PARTITIONS:
        assert is_current(store, number) is held[number]
    ledger = [row.day for row in store.ledger(SCHEMA.name)]
    assert ledger == [day(number) for number in PARTITIONS if held[number]]


def assert_same_bytes(store: CubeStore, tmp_path: Path) -> None:
    """Key by key what an undisturbed run would have written."""
    undisturbed = open_store(str(tmp_path / "undisturbed"))
    undisturbed.ensure(SCHEMA)
    scenes.write_slowly(undisturbed.url, PARTITIONS, 0)
    wanted, found = (each._backend.reader().everything() for each in (undisturbed, store))
    assert found == wanted
