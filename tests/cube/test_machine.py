"""Random histories of a cube, compared with a plain in-memory model after every step.

An archive lists scenes, which arrive late, are processed anew and are withdrawn. A snapshot freezes
what it lists for a partition; materialising makes the partition's slots hold what its snapshot
says, or dies on the way. The model is a dictionary of what each day should hold.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from geostack_dagster.cube.ledger import LedgerEntry
from geostack_dagster.cube.schema import EXTENT
from geostack_dagster.cube.store import CubeStore, Kind, WriteReport, open_store
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ServiceError
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, commit, day, window, write

LONG = "GEOSTACK_LONG_HISTORIES"
"""Set this variable to a number of histories: each is three times as long as usual."""

PARTITIONS = {"first": range(3), "second": range(3, 7), "edge": range(EXTENT - 1, EXTENT + 1)}
"""Two neighbours at the beginning, and one across the end of the first extent."""
NUMBERS = [number for numbers in PARTITIONS.values() for number in numbers]
LATER = [number * EXTENT + 5 for number in range(1, 6)]
"""Days that need a longer axis, each of a partition of its own."""

names = st.sampled_from(sorted(PARTITIONS))
numbers = st.sampled_from(NUMBERS)

type Scenes = Mapping[int, int]
"""By day, the seed of its scene: another seed is another scene, or the same one processed anew."""


@dataclass
class Model:
    """What the cube should hold: by day, the seed and the fingerprint of the partition."""

    held: dict[int, int] = field(default_factory=dict)
    made_from: dict[int, str] = field(default_factory=dict)

    def copy(self) -> "Model":
        return Model(dict(self.held), dict(self.made_from))

    def replace(self, days: range, found: Scenes, fingerprint: str) -> None:
        for number in days:
            self.held.pop(number, None)
            self.made_from[number] = fingerprint
        self.held |= found

    def restore(self, days: range, old: "Model", fingerprint: str) -> None:
        """What `old` held; of the fingerprint if it did not hold the partition as a whole."""
        self.replace(days, {n: old.held[n] for n in days if n in old.held}, fingerprint)
        marks = {old.made_from.get(number) for number in days}
        if len(marks) == 1 and None not in marks:
            self.made_from |= dict.fromkeys(days, old.made_from[days.start])


class Cubes(RuleBasedStateMachine):
    kind: Kind = "icechunk"

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store: CubeStore = open_store(
            str(self.folder / "cube"), kind=self.kind, engine=Engine(threads=2)
        )
        self.store.ensure(SCHEMA)
        self.archive: dict[int, int] = {}
        self.taken: dict[str, dict[int, int]] = {name: {} for name in PARTITIONS}
        self.model = Model()
        self.past: dict[str, Model] = {}
        self.seed = 0
        self.length = EXTENT

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    # What happens in the archive

    @precondition(lambda self: len(self.archive) < len(NUMBERS))
    @rule(data=st.data())
    def a_late_scene(self, data: st.DataObject) -> None:
        missing = [number for number in NUMBERS if number not in self.archive]
        self.archive[data.draw(st.sampled_from(missing))] = self.fresh()

    @precondition(lambda self: self.archive)
    @rule(data=st.data())
    def reprocess(self, data: st.DataObject) -> None:
        self.archive[data.draw(st.sampled_from(sorted(self.archive)))] = self.fresh()

    @precondition(lambda self: self.archive)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        del self.archive[data.draw(st.sampled_from(sorted(self.archive)))]

    # What a pipeline does

    @rule(name=names)
    def re_snapshot(self, name: str) -> None:
        listed = {number for number in PARTITIONS[name] if number in self.archive}
        self.taken[name] = {number: self.archive[number] for number in sorted(listed)}

    @rule(name=names, lazy=st.booleans())
    def materialise(self, name: str, lazy: bool) -> None:
        days, found = PARTITIONS[name], self.taken[name]
        before = self.model.copy()
        report = self.write(days, found, lazy=lazy)
        current = {before.made_from.get(number) for number in days} == {made_from(found)}
        assert report.written is not current
        if not current:  # exactly the days that changed are rewritten, the others are kept
            fresh = {number for number, seed in found.items() if before.held.get(number) != seed}
            gone = {number for number in days if number in before.held and number not in found}
            assert set(report.rewritten) == {day(number) for number in fresh}
            assert set(report.cleared) >= {day(number) for number in gone}

    @rule(name=names)
    def everything_again(self, name: str) -> None:
        """What a reconcile leads to: a snapshot and what follows, which then is current."""
        self.re_snapshot(name)
        self.write(PARTITIONS[name], self.taken[name], lazy=False)
        again = self.write(PARTITIONS[name], self.taken[name], lazy=False)
        assert not again.written

    @rule(name=names)
    def crash(self, name: str) -> None:
        """A run dies when its pixels are stored and nothing is committed."""

        def die() -> list[LedgerEntry]:
            raise ServiceError("the provider went away")

        days, found = PARTITIONS[name], self.taken[name]
        current = {self.model.made_from.get(number) for number in days} == {made_from(found)}
        if current or all(self.model.held.get(number) == seed for number, seed in found.items()):
            return  # nothing would be read
        with pytest.raises(ServiceError):
            write(self.store, found, made_from(found), span=span_of(days), ledger=die)
        assert not self.store.is_current(SCHEMA.name, span_of(days), made_from(found))
        if self.kind == "zarr":  # what was being rewritten counts as unfinished: do it again
            assert self.write(days, found, lazy=False).written

    @rule(name=names)
    def clear(self, name: str) -> None:
        days = PARTITIONS[name]
        current = {self.model.made_from.get(number) for number in days} == {"cleared"}
        report = self.store.clear(SCHEMA.name, span_of(days), commit("cleared"))
        assert report.written is not current
        self.settled(report, days, {}, "cleared")

    @precondition(lambda self: self.past)
    @rule(name=names, pick=st.integers(0, 20))
    def rollback(self, name: str, pick: int) -> None:
        snapshot = list(self.past)[pick % len(self.past)]
        days = PARTITIONS[name]
        report = self.store.rollback(SCHEMA.name, span_of(days), snapshot, commit("back"))
        self.model.restore(days, self.past[snapshot], "back")
        self.length = max(self.length, days.stop)
        self.remember(report.snapshot)

    @precondition(lambda self: self.length < LATER[-1])
    @rule()
    def extend(self) -> None:
        """A day beyond the axis: it grows in one large step, and nothing else moves."""
        number = next(number for number in LATER if number >= self.length)
        assert self.write(range(number, number + 1), {number: self.fresh()}, lazy=False).written

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "model"):
            return
        slots = {slot.day: slot for slot in self.store.slots(SCHEMA.name)}
        assert set(slots) == {day(number) for number in self.model.made_from}
        for number, fingerprint in self.model.made_from.items():
            seed = self.model.held.get(number)
            slot = slots[day(number)]
            assert slot.made_from == fingerprint
            assert slot.fingerprint == (None if seed is None else f"slot-{seed}")
            assert slot.item_count == (0 if seed is None else seed + 1)
        ledger = [(row.day, row.entry.item) for row in self.store.ledger(SCHEMA.name)]
        assert ledger == [(day(number), f"item-{number}") for number in sorted(self.model.held)]
        assert_holds(self.store, {n: self.model.held.get(n) for n in (*NUMBERS, *LATER)})
        for days in PARTITIONS.values():
            marks = {self.model.made_from.get(number) for number in days}
            wanted = marks.pop() if len(marks) == 1 else None
            assert self.store.fingerprint_of(SCHEMA.name, span_of(days)) == wanted
        if self.kind == "icechunk":
            axis = self.store.open(SCHEMA.name, decode=False).sizes["time"]
            assert axis == -(-self.length // EXTENT) * EXTENT

    def fresh(self) -> int:
        self.seed += 1
        return self.seed

    def write(self, days: range, found: Scenes, *, lazy: bool) -> WriteReport:
        data = scenes.dataset(found)
        report = self.store.write(
            SCHEMA.name,
            span_of(days),
            scenes.lazy(data, (3, 10)) if lazy and found else data,
            [scenes.record(number, seed) for number, seed in found.items()],
            commit(made_from(found)),
        )
        self.settled(report, days, found, made_from(found))
        return report

    def settled(self, report: WriteReport, days: range, found: Scenes, fingerprint: str) -> None:
        if report.written:
            self.length = max(self.length, days.stop)
            self.model.replace(days, found, fingerprint)
            self.remember(report.snapshot)

    def remember(self, snapshot: str | None) -> None:
        if snapshot is not None:
            self.past[snapshot] = self.model.copy()


class PlainCubes(Cubes):
    kind: Kind = "zarr"


def made_from(found: Scenes) -> str:
    return f"made-{sorted(found.items())}"


def span_of(days: range) -> scenes.Window:
    return window(days.start, len(days))


def histories(count: int, steps: int) -> settings:
    asked = int(os.environ.get(LONG, "0"))
    return settings(
        max_examples=asked or count,
        stateful_step_count=steps * 3 if asked else steps,
        deadline=None,
    )


Cubes.TestCase.settings = histories(8, 12)
PlainCubes.TestCase.settings = histories(4, 12)
TestCubes = Cubes.TestCase
TestPlainCubes = PlainCubes.TestCase


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", [Cubes, PlainCubes])
def test_long_histories(machine: type[Cubes]):
    long = settings(max_examples=25, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine, settings=long)
