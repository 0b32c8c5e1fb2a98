"""What a store of cubes needs from the technology below it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.store import Expired

type Chunks = Mapping[str, bytes | None]
"""Bytes by key; None deletes."""

type Settle = Callable[[Keys], bool]
"""Looks at the newest state and adds the bookkeeping; False abandons the commit.

May be called several times, each time with a newer state.
"""


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that was made, and how many attempts it took."""

    snapshot: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Note:
    """A commit's note as it was stored."""

    snapshot: str | None
    written_at: datetime | None
    text: str


class Part(Protocol):
    """Pixels that another process adds to a transaction; travels there empty and back full."""

    def holding(self, chunks: Chunks) -> Self:
        """A part that holds these chunks; they are stored when it returns."""
        ...


class Transaction(Protocol):
    """Changes that nobody sees before they are committed."""

    @property
    def keys(self) -> Keys:
        """Where pixels go, from any thread."""
        ...

    def part(self) -> Part:
        """An empty part, for as many processes as like."""
        ...

    def merge(self, parts: Iterable[Part]) -> None:
        """Take back the parts that others filled."""
        ...

    def commit(self, note: str, settle: Settle) -> Committed | None:
        """Publish the changes on top of the newest state; None if `settle` abandoned them.

        Raises:
            ConflictError: If other writers came first in every attempt.
            ServiceError: If this machine's clock is far behind that of another writer.
        """
        ...


class Backend(Protocol):
    """One repository: a tree of Zarr keys with a history."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    @property
    def transactional(self) -> bool:
        """Whether pixels written into a transaction stay invisible until its commit."""
        ...

    def create(self) -> None:
        """Create the repository unless it exists; safe under concurrency."""
        ...

    def reader(self, snapshot: str | None = None) -> Keys:
        """The present state, or an earlier one, read-only.

        Raises:
            NoDataError: If the repository does not exist.
        """
        ...

    def begin(self) -> Transaction:
        """A new transaction on the present state."""
        ...

    def column(self, keys: Keys, path: str) -> dict[int, bytes]:
        """Every stored chunk of a one-dimensional array, by index."""
        ...

    def notes(self, limit: int | None) -> list[Note]:
        """Notes of the commits, newest first."""
        ...

    def expire(self, older_than: datetime) -> Expired:
        """Remove snapshots that others followed before an instant, and what only they hold."""
        ...
