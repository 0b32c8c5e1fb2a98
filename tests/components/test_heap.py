"""What sensors import is set aside for good; what ticks leave is collected soon."""

import gc
import sys
from types import ModuleType

import pytest

from geostack_dagster.components.heap import Heap


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
