"""Granules in the repository of a pipeline and AOI: a partition appears whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, override

import xarray as xr
import zarr

from geostack_dagster.cube.backend import Backend
from geostack_dagster.cube.change import note_text
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.cube.store import Commit, Kind, backend_of
from geostack_dagster.cube.swaths.book import (
    DAYS,
    StoredGranule,
    group_document,
    made_from,
    read_days,
    written_days,
)
from geostack_dagster.cube.swaths.reading import Granule, granule
from geostack_dagster.cube.swaths.restoring import restore
from geostack_dagster.cube.swaths.writing import (
    GranuleRecord,
    SwathReport,
    carry_out,
    planned,
)
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import IntegrityError, NoDataError

_MARK = "geostack:swaths"


class SwathStore:
    """Granules of one quantity in one repository, beside the cubes that are there."""

    def __init__(self, backend: Backend, quantity: str) -> None:
        self._backend = backend
        self.quantity = quantity

    @override
    def __repr__(self) -> str:
        return f"SwathStore({self._backend!r}, {self.quantity!r})"

    @property
    def url(self) -> str:
        """Where the repository is."""
        return self._backend.url

    def write(
        self,
        window: Window,
        records: Sequence[GranuleRecord],
        commit: Commit,
        *,
        force: bool = False,
    ) -> SwathReport:
        """Make the partition hold exactly these granules, in one commit.

        Granules whose fingerprint is the stored one are kept, others of the window are removed,
        and a partition whose fingerprint is the stored one is not touched, unless `force`.

        Raises:
            ConfigurationError: If a granule is not of this partition; nothing was read.
            ConflictError: If another writer changed the same days meanwhile; nothing was written.
        """
        self._ensure()
        before = read_days(self._backend.reader(), self.quantity, window.days)
        plan = planned(self.quantity, commit, before, records, force=force)
        if not force and made_from(before) == commit.fingerprint:
            return SwathReport(written=False, kept=tuple(one.id for one in records))
        return carry_out(plan, self._backend.begin(), transactional=self._backend.transactional)

    def clear(self, window: Window, commit: Commit) -> SwathReport:
        """Empty every day of the partition; the fingerprint says what found it empty."""
        return self.write(window, [], commit)

    def rollback(self, window: Window, snapshot: str, commit: Commit) -> SwathReport:
        """Make the partition hold the granules that it held in an earlier snapshot.

        One that the snapshot does not hold as a whole, be it because nobody had written it yet, is
        recorded to be made from the commit's fingerprint.

        Raises:
            ConfigurationError: If the store keeps no snapshots, or not that one.
            ConflictError: If another writer changed the same days meanwhile; nothing was written.
        """
        old, now = self._backend.reader(snapshot), self._backend.reader()
        before, after = (read_days(keys, self.quantity, window.days) for keys in (now, old))
        if made_from(after) is None:
            own = commit.fingerprint
            after = {day: replace(record, made_from=own) for day, record in after.items()}
        done = restore(self.quantity, (before, after), old, self._backend.begin(), commit)
        return SwathReport(
            written=done is not None,
            snapshot=done.snapshot if done else None,
            rewritten=tuple(one.id for record in after.values() for one in record.granules),
            attempts=done.attempts if done else 0,
        )

    def is_current(self, window: Window, fingerprint: str) -> bool:
        """Whether the partition was made from inputs of this fingerprint."""
        return self.fingerprint_of(window) == fingerprint

    def fingerprint_of(self, window: Window) -> str | None:
        """Fingerprint of the partition's inputs; None if it was never written as a whole."""
        keys = self._present()
        return None if keys is None else made_from(read_days(keys, self.quantity, window.days))

    def granules(self, window: Window | None = None) -> list[StoredGranule]:
        """Granules of a partition or of the whole store, in order of days, then acquisition."""
        keys = self._present()
        if keys is None:
            return []
        days: list[date] = written_days(keys, self.quantity) if window is None else window.days
        book = read_days(keys, self.quantity, days)
        return [one for day in sorted(book) for one in book[day].granules]

    def ledger(self, window: Window | None = None) -> list[LedgerRow]:
        """What became of every file, in order of days."""
        keys = self._present()
        if keys is None:
            return []
        days: list[date] = written_days(keys, self.quantity) if window is None else window.days
        book = read_days(keys, self.quantity, days)
        return [
            LedgerRow(day, entry)
            for day in sorted(book)
            for entry in (
                *(entry for one in book[day].granules for entry in one.ledger),
                *book[day].unread,
            )
        ]

    def open(self, stored: StoredGranule, *, columns: int | None = None) -> xr.Dataset:
        """A granule as a lazy Dataset of the present state, which later commits do not change.

        Args:
            stored: One of `granules`.
            columns: Makes the quantity dask-backed, in blocks of so many; None reads when indexed.

        Raises:
            NoDataError: If there is no such granule any more.
        """
        return self._opened(self._reader(stored), stored, columns)

    def granule(self, stored: StoredGranule) -> Granule:
        """A granule for a retrieval; its values are read when they are sliced.

        Raises:
            NoDataError: If there is no such granule any more.
        """
        keys = self._reader(stored)
        path = f"{stored.path}/{self.quantity}"
        values = zarr.open_array(keys.store, path=path, mode="r")
        return granule(stored, self.quantity, self._opened(keys, stored, None), values)

    def _opened(self, keys: Keys, stored: StoredGranule, columns: int | None) -> xr.Dataset:
        dataset: xr.Dataset = xr.open_zarr(
            keys.store, group=stored.path, chunks=None, consolidated=False
        )
        if columns is None:
            return dataset
        return dataset.assign({self.quantity: dataset[self.quantity].chunk(crosstrack=columns)})

    def _reader(self, stored: StoredGranule) -> Keys:
        keys = self._backend.reader()
        if not keys.get([f"{stored.path}/zarr.json"]):
            raise NoDataError(f"there is no granule {stored.id} at {self.url} any more")
        return keys

    def _present(self) -> Keys | None:
        try:
            keys = self._backend.reader()
        except NoDataError:
            return None
        return keys if keys.get([f"{self.quantity}/zarr.json"]) else None

    def _ensure(self) -> None:
        """Make the groups that all granules are in, unless they are there.

        Raises:
            IntegrityError: If something else has their name.
        """
        self._backend.create()
        if self._present() is None:
            self._backend.begin().commit(note_text(f"ensure {self.quantity}"), self._settle)
        (found,) = self._backend.reader().get([f"{self.quantity}/zarr.json"]).values()
        if _MARK.encode() not in found:
            raise IntegrityError(
                f"{self.quantity!r} at {self.url} is a cube on a grid; granules need a repository "
                "of another pipeline"
            )

    def _settle(self, newest: Keys) -> bool:
        wanted = {
            "zarr.json": group_document({}),
            f"{self.quantity}/zarr.json": group_document({_MARK: 1}),
            f"{self.quantity}/{DAYS}/zarr.json": group_document({}),
        }
        found = newest.get(wanted)
        newest.put({key: value for key, value in wanted.items() if key not in found})
        return f"{self.quantity}/zarr.json" not in found


def open_swaths(
    url: str,
    quantity: str,
    *,
    kind: Kind = "icechunk",
    options: Mapping[str, Any] | None = None,
) -> SwathStore:
    """Store of granules below a path or a `file://`, `s3://`, `az://` or `gs://` URL.

    Args:
        url: A repository, of cubes too; need not exist, it is created by the first write.
        quantity: What the granules measure: name of their group and of their array.
        kind: `icechunk`, or `zarr` for plain Zarr v3, where nothing is transactional.
        options: Credentials and endpoint, as for `open_store`.

    Raises:
        ConfigurationError: If the URL's scheme is unknown or an option is missing.
    """
    return SwathStore(backend_of(url, kind=kind, options=options), quantity)
