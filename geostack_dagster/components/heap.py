"""The heap of the code server: libraries stay for good, so the collector need not look at them.

Dagster opens its instance for every tick, and with it reads about sixty migration scripts for each
of its three databases, whose modules are cycles. Python looks for cycles among old objects only
when a quarter as many came to them. Beside the half million objects of the libraries that sensors
import, this takes ten minutes of ticks, and the memory of the server rises all the while: measured,
0.1 MiB for each opening of an instance, and 3 kB once the libraries are set aside.
"""

import gc
import sys
from dataclasses import dataclass
from threading import Lock


@dataclass(slots=True)
class Heap:
    """What of this process's heap was set aside."""

    modules: int = 0
    """How many were imported then."""

    def settle(self) -> None:
        """Set aside everything that is there, if modules were imported since the last time."""
        with _settling:
            if len(sys.modules) > self.modules:
                self.modules = len(sys.modules)
                gc.collect()  # garbage that is set aside would stay
                gc.freeze()
                gc.collect()  # finds nothing, and so counts old objects from nought


_settling = Lock()
HEAP = Heap()
