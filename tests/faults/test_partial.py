"""Assets that cannot be read, within a budget and beyond it: the ledger tells the story, and once
the archive is well again a rerun or the reconcile gives the bytes of an undisturbed run.
"""

from dataclasses import replace

import numpy as np
import pytest

from geostack_dagster.cube.ledger import Status
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.quality import Quality
from geostack_dagster.engine import Engine
from geostack_dagster.errors import OverBudgetError, ServiceError
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.rerun import Asked, find_reruns, make_again
from geostack_dagster.pipeline.spec import PipelineSpec
from tests.clusters import cluster_of
from tests.faults.chains import chain_at, cube_url, everything, reconcile, stale, state
from tests.pipeline.conftest import FIELD, Chain

pytestmark = pytest.mark.faults

DAY = "2024-07-03"
FIRST_BAND = {
    "planetary_computer": {"path": "*B02*"},
    "earth_search": {"path": "*B02*"},
    "cdse": {"path": "*B02*"},
}
WRONG = {
    "gone": ({"status": 404}, "http-404", Status.MISSING),
    "another file's bytes": ({"corrupt": True}, None, Status.INVALID),
    "busy": ({"status": 503, "retry_after_s": 3600.0}, "http-503", Status.FAILED),
    "truncated": ({"truncate_bytes": 700}, None, None),
}


@pytest.fixture(params=FIRST_BAND)
def provider(request) -> str:
    return request.param


def ledger_of(chain: Chain):
    rows = open_store(cube_url(chain)).ledger(chain.spec.record.quantity)
    return {(row.day, row.entry.item, row.entry.asset): row.entry for row in rows}


def reruns(chain: Chain, reason: str = "*"):
    return list(find_reruns(chain.spec, chain.workspace, [FIELD.name], Asked(reason=reason)))


@pytest.mark.parametrize("kind", WRONG)
def test_within_the_budget(provider, kind, in_sandbox, tmp_path):
    fault, reason, status = WRONG[kind]
    wanted = chain_at(tmp_path / "undisturbed", provider)
    wanted.run(DAY)
    chain = chain_at(tmp_path / "disturbed", provider, max_soft_errors=0.25)
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(**fault, **FIRST_BAND[provider])
    report = chain.run(DAY, "cube")["cube"]

    assert report.outcome == "partial"
    assert report.facts["soft_errors"] == 1
    (entry,) = [one for one in ledger_of(chain).values() if one.status is not Status.READ]
    assert reason in (None, entry.reason)
    assert status in (None, entry.status)
    assert entry.detail
    cube = open_store(cube_url(chain)).open("reflectance", decode=False).sel(time=DAY).load()
    assert not cube.B02.any()
    assert (cube.quality.to_numpy() & Quality.UNREADABLE).all()

    assert reconcile(chain, DAY) == "indices", "outputs follow what there is"
    assert stale(chain, DAY) is None
    assert [one.stage for one in reruns(chain, entry.reason)] == [
        "snapshot" if kind == "gone" else "cube"
    ]
    in_sandbox.control.clear_faults()
    (rerun,) = reruns(chain)
    made = dict(make_again(chain.spec, chain.workspace, rerun))
    assert made["cube"].outcome == made["indices"].outcome == "written"
    assert everything(chain) == everything(wanted)
    assert reruns(chain) == []


def test_beyond_the_budget_the_old_pixels_stay(provider, in_sandbox, tmp_path):
    chain = chain_at(tmp_path / "storage", provider, max_soft_errors=0.25)
    chain.run(DAY)
    before = state(chain)
    other = replace(chain, spec=changed(chain.spec))
    other.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(status=404, path="*B0[24]*")
    with pytest.raises(OverBudgetError, match="2 of 4"):
        other.run(DAY, "cube")
    assert state(chain) == before
    kept = attempt.read(chain.partition(DAY), chain.workspace)
    assert (kept.stage, kept.error) == ("cube", "OverBudgetError")
    assert {row.entry.reason for row in kept.rows} == {"http-404"}

    in_sandbox.control.clear_faults()
    assert [one.is_kept for one in reruns(other, "http-404")] == [False]
    assert reconcile(other, DAY) == "cube"
    assert reruns(other) == []
    assert attempt.read(chain.partition(DAY), chain.workspace) is None


