"""Two minutes of daemon and webserver with everything on; the full length is benchmarks/soak.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


def test_with_every_sensor_and_schedule_on_nothing_fails_and_nothing_is_made_twice(tmp_path):
    asked = ["--quick", "--pipelines", "earth_search_s2", "lpcloud_emit"]
    result = subprocess.run(
        [sys.executable, "benchmarks/soak.py", *asked, "--json", str(tmp_path / "soak.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, f"{result.stdout}\n{result.stderr[-3000:]}"
    facts = json.loads((tmp_path / "soak.json").read_text())
    assert facts["scenes"]["publish"] > 0
    assert facts["made"]["written"] > 0
    assert facts["ticks"]["SUCCESS"] > 0
    assert (facts["failed_runs"], facts["failed_ticks"], facts["twice"]) == ([], [], [])
    servers = {"code server", "code server, proxy", "daemon", "dagster dev", "webserver"}
    assert facts["servers"].keys() == servers
    assert {one["flat"] for one in facts["servers"].values()} == {None}  # two minutes do not tell
    assert all(min(one["mib"]) > 50 and min(one["files"]) > 2 for one in facts["servers"].values())
