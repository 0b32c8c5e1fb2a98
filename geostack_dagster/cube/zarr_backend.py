"""Cubes in a plain Zarr v3 store: the same promises as far as single objects can keep them.

There is no transaction. A partition that is about to change loses its fingerprints first and gets
the new ones last, so after a crash it counts as unfinished and is written again; until then
readers may see some of its new pixels. Two writers of the same partition at once are not told
apart while they write pixels. There are no snapshots: no rollback, nothing to expire.

Writers of other partitions share the documents of the arrays, which say how far the axis reaches.
On a file system a lock keeps them apart; in a bucket each document is written only in place of the
one that was looked at, and never shortens its array.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast, override
from uuid import uuid4

import obstore
import obstore.store
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PreconditionError,
)
from zarr.abc.store import Store
from zarr.storage import LocalStore, ObjectStore

from geostack_dagster.cube.backend import Chunks, Committed, Note, Part, Settle
from geostack_dagster.cube.failure import translated
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.location import Location
from geostack_dagster.cube.store import Expired
from geostack_dagster.cube.template import is_along_time, longest
from geostack_dagster.errors import ConfigurationError, NoDataError

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, UpdateVersion

_ROOT = "zarr.json"
_ICECHUNK = {"refs", "snapshots"}
"""What every Icechunk repository of ours keeps in its root."""


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
        """Nothing to do, for the first document makes the store; but not inside of another kind.

        Raises:
            ConfigurationError: If there is an Icechunk repository.
        """
        keys, found = Keys(self._store(read_only=True), self.url), set[str]()
        with suppress(NoDataError):  # there is no such folder yet
            found.update(keys.listed(""))
        if _ROOT not in found and found >= _ICECHUNK:
            raise ConfigurationError(
                f"{self.url} is an Icechunk repository, and a plain Zarr store cannot be in it; "
                "use kind='icechunk' (`store: icechunk`), or another place (a pipeline of another "
                "name)"
            )

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
        kind = Keys if self._location.local else _SharedKeys
        return ZarrTransaction(self._location, kind(self._store(), self.url), history)

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


@dataclass(frozen=True)
class _SharedKeys(Keys):
    """Keys in a bucket, where another writer may lengthen the arrays at any time."""

    @override
    async def _put(self, values: Mapping[str, bytes | None]) -> None:
        shared = {
            key: value
            for key, value in values.items()
            if value is not None and key.endswith(f"/{_ROOT}") and is_along_time(value)
        }
        for key, document in shared.items():
            await self._lengthen(key, document)
        await super()._put({key: values[key] for key in values.keys() - shared})

    async def _lengthen(self, key: str, wanted: bytes) -> None:
        bucket = cast("ObjectStore[Any]", self.store).store
        while True:  # others come first at most as often as they lengthen it
            mode: PutMode = "create"
            document = wanted
            with suppress(FileNotFoundError, NotFoundError):
                found = await obstore.get_async(bucket, key)
                mode = _precondition(found.meta)
                document = longest(wanted, bytes(await found.bytes_async()))
            with suppress(AlreadyExistsError, FileNotFoundError, NotFoundError, PreconditionError):
                await obstore.put_async(bucket, key, document, mode=mode)
                return


def _precondition(meta: "ObjectMeta") -> "UpdateVersion":
    """That an object is still the one that was read, in what its service has to tell it by."""
    found: UpdateVersion = {}
    if meta["e_tag"] is not None:
        found["e_tag"] = meta["e_tag"]
    if meta["version"] is not None:
        found["version"] = meta["version"]
    return found


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
