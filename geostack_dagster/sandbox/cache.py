"""A cache bounded by bytes that makes each value once, however many threads ask."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class ByteCache[K: Hashable, V]:
    """Least recently used values up to a number of bytes."""

    def __init__(self, limit_bytes: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit_bytes
        self._size_of = size_of
        self._held: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._making: dict[K, Lock] = {}

    def peek(self, key: K) -> V | None:
        """The value if it is held."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value, made by `make` if it is not held; concurrent callers wait for one maker."""
        found = self.peek(key)
        if found is not None:
            return found
        with self._lock:
            making = self._making.setdefault(key, Lock())
        with making:
            found = self.peek(key)
            if found is None:
                found = make()
                self._keep(key, found)
        return found

    def _keep(self, key: K, value: V) -> None:
        with self._lock:
            self._making.pop(key, None)
            self._held[key] = value
            self._bytes += self._size_of(value)
            while self._bytes > self._limit and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= self._size_of(dropped)
