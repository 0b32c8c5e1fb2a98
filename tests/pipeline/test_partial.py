"""What cannot be read: budget, ledger, flags, and the same bytes once the archive is well again."""

import json
from pathlib import Path

import numpy as np
import pytest

from geostack_dagster.cube.ledger import Status
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.quality import Quality
from geostack_dagster.errors import AssetError, OverBudgetError
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.workspace import Workspace
from tests.faults.chains import everything, stale
from tests.pipeline.conftest import FIELD, Chain, spec_of

DAY = "2024-07-03"
"""One Item of four bands."""
OVERLAP = "2024-06-23"
"""Items that overlap."""


@pytest.fixture
def chain(in_sandbox, workspace) -> Chain:
    return Chain(spec_of("planetary_computer", max_soft_errors=0.25), workspace)


def url_of(chain: Chain) -> str:
    return chain.workspace.layout.cube(chain.spec.name, FIELD.name)


def cube_of(chain: Chain, day: str = DAY):
    opened = open_store(url_of(chain)).open(chain.spec.record.quantity, decode=False)
    return opened.sel(time=day).load()


def ledger_of(chain: Chain, day: str = DAY):
    window = chain.partition(day).window
    rows = open_store(url_of(chain)).ledger(chain.spec.record.quantity, window)
    return {(row.entry.item, row.entry.asset): row.entry for row in rows}


def undisturbed(tmp_path: Path, day: str = DAY, **changes: object) -> dict[str, bytes]:
    workspace = Workspace(str(tmp_path / "undisturbed"))
    workspace.pin(FIELD)
    chain = Chain(spec_of("planetary_computer", **changes), workspace)
    chain.run(day)
    return everything(chain)


def test_within_the_budget_a_partition_is_kept_as_partial(chain, in_sandbox, tmp_path):
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(path="*B08*", status=404)
    report = chain.run(DAY, "cube")["cube"]

    assert report.outcome == "partial"
    assert (report.facts["assets"], report.facts["soft_errors"]) == (4, 1)
    assert report.tables["unreadable_by_reason"] == [{"reason": "http-404", "assets": 1}]
    assert "1 of 4 assets unreadable (http-404: 1)" in report.note
    found = ledger_of(chain)
    lost = [entry for entry in found.values() if entry.status is not Status.READ]
    assert [(one.asset, one.status, one.reason, one.http_status) for one in lost] == [
        ("B08", Status.MISSING, "http-404", 404)
    ]
    assert len(found) == 4
    cube = cube_of(chain)
    assert not cube.B08.any()
    assert cube.B04.any()
    assert set(np.unique(cube.quality)) <= {Quality.UNREADABLE, Quality.UNREADABLE | Quality.MASKED}

    assert stale(chain, DAY).stage == "indices"
    chain.run(DAY, "indices")
    assert stale(chain, DAY) is None, "nothing else is to be done as long as nobody asks"
    in_sandbox.control.clear_faults()
    again = chain.run(DAY, "cube", "indices")
    assert again["cube"].outcome == "written"
    assert again["cube"].fingerprint != report.fingerprint
    assert again["indices"].outcome == "written"
    assert everything(chain) == undisturbed(tmp_path)


def test_beyond_the_budget_nothing_is_written_and_the_attempt_is_on_record(chain, in_sandbox):
    chain.run(DAY, "snapshot", "stack")
    for band in ("B08", "B02"):
        in_sandbox.control.fault(path=f"*{band}*", status=404)
    with pytest.raises(OverBudgetError, match=r"2 of 4 assets cannot be read, 1 may be.*B0"):
        chain.run(DAY, "cube")
    assert ledger_of(chain) == {}
    kept = attempt.read(chain.partition(DAY), chain.workspace)
    assert {row.entry.reason for row in kept.rows} == {"http-404"}
    assert {row.entry.asset for row in kept.rows} == {"B08", "B02"}
    assert "http" not in json.dumps([row.entry.detail for row in kept.rows]).replace("https:", "")

    in_sandbox.control.clear_faults()
    assert chain.run(DAY, "cube")["cube"].outcome == "written"
    assert attempt.read(chain.partition(DAY), chain.workspace) is None


def test_without_a_budget_the_first_failure_is_raised_and_kept(in_sandbox, workspace):
    chain = Chain(spec_of("planetary_computer"), workspace)
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(path="*B08*", status=404)
    with pytest.raises(AssetError, match="B08") as failure:
        chain.run(DAY, "cube")
    assert not isinstance(failure.value, OverBudgetError)
    kept = attempt.read(chain.partition(DAY), workspace)
    assert [(row.entry.asset, row.entry.reason) for row in kept.rows] == [("B08", "http-404")]
