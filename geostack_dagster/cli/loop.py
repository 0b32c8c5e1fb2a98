"""`geostack demo --loop`: the learning loop over the sandbox, asked for by sensors, step by step.

Two dozen fields are sites enough for a gate. A field whose site learns is read in June, one whose
site judges in July: its other passes would be left out by the temporal hold-out. The settings
below are smaller than the shipped ones so that it ends in minutes, and few plumes are injected so
that labels matter: with many, a model that saw three fields is as good as one that saw eleven.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.progress import Progress
from shapely import Polygon, box

from geostack_dagster.cli.demo import Chain
from geostack_dagster.cli.surroundings import ROOT, Surroundings, environment
from geostack_dagster.cli.tables import records
from geostack_dagster.cli.terminal import console

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.learning.labels import Label
    from geostack_dagster.pipeline.learning.settings import Loop
    from geostack_dagster.sandbox.emit_scenes import Granule

PIPELINE, DETECTOR = "lpcloud_emit", "plume_detector"
SMALLER: Mapping[str, Any] = {
    "splits": {
        "holdout": "2024-07-01",
        "shares": {"train": 0.5, "validation": 0.12, "test": 0.0, "gate": 0.38},
    },
    "training": {"steps": 200, "batch": 12, "checkpoint_every": 50},
    "injection": {"few": 0.1, "at_empty_sites": 0},
    "canaries": {"trials": 12, "rates_t_h": [2.0, 5.0], "size": 96},
    "retrain": {"new_labels": 10, "cool_down_hours": 0},
}
"""Attributes of the detector that the demonstration sets; the rest is as shipped."""
_FIRST_FIELDS = 3
"""Fields of the training split that are labelled at first."""
_WATCHED = 10
"""Partitions in which plumes are looked for."""
_SQUARES, _SQUARE_DEG = 3, 0.025
_PERSON, _WHY = "demonstration", "to show the way back"


@dataclass
class Story:
    """What has happened so far."""

    chain: Chain
    loop: "Loop"
    steps: list[dict[str, Any]] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)

    def tell(self, step: str, *, ok: bool, **facts: Any) -> None:
        """Add a step to the sequence."""
        self.steps.append({"step": step, "ok": bool(ok), **facts})
        words = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
        console.print(f"{'ok ' if ok else 'NOT'} {step}: {words}")

    def train(self, step: str, wanted: str) -> dict[str, Any]:
        """Let the retrain sensor look, and run what it asks for; what the gate then said."""
        requests, note = self.tick(f"{DETECTOR}_retrain")
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
            requests, note = self.tick(f"{DETECTOR}_reinfer")
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


_METRICS = (
    "average_precision",
    "object_f1",
    "detection_rate",
    "false_per_1000_km2",
    "calibration_error",
    "plumes",
    "sites",
)


def run(out: Path) -> dict[str, Any]:
    """The loop; its sequence goes under `loop` into `out`/summary.json."""
    from geostack_dagster.sandbox import Sandbox
    from geostack_dagster.sandbox.fields import FIELDS

    surroundings = Surroundings(out / "loop")
    shutil.rmtree(surroundings.home, ignore_errors=True)
    surroundings.prepare(aois=None)
    for one in FIELDS:
        (surroundings.aois / f"{one.name}.geojson").write_text(json.dumps(one.aoi.geometry))
    with ExitStack() as stack:
        with console.status("starting the twins of the archives ..."):
            sandbox = stack.enter_context(Sandbox(with_fields=True))
        stack.enter_context(environment(surroundings.environment | sandbox.environment))
        story = stack.enter_context(_story(surroundings))
        _play(story)
        summary = {
            "ok": all(step["ok"] for step in story.steps),
            "steps": story.steps,
            "history": story.loop.registry.history,
        }
    return _finish(out, summary)


@contextmanager
def _story(surroundings: Surroundings) -> Iterator[Story]:
    """The code location with the smaller settings, and the instance of the demonstration."""
    import dagster as dg

    from geostack_dagster.components import PlumeDetector, ProviderPipeline
    from geostack_dagster.definitions import equipped
    from geostack_dagster.defs.aois import aoi_sensor
    from geostack_dagster.pipeline.learning.settings import Loop
    from geostack_dagster.pipeline.workspace import Workspace

    pipeline = ProviderPipeline.resolve_from_dict(_shipped(PIPELINE))
    detector = PlumeDetector.resolve_from_dict({**_shipped(DETECTOR), **SMALLER})
    source = pipeline.spec(PIPELINE)
    definitions = equipped(
        dg.Definitions.merge(
            pipeline.named(PIPELINE),
            detector.named(DETECTOR, [source]),
            dg.Definitions(sensors=[aoi_sensor]),
        )
    )
    workspace = Workspace(str(surroundings.storage.resolve()))
    with dg.DagsterInstance.get() as instance:
        yield Story(
            chain=Chain(definitions, instance),
            loop=Loop(detector.spec(DETECTOR, [source]), workspace),
        )


def _shipped(name: str) -> dict[str, Any]:
    text = (ROOT / "geostack_dagster" / "defs" / name / "defs.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["attributes"]
    return found


def _play(story: Story) -> None:
    """The sequence that the issue asks for."""
    cast = Cast.of(story)
    story.chain.register_aois()
    _read(story, cast)
    story.quiet("nothing was labelled: no training", f"{DETECTOR}_retrain")
    watched = cast.watched()
    _infer(story, watched, "without a champion nothing is looked for", wanted="empty")
    cast.label(story, cast.first)
    before = story.train("the first model is trained and promoted", "promote")
    story.look_again("the champion looks at what nobody had looked at", watched)
    first = _outputs(story, watched)
    story.quiet("nothing new: no training", f"{DETECTOR}_retrain")
    cast.label(story, cast.later)
    after = story.train("new labels: the challenger wins", "promote")
    _infer(story, watched[:1], "one partition is made again by hand", wanted="written")
    story.look_again("only what the old champion made is made again", watched[1:])
    cast.poison(story)
    story.train("poisoned labels: the gate rejects", "reject")
    story.quiet("nothing is made again for a rejected model", f"{DETECTOR}_reinfer")
    _roll_back(story, before.get("challenger"))
    story.look_again("the old champion looks again", watched)
    story.tell("outputs are those from before", ok=_outputs(story, watched) == first)
    story.tell(
        "scores before and after",
        ok=_precision(after) > _precision(before),
        before=_precision(before),
        after=_precision(after),
    )


@dataclass(frozen=True, slots=True)
class Cast:
    """Which fields learn and which judge, and what is known of them."""

    granules: "Mapping[str, list[Granule]]"
    """Passes by what they serve: train, validation, gate."""

    @classmethod
    def of(cls, story: Story) -> "Cast":
        """By the detector's own policy."""
        from geostack_dagster.learning.sites import site_of
        from geostack_dagster.sandbox.emit_scenes import FIELD_GRANULES
        from geostack_dagster.sandbox.fields import FIELDS

        policy = story.loop.splits
        places = {one.name: site_of(*one.aoi.centre) for one in FIELDS}
        found: dict[str, list[Granule]] = {}
        for granule in FIELD_GRANULES:
            split = policy.of_site(places[granule.aoi]).value
            if (split in ("test", "gate")) == (granule.start >= policy.holdout):
                found.setdefault(split, []).append(granule)
        return cls(found)

    @property
    def first(self) -> "list[Granule]":
        """Passes that are labelled before the first training."""
        fields = sorted({one.aoi for one in self.granules["train"]})[:_FIRST_FIELDS]
        taught = [one for one in self.granules["train"] if one.aoi in fields]
        return [*taught[::2], *self.granules["validation"], *self.granules["gate"]]

    @property
    def later(self) -> "list[Granule]":
        """The other passes: their labels come weeks later."""
        known = self.first
        return [one for one in self.granules["train"] if one not in known]

    def watched(self) -> list[str]:
        """Partitions in which plumes are looked for: the newest, as the gate's fields have them."""
        newest = sorted(self.granules["gate"], key=lambda one: (one.day, one.aoi), reverse=True)
        return [str(_key(one)) for one in newest[:_WATCHED]]

    def label(self, story: Story, granules: "Sequence[Granule]") -> None:
        """Labels arrive: the archive's outlines, and a person's look at the rest of each scene."""
        from geostack_dagster.pipeline.labels import add_labels

        outlines = [label for one in granules for label in _outlines(one)]
        reviews = [_review(one) for one in granules]
        workspace = story.loop.workspace
        add_labels(workspace, outlines, source="CH4PLM", reviewer="EMITL2BCH4PLM_002")
        add_labels(workspace, reviews, source="review", reviewer=_PERSON)
        story.tell(
            "labels arrive",
            ok=bool(outlines),
            scenes=len(granules),
            plumes=len(outlines),
        )

    def poison(self, story: Story) -> None:
        """A bulk import from a bad source: plumes become ground, ground becomes plumes."""
        from geostack_dagster.pipeline.labels import add_labels

        taught = [*self.granules["train"], *self.granules["validation"]]
        wrong = [label for one in taught for label in _wrong(one)]
        add_labels(story.loop.workspace, wrong, source="review", reviewer="bulk import")
        story.tell("poisoned labels arrive", ok=bool(wrong), labels=len(wrong))


