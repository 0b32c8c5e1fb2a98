"""What a promotion makes stale, as the reconcile sensor sees it: its outputs, no more, no less."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.pipeline import probability
from geostack_dagster.pipeline.reconcile import Stale, find_stale
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import AOIS
from geostack_dagster.sandbox.winds import wind_table
from tests.learning.test_registry import NOW, card, decision
from tests.pipeline.test_methane import AREA, GIVEN, spec_of

FINDER = "finder"
SPEC = spec_of("lpcloud_emit", GIVEN | {"methane": replace(GIVEN["methane"], detector=FINDER)})
DAYS = ("2024-06-03", "2024-06-13", "2024-06-23")
PARTITIONS = [Partition(SPEC.name, AREA, day, SPEC.cadence) for day in DAYS]


@pytest.fixture
def workspace(tmp_path, in_sandbox) -> Workspace:
    """Three partitions, all stages made, without a champion."""
    found = Workspace(str(tmp_path / "storage"))
    found.pin(AOI.from_file(AOIS / f"{AREA}.geojson"))
    Path(found.root, "wind.csv").write_text(wind_table([date.fromisoformat(day) for day in DAYS]))
    for stage in SPEC.stages:
        make(found, PARTITIONS, stage)
    return found


def make(workspace: Workspace, partitions: Iterable[Partition], stage: str = "probability") -> None:
    for partition in partitions:
        module_of(SPEC, stage).run(SPEC, partition, workspace)


def stale(workspace: Workspace) -> dict[str, Stale]:
    return {one.partition.date: one for one in find_stale(SPEC, workspace, PARTITIONS)}


def fingerprints(workspace: Workspace) -> dict[tuple[str, str], str | None]:
    """Of every stage of every partition above the model."""
    return {
        (partition.date, stage): module_of(SPEC, stage).current(SPEC, partition, workspace)
        for partition in PARTITIONS
        for stage in SPEC.stages
        if stage != "probability"
    }


def test_a_promotion_restales_exactly_what_other_models_made(workspace):
    registry = probability.registry_of(SPEC, workspace)
    first, second = (registry.add(card(seed, name=FINDER), NOW) for seed in (1, 2))
    above = fingerprints(workspace)
    assert None not in above.values()
    assert stale(workspace) == {}

    registry.apply(decision(first, None), by="gate", at=NOW)
    found = stale(workspace)
    assert list(found) == list(DAYS)
    assert {one.stage for one in found.values()} == {"probability"}
    first_marks = {day: one.mark for day, one in found.items()}
    assert len(set(first_marks.values())) == len(DAYS)
    assert {day: one.mark for day, one in stale(workspace).items()} == first_marks
    make(workspace, PARTITIONS)
    assert stale(workspace) == {}

    registry.apply(decision(second, first), by="gate", at=NOW)
    found = stale(workspace)
    assert list(found) == list(DAYS)
    assert {one.stage for one in found.values()} == {"probability"}
    # Attempts with one model do not count against the next.
    assert all(found[day].mark != first_marks[day] for day in DAYS)
    make(workspace, PARTITIONS[:1])
    assert list(stale(workspace)) == list(DAYS[1:])

    # Back to the first: what it made itself is still good, the one partition of the other is not.
    registry.rollback(by="ada", reason="test", at=NOW)
    found = stale(workspace)
    assert list(found) == [DAYS[0]]
    assert found[DAYS[0]].mark == first_marks[DAYS[0]]
    make(workspace, PARTITIONS[:1])
    assert stale(workspace) == {}
    assert fingerprints(workspace) == above


def test_a_model_that_is_not_promoted_restales_nothing(workspace):
    registry = probability.registry_of(SPEC, workspace)
    first, second = (registry.add(card(seed, name=FINDER), NOW) for seed in (1, 2))
    registry.apply(decision(first, None), by="gate", at=NOW)
    make(workspace, PARTITIONS)
    registry.apply(decision(second, first, Outcome.SHADOW), by="gate", at=NOW)
    assert registry.aliases.challenger == second
    assert stale(workspace) == {}
    registry.apply(decision(second, first, Outcome.REJECT), by="gate", at=NOW)
    assert stale(workspace) == {}
