"""Where lazy arrays are computed: threads of this process, or a Dask cluster by its address."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from dask.base import compute

from geostack_dagster.errors import ServiceError

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

_THREADS = 8
_CONNECT_S = 30.0
_PATIENCE_S = 120.0  # a cluster that scales with its work may have no worker yet
_LOOK_S = 2.0

_MOST_TOPICS = 64

_clients: dict[str, "Client"] = {}
_notes: OrderedDict[str, list[Any]] = OrderedDict()
_noting = Lock()


def note(topic: str, what: Any) -> list[Any]:
    """Have the process that started a computation learn of something; what was noted here so far.

    From within a block. A worker tells its scheduler, in one stream with the block's own end: who
    learns that a block is done can learn of its notes too, also when the worker has died since.

    Args:
        topic: Names the computation.
        what: Plain values, as JSON has them.
    """
    worker = _worker()
    if worker is not None:
        worker.log_event(topic, [what])  # it would add itself to a mapping
    with _noting:
        found = _notes.setdefault(topic, [])
        found.append(what)
        while len(_notes) > _MOST_TOPICS:
            _notes.popitem(last=False)
        return list(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Threads of this process unless a scheduler is named.

    A cluster's workers find their credentials in their own environment: none travels.
    """

    threads: int | None = None
    """Blocks at a time, where threads compute; None for what suits the work."""
    scheduler: str | None = None
    """Address of a Dask scheduler, `tcp://host:8786`; None for threads."""
    most: int | None = None
    """Blocks that may be read at once, where an archive limits that; None for no limit."""

    def limited(self, readers: int) -> "Engine":
        """The engine for an archive that allows so many reads at once."""
        return replace(self, threads=self.threads or readers, most=readers)

    @property
    def is_cluster(self) -> bool:
        """Whether other processes compute."""
        return self.scheduler is not None

    @property
    def processes(self) -> int:
        """Processes that compute.

        Raises:
            ServiceError: If the cluster does not answer.
        """
        return 1 if self.scheduler is None else len(self._chosen(_client(self.scheduler)))

    def compute(self, collections: Sequence[Any]) -> list[Any]:
        """Values of Dask collections; what a block raises is raised here.

        Raises:
            ServiceError: If the cluster does not answer, or loses its workers again and again.
        """
        if self.scheduler is None:
            workers = self.threads or _THREADS
            return list(compute(*collections, scheduler="threads", num_workers=workers))
        client = _client(self.scheduler)
        with _translated(self.scheduler):
            # Not those that join later: reads were shared out among these.
            chosen = self._chosen(client)
            futures = client.compute(list(collections), workers=chosen)
            try:
                _await(client, futures, chosen)
                return list(client.gather(futures))
            finally:
                client.cancel(futures)

    def everywhere[T](self, ask: Callable[[], T]) -> list[T]:
        """What a function says in each of the cluster's processes; nothing where threads compute.

        Raises:
            ServiceError: If the cluster does not answer.
        """
        if self.scheduler is None:
            return []
        with _translated(self.scheduler):
            return list(_client(self.scheduler).run(ask).values())

    def notes(self, topic: str) -> list[Any]:
        """Everything that was noted of a topic, wherever it was computed.

        Raises:
            ServiceError: If the cluster does not answer.
        """
        if self.scheduler is None:
            with _noting:
                return list(_notes.get(topic, ()))
        with _translated(self.scheduler):
            return [what for _, (what,) in _client(self.scheduler).get_events(topic)]

    def _chosen(self, client: "Client") -> list[str]:
        """Workers that together have no more threads than reads are allowed; one at least."""
        chosen: list[str] = []
        threads = 0
        for address, count in sorted(_workers(client).items()):
            threads += count
            if chosen and self.most is not None and threads > self.most:
                break
            chosen.append(address)
        return chosen


def _worker() -> "Worker | None":
    """The worker of a cluster whose block this is; None in a process of its own."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def _workers(client: "Client") -> dict[str, int]:
    """Threads of each worker."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: int(facts["nthreads"]) for address, facts in workers.items()}


def _client(address: str) -> "Client":
    """This process's connection to a cluster that has a worker; a new one if it broke."""
    from distributed import Client

    try:
        client = _clients.get(address)
        if client is None or client.status != "running":
            client = _clients[address] = Client(address, set_as_default=False, timeout=_CONNECT_S)
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"no Dask cluster with workers answers at {address} ({type(error).__name__}); start "
            "it, or leave the scheduler out to compute in threads"
        ) from error
    return client


@contextmanager
def _translated(address: str) -> Iterator[None]:
    """What becomes of a cluster, as this package's errors; those of the work pass as they are."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ServiceError(
            f"workers of the Dask cluster at {address} died of this work again and again; they "
            "may lack memory: look at their logs"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise ServiceError(f"the Dask cluster at {address} went away; try again later") from error


def _await(client: "Client", futures: Sequence["Future[Any]"], workers: Collection[str]) -> None:
    """Return when all are done or one has failed.

    Raises:
        ServiceError: If none of the workers is left; the scheduler would wait for them for ever.
    """
    from distributed import wait

    pending = set(futures)
    while pending:
        try:
            with client.as_current():
                done, pending = wait(pending, timeout=_LOOK_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            if not _workers(client).keys() & set(workers):
                raise ServiceError(
                    "all Dask workers that had this work died; the next attempt takes others"
                ) from None
        else:
            if any(future.status == "error" for future in done):
                return
