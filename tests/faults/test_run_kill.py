"""Runs of a cube that are killed: readers see whole states, and the same bytes in the end."""

import random
import signal
import time
from datetime import date
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from geostack_dagster.cube.store import Commit, open_store
from geostack_dagster.domain.days import Cadence
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.sandbox import Sandbox
from tests.cube import scenes
from tests.faults.chains import chain_at, cube_url, everything, onlooker, state
from tests.faults.killed import PRELOADED, run_cube
from tests.pipeline.conftest import Chain

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

MONTH = "2024-06-01"
KILLS = 20
LATENCY_S = 0.03
"""Of the archive, so that a run is long enough to die in many places."""


def monthly(root: Path) -> Chain:
    """A partition of several days, which are read and committed as one."""
    return chain_at(root, "planetary_computer", cadence=Cadence.MONTHLY, start=date(2024, 6, 1))


def started(chain: Chain, sandbox: Sandbox, folder: Path) -> ForkServerProcess:
    """The cube stage in a process that has just begun with it."""
    running = folder / "running"
    running.unlink(missing_ok=True)
    process = scenes.spawner(*PRELOADED).Process(
        target=run_cube,
        args=(chain.spec, chain.partition(MONTH), chain.workspace, sandbox.environment, folder),
    )
    process.start()
    while not running.exists():
        assert process.is_alive()
        time.sleep(0.002)
    return process


def emptied(chain: Chain) -> None:
    """Take the partition's days back, as if its Items had been withdrawn."""
    commit = Commit(pipeline=chain.spec.name, partition=MONTH, fingerprint="withdrawn")
    window = chain.partition(MONTH).window
    open_store(cube_url(chain)).clear(chain.spec.record.quantity, window, commit)


def stale_stage(chain: Chain) -> str | None:
    found = list(find_stale(chain.spec, chain.workspace, [chain.partition(MONTH)]))
    return found[0].stage if found else None


def test_killed_at_twenty_random_moments(in_sandbox, tmp_path):
    undisturbed = monthly(tmp_path / "undisturbed")
    undisturbed.run(MONTH, "snapshot", "stack", "cube")
    wanted, whole = everything(undisturbed), state(undisturbed)
    in_sandbox.control.fault(host="*.blob.core.windows.net", latency_s=LATENCY_S)

    chain = monthly(tmp_path / "storage")
    chain.run(MONTH, "snapshot", "stack")
    for _ in range(2):  # the first one starts the server of processes
        process = started(chain, in_sandbox, tmp_path)
        process.join()
        assert (process.exitcode, state(chain)) == (0, whole)
        emptied(chain)
    empty, takes_s = state(chain), float((tmp_path / "took").read_text())
    rng, died = random.Random(20240603), {empty: 0, whole: 0}
    with onlooker(chain) as seen:
        while sum(died.values()) < KILLS:
            process = started(chain, in_sandbox, tmp_path)
            time.sleep(rng.uniform(0, takes_s))
            process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                left = state(chain)
                assert left in (empty, whole), "a run that died left something half done"
                died[left] += 1
                assert stale_stage(chain) == ("cube" if left == empty else "indices")
                chain.run(MONTH, "cube")
            assert everything(chain) == wanted
            emptied(chain)
    assert set(seen) == {empty, whole}, "a reader saw something half done"
    assert died[empty] >= KILLS // 4, "the runs died too late"
