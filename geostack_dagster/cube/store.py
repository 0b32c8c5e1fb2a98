"""A store of cubes: data, bookkeeping and ledger of a partition appear together or not at all.

`open_store` gives one by URL. Two kinds keep the same promises but one: Icechunk commits are
transactions; a plain Zarr store has none, so there a partition that is being rewritten is marked
as unfinished first and as finished last (`zarr_backend`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

import xarray as xr

from geostack_dagster import __version__
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.cube.schema import CubeSchema
from geostack_dagster.cube.slots import Slot, SlotRecord
from geostack_dagster.domain.days import Window
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from geostack_dagster.cube.backend import Backend

type Kind = Literal["icechunk", "zarr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Who writes and from what; the note of a commit."""

    pipeline: str
    partition: str
    fingerprint: str
    """Of everything the partition is made from; the same one again is not written again."""
    code_version: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport:
    """What a write did."""

    written: bool
    """False when the partition was current and nothing was touched."""
    snapshot: str | None = None
    """Of the commit; None when nothing was written, or the store has no snapshots."""
    rewritten: tuple[date, ...] = ()
    kept: tuple[date, ...] = ()
    """Days whose own fingerprint had not changed."""
    cleared: tuple[date, ...] = ()
    chunks: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    attempts: int = 0
    """Commits tried: more than one when other writers came first."""
    fingerprint: str | None = None
    """What the partition is recorded to be made from, if it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One commit."""

    snapshot: str | None
    written_at: datetime | None
    action: str
    commit: Commit | None
    """None for commits that were not made for a partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What a maintenance run removed."""

    snapshots: int
    bytes: int


class CubeStore(Protocol):
    """Cubes below one URL, one group for each product."""

    @property
    def url(self) -> str:
        """Where the cubes are."""
        ...

    def ensure(self, schema: CubeSchema) -> CubeSchema:
        """Create the cube, add its new variables, or find it as it is; the schema as stored.

        Raises:
            IntegrityError: If the stored cube differs; the message names the member.
        """
        ...

    def schema(self, group: str) -> CubeSchema:
        """Schema of a cube.

        Raises:
            NoDataError: If there is no such cube.
        """
        ...

    def write(
        self,
        group: str,
        window: Window,
        data: xr.Dataset,
        slots: Sequence[SlotRecord],
        commit: Commit,
        *,
        force: bool = False,
    ) -> WriteReport:
        """Make the partition hold exactly this data, in one commit.

        Days of the window without a record are emptied. Days whose fingerprint is the recorded
        one are kept, and a partition whose fingerprint is the recorded one is not touched, unless
        `force`. What a record's `ledger` raises abandons the write.

        Days of which something was unread are partial: their fingerprints and the partition's say
        so (`is_partial`), so the same write again makes them again, and them only.

        Args:
            group: Name of the cube.
            window: Solar days of the partition; the time axis grows to hold them.
            data: Variables of the cube on its grid; `time` holds solar days. Floats given for a
                packed variable are physical values, integers are stored as they are.
            slots: One record for each day of `data`, and for days of which nothing was readable.
            commit: Its fingerprint covers the whole partition.
            force: Write even what is current.

        Raises:
            ConfigurationError: If the data is not of this partition and grid; nothing was read.
            ConflictError: If another writer changed the same days meanwhile; nothing was written.
        """
        ...

    def clear(self, group: str, window: Window, commit: Commit) -> WriteReport:
        """Empty every day of the partition; the fingerprint says what found it empty."""
        ...

    def is_current(self, group: str, window: Window, fingerprint: str) -> bool:
        """Whether the partition was made from inputs of this fingerprint."""
        ...

    def fingerprint_of(self, group: str, window: Window) -> str | None:
        """Fingerprint of the partition's inputs; None if it was never written as a whole."""
        ...

    def slots(self, group: str, window: Window | None = None) -> list[Slot]:
        """Days that were ever written or cleared, in order; none if there is no cube.

        Of a partition, or of the whole cube: 5,000 days take 0.2 s.
        """
        ...

    def ledger(self, group: str, window: Window | None = None) -> list[LedgerRow]:
        """Every ledger entry, in order of days; of a partition, or of the whole cube."""
        ...

    def open(
        self,
        group: str,
        *,
        snapshot: str | None = None,
        chunks: Mapping[str, int] | None = None,
        decode: bool = True,
    ) -> xr.Dataset:
        """The cube as a lazy dataset of one snapshot, which later commits do not change.

        Days that hold nothing are there, as fill values; `item_count > 0` selects the others.

        Args:
            group: Name of the cube.
            snapshot: An earlier state; None for the present one.
            chunks: Makes it dask-backed; None reads when indexed.
            decode: Whether to apply scale, offset and fill value; False gives what is stored.

        Raises:
            NoDataError: If there is no such cube.
            ConflictError: If a store without transactions is just being extended.
        """
        ...

    def history(self, limit: int | None = None) -> list[HistoryEntry]:
        """Commits, newest first."""
        ...

    def rollback(self, group: str, window: Window, snapshot: str, commit: Commit) -> WriteReport:
        """Make the partition hold what it held in an earlier snapshot, fingerprints included.

        One that the snapshot does not hold as a whole, be it because nobody had written it yet, is
        recorded to be made from the commit's fingerprint.

        Raises:
            ConfigurationError: If the store keeps no snapshots.
        """
        ...

    def expire(self, keep: timedelta, *, now: datetime | None = None) -> Expired:
        """Forget snapshots older than `keep` and remove what only they hold.

        Readers of a snapshot and writers in progress must be younger than `keep`.

        Raises:
            ConfigurationError: If `keep` is shorter than an hour.
        """
        ...


