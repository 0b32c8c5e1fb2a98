"""A Zarr store as plain keys and bytes: from any thread, with this package's errors."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zarr.abc.store import Store
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync

from geostack_dagster.cube.failure import translated

# Requests in flight. Icechunk hands each answer over on a thread that waits for the interpreter:
# with 256 they grew to 500 in a soak, with 32 to 150, and no read took longer.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one state of a repository."""

    store: Store
    where: str
    """For messages: the repository."""

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Bytes of those keys that exist."""
        with translated(self.where):
            return sync(self._get(list(keys)))

    def put(self, values: Mapping[str, bytes | None]) -> None:
        """Set each key to its bytes, or delete it where they are None."""
        with translated(self.where):
            sync(self._put(values))

    def listed(self, prefix: str) -> list[str]:
        """Names directly below a prefix; empty when it does not exist."""
        with translated(self.where):
            return sync(self._listed(prefix))

    def below(self, prefix: str) -> list[str]:
        """Every key of a group, in order."""
        with translated(self.where):
            return sync(self._below(f"{prefix}/"))

    def everything(self) -> dict[str, bytes]:
        """Every key and its bytes; for small stores."""
        with translated(self.where):
            return sync(self._everything())

    async def _get(self, keys: list[str]) -> dict[str, bytes]:
        gate, prototype = asyncio.Semaphore(_AT_ONCE), default_buffer_prototype()

        async def one(key: str) -> bytes | None:
            async with gate:
                found = await self.store.get(key, prototype)
            return None if found is None else found.to_bytes()

        values = await asyncio.gather(*(one(key) for key in keys))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def _put(self, values: Mapping[str, bytes | None]) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str, value: bytes | None) -> None:
            async with gate:
                if value is None:
                    await self.store.delete(key)
                else:
                    await self.store.set(key, cpu.Buffer.from_bytes(value))

        # Icechunk refuses a chunk of an array, and an array of a group, that it does not know yet.
        documents = [key for key in values if key.endswith("zarr.json")]
        for key in sorted(documents, key=lambda key: key.count("/")):
            await one(key, values[key])
        chunks = values.keys() - documents
        await asyncio.gather(*(one(key, values[key]) for key in chunks))

    async def _listed(self, prefix: str) -> list[str]:
        return [name async for name in self.store.list_dir(prefix)]

    async def _below(self, prefix: str) -> list[str]:
        return sorted([key async for key in self.store.list_prefix(prefix)])

    async def _everything(self) -> dict[str, bytes]:
        return await self._get([key async for key in self.store.list()])
