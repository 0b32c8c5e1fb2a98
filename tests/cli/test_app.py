"""The command line: what it prints, and how it refuses."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from geostack_dagster.cli.app import app
from geostack_dagster.cli.demo import _stage
from geostack_dagster.cli.scores import _score

RUN = CliRunner()
SEARCH = ("snapshot", "earth_search", "sentinel-2-l2a")
TIMES = ("--start", "2024-06-01", "--end", "2024-07-01")


def test_explain_speaks_json_and_tables(shared_fixtures):
    item = shared_fixtures / "items/es/sentinel-2-l2a/S2A_32TMT_20200305_1_L2A.json"

    spoken = RUN.invoke(app, ["explain", str(item), "--json"])
    shown = RUN.invoke(app, ["explain", str(item)])

    assert json.loads(spoken.stdout)["provider"] == "earth_search"
    assert "B04" in shown.stdout
    assert "applying both would subtract twice" in " ".join(shown.stdout.split())


def test_snapshot_is_written_without_dagster(in_sandbox, tmp_path):
    target = tmp_path / "found.parquet"
    asked = [*SEARCH, str(target), *TIMES, "--bbox", "7.84,46.96,7.9,47.0", "--json"]

    result = RUN.invoke(app, [*asked, "--where", "eo:cloud_cover<=60"])

    facts = json.loads(result.stdout)
    assert result.exit_code == 0
    assert facts["items"] == 5
    assert [one["reason"] for one in facts["superseded"]] == ["processing baseline 02.14 < 05.10"]
    assert target.is_file()
    assert target.with_suffix(".json").is_file()


# Dagster's component loader; nothing of ours calls it.
@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")
def test_plan_reads_no_pixel(in_sandbox):
    from geostack_dagster.sandbox import AOIS

    asked = ["plan", "earth_search_s2", "--aoi", str(AOIS / "emmental.geojson"), *TIMES, "--json"]

    result = RUN.invoke(app, asked, catch_exceptions=False)
    facts = json.loads(result.stdout)

    assert (facts["partitions"], facts["partitions_with_items"]) == (30, 6)
    assert facts["bytes"] > 0
    assert all(entry["host"].startswith("earth-search") for entry in in_sandbox.control.log())


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("--bbox", "7.9,46.95,7.87,47"), "swap them"),
        (("--bbox", "7.8,47,7.87,46"), "south 47.0 not below north 46.0"),
        (("--bbox", "1,2,3"), "must be four finite degrees"),
        ((), "give either --bbox"),
        (("--bbox", "7,46,8,47", "--where", "cloudy"), "is no comparison"),
    ],
)
def test_a_wrong_ask_is_named_and_exits_with_2(tmp_path, asked, named):
    result = RUN.invoke(app, [*SEARCH, str(tmp_path / "x.parquet"), *TIMES, *asked])

    assert result.exit_code == 2
    assert named in " ".join(result.output.split())


def test_the_demo_fails_when_a_partition_or_a_score_is_missing():
    done = {"outcome": "written", "seconds": 1.0, "bytes_read": 5}

    assert _stage({"a": done, "b": done}, 2)["status"] == "ok"
    assert _stage({"a": done}, 2)["status"] == "incomplete"
    assert _score(np.array([0.001, -0.002]), "NDVI")["ok"]
    assert not _score(np.array([0.02]), "NDVI")["ok"]
    assert not _score(np.empty(0), "NDVI")["ok"]
