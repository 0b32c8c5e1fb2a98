"""A day in the life: scenes arrive late, change and go, a run dies, and the state is put right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.sandbox.control import Control

LATE_DATE = "2024-07-13"
_TILE, _AOI = "32TMT", "emmental"
_CHANGED, _DIED = "2024-07-03", "2024-06-08"


@dataclass(frozen=True, slots=True)
class Life:
    """One pipeline, and the archive behind it."""

    pipeline: str
    archive: str
    control: "Control"
    materialize: Callable[..., bool]
    """Runs some assets of the pipeline for a date over AOIs."""
    tick: Callable[[str], Sequence["dg.RunRequest"]]
    """What one tick of a sensor asks for."""
    execute: Callable[["dg.RunRequest"], bool]

    def play(self) -> list[dict[str, Any]]:
        """What happened, what the reconcile sensor asked for, and what was made again."""
        self.materialize(self.pipeline, LATE_DATE, [_AOI])
        rows = [self._after("nothing changed", lambda: None)]
        late = self._scene(LATE_DATE)
        rows.append(self._after("a scene arrived late", lambda: self.control.arrive(late)))
        changed = self._scene(_CHANGED)
        rows.append(
            self._after("a scene was processed anew", lambda: self.control.reprocess(changed))
        )
        rows.append(self._after("a scene was withdrawn", lambda: self.control.withdraw(late)))
        rows.append(self._after("a run died after its stack", self._die))
        return rows

    def _die(self) -> None:
        self.materialize(self.pipeline, _DIED, [_AOI], stages=("snapshot", "stack"))

    def _after(self, event: str, change: Callable[[], object]) -> dict[str, Any]:
        """Let something happen, then let the sensor look until it finds nothing to do."""
        change()
        requests = self._requests()
        done = [self.execute(request) for request in requests]
        asked = [_asked(request) for request in requests]
        left = self._requests()
        return {
            "event": event,
            "asked_for": asked,
            "ok": all(done) and not left and _is_just(event, asked),
        }

    def _requests(self) -> Sequence["dg.RunRequest"]:
        return self.tick(f"{self.pipeline}_reconcile")

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


def _is_just(event: str, asked: Sequence[str]) -> bool:
    """Exactly one partition for what happened to one scene, none when nothing happened."""
    return len(asked) == (0 if event == "nothing changed" else 1)