def changed(spec: PipelineSpec) -> PipelineSpec:
    return replace(spec, resampling="bilinear")


def test_a_storm_beyond_the_budget_is_to_be_tried_later(in_sandbox, tmp_path):
    chain = chain_at(tmp_path, "planetary_computer", max_soft_errors=0.25)
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(status=503, retry_after_s=3600.0, host="*.blob.core.windows.net")
    with pytest.raises(ServiceError) as failure:
        chain.run(DAY, "cube")
    assert (failure.value.status, failure.value.retry_after_s) == (503, 3600)
    (rerun,) = reruns(chain, "http-5*")
    assert (rerun.stage, rerun.is_kept) == ("cube", False)


def test_an_item_that_vanishes_is_forgiven_and_then_forgotten(in_sandbox, tmp_path):
    chain, day = chain_at(tmp_path, "planetary_computer", max_soft_errors=1.0), "2024-06-23"
    chain.run(day, "snapshot")
    rows = chain.run(day, "stack")["stack"].tables["radiometry"]
    gone = rows[0]["item"]
    in_sandbox.control.withdraw(gone)
    report = chain.run(day, "cube")["cube"]
    assert report.outcome == "partial"
    assert {one.item for one in ledger_of(chain).values() if one.status is Status.MISSING} == {gone}
    assert reconcile(chain, day) == "snapshot"
    assert gone not in {one.item for one in ledger_of(chain).values()}
    assert reruns(chain) == []


def test_the_service_that_renders(in_sandbox, tmp_path):
    wanted = chain_at(tmp_path / "undisturbed", "sentinel_hub")
    wanted.run(DAY)
    chain = chain_at(tmp_path / "disturbed", "sentinel_hub", max_soft_errors=1.0)
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(
        status=503, retry_after_s=3600e3, path="*/process*", method="POST", times=8
    )
    report = chain.run(DAY, "cube")["cube"]
    assert report.outcome == "partial"
    assert {one.reason for one in ledger_of(chain).values()} == {"http-503"}
    cube = open_store(cube_url(chain)).open("reflectance", decode=False).sel(time=DAY).load()
    np.testing.assert_array_equal(cube.quality, Quality.UNREADABLE)
    in_sandbox.control.clear_faults()
    (rerun,) = reruns(chain, "http-503")
    dict(make_again(chain.spec, chain.workspace, rerun))
    assert everything(chain) == everything(wanted)


def test_a_cluster_tells_the_same_story(in_sandbox, tmp_path):
    held = {}
    with cluster_of(2, environment=in_sandbox.environment) as cluster:
        for name, engine in (
            ("threads", Engine()),
            ("cluster", Engine(scheduler=cluster.scheduler_address)),
        ):
            chain = chain_at(
                tmp_path / name, "planetary_computer", engine=engine, max_soft_errors=0.25
            )
            chain.run(DAY, "snapshot", "stack")
            in_sandbox.control.fault(path="*B02*", status=404)
            report = chain.run(DAY, "cube")["cube"]
            in_sandbox.control.clear_faults()
            assert (report.outcome, report.facts["soft_errors"]) == ("partial", 1)
            held[name] = everything(chain)
            kept = chain_at(tmp_path / f"{name}-strict", "planetary_computer", engine=engine)
            kept.run(DAY, "snapshot", "stack")
            in_sandbox.control.fault(path="*B0[24]*", status=404)
            with pytest.raises(Exception, match="B0"):
                kept.run(DAY, "cube")
            in_sandbox.control.clear_faults()
            assert {one.reasons["http-404"] > 0 for one in reruns(kept)} == {True}
    assert held["cluster"] == held["threads"]
