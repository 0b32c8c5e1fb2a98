"""Cubes in a plain Zarr v3 store: the same promises as far as single objects can keep them.

There is no transaction. A partition that is about to change loses its fingerprints first and gets
the new ones last, so after a crash it counts as unfinished and is written again; until then
readers may see some of its new pixels. Two writers of the same partition at once are not told
apart while they write pixels. There are no snapshots: no rollback, nothing to expire.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override
from uuid import uuid4

import obstore
import obstore.store
from obstore.exceptions import BaseError
from zarr.abc.store import Store
from zarr.storage import LocalStore, ObjectStore

from geostack_dagster.cube import chunkio
from geostack_dagster.cube.backend import Committed, Note, Settle
from geostack_dagster.cube.location import Location
from geostack_dagster.cube.store import Expired
from geostack_dagster.errors import ConfigurationError, NoDataError, ServiceError

_ROOT = "zarr.json"


class ZarrBackend:
    """A Zarr v3 hierarchy; the notes of its commits lie beside it."""

    transactional = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self._location = Location.parse(url)
        self._options = dict(options)

    @override
    def __repr__(self) -> str:
        """The URL and never the options, which may hold secrets."""
        return f"ZarrBackend({self.url!r})"

    def create(self) -> None:
        """Nothing to do: the first document makes the store."""

    def reader(self, snapshot: str | None = None) -> Store:
        """The store as it is."""
        if snapshot is not None:
            raise ConfigurationError(
                f"{self.url} is a plain Zarr store and keeps no snapshots; use kind='icechunk'"
            )
        store = self._store(read_only=True)
        with _translated(self.url):
            if not chunkio.get(store, [_ROOT]):
                raise NoDataError(f"there is no cube at {self.url} yet")
        return store

    def begin(self) -> "ZarrTransaction":
        """The store itself."""
        return ZarrTransaction(self._location, self._store(), self._store(".history"))

    def column(self, store: Store, path: str) -> dict[int, bytes]:
        """Every stored chunk, found by listing."""
        with _translated(self.url):
            names = chunkio.listed(store, f"{path}/c")
            keys = {f"{path}/c/{name}": int(name) for name in names if name.isdigit()}
            found = chunkio.get(store, keys)
        return {keys[key]: value for key, value in found.items()}

    def notes(self, limit: int | None) -> list[Note]:
        """Notes beside the store."""
        self.reader()
        store = self._store(".history", read_only=True)
        with _translated(self.url):
            names = sorted(chunkio.listed(store, ""), reverse=True)[:limit]
            found = chunkio.get(store, names)
        return [Note(None, _written_at(name), found[name].decode()) for name in names]

    def expire(self, older_than: datetime) -> Expired:
        """Nothing: there are no snapshots."""
        return Expired(snapshots=0, bytes=0)

    def _store(self, suffix: str = "", *, read_only: bool = False) -> Store:
        location = self._location
        if location.local:
            return LocalStore(Path(location.path + suffix), read_only=read_only)
        url = f"{location.scheme}://{location.bucket}/{location.path}{suffix}"
        try:
            return ObjectStore(obstore.store.from_url(url, **self._options), read_only=read_only)
        except BaseError as error:
            raise ConfigurationError(f"options of {url} do not fit: {error}") from error


class ZarrTransaction:
    """Writes that are visible at once; the lock keeps only the settling apart."""

    def __init__(self, location: Location, store: Store, history: Store) -> None:
        self._location = location
        self.store = store
        self._history = history

    def commit(self, note: str, settle: Settle) -> Committed | None:
        """Settle under the lock and keep the note."""
        with self._location.locked(), _translated(self._location.path):
            if not settle(self.store):
                return None
            name = f"{time.time_ns():020d}-{uuid4().hex[:8]}.json"
            chunkio.put(self._history, {name: note.encode()})
        return Committed(None, 1)


def _written_at(name: str) -> datetime:
    return datetime.fromtimestamp(int(name.partition("-")[0]) / 1e9, tz=UTC)


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NoDataError(f"there is no cube at {where} yet") from error
    except PermissionError as error:
        raise ConfigurationError(f"{where} refused: {error.strerror}") from error
    except (OSError, BaseError) as error:
        raise ServiceError(f"storage of {where} failed: {error}") from error
