"""Snapshot, stack and cube of EMIT radiance, over NASA's hosts as they behave."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from geostack_dagster.auth import broker
from geostack_dagster.auth.redaction import scan
from geostack_dagster.components.columns import column_schema
from geostack_dagster.cube.swaths.reading import Granule
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Cadence, Window
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    OverBudgetError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.plan import plan_backfill
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.pipeline.swath.cube import granules, swath_store
from geostack_dagster.pipeline.swath.stack import read_recipe
from geostack_dagster.pipeline.upkeep import history
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.swath.recipe import SwathItem
from tests.auth.conftest import VARIABLES
from tests.nasa import DATA, STORE, TOKEN, Answer, Nasa, granule_of, serving
from tests.pipeline.dying import killed_rolling_back
from tests.stack.swath.emit import PIXEL, Emit, emit

DAY = "2024-07-03"
WINDOW = ((2110.0, 2500.0),)


@dataclass
class Swaths:
    """The first three stages of a pipeline on EMIT, and the archive behind it."""

    nasa: Nasa
    spec: PipelineSpec
    workspace: Workspace
    folder: Path

    def partition(self, day: str = DAY) -> Partition:
        return Partition(self.spec.name, "field", day, self.spec.cadence)

    def run(self, day: str = DAY, *stages: str) -> dict[str, StageReport]:
        return {
            noun: module_of(self.spec, noun).run(self.spec, self.partition(day), self.workspace)
            for noun in stages or ("snapshot", "stack", "cube")
        }

    def outcomes(self, day: str = DAY) -> list[str]:
        return [report.outcome.value for report in self.run(day).values()]

    def publish(self, granule: Emit, **changes: object) -> None:
        item = granule.item()
        for key, asset in item["assets"].items():
            path = urlsplit(asset["href"]).path
            self.nasa.files[path] = (granule.files_by_name[key]).read_bytes()
        self.nasa.granules.append(granule_of(item, **changes))

    def withdraw(self, name: str) -> None:
        kept = [one for one in self.nasa.granules if one["umm"]["GranuleUR"] != name]
        self.nasa.granules[:] = kept

    def stored(self, day: str = DAY) -> list:
        return list(granules(self.spec, self.partition(day), self.workspace))


def spec(**changes: object) -> PipelineSpec:
    return PipelineSpec(
        **{
            "name": "emit_test",
            "provider": provider_named("earthaccess"),
            "collection": "EMITL1BRAD_001",
            "bands": (),
            "wavelengths_nm": WINDOW,
            "methane": MethaneSpec(method=MethaneMethod.MATCHED_FILTER),
            "start": date(2024, 6, 1),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def nasa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasa]:
    with serving(tmp_path_factory.mktemp("nasa")) as found:
        yield found


@pytest.fixture
def swaths(nasa: Nasa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swaths]:
    nasa.forget()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in nasa.hosts.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    monkeypatch.setenv("GEOSTACK_AWS_REGION", "none")
    broker.BROKER.clear()
    yield Swaths(nasa, spec(), Workspace(str(tmp_path / "storage")), tmp_path)
    broker.BROKER.clear()


@pytest.fixture
def granule(swaths: Swaths) -> Emit:
    made = emit(swaths.folder, lines=60, columns=80)
    lon, lat = made.lon[30, 40], made.lat[30, 40]
    half = 5 * PIXEL
    swaths.workspace.pin(AOI.from_bbox("field", (lon - half, lat - half, lon + half, lat + half)))
    swaths.publish(made)
    return made


def assert_holds(swaths: Swaths, granule: Emit) -> tuple[Granule, SwathItem]:
    """The cube has exactly the granule's values of the Recipe's columns and bands."""
    (stored,) = swaths.stored()
    (item,) = read_recipe(swaths.partition(), swaths.workspace).items
    columns, bands = slice(*item.part.columns), np.array(item.part.band_indices)
    expected = granule.radiance[:, columns][..., bands]
    np.testing.assert_array_equal(np.asarray(stored.values[:]), expected)
    return stored, item


@pytest.mark.parametrize("at", [1, 2])  # before the commit, and after it
def test_a_rollback_that_is_killed_is_finished_by_the_next_run(swaths, granule, at):
    swaths.run()
    good, _ = assert_holds(swaths, granule)
    pixels = np.asarray(good.values[:])
    partition, workspace = swaths.partition(), swaths.workspace
    snapshot = history(swaths.spec, "field", workspace)[0].snapshot
    swaths.withdraw(granule.name)
    swaths.run()
    assert swaths.stored() == []

    assert killed_rolling_back(swaths.spec, partition, workspace, snapshot, at)
    (asked,) = find_stale(swaths.spec, workspace, [partition])
    done = run_stage(swaths.spec, "cube", partition, workspace)

    assert (asked.stage, asked.held) == ("cube", None)
    assert "finished" in done.note
    (back,) = swaths.stored()
    np.testing.assert_array_equal(np.asarray(back.values[:]), pixels)
    assert run_stage(swaths.spec, "cube", partition, workspace).outcome == "unchanged"


def test_the_members_of_a_recipe_are_those_that_its_page_lists(swaths, granule):
    swaths.run()
    document = json.loads(read_recipe(swaths.partition(), swaths.workspace).dumps())
    listed = column_schema(swaths.spec, "stack").columns
    assert document.keys() == {one.name for one in listed}


def test_the_cube_holds_the_columns_over_the_area(swaths, granule):
    reports = swaths.run()
    assert [report.outcome.value for report in reports.values()] == ["written"] * 3
    stored, item = assert_holds(swaths, granule)
    columns, bands = slice(*item.part.columns), np.array(item.part.band_indices)
    assert 8 <= item.part.columns[1] - item.part.columns[0] <= 24
    assert item.part.rows == (0, 60)
    np.testing.assert_array_equal(stored.wavelengths_nm, granule.wavelengths[bands])
    assert ((stored.wavelengths_nm >= 2110) & (stored.wavelengths_nm <= 2500)).all()
    np.testing.assert_array_equal(stored.lon, granule.lon[:, columns])
    assert stored.units == "uW/cm^2/SR/nm"
    assert stored.valid().mean() > 0.99
    assert (stored.sun_zenith_deg[0] >= 30).all()
    assert stored.stored.acquired.isoformat() == "2024-07-03T10:11:12+00:00"
    assert reports["cube"].facts["granules"] == 1
    assert reports["stack"].tables["granules"][0]["item"] == granule.name
    assert reports["stack"].bytes_read > 0
    assert reports["cube"].bytes_read > 0


def test_a_second_run_reads_and_writes_nothing(swaths, granule):
    first = swaths.run()
    swaths.nasa.hosts.asked.clear()
    again = swaths.run()
    assert [report.outcome.value for report in again.values()] == ["unchanged"] * 3
    assert swaths.nasa.asked(DATA) == []
    for noun, report in again.items():
        assert report.fingerprint == first[noun].fingerprint
        module = module_of(swaths.spec, noun)
        found = module.current(swaths.spec, swaths.partition(), swaths.workspace)
        assert found == report.fingerprint


def test_the_token_goes_to_the_data_host_alone_and_to_no_disk(swaths, granule):
    swaths.run()
    assert swaths.nasa.asked(DATA)
    for asked in swaths.nasa.hosts.asked:
        assert ("authorization" in asked.headers) == (asked.host == DATA)
    assert scan([Path(swaths.workspace.root)], secrets=[TOKEN]) == []


@pytest.mark.parametrize("changes", [{"transport": "fsspec"}, {"loader": "earthaccess"}])
def test_every_opener_makes_the_same_cube(swaths, granule, changes):
    other = replace(swaths, spec=spec(name="other", **changes))
    reports = other.run()
    assert reports["cube"].outcome.value == "written"
    assert_holds(other, granule)
    assert bool(reports["cube"].tables["read_otherwise"]) == ("loader" in changes)


def test_a_plain_zarr_store_serves_as_well(swaths, granule):
    plain = replace(swaths, spec=spec(name="plain", store="zarr"))
    assert plain.outcomes() == ["written"] * 3
    assert plain.outcomes() == ["unchanged"] * 3
    (stored,) = plain.stored()
    assert stored.shape[0] == 60


def test_a_day_without_a_granule_is_an_empty_result(swaths, granule):
    assert swaths.outcomes("2024-07-04") == ["empty"] * 3
    assert swaths.stored("2024-07-04") == []
    store = swath_store(swaths.spec, swaths.partition("2024-07-04"), swaths.workspace)
    assert store.fingerprint_of(swaths.partition("2024-07-04").window) is not None


def test_late_and_withdrawn_granules_change_their_own_day_only(swaths, granule):
    swaths.run()
    late = emit(swaths.folder, "EMIT_L1B_RAD_001_20240703T101124_2418500_008", lines=60, columns=80)
    swaths.publish(late)
    reports = swaths.run()
    assert reports["cube"].note.startswith("wrote 1 granule, kept 1 granule")
    assert [one.stored.id for one in swaths.stored()] == [granule.name, late.name]
    swaths.withdraw(granule.name)
    assert swaths.run()["cube"].note.startswith("kept 1 granule, removed 1 granule")
    swaths.withdraw(late.name)
    assert swaths.outcomes() == ["empty"] * 3
    assert swaths.stored() == []


def test_a_reprocessed_granule_replaces_itself(swaths, granule):
    swaths.run()
    swaths.withdraw(granule.name)
    shifted = emit(swaths.folder, granule.name, lines=60, columns=80, bands=70)
    swaths.publish(shifted)
    reports = swaths.run()
    assert [report.outcome.value for report in reports.values()] == ["written"] * 3
    (stored,) = swaths.stored()
    assert set(stored.wavelengths_nm) <= set(shifted.wavelengths.astype(float))


def test_a_metadata_revision_reads_no_pixel(swaths, granule):
    swaths.run()
    swaths.nasa.granules[0]["meta"]["revision-date"] = "2025-01-01T00:00:00.000Z"
    swaths.nasa.hosts.asked.clear()
    outcomes = swaths.outcomes()
    assert outcomes == ["written", "unchanged", "unchanged"]
    assert swaths.nasa.asked(DATA) == []


def test_a_granule_beside_the_area_is_named(swaths, granule):
    swaths.workspace.pin(AOI.from_bbox("corner", (8.0, 46.974, 8.003, 46.977)))
    partition = replace(swaths.partition(), aoi="corner")
    for noun in ("snapshot", "stack"):
        report = module_of(swaths.spec, noun).run(swaths.spec, partition, swaths.workspace)
    assert report.outcome.value == "empty"
    assert "none of its pixels" in report.tables["skipped"][0]["why"]


def test_a_week_is_one_partition(swaths, granule):
    weekly = replace(swaths, spec=spec(name="weekly", cadence=Cadence.WEEKLY))
    later = emit(
        swaths.folder, "EMIT_L1B_RAD_001_20240705T111112_2418700_003", lines=60, columns=80
    )
    weekly.publish(later)
    assert weekly.outcomes("2024-06-30") == ["written"] * 3
    assert [str(one.stored.day) for one in weekly.stored("2024-06-30")] == [
        "2024-07-03",
        "2024-07-05",
    ]


def test_a_plan_tells_what_a_backfill_would_read(swaths, granule):
    window = Window(date(2024, 7, 1), date(2024, 7, 8))
    swaths.nasa.hosts.asked.clear()
    (plan,) = plan_backfill(swaths.spec, [swaths.workspace.pinned("field")], window)
    assert swaths.nasa.asked(DATA) == []
    assert (plan.date, plan.items, plan.assets) == (DAY, 1, 2)
    whole = sum(path.stat().st_size for path in granule.files.values())
    reports = swaths.run()
    (item,) = read_recipe(swaths.partition(), swaths.workspace).items
    share = (item.part.columns[1] - item.part.columns[0]) / 80
    assert plan.bytes == pytest.approx(whole * share, rel=0.5)
    assert reports["cube"].outcome.value == "written"


# Faults ------------------------------------------------------------------------------------------


def test_without_a_token_the_variable_is_named(swaths, granule, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    broker.BROKER.clear()
    assert swaths.run(DAY, "snapshot")["snapshot"].outcome.value == "written"
    with pytest.raises(MissingCredentialError, match="EARTHDATA_TOKEN"):
        swaths.run(DAY, "stack")


def test_a_dead_token_is_refused_by_name(swaths, granule):
    swaths.nasa.good.clear()
    swaths.run(DAY, "snapshot")
    with pytest.raises(RejectedCredentialError, match="EARTHDATA_TOKEN") as raised:
        swaths.run(DAY, "stack")
    assert TOKEN not in str(raised.value)
    with pytest.raises(ConfigurationError, match="no recipe; materialize emit_test/stack first"):
        swaths.run(DAY, "cube")


def test_a_broken_file_is_named_and_loses_nothing(swaths, granule):
    busy = Answer(503, b"", {"Retry-After": "900"})
    swaths.run()
    swaths.publish(
        emit(swaths.folder, "EMIT_L1B_RAD_001_20240703T101124_2418500_008", lines=60, columns=80)
    )
    swaths.run(DAY, "snapshot", "stack")
    swaths.nasa.fault = lambda asked: busy if asked.host == STORE else None
    with pytest.raises(ServiceError, match="EMIT_L1B_RAD_001_20240703T101124"):
        swaths.run(DAY, "cube")
    assert [one.stored.id for one in swaths.stored()] == [granule.name]
    swaths.nasa.fault = lambda asked: None
    assert swaths.run(DAY, "cube")["cube"].outcome.value == "written"
    assert len(swaths.stored()) == 2


def test_stages_say_what_is_missing(swaths, granule):
    with pytest.raises(ConfigurationError, match="no snapshot; materialize emit_test/snapshot"):
        swaths.run(DAY, "stack")
    none = replace(swaths, spec=spec(name="none", wavelengths_nm=((2600.0, 2700.0),)))
    none.run(DAY, "snapshot")
    with pytest.raises(ConfigurationError, match="no band of EMIT_L1B"):
        none.run(DAY, "stack")


class TestPartial:
    """Granules within a budget: one is read whole or the day does without it."""

    @pytest.fixture
    def two(self, swaths, granule):
        other = emit(
            swaths.folder, "EMIT_L1B_RAD_001_20240703T101124_2418500_008", lines=60, columns=80
        )
        swaths.publish(other)
        return replace(swaths, spec=spec(max_soft_errors=0.5)), other

    def lost(self, swaths: Swaths, granule: Emit) -> dict[str, bytes]:
        """Take a granule's bytes away; they are handed back."""
        paths = [urlsplit(one["href"]).path for one in granule.item()["assets"].values()]
        return {path: swaths.nasa.files.pop(path) for path in paths}

    def ledger(self, swaths: Swaths) -> list:
        window = swaths.partition().window
        return swath_store(swaths.spec, swaths.partition(), swaths.workspace).ledger(window)

    @pytest.mark.parametrize("stages", [("snapshot",), ("snapshot", "stack")])
    def test_the_day_does_without_a_granule_that_is_gone(self, two, granule, stages):
        swaths, other = two
        swaths.run(DAY, *stages)
        held = self.lost(swaths, other)
        left = [one for one in ("stack", "cube") if one not in stages]
        reports = swaths.run(DAY, *left)
        assert {report.outcome.value for report in reports.values()} == {"partial"}
        assert reports["cube"].facts["soft_errors"] == 1
        assert [one.stored.id for one in swaths.stored()] == [granule.name]
        (row,) = [one for one in self.ledger(swaths) if one.entry.item == other.name]
        assert (row.entry.reason, row.entry.status.value) == ("http-404", "missing")
        module = module_of(swaths.spec, "cube")
        assert module.current(swaths.spec, swaths.partition(), swaths.workspace) is not None

        swaths.nasa.files.update(held)
        again = swaths.run(DAY, "stack", "cube")
        assert again["cube"].outcome == "written"
        assert len(swaths.stored()) == 2
        assert {one.entry.status.value for one in self.ledger(swaths)} == {"read"}

    def test_beyond_the_budget_the_attempt_is_on_record(self, two, granule):
        swaths, other = two
        swaths.run(DAY, "snapshot", "stack")
        self.lost(swaths, other)
        self.lost(swaths, granule)
        with pytest.raises(OverBudgetError, match="2 of 2 assets cannot be read, 1 may be"):
            swaths.run(DAY, "cube")
        assert swaths.stored() == []
        kept = attempt.read(swaths.partition(), swaths.workspace)
        assert {row.entry.item for row in kept.rows} == {granule.name, other.name}
