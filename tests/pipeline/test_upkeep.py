"""History, rollback and maintenance of a pipeline's cubes."""

import re
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from geostack_dagster import storage
from geostack_dagster.cube.repository import Repository
from geostack_dagster.errors import ConfigurationError, DamagedError, NoDataError, ServiceError
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.upkeep import history, maintain, release, roll_back
from tests.pipeline.conftest import FIELD, STAGES, Chain, spec_of
from tests.pipeline.dying import killed_rolling_back

DAY, OTHER = "2024-07-03", "2024-07-08"


@pytest.fixture
def chain(in_sandbox, workspace) -> Chain:
    return Chain(spec_of("earth_search"), workspace)


def store_of(chain: Chain):
    return cube_store(chain.spec, chain.partition(DAY), chain.workspace)


def pixels(chain: Chain, day: str, snapshot: str | None = None) -> np.ndarray:
    cube = store_of(chain).open("reflectance", decode=False, snapshot=snapshot)
    return cube["B04"].sel(time=day).to_numpy().copy()


def held_back(chain: Chain) -> list[tuple[str, bool]]:
    found = find_stale(chain.spec, chain.workspace, [chain.partition(DAY)])
    return [(one.stage, one.held is not None) for one in found]


def rewrite(chain: Chain, day: str, in_sandbox) -> tuple[str, str]:
    """Make a partition twice of different scenes; the snapshot before, and the new Item."""
    chain.run(day)
    good = history(chain.spec, FIELD.name, chain.workspace)[0].snapshot
    stamp = day.replace("-", "")
    scenes = [one for one in in_sandbox.control.listed() if one["archive"] == "earth_search"]
    scene = next(one["id"] for one in scenes if stamp in one["id"] and "32TMT" in one["id"])
    made = in_sandbox.control.reprocess(scene)
    assert chain.run(day)["cube"].outcome == "written"
    return good, made


def test_history_tells_who_wrote_what(chain):
    chain.run(DAY)

    entries = history(chain.spec, FIELD.name, chain.workspace)

    written = [one for one in entries if one.action == "write"]
    assert {one.commit.partition for one in written} == {f"{chain.spec.name}/field/{DAY}"}
    assert {one.commit.fingerprint for one in written} == {
        STAGES[noun].current(chain.spec, chain.partition(DAY), chain.workspace)
        for noun in ("cube", "indices")
    }
    for noun in ("cube", "indices"):
        version = f"{noun} {chain.spec.code_version(noun)}"
        assert any(version in one.commit.code_version for one in written)
    assert [one.written_at for one in entries] == sorted(
        (one.written_at for one in entries), reverse=True
    )
    assert len(history(chain.spec, FIELD.name, chain.workspace, 2)) == 2
    with pytest.raises(NoDataError, match="no cube over 'nowhere'"):
        history(chain.spec, "nowhere", chain.workspace)


def test_a_bad_partition_goes_back_and_stays_there(chain, in_sandbox):
    good, renewed = rewrite(chain, DAY, in_sandbox)
    bad = pixels(chain, DAY)
    partition = chain.partition(DAY)
    done = roll_back(chain.spec, partition, chain.workspace, good, "stripes")

    np.testing.assert_array_equal(pixels(chain, DAY), pixels(chain, DAY, good))
    assert np.any(pixels(chain, DAY) != bad)
    assert history(chain.spec, FIELD.name, chain.workspace)[0].snapshot == done.commit
    # What was made of the bad cube is asked for, the cube is not.
    assert held_back(chain) == [("indices", False)]

    kept = run_stage(chain.spec, "cube", partition, chain.workspace)
    assert (kept.outcome, kept.fingerprint) == ("unchanged", done.recorded)
    assert "rolled back" in kept.note
    assert "stripes" in kept.note
    run_stage(chain.spec, "indices", partition, chain.workspace)
    assert held_back(chain) == [("cube", True)]

    # Inputs that change end the hold by themselves.
    in_sandbox.control.withdraw(renewed)
    chain.run(DAY, "snapshot", "stack")
    assert held_back(chain) in ([], [("cube", False)])
    run_stage(chain.spec, "cube", partition, chain.workspace)
    run_stage(chain.spec, "indices", partition, chain.workspace)
    assert held_back(chain) == []


