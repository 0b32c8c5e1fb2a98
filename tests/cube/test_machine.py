"""Random histories of a cube, compared with a plain dictionary after every step."""

import shutil
import tempfile
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
from geostack_dagster.cube.store import CubeStore, Kind, open_store
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ServiceError
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, commit, day, window, write

DAYS = [0, 1, 2, 3, 4, 5, EXTENT - 1, EXTENT]
"""Two weeks at the beginning and the edge of the first extent."""

spans = st.sampled_from([(0, 1), (1, 1), (0, 3), (3, 3), (2, 4), (EXTENT - 1, 2)])
seeds = st.integers(1, 5)


@dataclass
class Model:
    """What the cube should hold: by day, the seed and the fingerprint of the partition."""

    held: dict[int, int] = field(default_factory=dict)
    made_from: dict[int, str] = field(default_factory=dict)

    def copy(self) -> "Model":
        return Model(dict(self.held), dict(self.made_from))

    def replace(self, numbers: range, scenes_: dict[int, int], fingerprint: str) -> None:
        for number in numbers:
            self.held.pop(number, None)
            self.made_from[number] = fingerprint
        self.held |= scenes_

    def restore(self, numbers: range, old: "Model") -> None:
        for mine, theirs in ((self.held, old.held), (self.made_from, old.made_from)):
            for number in numbers:
                mine.pop(number, None)
                if number in theirs:
                    mine[number] = theirs[number]


class Cubes(RuleBasedStateMachine):
    kind: Kind = "icechunk"

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store: CubeStore = open_store(
            str(self.folder / "cube"), kind=self.kind, engine=Engine(threads=2)
        )
        self.store.ensure(SCHEMA)
        self.model = Model()
        self.snapshots: dict[str, Model] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(span=spans, found=st.dictionaries(st.integers(0, 3), seeds), lazy=st.booleans())
    def materialise(self, span: tuple[int, int], found: dict[int, int], lazy: bool) -> None:
        """Also what follows a late, a reprocessed or a withdrawn scene: other inputs."""
        self.write(span, found, lazy=lazy)

    @rule(span=spans, found=st.dictionaries(st.integers(0, 3), seeds))
    def crash(self, span: tuple[int, int], found: dict[int, int]) -> None:
        def die() -> list[LedgerEntry]:
            raise ServiceError("the provider went away")

        numbers, chosen, fingerprint = self.inputs(span, found)
        if self.changes(numbers, chosen) and not self.current(numbers, fingerprint):
            with pytest.raises(ServiceError):
                write(self.store, chosen, fingerprint, span=window(*span), ledger=die)
            if self.kind == "zarr":  # what was being rewritten counts as unfinished: do it again
                self.write(span, found, lazy=False)

    @rule(span=spans)
    def clear(self, span: tuple[int, int]) -> None:
        numbers = range(span[0], sum(span))
        report = self.store.clear(SCHEMA.name, window(*span), commit("cleared"))
        assert report.written is not self.current(numbers, "cleared")
        if report.written:
            self.model.replace(numbers, {}, "cleared")
            self.remember(report.snapshot)

    @precondition(lambda self: self.snapshots)
    @rule(span=spans, pick=st.integers(0, 20))
    def rollback(self, span: tuple[int, int], pick: int) -> None:
        snapshot = list(self.snapshots)[pick % len(self.snapshots)]
        report = self.store.rollback(SCHEMA.name, window(*span), snapshot, commit("back"))
        self.model.restore(range(span[0], sum(span)), self.snapshots[snapshot])
        self.remember(report.snapshot)

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
        ledger = [row.day for row in self.store.ledger(SCHEMA.name)]
        assert ledger == [day(number) for number in sorted(self.model.held)]
        assert_holds(self.store, {number: self.model.held.get(number) for number in DAYS})

    def write(self, span: tuple[int, int], found: dict[int, int], *, lazy: bool) -> None:
        numbers, chosen, fingerprint = self.inputs(span, found)
        data = scenes.dataset(chosen)
        report = self.store.write(
            SCHEMA.name,
            window(*span),
            scenes.lazy(data, (3, 10)) if lazy and chosen else data,
            [scenes.record(number, seed) for number, seed in chosen.items()],
            commit(fingerprint),
        )
        assert report.written is not self.current(numbers, fingerprint)
        assert set(report.rewritten) == self.changes(numbers, chosen) or not report.written
        if report.written:
            self.model.replace(numbers, chosen, fingerprint)
            self.remember(report.snapshot)

    def inputs(
        self, span: tuple[int, int], found: dict[int, int]
    ) -> tuple[range, dict[int, int], str]:
        numbers = range(span[0], sum(span))
        chosen = {span[0] + offset: seed for offset, seed in found.items() if offset < span[1]}
        return numbers, chosen, f"made-{sorted(chosen.items())}"

    def changes(self, numbers: range, chosen: dict[int, int]) -> set:
        return {
            day(number) for number, seed in chosen.items() if self.model.held.get(number) != seed
        }

    def current(self, numbers: range, fingerprint: str) -> bool:
        return {self.model.made_from.get(number) for number in numbers} == {fingerprint}

    def remember(self, snapshot: str | None) -> None:
        if snapshot is not None:
            self.snapshots[snapshot] = self.model.copy()


class PlainCubes(Cubes):
    kind: Kind = "zarr"


fast = settings(max_examples=8, stateful_step_count=10, deadline=None)
Cubes.TestCase.settings = fast
PlainCubes.TestCase.settings = settings(fast, max_examples=4)
TestCubes = Cubes.TestCase
TestPlainCubes = PlainCubes.TestCase


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", [Cubes, PlainCubes])
def test_long_histories(machine: type[Cubes]):
    long = settings(max_examples=25, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(machine, settings=long)