def open_store(
    url: str,
    *,
    kind: Kind = "icechunk",
    options: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> CubeStore:
    """Store of cubes below a path or a `file://`, `s3://`, `az://` or `gs://` URL.

    Writers may run beside each other. On a file system they take a lock beside the repository to
    commit, so it must be one that locks (a local disk, NFS 4); S3, Azure Blob and Google Cloud
    Storage have conditional writes. A plain Zarr store has none: there, writers of one partition
    at once are not told apart. Tested with many writers on a file system, on Azurite and on moto;
    `gs://` is untested.

    Args:
        url: Need not exist; it is created by the first `ensure`.
        kind: `icechunk`, or `zarr` for plain Zarr v3.
        options: Instead of what the environment says (`geostack_dagster.storage` lists its
            variables): keyword arguments of `icechunk.s3_storage`, `azure_storage` and
            `gcs_storage`, or of `obstore.store.from_url`.
        engine: Where lazy pixels are computed and encoded; None for threads. The workers of a
            cluster write as well: they need the same storage at the same URL, and its credential
            in their environment.

    Raises:
        ConfigurationError: If the URL's scheme is unknown, an option is missing, or options were
            given that would have to travel to a cluster.
    """
    from geostack_dagster.cube.repository import Repository

    engine = engine or Engine()
    if engine.is_cluster and options:
        raise ConfigurationError(
            f"options of {url} may hold secrets and do not travel to a Dask cluster: set the "
            "variables that geostack_dagster.storage lists, here and where its workers run"
        )
    return Repository(backend_of(url, kind=kind, options=options), engine=engine)


def backend_of(
    url: str, *, kind: Kind = "icechunk", options: Mapping[str, Any] | None = None
) -> "Backend":
    """The repository at `url`, whatever is kept in it; args and errors as `open_store`."""
    if kind == "icechunk":
        from geostack_dagster.cube.icechunk_backend import IcechunkBackend

        return IcechunkBackend(url, options or {})
    if kind == "zarr":
        from geostack_dagster.cube.zarr_backend import ZarrBackend

        return ZarrBackend(url, options or {})
    raise ConfigurationError(f"unknown kind of store {kind!r}; use 'icechunk' or 'zarr'")