def test_a_hold_that_ended_does_not_come_back_with_its_inputs(chain, in_sandbox):
    good, renewed = rewrite(chain, OTHER, in_sandbox)
    bad, partition = pixels(chain, OTHER), chain.partition(OTHER)
    roll_back(chain.spec, partition, chain.workspace, good)

    def follow() -> None:
        for stage in STAGES:
            run_stage(chain.spec, stage, partition, chain.workspace)

    in_sandbox.control.withdraw(renewed)
    follow()
    in_sandbox.control.arrive(renewed)
    follow()

    np.testing.assert_array_equal(pixels(chain, OTHER), bad)
    assert not release(partition, chain.workspace)
    in_sandbox.control.withdraw(renewed)


def test_a_person_can_end_a_hold(chain, in_sandbox):
    good, renewed = rewrite(chain, OTHER, in_sandbox)
    bad, partition = pixels(chain, OTHER), chain.partition(OTHER)
    roll_back(chain.spec, partition, chain.workspace, good)

    assert release(partition, chain.workspace)
    assert not release(partition, chain.workspace)
    run_stage(chain.spec, "cube", partition, chain.workspace)

    np.testing.assert_array_equal(pixels(chain, OTHER), bad)
    in_sandbox.control.withdraw(renewed)


def test_a_release_is_not_undone_by_a_rollback_that_fails(chain, monkeypatch):
    chain.run(DAY)
    partition, workspace = chain.partition(DAY), chain.workspace
    good = history(chain.spec, FIELD.name, workspace)[0].snapshot
    roll_back(chain.spec, partition, workspace, good)
    asked: list[Future[bool]] = []

    def fail(*_: object) -> None:
        asked.append(pool.submit(release, partition, workspace))
        wait(asked, timeout=1)  # it has to wait; if it does not, it is over by then
        raise ServiceError("the disk is gone")

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(Repository, "rollback", fail)
        with pytest.raises(ServiceError):
            roll_back(chain.spec, partition, workspace, good)

    assert asked[0].result()
    assert not storage.exists(workspace.layout.hold(partition))


def test_back_to_before_it_was_made_takes_back_what_was_made_of_it(chain):
    chain.run(OTHER)
    before = history(chain.spec, FIELD.name, chain.workspace)[0].snapshot
    chain.run(DAY)
    partition = chain.partition(DAY)
    page = chain.workspace.layout.published(partition, "indices")
    assert storage.listing(page)

    done = roll_back(chain.spec, partition, chain.workspace, before, "stripes")

    assert done.recorded == f"as in {before}"
    assert held_back(chain) == [("indices", False)]
    assert run_stage(chain.spec, "indices", partition, chain.workspace).outcome == "empty"
    assert not storage.listing(page)
    assert np.isnan(store_of(chain).open("indices")["NDVI"].sel(time=DAY)).all()
    assert held_back(chain) == [("cube", True)]
    assert run_stage(chain.spec, "indices", partition, chain.workspace).note.startswith("no data")

    assert release(partition, chain.workspace)
    assert run_stage(chain.spec, "cube", partition, chain.workspace).outcome == "written"
    assert run_stage(chain.spec, "indices", partition, chain.workspace).outcome == "written"
    assert storage.listing(page)


