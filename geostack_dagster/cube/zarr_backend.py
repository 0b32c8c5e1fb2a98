"""Cubes in a plain Zarr v3 store: the same promises as far as single objects can keep them.

There is no transaction. A partition that is about to change loses its fingerprints first and gets
the new ones last, so after a crash it counts as unfinished and is written again; until then
readers may see some of its new pixels. Two writers of the same partition at once are not told
apart while they write pixels. There are no snapshots: no rollback, nothing to expire.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, override
from uuid import uuid4

import obstore
import obstore.store
from obstore.exceptions import BaseError
from zarr.abc.store import Store
from zarr.storage import LocalStore, ObjectStore

from geostack_dagster.cube.backend import Chunks, Committed, Note, Part, Settle
from geostack_dagster.cube.failure import translated
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.location import Location
from geostack_dagster.cube.store import Expired
from geostack_dagster.errors import ConfigurationError, NoDataError

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

    def reader(self, snapshot: str | None = None) -> Keys:
        """The store as it is."""
        if snapshot is not None:
            raise ConfigurationError(
                f"{self.url} is a plain Zarr store and keeps no snapshots; use kind='icechunk'"
            )
        keys = Keys(self._store(read_only=True), self.url)
        if not keys.get([_ROOT]):
            raise NoDataError(f"there is no cube at {self.url} yet")
        return keys

    def begin(self) -> "ZarrTransaction":
        """The store itself."""
        history = Keys(self._store(".history"), self.url)
        return ZarrTransaction(self._location, Keys(self._store(), self.url), history)

    def column(self, keys: Keys, path: str) -> dict[int, bytes]:
        """Every stored chunk, found by listing."""
        names = keys.listed(f"{path}/c")
        places = {f"{path}/c/{name}": int(name) for name in names if name.isdigit()}
        return {places[key]: value for key, value in keys.get(places).items()}

    def notes(self, limit: int | None) -> list[Note]:
        """Notes beside the store."""
        self.reader()
        keys = Keys(self._store(".history", read_only=True), self.url)
        names = sorted(keys.listed(""), reverse=True)[:limit]
        found = keys.get(names)
        return [Note(None, _written_at(name), found[name].decode()) for name in names]

    def expire(self, older_than: datetime) -> Expired:
        """Nothing: there are no snapshots."""
        return Expired(snapshots=0, bytes=0)

    def _store(self, suffix: str = "", *, read_only: bool = False) -> Store:
        location = self._location
        if location.local:
            return LocalStore(Path(location.path + suffix), read_only=read_only)
        url = f"{location.scheme}://{location.bucket}/{location.path}{suffix}"
        # obstore finds the account by itself, but then it panics when zarr asks for its repr.
        account = {"account_name": location.account} if location.account else {}
        try:
            store = obstore.store.from_url(url, **{**account, **self._options})
        except BaseError as error:
            said = str(error).partition("\n")[0]
            raise ConfigurationError(f"options of {url} do not fit: {said}") from None
        return ObjectStore(store, read_only=read_only)


class ZarrTransaction:
    """Writes that are visible at once; the lock keeps only the settling apart."""

    def __init__(self, location: Location, keys: Keys, history: Keys) -> None:
        self._location = location
        self.keys = keys
        self._history = history

    def part(self) -> "ZarrPart":
        """The store by its address."""
        return ZarrPart(self.keys.where)

    def merge(self, parts: Iterable[Part]) -> None:
        """Nothing to do: what others wrote is there."""

    def commit(self, note: str, settle: Settle) -> Committed | None:
        """Settle under the lock and keep the note."""
        with translated(self._location.path), self._location.locked():
            if not settle(self.keys):
                return None
            name = f"{time.time_ns():020d}-{uuid4().hex[:8]}.json"
            self._history.put({name: note.encode()})
        return Committed(None, 1)


@dataclass(frozen=True, slots=True)
class ZarrPart:
    """A store, set up by the environment of the process that writes."""

    url: str

    def holding(self, chunks: Chunks) -> Self:
        """Write the chunks; nothing has to be remembered."""
        ZarrBackend(self.url, {}).begin().keys.put(chunks)
        return self


def _written_at(name: str) -> datetime:
    return datetime.fromtimestamp(int(name.partition("-")[0]) / 1e9, tz=UTC)
