"""Cubes in an Icechunk repository: every commit is a transaction on branch `main`.

Pixels are written into a fork of a session, and the fork is merged into a session on the newest
state at each attempt to commit. Unlike a rebase this costs the same however many commits came
between, and is not refused when another writer extended the time axis meanwhile.

Importing icechunk starts threads: a process forked afterwards waits for ever at its first use.
Start processes by spawning them, or fork before this module is imported.

Repositories are made in version 1 of Icechunk's format: version 2 keeps the list of all
snapshots in one file that each commit rewrites and keeps a copy of, so a commit costs twice as
much after 1,000 others and their copies take 48 MB (`benchmarks/cube.py`).
"""

import random
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice
from typing import Any, Self, override

import icechunk
from icechunk import (
    ManifestConfig,
    ManifestPreloadCondition,
    ManifestPreloadConfig,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    ManifestSplittingConfig,
    RepositoryConfig,
)
from icechunk.config import SplitSizesDict
from zarr.core.sync import sync

from geostack_dagster import storage
from geostack_dagster.cube.backend import Chunks, Committed, Note, Part, Settle
from geostack_dagster.cube.failure import translated
from geostack_dagster.cube.icechunk_storage import icechunk_storage, silence
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.location import Location
from geostack_dagster.cube.store import Expired
from geostack_dagster.errors import ConfigurationError, ConflictError, ServiceError

_BRANCH = "main"
_ATTEMPTS = 20
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 5.0
_CLOCKS_APART_S = 5.0
_MANIFEST_SLOTS = 64
_FORMAT = 1
_OWN = {"config.yaml", "refs", "snapshots", "manifests", "transactions", "chunks"}
"""What Icechunk keeps in the root of a repository."""


class IcechunkBackend:
    """An Icechunk repository on a file system or an object store."""

    transactional = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self.location = Location.parse(url)
        self._storage = icechunk_storage(self.location, options)

    @override
    def __repr__(self) -> str:
        """The URL and never the options, which may hold secrets."""
        return f"IcechunkBackend({self.url!r})"

    def create(self) -> None:
        """Create the repository unless it exists."""
        if "repository" in self.__dict__:
            return
        with translated(self.url), self.location.locked():
            for config in (_configuration(), None):
                if not icechunk.Repository.exists(self._storage):
                    self._initialize(config)

    def _initialize(self, config: RepositoryConfig | None) -> None:
        """Create the repository; over what a creator left who died, and never over anything else.

        A creator may have died with the branch unwritten and the configuration written, or the
        other way round: a second one with a configuration is a conflict, which changes nothing.
        """
        create = partial(
            icechunk.Repository.create, self._storage, config=config, spec_version=_FORMAT
        )
        with suppress(icechunk.ConflictError):
            try:
                create()
            except icechunk.InvalidInputError:  # something is there
                if not {path.partition("/")[0] for path in storage.listing(self.url)} <= _OWN:
                    raise
                create(check_clean_root=False)

    @cached_property
    def repository(self) -> icechunk.Repository:
        """The repository, opened once.

        Raises:
            NoDataError: If it does not exist.
        """
        with translated(self.url):
            # Stated again, lest a creator died before it was stored.
            return icechunk.Repository.open(self._storage, config=_configuration())

    def reader(self, snapshot: str | None = None) -> Keys:
        """The tip of the branch, or a snapshot."""
        with translated(self.url):
            if snapshot is None:
                session = self.repository.readonly_session(_BRANCH)
            else:
                session = self._past(snapshot)
        return Keys(session.store, self.url)

    def _past(self, snapshot: str) -> icechunk.Session:
        try:
            return self.repository.readonly_session(snapshot_id=snapshot)
        except icechunk.StorageError as error:
            if error.kind != icechunk.ErrorKind.OBJECT_NOT_FOUND:
                raise
            raise ConfigurationError(
                f"{self.url} has no snapshot {snapshot}, or it expired; see its history"
            ) from error

    def begin(self) -> "IcechunkTransaction":
        """A fork of a session on the tip of the branch."""
        with translated(self.url):
            session = self.repository.writable_session(_BRANCH)
            return IcechunkTransaction(self, session)

    def column(self, keys: Keys, path: str) -> dict[int, bytes]:
        """Every stored chunk, straight from the manifests: 5,000 in 0.05 s instead of 0.7 s."""
        with translated(self.url):
            found, elsewhere = sync(_inlined(keys, path))
        larger = keys.get(elsewhere)
        return found | {elsewhere[key]: value for key, value in larger.items()}

    def notes(self, limit: int | None) -> list[Note]:
        """Ancestry of the branch."""
        with translated(self.url):
            ancestry = islice(self.repository.ancestry(branch=_BRANCH), limit)
            return [Note(entry.id, entry.written_at, entry.message) for entry in ancestry]

    def expire(self, older_than: datetime) -> Expired:
        """Expire snapshots that were not the newest any more, then collect older garbage.

        Age alone does not tell: a snapshot of last year that another followed a minute ago is what
        readers opened until then.
        """
        with translated(self.url), self.location.locked():
            ancestry = self.repository.ancestry(branch=_BRANCH)
            newest = next((one for one in ancestry if one.written_at <= older_than), None)
            expired = self.repository.expire_snapshots(newest.written_at) if newest else ()
            removed = self.repository.garbage_collect(older_than)
        return Expired(snapshots=len(expired), bytes=removed.bytes_deleted)


