"""Random histories of a whole pipeline, compared with a plain in-memory model after every step.

The archive is a twin: scenes arrive late, are processed anew (by better and by worse processors)
and are withdrawn. The stages are the real ones, and so is what the reconcile sensor compares. The
model knows of each stage of a partition which scenes it holds, by these rules alone:

- a snapshot keeps of each acquisition the newest baseline, then the newest processing;
- a stage that is run holds what the one before it holds; one that does already is left alone;
- a cube that was rolled back is held: it stays as it is until its inputs change or it is released;
- one that goes back to a time before it was made is empty, and so is what is made of it;
- a run that dies leaves what it had done up to some stage, and of no stage a part;
- pixels are those of the archive's files, as another reader finds them.
"""

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
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

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import read
from geostack_dagster.cube.ledger import Status
from geostack_dagster.cube.schema import EXTENT
from geostack_dagster.domain.days import Cadence, Window
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, GeostackError, NoDataError
from geostack_dagster.pipeline.again import unchanged
from geostack_dagster.pipeline.cube import cube_store, recorded
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.reconcile import ask_again, find_stale
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.upkeep import history, release, roll_back
from geostack_dagster.pipeline.workspace import Workspace
from tests.cube.scenes import spawner
from tests.pipeline.conftest import FIELD, spec_of
from tests.pipeline.dying import PRELOADED, run_and_die
from tests.pipeline.truth import ARCHIVE, BANDS, COLLECTION, FILL, Archive, Scene, day_of, ndvi

pytestmark = pytest.mark.timeout(900)