def test_a_rollback_that_is_killed_is_finished_by_the_next_run(chain, in_sandbox):
    good, renewed = rewrite(chain, DAY, in_sandbox)
    partition, workspace = chain.partition(DAY), chain.workspace
    bad = pixels(chain, DAY)
    for at in (1, 2):  # before the commit, and after it
        assert killed_rolling_back(chain.spec, partition, workspace, good, at)
        assert np.array_equal(pixels(chain, DAY), bad) is (at == 1)
        assert held_back(chain) == [("cube", False)]

        done = run_stage(chain.spec, "cube", partition, workspace)

        assert done.outcome == "written"
        assert "finished" in done.note
        assert "stripes" in done.note
        np.testing.assert_array_equal(pixels(chain, DAY), pixels(chain, DAY, good))
        assert run_stage(chain.spec, "cube", partition, workspace).outcome == "unchanged"
        run_stage(chain.spec, "indices", partition, workspace)
        assert held_back(chain) == [("cube", True)]

        assert release(partition, workspace)
        chain.run(DAY)
        np.testing.assert_array_equal(pixels(chain, DAY), bad)
    in_sandbox.control.withdraw(renewed)


def test_a_damaged_hold_stops_its_partition_only_and_says_how_to_end_it(chain):
    chain.run(DAY)
    chain.run(OTHER, "snapshot", "stack")
    partition, workspace = chain.partition(DAY), chain.workspace
    remedy = f"{workspace.layout.hold(partition)} is damaged .*{DAY} --release"
    for content in (b'{"refused": "ab', b"[]", b"{}", b'{"refused": 1, "snapshot": 2, "since": 3}'):
        storage.write_bytes(workspace.layout.hold(partition), content)

        held, behind = find_stale(chain.spec, workspace, [partition, chain.partition(OTHER)])

        assert re.search(remedy, held.held)
        assert (behind.partition.date, behind.stage, behind.held) == (OTHER, "cube", None)
        with pytest.raises(DamagedError, match=remedy):
            run_stage(chain.spec, "cube", partition, workspace)

    assert release(partition, workspace)
    assert run_stage(chain.spec, "cube", partition, workspace).outcome == "unchanged"


def test_an_unknown_snapshot_changes_nothing(chain):
    chain.run(DAY)
    before = history(chain.spec, FIELD.name, chain.workspace)

    with pytest.raises(ConfigurationError, match="no snapshot"):
        roll_back(chain.spec, chain.partition(DAY), chain.workspace, "0" * 20)

    assert history(chain.spec, FIELD.name, chain.workspace) == before
    assert held_back(chain) == []


def test_maintenance_frees_what_nobody_can_hold(chain, in_sandbox):
    good, renewed = rewrite(chain, DAY, in_sandbox)
    reader = store_of(chain).open("reflectance", decode=False, snapshot=good)
    present, past = pixels(chain, DAY), pixels(chain, DAY, good)

    (young,) = maintain(chain.workspace, keep=timedelta(days=1))
    assert (young.aoi, young.snapshots, young.bytes) == ("field", 0, 0)
    np.testing.assert_array_equal(reader["B04"].sel(time=DAY).to_numpy(), past)

    later = datetime.now(UTC) + timedelta(days=2)
    (old,) = maintain(
        chain.workspace, pipelines=[chain.spec.name], keep=timedelta(days=1), now=later
    )
    assert old.snapshots > 0
    assert old.bytes > 0
    np.testing.assert_array_equal(pixels(chain, DAY), present)
    with pytest.raises(ConfigurationError, match="expired"):
        pixels(chain, DAY, good)
    with pytest.raises(ConfigurationError, match="no cubes of strange"):
        list(maintain(chain.workspace, pipelines=["strange"], keep=timedelta(days=1)))
    in_sandbox.control.withdraw(renewed)


def test_a_plain_store_is_passed_by(in_sandbox, workspace):
    chain = Chain(spec_of("earth_search", store="zarr"), workspace)
    chain.run(DAY, "snapshot", "stack", "cube")

    (found,) = maintain(workspace, keep=timedelta(days=1))

    assert (found.bytes, found.failure) == (0, None)
    with pytest.raises(ConfigurationError, match="no snapshots"):
        roll_back(chain.spec, chain.partition(DAY), workspace, "x")
