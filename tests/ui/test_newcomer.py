"""A newcomer's first half hour in the UI of `make dev`, in order; pictures are kept in out/ui."""

import re

import pytest

from geostack_dagster.definitions import defs

pytestmark = [pytest.mark.ui, pytest.mark.timeout(3600)]

PIPELINES = sorted(
    {
        spec.group_name
        for spec in defs().resolve_all_asset_specs()
        if spec.key.path[-1] == "snapshot" and spec.group_name
    }
)
DAY, AOI = "2024-06-13", "rio_cuarto"
RANGE, AOIS = "[2024-06-02...2024-06-04]", ("emmental", "rio_cuarto")
FILLED = "earth_search_s2"
RUNS_MS = 1_500_000
"""Ten runs, two at a time: two minutes on a machine with nothing else to do."""


def test_the_graph_shows_every_pipeline(person):
    person.visit("/asset-groups")
    for pipeline in PIPELINES:
        person.sees(pipeline)
    person.photograph("graph")


def test_a_partition_of_every_pipeline_is_made_from_the_ui(person):
    for pipeline in PIPELINES:
        person.materialize(pipeline, DAY, (AOI,))
    person.waits_for_runs(len(PIPELINES), within_ms=RUNS_MS)
    person.photograph("runs")


def test_the_quicklook_is_on_the_asset_page(person):
    person.visit(f"/assets/{FILLED}/indices?view=overview")
    person.sees("Spectral indices over clear pixels")
    person.photograph("asset")
    row = person.page.get_by_role("row").filter(has_text=f"NDVI {DAY}")
    row.get_by_text("Show Markdown").click()
    picture = person.page.get_by_role("img", name=f"NDVI {DAY}")
    picture.wait_for()
    width = picture.evaluate("image => image.naturalWidth")
    assert width > 100
    person.photograph("quicklook")


def test_a_backfill_of_a_range_of_dates_over_two_aois_is_seen_to_finish(person):
    person.materialize(FILLED, RANGE, AOIS)
    person.visit("/runs")
    person.page.get_by_role("tab", name="Backfills").click()
    person.sees("6 partitions")
    person.sees(re.compile("^(Completed|Success)$"), within_ms=RUNS_MS)
    person.photograph("backfill")
    person.visit(f"/assets/{FILLED}/cube?view=partitions")
    person.sees("Materialized (7)")
    person.photograph("partitions")


def test_a_sensor_that_is_turned_on_ticks_and_says_why(person):
    person.turns_on("aoi_sensor")
    person.reads_the_last_tick()
    person.sees(re.compile("2 AOIs registered, no new file in"))
    person.photograph("aoi_sensor")
    person.turns_on(f"{FILLED}_reconcile")
    person.reads_the_last_tick()
    person.sees(re.compile("partitions looked at.*all as they should be"))
    person.photograph("reconcile_sensor")


def test_the_console_had_no_complaint(person):
    assert person.complaints == []
