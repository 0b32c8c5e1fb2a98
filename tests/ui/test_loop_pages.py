"""The pages of a detector after a training: what a person sees of model, gate and champion."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from geostack_dagster.components.partitions import AOIS
from geostack_dagster.pipeline.learning.spec import STAGES
from tests.pipeline.learning.sites import DETECTOR, build, label, names, sites
from tests.ui.conftest import free_port, stopped, wait_until_loaded

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

PROJECT = Path(__file__).parents[2]
PICTURES = {
    "challenger": ("loss_curve",),
    "evaluation": ("before_after", "reliability"),
    "gate": ("before_after",),
    "champion": ("before_after",),
}
NUMBERS = {
    "training_set": ("gate_plumes", "nearest_km"),
    "challenger": ("parameters", "training_seconds"),
    "evaluation": ("average_precision", "calibration_error"),
    "gate": ("decision", "failed_checks"),
    "champion": ("champion", "history"),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Address of a UI over a detector that was trained and promoted by a run."""
    home = tmp_path_factory.mktemp("loop")
    loop = build(home / "storage")
    label(loop, sites(loop))
    variables = {"SMALL_LOOP": str(home / "storage"), "DAGSTER_HOME": str(home / "dagster")}
    (home / "dagster").mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        defs = importlib.import_module("tests.ui.small_loop").defs
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions(AOIS.name or "", names(loop))
            result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey([DETECTOR, noun]) for noun in STAGES],
                run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            )
            assert result.success
    port = free_port()
    where = f"http://127.0.0.1:{port}"
    serve = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    with (home / "webserver.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *serve, "-m", "tests.ui.small_loop", "-d", str(PROJECT)],
            env=os.environ | variables,
            cwd=PROJECT,
            stdout=log,
            stderr=log,
        )
    with stopped(process):
        wait_until_loaded(where, process, home / "webserver.log")
        yield where


@pytest.fixture(scope="module")
def visitor(url, person):
    """A person at this UI; it is made first, for the browser brings an event loop of its own."""
    person.url = url
    return person


@pytest.mark.parametrize("noun", STAGES)
def test_a_page_shows_pictures_numbers_and_what_it_is(visitor, noun):
    visitor.visit(f"/assets/{DETECTOR}/{noun}?view=overview")
    visitor.sees("Latest materialization")
    visitor.sees("Freshness policy")
    visitor.sees("methane")  # its owners
    for name in NUMBERS[noun]:
        visitor.sees(name)
    visitor.photograph(f"loop_{noun}")
    for name in PICTURES.get(noun, ()):
        assert visitor.opens_the_picture(name) > 400
        visitor.photograph(f"loop_{noun}_{name}")
        visitor.closes_the_picture(name)


def test_the_blocking_check_of_the_gate_tells_why(visitor):
    visitor.visit(f"/assets/{DETECTOR}/gate?view=checks")
    visitor.sees("promotable")
    visitor.sees(re.compile(r"promote: better than the classical baseline: \+"))
    visitor.photograph("loop_gate_check")


def test_the_console_had_no_complaint(visitor):
    assert visitor.complaints == []
