"""The heap of the code server: libraries stay for good, so the collector need not look at them.

Python looks for cycles among old objects only when a quarter as many came to them. Beside the half
million objects of the libraries that sensors import this takes longer than a quarter of an hour of
ticks, and meanwhile what they leave adds up: measured, 0.3 MiB a minute.

What ticks free must go back to the system, too. They run on half a dozen threads and let libraries
run on dozens more, and allocators keep what a thread frees for threads to come.
"""

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from threading import Lock

# Arrow's own allocator keeps some pages of every size for every thread that ever read a file:
# 31 MiB after a quarter of an hour of ticks, and rising, while nothing was allocated. The system's
# can be told to give back. Arrow asks when it is imported, which no definition does.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
_C = ctypes.CDLL(None)
_trim = getattr(_C, "malloc_trim", None)  # the GNU C library has it
_M_ARENA_MAX = -8  # of malloc.h
if _trim is not None and "MALLOC_ARENA_MAX" not in os.environ:
    # Otherwise eight heaps for each core, and each comes to hold as much as the largest tick that
    # ever ran on it. One a core lets the threads of a run allocate side by side. No thread has
    # started yet when definitions are loaded.
    _C.mallopt(_M_ARENA_MAX, max(4, os.cpu_count() or 1))


@dataclass(slots=True)
class Heap:
    """What of this process's heap was set aside."""

    modules: int = 0
    """How many were imported then."""

    def settle(self) -> None:
        """Give free memory back, and set aside what is there if modules were imported since."""
        with _settling:
            if len(sys.modules) > self.modules:
                self.modules = len(sys.modules)
                gc.collect()  # garbage that is set aside would stay
                gc.freeze()
                gc.collect()  # finds nothing, and so counts old objects from nought
        if _trim is not None:
            _trim(0)


_settling = Lock()
HEAP = Heap()
