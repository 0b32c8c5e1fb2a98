"""A day in the life: scenes arrive late, change and go, a run is killed, the state is put right.

After each event every pipeline's reconcile sensor looks until it finds nothing to do. Then all that
is stored, of all pipelines over all AOIs, is compared with what was there before: exactly the
partition to which something happened may hold other bytes.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.changes import Changes, Place, State, between, look

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.sandbox.control import Control

LATE_DATE = "2024-07-13"
_TILE, _AOI = "32TMT", "emmental"
_CHANGED, _KILLED = "2024-07-03", "2024-06-08"
_HELD_BACK = {"path": "*SCL*", "latency_s": 120.0}
"""Pixels of one band of a killed run never come; the others are written meanwhile."""
_RUN = "import sys; from geostack_dagster.cli.demo import run_alone; run_alone(*sys.argv[1:])"
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Life:
    """The pipelines, and the archive behind the one to which things happen."""

    pipeline: str
    archive: str
    pipelines: Sequence[str]
    storage: Path
    control: "Control"
    materialize: Callable[..., bool]
    """Runs some assets of the pipeline for a date over AOIs."""
    tick: Callable[[str], Sequence["dg.RunRequest"]]
    """What one tick of a sensor asks for."""
    execute: Callable[["dg.RunRequest"], bool]
    bury: Callable[[], int]
    """Marks runs whose process died as failed, as Dagster's run monitoring does; how many."""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def play(self, asked: frozenset[Place]) -> list[dict[str, Any]]:
        """For each event what the sensors asked for, what became another and what had to.

        Args:
            asked: The partitions of the first backfill, which is over.
        """
        empty, filled = State({}, {}), look(self.storage)
        self._told("first backfill", [], asked, between(self.storage, empty, filled))
        self._after("nothing changed", lambda: None, set())
        self._after("a day without a scene", self._ask, {LATE_DATE})
        late, changed = self._scene(LATE_DATE), self._scene(_CHANGED)
        self._after("a scene arrived late", lambda: self.control.arrive(late), {LATE_DATE})
        self._after("one was processed anew", lambda: self.control.reprocess(changed), {_CHANGED})
        self._after("one was withdrawn", lambda: self.control.withdraw(late), {LATE_DATE})
        self._after("a run was killed in its cube", self._kill, {_KILLED})
        return self.rows

    def _ask(self) -> None:
        self.materialize(self.pipeline, LATE_DATE, [_AOI])

    def _kill(self) -> None:
        """Kill a run when some of its chunks are stored and its commit is not made."""
        self.materialize(self.pipeline, _KILLED, [_AOI], stages=("snapshot", "stack"))
        recipe = self.storage / self.pipeline / "recipes" / _AOI / f"{_KILLED}.json"
        headers = len(json.loads(recipe.read_text())["items"])  # come before all pixels
        self.control.fault(**_HELD_BACK, skip=headers)
        cube = self.storage / self.pipeline / "cubes" / _AOI
        before, tip = _chunks(cube), look(self.storage).tips[cube]
        command = [sys.executable, "-c", _RUN, self.pipeline, _KILLED, _AOI, "cube"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our words
        deadline = time.monotonic() + _PATIENCE_S
        while _chunks(cube) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        self.control.clear_faults()
        if self.bury() != 1 or _chunks(cube) <= before or look(self.storage).tips[cube] != tip:
            raise RuntimeError("the run was not killed in the middle of its cube write")

    def _after(self, event: str, change: Callable[[], object], dates: set[str]) -> None:
        """Let something happen, then let the sensors look until they find nothing to do."""
        before = look(self.storage)
        change()
        requests = self._requests()
        done = [self.execute(request) for request in requests]
        settled = all(done) and not (requests and self._requests())
        changes = between(self.storage, before, look(self.storage))
        wanted = frozenset((self.pipeline, _AOI, date) for date in dates)
        self._told(event, [_asked(one) for one in requests], wanted, changes, settled=settled)

    def _told(
        self,
        event: str,
        requests: list[str],
        wanted: frozenset[Place],
        changes: Changes,
        *,
        settled: bool = True,
    ) -> None:
        others = changes.places - wanted
        self.rows.append(
            {
                "event": event,
                "asked_for": requests,
                "had_to_change": len(wanted),
                "changed": len(changes.places & wanted),
                "others_changed": len(others),
                "commits": changes.commits,
                "slots": changes.slots,
                "chunks": changes.chunks,
                "files": changes.files,
                "ok": settled and changes.places == wanted,
            }
        )

    def _requests(self) -> Sequence["dg.RunRequest"]:
        return [request for name in self.pipelines for request in self.tick(f"{name}_reconcile")]

    def _scene(self, day: str) -> str:
        stamp = day.replace("-", "")
        found = self.control.listed() + self.control.pending()
        return next(
            one["id"]
            for one in found
            if one["archive"] == self.archive and stamp in one["id"] and _TILE in one["id"]
        )


def _asked(request: "dg.RunRequest") -> str:
    stages = [key.path[-1] for key in request.asset_selection or ()]
    return f"{request.partition_key}: {' '.join(stages)}"


def _chunks(cube: Path) -> int:
    """Chunks that are stored, committed or not."""
    return sum(1 for _ in (cube / "chunks").iterdir())
