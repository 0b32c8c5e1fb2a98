"""What sensors import is set aside for good; what ticks leave is collected soon, and given back."""

import ctypes
import gc
import os
import subprocess
import sys
from types import ModuleType

import psutil
import pytest

from geostack_dagster.components.heap import Heap

_ON_GNU = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library"
)


def test_the_heap_is_set_aside_when_something_was_imported_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heap = Heap()
    try:
        heap.settle()
        aside = gc.get_freeze_count()
        assert aside > len(sys.modules)
        kept = [[] for _ in range(1000)]
        heap.settle()
        assert gc.get_freeze_count() <= aside
        monkeypatch.setitem(sys.modules, "imported_later", ModuleType("imported_later"))
        heap.settle()
        assert gc.get_freeze_count() >= aside + len(kept)
    finally:
        gc.unfreeze()


@_ON_GNU
def test_memory_below_what_is_still_in_use_is_given_back() -> None:
    heap, process = Heap(modules=sys.maxsize), psutil.Process()
    held = [b"x" * (4000 + at % 2) for at in range(25_000)]  # 95 MiB, each too small to be mapped
    scattered = held[::50]
    held.clear()
    before = process.memory_info().rss
    heap.settle()
    assert before - process.memory_info().rss > 50 * 2**20
    assert len(scattered) == 500


_SERVER = """
import ctypes, sys, threading
import geostack_dagster.definitions as code

code.defs()
assert "pyarrow" not in sys.modules
import pyarrow

gate = threading.Barrier(30)
def work():
    gate.wait()
    held = [b"x" * 4000 for _ in range(100)]
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(30)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(pyarrow.default_memory_pool().backend_name, flush=True)
library = ctypes.CDLL(None)
library.fdopen.restype = ctypes.c_void_p
library.malloc_info(0, ctypes.c_void_p(library.fdopen(1, b"w")))
library.fflush(None)
"""


@_ON_GNU
def test_definitions_leave_few_heaps_and_arrow_takes_memory_from_them() -> None:
    ours = ("ARROW_DEFAULT_MEMORY_POOL", "MALLOC_ARENA_MAX")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        check=True,
    )
    pool, _, heaps = done.stdout.partition("\n")
    assert pool == "system"
    assert 1 <= heaps.count("<heap nr=") <= max(4, os.cpu_count() or 1)