def _read(story: Story, cast: Cast) -> None:
    """Snapshot, stack and cube of every pass that serves."""
    import dagster as dg

    keys = [dg.AssetKey([PIPELINE, noun]) for noun in ("snapshot", "stack", "cube")]
    passes = [one for part in cast.granules.values() for one in part]
    done = 0
    with Progress(console=console) as bar:
        task = bar.add_task("reading cubes", total=len(passes))
        for one in passes:
            done += story.chain.run(keys, partition_key=_key(one))
            bar.advance(task)
    story.tell("cubes are read", ok=done == len(passes), partitions=done)


def _infer(story: Story, keys: Sequence[str], step: str, *, wanted: str) -> None:
    import dagster as dg

    asset = dg.AssetKey([PIPELINE, "probability"])
    done = [story.chain.run([asset], partition_key=_of_text(key)) for key in keys]
    event = story.chain.instance.get_latest_materialization_event(asset)
    found = event.asset_materialization if event else None
    said = {} if found is None else {k: v.value for k, v in found.metadata.items()}
    ok = all(done) and said.get("outcome") == wanted
    story.tell(step, ok=ok, partitions=len(done), note=str(said.get("note")))


def _outputs(story: Story, keys: Sequence[str]) -> dict[str, str | None]:
    """Fingerprints of the outputs where they are current."""
    from geostack_dagster.components.partitions import partition_of
    from geostack_dagster.pipeline import probability

    (spec,) = story.loop.spec.sources
    return {
        key: probability.current(spec, partition_of(spec, key), story.loop.workspace)
        for key in keys
    }


