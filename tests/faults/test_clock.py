"""Machines whose clocks are apart: a commit waits, or says that clocks are to be set."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geostack_dagster.cube.store import open_store
from geostack_dagster.errors import ServiceError
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, window

pytestmark = pytest.mark.faults

AHEAD = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += atol(getenv("SECONDS_AHEAD"));
  return failed;
}
"""
WRITE = """
import os, sys
from geostack_dagster.cube.store import open_store
from tests.cube import scenes
store = open_store(sys.argv[1])
store.ensure(scenes.SCHEMA)
scenes.write(store, {1: 2}, "made-2")
os._exit(0)
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that puts the clock of a process forward."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler to make a clock that is wrong")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "ahead.c").write_text(AHEAD)
    made = folder / "ahead.so"
    source = str(folder / "ahead.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), source], check=True)
    return made


def write_ahead(url: str, clock: Path, seconds: int) -> str:
    """A day, from a machine whose clock is ahead of ours; what it says if it fails."""
    ahead = {"LD_PRELOAD": str(clock), "SECONDS_AHEAD": str(seconds)}
    command = [sys.executable, "-c", WRITE, url]
    child = subprocess.run(
        command, env={**os.environ, **ahead}, capture_output=True, text=True, check=False
    )
    return child.stderr if child.returncode else ""


def test_a_commit_waits_until_the_other_clock_is_reached(tmp_path: Path, clock: Path):
    store = open_store(str(tmp_path / "cube"))
    store.ensure(SCHEMA)
    assert not write_ahead(store.url, clock, 4)
    assert scenes.write(store, {0: 1}, "made-1").written
    assert_holds(store, {0: 1, 1: 2})


def test_clocks_that_are_far_apart_are_no_damage(tmp_path: Path, clock: Path):
    store = open_store(str(tmp_path / "cube"))
    store.ensure(SCHEMA)
    assert not write_ahead(store.url, clock, 500)
    with pytest.raises(ServiceError, match=r"clock of this machine is \d+ s behind") as refused:
        scenes.write(store, {0: 1}, "made-1")
    assert 0 < (refused.value.retry_after_s or 0) < 500
    assert_holds(store, {0: None, 1: 2})
    assert store.fingerprint_of(SCHEMA.name, window(0)) is None


def test_a_clock_that_is_wrong_is_named(tmp_path: Path, clock: Path):
    store = open_store(str(tmp_path / "cube"))
    store.ensure(SCHEMA)
    said = write_ahead(store.url, clock, 5000)
    assert "ServiceError" in said
    assert "this machine's clock is wrong" in said
    assert_holds(store, {1: None})
