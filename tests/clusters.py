"""Dask clusters of processes on loopback, for the tests that need one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from distributed import LocalCluster


@contextmanager
def cluster_of(
    workers: int, *, threads: int = 2, environment: Mapping[str, str] | None = None
) -> Iterator[LocalCluster]:
    """A cluster whose workers are processes, with these variables in their environment."""
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        env=dict(environment or {}),
    ) as running:
        yield running
