"""Dask workers that are killed in the middle of a write: the same bytes in the end, or nothing."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from distributed import LocalCluster

from geostack_dagster.cube.store import Commit, open_store
from geostack_dagster.domain.days import Cadence
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ServiceError
from geostack_dagster.sandbox import Sandbox
from tests.clusters import cluster_of
from tests.faults.chains import NOTHING, chain_at, cube_url, everything, onlooker, state
from tests.pipeline.conftest import Chain

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

MONTH = "2024-06-01"
LATENCY_S = 0.02
KILLS = (1, 1, 2)
"""Workers that die at once."""


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Iterator[LocalCluster]:
    with cluster_of(2, threads=1, environment=sandbox.environment) as running:
        yield running


def monthly(root: Path, engine: Engine | None = None) -> Chain:
    return chain_at(
        root, "earth_search", cadence=Cadence.MONTHLY, start=date(2024, 6, 1), engine=engine
    )


def kill(cluster: LocalCluster, count: int) -> None:
    """As the kernel does to processes that take too much memory; a nanny starts another."""
    for nanny in list(cluster.workers.values())[:count]:
        os.kill(nanny.process.pid, signal.SIGKILL)


def whole(cluster: LocalCluster) -> None:
    """Wait until all workers are there again."""
    while len(cluster.scheduler.workers) < len(cluster.workers):
        time.sleep(0.05)


def test_workers_that_die_while_they_write(in_sandbox, cluster, tmp_path):
    undisturbed = monthly(tmp_path / "undisturbed")
    undisturbed.run(MONTH, "snapshot", "stack", "cube")
    wanted, made = everything(undisturbed), state(undisturbed)
    in_sandbox.control.fault(host="sentinel-cogs*", latency_s=LATENCY_S)

    chain = monthly(tmp_path / "storage", Engine(scheduler=cluster.scheduler_address))
    window, group = chain.partition(MONTH).window, chain.spec.record.quantity
    chain.run(MONTH, "snapshot", "stack")
    began = time.monotonic()
    chain.run(MONTH, "cube")
    takes_s = time.monotonic() - began
    rng, survived = random.Random(4), 0
    for number, count in enumerate(KILLS):
        withdrawn = Commit(pipeline="", partition=MONTH, fingerprint=f"withdrawn {number}")
        open_store(cube_url(chain)).clear(group, window, withdrawn)
        empty = state(chain)
        whole(cluster)
        with onlooker(chain) as seen, ThreadPoolExecutor(1) as pool:
            run = pool.submit(chain.run, MONTH, "cube")
            time.sleep(rng.uniform(0.2, 0.8) * takes_s)
            alive = not run.done()
            kill(cluster, count)
            failure = run.exception()
        assert failure is None or isinstance(failure, ServiceError)
        survived += alive and failure is None
        assert set(seen) <= {empty, made}, "a reader saw something half done"
        assert state(chain) == (made if failure is None else empty)
        whole(cluster)
        chain.run(MONTH, "cube")
        assert everything(chain) == wanted
    assert survived, "no run outlived its workers"


def test_a_cluster_that_goes_away(in_sandbox, sandbox, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        with cluster_of(1, threads=1, environment=sandbox.environment) as brief:
            chain = monthly(tmp_path, Engine(scheduler=brief.scheduler_address))
            chain.run(MONTH, "snapshot", "stack")
            in_sandbox.control.fault(host="sentinel-cogs*", latency_s=0.2)
            run = pool.submit(chain.run, MONTH, "cube")
            while not brief.scheduler.tasks:
                assert not run.done(), run.exception()
                time.sleep(0.01)
        failure = run.exception()
    assert isinstance(failure, ServiceError), failure
    assert state(chain) == NOTHING
    assert everything(chain)
