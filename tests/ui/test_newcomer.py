"""A newcomer's first half hour in the UI of `make dev`, in order; pictures are kept in out/ui."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from geostack_dagster.definitions import defs

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

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


@pytest.fixture(scope="module")
def newcomer(dev, person):
    """The person, at the UI of `make dev`."""
    person.url = dev
    return person


def test_the_graph_shows_every_pipeline(newcomer):
    newcomer.visit("/asset-groups")
    for pipeline in PIPELINES:
        newcomer.sees(pipeline)
    newcomer.sees_no_more("fetching statuses")
    newcomer.photograph("graph")


@pytest.fixture(scope="module")
def maker(newcomer):
    """The newcomer with a partition of every pipeline made; what builds on it fails without it."""
    for pipeline in PIPELINES:
        newcomer.materialize(pipeline, DAY, (AOI,), partitions=1)
    newcomer.waits_for_runs(len(PIPELINES))
    return newcomer


def test_a_partition_of_every_pipeline_is_made_from_the_ui(maker):
    maker.photograph("runs")
    for pipeline in PIPELINES:
        maker.visit(f"/assets/{pipeline}/cube?view=partitions")
        maker.sees("Materialized (1)")


def test_the_quicklook_is_on_the_asset_page(maker):
    maker.visit(f"/assets/{FILLED}/indices?view=overview")
    maker.sees("Spectral indices over clear pixels")
    maker.photograph("asset")
    assert maker.opens_the_picture(f"NDVI {DAY}") > 100
    maker.photograph("quicklook")


def test_a_backfill_of_a_range_of_dates_over_two_aois_is_seen_to_finish(maker):
    maker.materialize(FILLED, RANGE, AOIS, partitions=6)
    maker.waits_for_the_backfill(6)
    maker.photograph("backfill")
    maker.visit(f"/assets/{FILLED}/cube?view=partitions")
    maker.sees("Materialized (7)")
    maker.photograph("partitions")


def test_a_sensor_that_is_turned_on_ticks_and_says_why(maker):
    maker.turns_on("aoi_sensor")
    maker.reads_of_a_tick(re.compile("2 AOIs registered, no new file in"))
    maker.photograph("aoi_sensor")
    maker.turns_on(f"{FILLED}_reconcile")
    maker.reads_of_a_tick(re.compile("partitions looked at.*all as they should be"))
    maker.photograph("reconcile_sensor")


def test_the_report_stands_alone_and_shows_what_was_made(maker, home, tmp_path):
    page = tmp_path / "report.html"
    command = [str(Path(sys.executable).parent / "geostack"), "report", "--out", str(page)]
    variables = os.environ | {"GEOSTACK_STORAGE": str(home / "storage")}
    subprocess.run(command, env=variables, check=True, capture_output=True)
    asked = []
    maker.page.on("request", lambda request: asked.append(request.url))
    maker.page.goto(page.as_uri())
    maker.sees("Places and plumes")
    for pipeline in PIPELINES:
        assert maker.page.get_by_role("heading", name=pipeline, exact=True).is_visible()
    pictures = maker.page.get_by_role("img", name=re.compile("^Quicklook of "))
    widths = pictures.evaluate_all("found => found.map(image => image.naturalWidth)")
    assert len(widths) > len(PIPELINES)
    assert min(widths) > 100
    wide = maker.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0  # nothing has to be scrolled sideways
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    maker.photograph("report", whole=True)


def test_the_console_had_no_complaint(newcomer):
    assert newcomer.complaints == []
