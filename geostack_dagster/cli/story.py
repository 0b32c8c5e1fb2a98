"""The learning loop as it is told: sensors that ask, runs that they ask for, commands of a person.

Every step says what was expected of it and whether it came so.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.demo import Chain
from geostack_dagster.cli.terminal import console
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.pipeline.learning.settings import Loop

_METRICS = (
    "average_precision",
    "object_f1",
    "detection_rate",
    "false_per_1000_km2",
    "calibration_error",
    "plumes",
    "sites",
)


@dataclass
class Story:
    """What has happened so far."""

    chain: Chain
    loop: "Loop"
    steps: list[dict[str, Any]] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.loop.spec.name

    def tell(self, step: str, *, ok: bool, **facts: Any) -> None:
        """Add a step to the sequence."""
        self.steps.append({"step": step, "ok": bool(ok), **facts})
        words = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
        console.print(f"{'ok ' if ok else 'NOT'} {step}: {words}")

    def command(self, *words: str) -> dict[str, Any]:
        """What `geostack` answers to a person who types these words.

        Raises:
            ConfigurationError: If it refuses.
        """
        from geostack_dagster.cli.app import app

        said = StringIO()
        with redirect_stdout(said):
            refused = app([*words, "--json"], standalone_mode=False)
        if refused:
            raise ConfigurationError(f"geostack {' '.join(words)}: exit code {refused}")
        found: dict[str, Any] = json.loads(said.getvalue())
        return found

    def train(self, step: str, wanted: str) -> dict[str, Any]:
        """Let the retrain sensor look, and run what it asks for; what the gate then said."""
        requests, note = self.tick(f"{self.detector}_retrain")
        if len(requests) != 1:
            self.tell(step, ok=False, sensor=note)
            return {}
        with console.status(f"{step} ..."):
            succeeded = self.chain.execute(requests[0])
        said = self._evaluation()
        self.tell(
            step,
            ok=said["decision"] == wanted and succeeded == (wanted != "reject"),
            sensor=requests[0].tags["geostack/reason"],
            run_key=requests[0].run_key,
            **said,
        )
        return said

    def look_again(self, step: str, wanted: Sequence[str]) -> None:
        """Let the re-inference sensor look until it asks for nothing; each partition but once."""
        asked: list[str] = []
        done = True
        while True:
            requests, note = self.tick(f"{self.detector}_reinfer")
            if not requests:
                break
            with console.status(f"{step} ..."):
                for request in requests:  # each of them, whatever became of the one before
                    done &= self.chain.execute(request)
            asked += [str(request.partition_key) for request in requests]
        ok = done and sorted(asked) == sorted(wanted)
        self.tell(step, ok=ok, partitions=len(asked), asked_for=asked, sensor=note)

    def quiet(self, step: str, sensor: str) -> None:
        """The sensor asks for nothing, and says why."""
        requests, note = self.tick(sensor)
        self.tell(step, ok=not requests and bool(note), sensor=note)

    def tick(self, sensor: str) -> "tuple[Sequence[dg.RunRequest], str]":
        """Requests of a sensor, and its reason where it has none; its cursor is kept."""
        found = self.chain.look(sensor, self.cursors.get(sensor))
        if found.cursor is not None:
            self.cursors[sensor] = found.cursor
        return found.run_requests or (), found.skip_message or ""

    def _evaluation(self) -> dict[str, Any]:
        from geostack_dagster.pipeline.learning.documents import read_document
        from geostack_dagster.pipeline.learning.evaluation import last_evaluation

        document = last_evaluation(self.loop) or {}
        scores = {one["finder"]: one["summary"] for one in document["finders"]}
        challenger = document["challenger"]
        training = read_document(self.loop.url("trainings", f"{challenger}.json"))
        return {
            "challenger": challenger,
            "champion": self.loop.registry.aliases.champion,
            "decision": document["decision"]["outcome"],
            "reasons": document["decision"]["reasons"][:4],
            "training_seconds": training["training_seconds"],
            "scores": {
                name: {metric: summary[metric] for metric in _METRICS if metric in summary}
                for name, summary in scores.items()
            },
        }


def precision(said: Mapping[str, Any]) -> float:
    """Average precision of the challenger in an evaluation."""
    found = said.get("scores", {}).get(said.get("challenger"), {})
    return float(found.get("average_precision", 0.0))
