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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.progress import Progress

from geostack_dagster.cli.cast import PERSON, PIPELINE, Cast, key_of_pass
from geostack_dagster.cli.demo import Chain
from geostack_dagster.cli.story import Story, precision
from geostack_dagster.cli.surroundings import ROOT, Surroundings, environment
from geostack_dagster.cli.tables import records
from geostack_dagster.cli.terminal import console

if TYPE_CHECKING:
    import dagster as dg

DETECTOR = "plume_detector"
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
_READ = ("snapshot", "stack", "cube", "plumes", "review")
_WHY = "to show the way back"


def run(out: Path) -> dict[str, Any]:
    """The loop; its sequence goes under `loop` into `out`/summary.json."""
    from geostack_dagster.sandbox import Sandbox
    from geostack_dagster.sandbox.fields import DAYS, FIELDS
    from geostack_dagster.sandbox.winds import wind_table

    surroundings = Surroundings(out / "loop")
    shutil.rmtree(surroundings.home, ignore_errors=True)
    surroundings.prepare(aois=None)
    (surroundings.storage / "wind.csv").write_text(wind_table(DAYS), encoding="utf-8")
    for one in FIELDS:
        (surroundings.aois / f"{one.name}.geojson").write_text(json.dumps(one.aoi.geometry))
    with ExitStack() as stack:
        with console.status("starting the twins of the archives ..."):
            sandbox = stack.enter_context(Sandbox(with_fields=True))
        stack.enter_context(environment(surroundings.environment | sandbox.environment))
        story = stack.enter_context(_story(surroundings))
        _play(story, surroundings.home)
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

    shipped = _shipped(PIPELINE)
    looked_at = shipped["methane"] | {"audit": 1.0}  # the person looks at every scene
    pipeline = ProviderPipeline.resolve_from_dict(shipped | {"methane": looked_at})
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


def _play(story: Story, desk: Path) -> None:
    """The sequence that the issue asks for."""
    cast = Cast.of(story, desk)
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
        ok=precision(after) > precision(before),
        before=precision(before),
        after=precision(after),
    )


def _read(story: Story, cast: Cast) -> None:
    """Everything up to the review queue, of every pass that serves."""
    import dagster as dg

    keys = [dg.AssetKey([PIPELINE, noun]) for noun in _READ]
    done = 0
    with Progress(console=console) as bar:
        for one in bar.track(cast.passes, description="reading cubes, finding plumes"):
            done += story.chain.run(keys, partition_key=key_of_pass(one))
    passes = len(cast.passes)
    story.tell("cubes are read, plumes are queued", ok=done == passes, partitions=done)


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
    aliases = story.command("model", "rollback", "--by", PERSON, "--reason", _WHY)
    story.tell("rolled back", ok=aliases["champion"] == wanted, champion=aliases["champion"])


def _of_text(key: str) -> "dg.MultiPartitionKey":
    from geostack_dagster.components.partitions import key_of

    aoi, day = key.split("|")
    return key_of(day, aoi)


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