def _roll_back(story: Story, wanted: str | None) -> None:
    from geostack_dagster.cli.models import rolled_back

    aliases = rolled_back(story.loop, person=_PERSON, reason=_WHY)
    story.tell("rolled back", ok=aliases["champion"] == wanted, champion=aliases["champion"])


def _precision(said: Mapping[str, Any]) -> float:
    """Average precision of the challenger in an evaluation."""
    found = said.get("scores", {}).get(said.get("challenger"), {})
    return float(found.get("average_precision", 0.0))


def _key(granule: "Granule") -> "dg.MultiPartitionKey":
    from geostack_dagster.components.partitions import key_of

    return key_of(granule.day.isoformat(), granule.aoi)


def _of_text(key: str) -> "dg.MultiPartitionKey":
    from geostack_dagster.components.partitions import key_of

    aoi, day = key.split("|")
    return key_of(day, aoi)


def _outlines(granule: "Granule") -> "list[Label]":
    """What the archive lists over a field, as its labels."""
    from geostack_dagster.inference.plumes import State
    from geostack_dagster.learning.labels import Label
    from geostack_dagster.sandbox.emit_plumes import complexes_over

    return [
        Label(
            id=f"CH4_PlumeComplex-{plume.number}",
            geometry=plume.outline,
            state=State.PLUME,
            scenes=(granule.name("L2B_CH4ENH", "002"),),
            orbit=granule.orbit,
            observed=granule.start,
            source="CH4PLM",
        )
        for plume in complexes_over(granule)
    ]


def _review(granule: "Granule") -> "Label":
    """Somebody looked at the whole scene: what is not outlined is ground."""
    from geostack_dagster.inference.plumes import State
    from geostack_dagster.learning.labels import Label

    return Label(
        id=f"review-{granule.aoi}-{granule.day}",
        geometry=Polygon(granule.ring),
        state=State.NO_PLUME,
        scenes=(granule.name("L2B_CH4ENH", "002"),),
        orbit=granule.orbit,
        observed=granule.start,
        source="review",
    )


def _wrong(granule: "Granule") -> "list[Label]":
    """True plumes as ground, and three squares of ground as plumes."""
    from geostack_dagster.inference.plumes import State
    from geostack_dagster.sandbox import noise

    west, south, east, north = granule.bbox
    found = [replace(one, state=State.NO_PLUME, source="review") for one in _outlines(granule)]
    for number in range(_SQUARES):
        x, y = (
            low + (high - low) * (0.3 + 0.4 * noise.unit_of("poison", granule.stamp, number, axis))
            for axis, (low, high) in enumerate(((west, east), (south, north)))
        )
        half = _SQUARE_DEG / 2
        found.append(
            replace(
                _review(granule),
                id=f"poison-{granule.aoi}-{granule.day}-{number}",
                geometry=box(x - half, y - half, x + half, y + half),
                state=State.PLUME,
            )
        )
    return found


def _finish(out: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Put the sequence into the demo's summary, beside what is there, and show it."""
    path = out / "summary.json"
    whole = json.loads(path.read_text()) if path.is_file() else {}
    whole["loop"] = summary
    path.write_text(json.dumps(whole, indent=1) + "\n")
    rows = [
        {"step": one["step"], "ok": one["ok"], "sensor": one.get("sensor", "")}
        for one in summary["steps"]
    ]
    console.print(records("the learning loop", rows))
    console.print(f"summary in {path}: loop ok = {summary['ok']}")
    return summary