STAGES = ("snapshot", "stack", "cube", "indices")
START = date(2024, 6, 2)
SPEC = spec_of(
    ARCHIVE, name="machine", collection=COLLECTION, bands=tuple(BANDS), indices=("NDVI",),
    cadence=Cadence.WEEKLY, start=START, mask_buffer_m=0.0,
)  # fmt: skip
FAR = START + timedelta(weeks=EXTENT // 7 + 1)
"""A week that needs a longer axis."""
WEEKS = ("2024-06-02", "2024-06-23", "2024-07-07", FAR.isoformat())
"""Two days each but the last; one day is listed in two processings, and one is not listed yet."""
SPANS = (Window(START, date(2024, 7, 14)), Window(FAR, FAR + timedelta(weeks=1)))
LATE = "S2A_32TMT_20240713_0_L2A"
BASELINES = ("05.10", "05.11", "05.09", "05.12")
"""By number of the processing: the third is a step back."""

weeks = st.sampled_from(WEEKS)


@dataclass(frozen=True)
class Content:
    """Scenes of a partition; two are the same if they keep the same."""

    kept: tuple[str, ...]
    superseded: tuple[str, ...] = field(compare=False, default=())
    then: str | None = None
    """Snapshot in which there was nothing, of what was rolled back to it."""

    @property
    def shown(self) -> tuple[str, ...]:
        return self.kept if self.then is None else (f"as in {self.then}",)

    def by_day(self) -> dict[date, str]:
        return {day_of(name): name for name in self.kept}


@dataclass(frozen=True)
class Made:
    """What each stage of a partition holds; None for one that was never made."""

    snapshot: Content | None = None
    stack: Content | None = None
    cube: Content | None = None
    indices: Content | None = None
    refused: Content | None = None
    """Inputs that were rolled back from."""

    @property
    def is_held(self) -> bool:
        return self.refused is not None and self.refused == self.stack

    def after(self, stage: str, now: Content) -> "Made":
        """What is there once a stage was run, while the archive lists `now`."""
        if stage == "cube" and self.is_held:
            return self
        above = {
            "snapshot": now, "stack": self.snapshot, "cube": self.stack, "indices": self.cube
        }[stage]  # fmt: skip
        found = self if getattr(self, stage) == above else replace(self, **{stage: above})
        return replace(found, refused=None) if stage == "cube" else found

    def stale(self, now: Content | None) -> tuple[str, bool] | None:
        """The first stage that is not as it should be, and whether it is held."""
        if now is not None and now != self.snapshot and (self.snapshot or now.kept):
            return "snapshot", False
        if self.snapshot is None:
            return None
        if self.stack != self.snapshot:
            return "stack", False
        if self.cube != self.stack and not self.is_held:
            return "cube", False
        if self.cube is not None and self.indices != self.cube:
            return "indices", False
        return ("cube", True) if self.cube != self.stack else None


class Histories(RuleBasedStateMachine):
    archive: Archive
    environment: Mapping[str, str]
    far: str
    """The scene of the last week."""

    @initialize()
    def begin(self) -> None:
        self.listed = {name for name in self.archive.listed() if name != self.far}
        self.folder = Path(tempfile.mkdtemp())
        self.workspace = Workspace(str(self.folder / "storage"))
        self.workspace.pin(FIELD)
        self.made = {week: Made() for week in WEEKS}
        self.unsure: set[str] = set()
        """Partitions of which a run died that may have made maps and not published them."""
        self.past: dict[str, dict[str, Content | None]] = {}
        self.origin = set(self.listed)
        self.known = {*self.listed, self.far, LATE}
        """Scenes that exist in this history, listed or not."""

    def teardown(self) -> None:
        if not hasattr(self, "origin"):
            return
        for name in self.listed - self.origin:
            self.archive.withdraw(name)
        for name in self.origin - self.listed:
            self.archive.publish(name)
        shutil.rmtree(self.folder)

    # What happens in the archive

    @precondition(lambda self: self.known - self.listed)
    @rule(data=st.data())
    def a_late_scene(self, data: st.DataObject) -> None:
        self.publish(data.draw(st.sampled_from(sorted(self.known - self.listed))))

    @precondition(lambda self: self.far not in self.listed)
    @rule()
    def extend(self) -> None:
        """A day beyond the axis."""
        self.publish(self.far)
        self.reconcile()

    @precondition(lambda self: self.listed - {self.far})
    @rule(data=st.data())
    def reprocess(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.listed - {self.far})))
        number = int(name.split("_")[3]) + 1
        later = name.replace(f"_{number - 1}_L2A", f"_{number}_L2A")
        if later not in self.known and number < len(BASELINES):
            assert self.archive.reprocess(name, BASELINES[number]) == later
            self.listed.add(later)
            self.known.add(later)

    @precondition(lambda self: self.listed)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.listed)))
        self.archive.withdraw(name)
        self.listed.remove(name)

    # What a pipeline does

    @rule(chosen=st.sets(weeks, min_size=2))
    def re_snapshot(self, chosen: set[str]) -> None:
        """A window of partitions is asked for again; what did not change is not written."""
        partitions = [partition(week) for week in sorted(chosen)]
        same = unchanged(SPEC, partitions, self.workspace)
        wanted = {week for week in chosen if self.made[week].snapshot == self.now(week)}
        assert {one.date for one in same} == wanted
        for week in sorted(chosen - wanted):
            self.run(week, "snapshot")

    @rule(week=weeks)
    def materialise(self, week: str) -> None:
        self.run(week, *STAGES)

    @rule(week=weeks)
    def materialise_what_was_taken(self, week: str) -> None:
        """Scenes of the snapshot may be gone by now: then nothing is written."""
        if self.made[week].snapshot is not None:
            self.run(week, *STAGES[1:])

    @rule(week=weeks, at=st.integers(1, 60), until=st.sampled_from(("stack", "cube", "indices")))
    def crash(self, week: str, at: int, until: str) -> None:
        """A run is killed at some write."""
        stages = STAGES[: STAGES.index(until) + 1]
        states = [self.made[week], *self.ahead(week, stages)]
        process = spawner(*PRELOADED).Process(
            target=run_and_die,
            args=(SPEC, partition(week), self.workspace, self.environment, stages, at),
        )
        process.start()
        process.join()
        if process.exitcode != 0:
            assert process.exitcode == -signal.SIGKILL
            self.unsure.add(week)
        self.found_among(week, states[-1:] if process.exitcode == 0 else states)

    @precondition(lambda self: self.past)
    @rule(week=weeks, pick=st.integers(0, 20))
    def rollback(self, week: str, pick: int) -> None:
        if self.made[week].stack is None:
            return
        tip = list(self.past)[-1 - pick % len(self.past)]
        roll_back(SPEC, partition(week), self.workspace, tip, "a test")
        held = self.made[week]
        found = self.past[tip][week] or Content((), then=tip)
        self.made[week] = replace(held, cube=found, refused=held.stack)

    @rule(week=weeks)
    def release(self, week: str) -> None:
        was_held = self.made[week].refused is not None
        assert release(partition(week), self.workspace) is was_held
        self.made[week] = replace(self.made[week], refused=None)

    @rule()
    def reconcile(self) -> None:
        """What the sensor asks for is run; then it asks for nothing, and no more was written."""
        before, wanted, unsure = self.commits(), Counter[tuple[str, str]](), set(self.unsure)
        for week, (stage, is_held) in self.stale(with_archive=True).items():
            old = self.made[week]
            self.run(week, *(() if is_held else STAGES[STAGES.index(stage) :]))
            for noun in ("cube", "indices"):
                wanted[week, noun] += getattr(old, noun) != getattr(self.made[week], noun)
        done = self.commits() - before
        doubtful = {(week, "indices") for week in unsure}
        assert {key: done[key] for key in done.keys() - doubtful} == {
            key: wanted[key] for key in +wanted if key not in doubtful
        }
        assert all(is_held for _, is_held in self.stale(with_archive=True).values())

    # What must hold at any time

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "made"):
            return
        self.stale(with_archive=False)
        for week in WEEKS:
            self.found_among(week, [self.made[week]])
            self.assert_ledger(week)
        with suppress(NoDataError):
            tip = history(SPEC, FIELD.name, self.workspace, 1)[0].snapshot
            self.past[str(tip)] = {week: made.cube for week, made in self.made.items()}

    def stale(self, *, with_archive: bool) -> dict[str, tuple[str, bool]]:
        """What the reconcile finds, which is what the model says."""
        present = (
            {
                one: mark
                for span in SPANS
                for one, mark in ask_again(SPEC, self.workspace, FIELD.name, span).items()
            }
            if with_archive
            else None
        )
        partitions = [partition(week) for week in WEEKS]
        found = {
            one.partition.date: (one.stage, one.held is not None)
            for one in find_stale(SPEC, self.workspace, partitions, present)
        }
        for week, made in self.made.items():
            wanted = made.stale(self.now(week) if with_archive else None)
            may_be = {wanted}
            if week in self.unsure and made.cube and wanted in (None, ("cube", True)):
                may_be.add(("indices", False))
            assert found.get(week) in may_be, (week, made)
        return found

    def found_among(self, week: str, states: Sequence[Made]) -> None:
        """The last of the states of a partition that is what lies in the storage."""
        seen = self.seen(week)
        same = [made for made in states if ids(made) == seen and self.shows(week, made)]
        assert same, f"{week} holds {seen}, of {states}"
        is_held = storage.exists(self.workspace.layout.hold(partition(week)))
        last = same[-1]
        self.made[week] = replace(last, refused=states[0].refused if is_held else None)
        assert self.made[week] == last or len(states) > 1

    def seen(self, week: str) -> tuple[tuple[str, ...] | None, ...]:
        """Scenes of the snapshot, the Recipe and the cube, by what these say."""
        one, found = partition(week), []
        with suppress(FileNotFoundError):
            items = read(self.workspace.layout.snapshot(one)).items
            found.append(tuple(sorted(item["id"] for item in items)))
        with suppress(ConfigurationError):
            found.append(tuple(sorted(item.id for item in read_recipe(one, self.workspace).items)))
        made_from = recorded(SPEC, one, self.workspace) or ""
        if made_from.startswith("as in"):
            found.append((made_from,))
        elif made_from:
            rows = self.ledger(week)
            kept = {row.entry.item for row in rows if row.entry.status is Status.READ}
            found.append(tuple(sorted(kept)))
        return (*found, None, None, None)[:3]

    def shows(self, week: str, made: Made) -> bool:
        """Whether cube and maps hold the pixels of these scenes and no others."""
        for group, content in (("reflectance", made.cube), ("indices", made.indices)):
            scenes = {} if content is None else content.by_day()
            for day, found in self.slots(week, group):
                wanted = planes(self.archive.scene(scenes[day]) if day in scenes else None, group)
                for name, plane in wanted.items():
                    if not np.allclose(found[name], plane, rtol=0, atol=1e-6, equal_nan=True):
                        return False
        return True

    def slots(self, week: str, group: str) -> Iterator[tuple[date, Mapping[str, np.ndarray]]]:
        window = partition(week).window
        try:
            cube = self.store.open(group, decode=False)
        except NoDataError:
            return
        days = [day for day in window.days if np.datetime64(day) in cube.indexes["time"]]
        found = cube.sel(time=[np.datetime64(day) for day in days]).load()
        names = tuple(BANDS) if group == "reflectance" else ("NDVI",)
        for number, day in enumerate(days):
            yield day, {name: found[name].to_numpy()[number] for name in names}

    def assert_ledger(self, week: str) -> None:
        """It names every asset that was read, and every scene that another one replaced."""
        content = self.made[week].cube or Content(())
        rows = self.ledger(week)
        read_of = {(row.entry.item, row.entry.asset) for row in rows if row.entry.status == "read"}
        assert read_of == {(name, key) for name in content.kept for key in BANDS.values()}
        replaced = {row.entry.item for row in rows if row.entry.status is Status.SUPERSEDED}
        assert replaced == set(content.superseded)
        assert len(rows) == len(read_of) + len(replaced)

    def ledger(self, week: str) -> list:
        days = set(partition(week).window.days)
        try:
            return [row for row in self.store.ledger("reflectance") if row.day in days]
        except NoDataError:
            return []

    @property
    def store(self):
        return cube_store(SPEC, partition(WEEKS[0]), self.workspace)

    def commits(self) -> Counter[tuple[str, str]]:
        """How often each partition of each cube was written."""
        try:
            entries = history(SPEC, FIELD.name, self.workspace)
        except NoDataError:
            return Counter()
        found: Counter[tuple[str, str]] = Counter()
        for note in (one.commit for one in entries if one.commit):
            match note.code_version.split():
                case [_, stage, _]:  # a rollback's commit names no stage
                    found[note.partition.rpartition("/")[2], stage] += 1
        return found

    # The model

    def now(self, week: str) -> Content:
        """What a snapshot of a partition would hold."""
        days = set(partition(week).window.days)
        scenes = [self.archive.scene(name) for name in self.listed if day_of(name) in days]
        kept = [
            max(same, key=lambda scene: scene.rank)
            for _, same in groupby(sorted(scenes, key=lambda one: one.day), lambda one: one.day)
        ]
        dropped = {scene.id for scene in scenes} - {scene.id for scene in kept}
        return Content(tuple(sorted(scene.id for scene in kept)), tuple(sorted(dropped)))

    def ahead(self, week: str, stages: Sequence[str]) -> list[Made]:
        """What stages that are run make of a partition, one after the other."""
        found = [self.made[week]]
        for stage in stages:
            found.append(found[-1].after(stage, self.now(week)))
        return found[1:]

    def run(self, week: str, *stages: str) -> None:
        """Run stages; one that cannot read what is gone fails, and all stays as it was."""
        for stage in stages:
            old = self.made[week]
            gone = set() if old.snapshot is None else {*old.snapshot.kept} - self.listed
            try:
                report = run_stage(SPEC, stage, partition(week), self.workspace)
            except GeostackError:
                assert stage in ("stack", "cube")
                assert gone
                return
            self.made[week] = made = old.after(stage, self.now(week))
            content = getattr(made, stage)
            if stage == "indices":
                self.unsure.discard(week)
            elif getattr(old, stage) == content:
                assert report.outcome == (
                    "unchanged" if content.kept or (stage == "cube" and made.is_held) else "empty"
                )
            elif stage == "cube" and content.kept:
                before = {} if old.cube is None else old.cube.by_day()
                count = sum(before.get(day) != name for day, name in content.by_day().items())
                assert f"wrote {count} day" in report.note or count == 0

    def publish(self, name: str) -> None:
        self.archive.publish(name)
        self.listed.add(name)


