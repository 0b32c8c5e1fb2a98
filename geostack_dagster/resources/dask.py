"""Where cubes are computed, as a Dagster resource."""

import os
from typing import Self

import dagster as dg

from geostack_dagster.engine import Engine

_SCHEDULER, _THREADS = "DASK_SCHEDULER_ADDRESS", "GEOSTACK_THREADS"


class DaskResource(dg.ConfigurableResource["DaskResource"]):
    """Threads of the run's own process, or a Dask cluster by its address.

    The cluster's workers run the same image, see the same storage and hold the archives'
    credentials in their own environment: none is sent to them.
    """

    threads: int | None = None
    """Blocks read and encoded at a time; by default one for each request the archive allows."""
    scheduler: str | None = None
    """`tcp://host:8786` or `tls://host:8786`; threads where there is none."""

    @classmethod
    def from_environment(cls) -> Self:
        """The resource whose values are the variables that are set, read when a run starts."""
        return cls(
            threads=dg.EnvVar.int(_THREADS) if os.environ.get(_THREADS) else None,
            scheduler=dg.EnvVar(_SCHEDULER) if os.environ.get(_SCHEDULER) else None,
        )

    def engine(self) -> Engine:
        """The domain object behind the resource."""
        return Engine(threads=self.threads, scheduler=self.scheduler)
