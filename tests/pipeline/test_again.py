"""Snapshots taken again for many partitions at once: the same verdicts, by fewer searches."""

from datetime import date, timedelta

import pytest

from geostack_dagster.pipeline.again import unchanged
from geostack_dagster.pipeline.report import Outcome
from tests.pipeline.conftest import Chain, spec_of

DAYS = [(date(2024, 7, 1) + timedelta(days=number)).isoformat() for number in range(10)]


@pytest.fixture
def chain(in_sandbox, workspace) -> Chain:
    found = Chain(spec_of("earth_search"), workspace)
    for day in DAYS:
        found.run(day, "snapshot")
    return found


def settled(chain: Chain) -> dict:
    return unchanged(chain.spec, [chain.partition(day) for day in DAYS], chain.workspace)


def test_the_report_is_that_of_the_stage_but_for_its_picture(chain):
    found = settled(chain)
    assert set(found) == {chain.partition(day) for day in DAYS}
    for day in DAYS:
        report, wanted = found[chain.partition(day)], chain.run(day, "snapshot")["snapshot"]
        assert report.outcome == wanted.outcome
        assert report.outcome is not Outcome.WRITTEN
        for name in ("fingerprint", "note", "facts", "tables", "rows", "columns", "bytes_read"):
            assert getattr(report, name) == getattr(wanted, name)


def test_what_the_catalogue_changed_is_left_to_the_stage(chain, in_sandbox):
    day = "2024-07-03"
    old = next(
        one["id"]
        for one in in_sandbox.control.listed()
        if one["archive"] == "earth_search" and "20240703" in one["id"] and "32TMT" in one["id"]
    )
    in_sandbox.control.reprocess(old)
    assert {partition.date for partition in settled(chain)} == set(DAYS) - {day}


def test_a_snapshot_that_is_missing_or_damaged_is_left_to_the_stage(chain):
    from geostack_dagster import storage

    layout = chain.workspace.layout
    storage.write_bytes(layout.snapshot(chain.partition("2024-07-03")), b"damaged")
    storage.delete(layout.snapshot(chain.partition("2024-07-04")))
    assert {partition.date for partition in settled(chain)} == set(DAYS) - {
        "2024-07-03",
        "2024-07-04",
    }


def test_a_catalogue_that_does_not_answer_settles_nothing(chain, in_sandbox):
    in_sandbox.control.fault(status=400, path="*search*")
    assert settled(chain) == {}