def partition(week: str) -> Partition:
    return Partition(SPEC.name, FIELD.name, week, SPEC.cadence)


def ids(made: Made) -> tuple[tuple[str, ...] | None, ...]:
    contents = (made.snapshot, made.stack, made.cube)
    return tuple(None if one is None else one.shown for one in contents)


def planes(scene: Scene | None, group: str) -> Mapping[str, np.ndarray]:
    """What a slot should hold of a scene, or without one."""
    if group == "indices":
        return {"NDVI": np.array(np.nan) if scene is None else ndvi(scene.pixels)}
    return dict.fromkeys(BANDS, np.array(FILL)) if scene is None else scene.pixels


@pytest.fixture(scope="module")
def histories(sandbox) -> Iterator[type[Histories]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        archive = Archive(sandbox, FIELD, "32TMT")
        far = archive.copy("S2A_32TMT_20240703_0_L2A", FAR + timedelta(days=1))
        days = {day for week in WEEKS for day in partition(week).window.days}
        for name in sorted(archive.listed()):
            if day_of(name) in days:
                archive.scene(name)
            else:
                archive.withdraw(name)

        class Ours(Histories):
            pass

        Ours.archive, Ours.environment, Ours.far = archive, sandbox.environment, far
        yield Ours


@pytest.mark.faults
def test_histories(histories):
    """The variable takes the place of the number of histories, to search for longer."""
    count = int(os.environ.get("GEOSTACK_LONG_HISTORIES", "4"))
    few = settings(max_examples=count, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(histories, settings=few)
