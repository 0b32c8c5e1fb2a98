"""Plain reads and writes of keys in a Zarr store, from any thread."""

import asyncio
from collections.abc import Iterable, Mapping

from zarr.abc.store import Store
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

_AT_ONCE = 256  # requests in flight: more gains nothing and exhausts file handles


def get(store: Store, keys: Iterable[str]) -> dict[str, bytes]:
    """Bytes of those keys that exist."""
    return sync(fetch(store, list(keys)))


def put(store: Store, values: Mapping[str, bytes | None]) -> None:
    """Set each key to its bytes, or delete it where they are None."""
    sync(_put(store, values))


def contents(store: MemoryStore) -> dict[str, bytes]:
    """Every key of a store in memory."""
    return sync(_contents(store))


def listed(store: Store, prefix: str) -> list[str]:
    """Names directly below a prefix; empty when it does not exist."""
    return sync(_listed(store, prefix))


async def fetch(store: Store, keys: list[str]) -> dict[str, bytes]:
    """Bytes of those keys that exist; inside an event loop."""
    gate, prototype = asyncio.Semaphore(_AT_ONCE), default_buffer_prototype()

    async def one(key: str) -> bytes | None:
        async with gate:
            found = await store.get(key, prototype)
        return None if found is None else found.to_bytes()

    values = await asyncio.gather(*(one(key) for key in keys))
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


async def _put(store: Store, values: Mapping[str, bytes | None]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str, value: bytes | None) -> None:
        async with gate:
            if value is None:
                await store.delete(key)
            else:
                await store.set(key, cpu.Buffer.from_bytes(value))

    await asyncio.gather(*(one(key, value) for key, value in values.items()))


async def _contents(store: MemoryStore) -> dict[str, bytes]:
    return await fetch(store, [key async for key in store.list()])


async def _listed(store: Store, prefix: str) -> list[str]:
    return [name async for name in store.list_dir(prefix)]
