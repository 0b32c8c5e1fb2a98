"""The one background event loop that every read of this process runs on.

Reads are asked for from plain threads (odc-loader's pool, dask's workers, a Dagster step) and
served by one loop, so that connections are shared and thousands of requests need no thread each.
"""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_DRAIN_S = 2.0
_CORES = os.cpu_count() or 1


class _Background:
    """Loop, thread and pools; built on first use, forgotten in a forked child."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self.finalizers: list[weakref.finalize[Any, Any]] = []
        self.pools: dict[str, ThreadPoolExecutor] = {}


_background = _Background()


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop, started in a daemon thread when first asked for."""
    with _background.lock:
        if _background.loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="geostack-reads", daemon=True)
            thread.start()
            _background.loop, _background.thread = loop, thread
        return _background.loop


def wait[T](work: Coroutine[Any, Any, T]) -> T:
    """Result of `work`, run on the background loop while this thread waits.

    Raises:
        RuntimeError: If called on the background loop itself, where waiting would never end.
    """
    return _outcome(submit(work))


def submit[T](work: Coroutine[Any, Any, T]) -> "Future[T]":
    """A future of `work`, which starts on the background loop at once."""
    loop = background_loop()
    if threading.current_thread() is _background.thread:
        work.close()
        raise RuntimeError("reads cannot wait on the loop that serves them; await instead")
    return asyncio.run_coroutine_threadsafe(work, loop)


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of it at once; the first failure cancels the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in work:
                group.create_task(part)
    except BaseExceptionGroup as failures:
        # One reason is what a handler acts on; the others are mostly the same one again.
        first = failures.exceptions[0]
    else:
        return
    raise first


async def run[T](work: Callable[[], T], pool: ThreadPoolExecutor) -> T:
    """Result of plain code, run in a pool while the loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def decode_pool() -> ThreadPoolExecutor:
    """Threads that decode: one per core, because the codecs release the interpreter lock."""
    return _pool("decode", _CORES)


def fallback_pool() -> ThreadPoolExecutor:
    """Threads in which rasterio reads, waiting for its bytes."""
    return _pool("rasterio", 8)


def signing_pool() -> ThreadPoolExecutor:
    """Threads in which signers may wait for a token service."""
    return _pool("sign", 8)


def close_after(owner: object, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await `close` on the loop once `owner` is gone, or before the interpreter ends.

    `close` must not hold the owner, or it never goes.
    """
    finalizer = weakref.finalize(owner, _begin, close)
    with _background.lock:
        _background.finalizers = [each for each in _background.finalizers if each.alive]
        _background.finalizers.append(finalizer)


def _pool(name: str, size: int) -> ThreadPoolExecutor:
    with _background.lock:
        pool = _background.pools.get(name)
        if pool is None:
            pool = ThreadPoolExecutor(size, thread_name_prefix=f"geostack-{name}")
            _background.pools[name] = pool
        return pool


def _outcome[T](future: "Future[T]") -> T:
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


def _begin(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = _background.loop
    if loop is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)


async def _drained() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _shutdown() -> None:
    loop, thread = _background.loop, _background.thread
    if loop is None or thread is None:
        return
    for finalizer in _background.finalizers:
        finalizer()
    closing = asyncio.run_coroutine_threadsafe(_drained(), loop)
    try:
        closing.result(_DRAIN_S)
    except TimeoutError:
        closing.cancel()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_DRAIN_S)
    if not loop.is_running():
        loop.close()


# A forked child inherits the objects but not the threads behind them.
os.register_at_fork(after_in_child=_background.reset)
atexit.register(_shutdown)