class IcechunkTransaction:
    """Pixels in a fork, merged into the newest state when committed."""

    def __init__(self, backend: IcechunkBackend, session: icechunk.Session) -> None:
        self._backend = backend
        self._session = session
        self._fork = session.fork()
        self.keys = Keys(self._fork.store, backend.url)

    def part(self) -> "IcechunkPart":
        """A fork that may be pickled; of the storage it holds what the backend was told."""
        with translated(self._backend.url):
            return IcechunkPart(self._session.fork(), self._backend.url)

    def merge(self, parts: Iterable[Part]) -> None:
        """Take the forks into the transaction's own, whose keys see their chunks from now on."""
        forks = [part.fork for part in parts if isinstance(part, IcechunkPart)]
        if forks:
            with translated(self._backend.url):
                self._fork.merge(*forks)

    def commit(self, note: str, settle: Settle) -> Committed | None:
        """Commit on top of the newest state, again and again while others come first."""
        for attempt in range(1, _ATTEMPTS + 1):
            with translated(self._backend.url), self._backend.location.locked():
                session = self._backend.repository.writable_session(_BRANCH)
                session.merge(self._fork)
                if not settle(Keys(session.store, self._backend.url)):
                    return None
                behind_s = 0.0
                try:
                    return Committed(session.commit(note), attempt)
                except icechunk.ConflictError:
                    pass  # on an object store another writer was faster
                except icechunk.FormatError as error:
                    if not _is_too_early(error):
                        raise
                    behind_s = self._behind_s()
            longest = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
            time.sleep(behind_s + random.uniform(0, longest))  # noqa: S311  # spreads writers, no secret
        raise ConflictError(
            f"gave up committing to {self._backend.url} after {_ATTEMPTS} attempts: other "
            "writers came first each time; run fewer writers at once (about 10 is practical)"
        )

    def _behind_s(self) -> float:
        """How long to wait until the newest commit, by another machine's clock, is in the past.

        Icechunk refuses a commit that is older than the one below it.

        Raises:
            ServiceError: If that is longer than clocks are apart that somebody looks after.
        """
        newest = next(self._backend.repository.ancestry(branch=_BRANCH))
        behind_s = (newest.written_at - datetime.now(tz=UTC)).total_seconds()
        if behind_s > _CLOCKS_APART_S:
            raise ServiceError(
                f"the clock of this machine is {behind_s:.0f} s behind the newest commit to "
                f"{self._backend.url}; nothing was written: set the clocks of all machines that "
                "write there (NTP)",
                retry_after_s=behind_s,
            )
        return max(behind_s, 0.0)


@dataclass(frozen=True, slots=True)
class IcechunkPart:
    """A fork of a session."""

    fork: icechunk.ForkSession
    url: str

    def holding(self, chunks: Chunks) -> Self:
        """A fork of this fork, which stays empty, with these chunks."""
        silence()
        with translated(self.url):
            fork = self.fork.fork()
        Keys(fork.store, self.url).put(chunks)
        return replace(self, fork=fork)


def _is_too_early(error: icechunk.FormatError) -> bool:
    """Whether a commit is older than the one below; the other error is that the clock is wrong."""
    return error.kind == icechunk.ErrorKind.SNAPSHOT_TIMESTAMP and "ordering" in error.message


def _configuration() -> RepositoryConfig:
    config = RepositoryConfig.default()
    along_time: SplitSizesDict = {
        ManifestSplitCondition.AnyArray(): {ManifestSplitDimCondition.Axis(0): _MANIFEST_SLOTS}
    }
    config.manifest = ManifestConfig(
        splitting=ManifestSplittingConfig.from_dict(along_time),
        # Preloading manifests of coordinates triples the cost of a small commit.
        preload=ManifestPreloadConfig(
            max_total_refs=0, preload_if=ManifestPreloadCondition.false()
        ),
    )
    return config


async def _inlined(keys: Keys, path: str) -> tuple[dict[int, bytes], dict[str, int]]:
    """Small chunks by index, and the keys of those that are not kept in the manifest."""
    if not isinstance(keys.store, icechunk.IcechunkStore):
        raise TypeError(f"expected a store of this backend, not {type(keys.store).__name__}")
    found: dict[int, bytes] = {}
    elsewhere: dict[str, int] = {}
    async for batch in keys.store.array_chunk_iterator(f"/{path}"):
        coordinates, inlined = batch[0], batch[-1]
        for row, index in enumerate(coordinates[:, 0].tolist()):
            if row in inlined:
                found[index] = inlined[row]
            else:
                elsewhere[f"{path}/c/{index}"] = index
    return found, elsewhere
