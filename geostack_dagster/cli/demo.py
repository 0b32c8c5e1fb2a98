"""`geostack demo`: the whole job for every pipeline, through Dagster, scored against the truth."""

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from geostack_dagster.cli.surroundings import Surroundings, environment, write_wind
from geostack_dagster.cli.tables import byte_size, records
from geostack_dagster.cli.terminal import console

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.sandbox import Sandbox

PIPELINES = (
    "planetary_computer_s2",
    "earth_search_s2",
    "cdse_s2",
    "sentinel_hub_s2",
    "lpcloud_emit",
    "earthaccess_emit",
    "enmap",
)
DESERT_PIPELINES = ("cdse_s2_methane",)
"""Over one more area, where two short-wave bands see methane."""
DATES = ("2024-06-03", "2024-06-13", "2024-06-23", "2024-07-03")
DESERT_DATES = ("2024-06-08", "2024-06-18", *DATES)
"""A pass with a plume wants several without one to be held against."""
LIVE_PIPELINES = ("earth_search_s2",)
LIVE_DATES = tuple(f"2024-06-{day:02}" for day in range(1, 11))
_IS_SECRET = re.compile("SECRET|PASSWORD|TOKEN|KEY")
_READ = ("snapshot", "stack", "cube")
_RETRIEVED = ("enhancement", "plumes", "review")
_INFERENCE = ("indices", "plumes")
"""Outputs, of which a pipeline's first is called `inference` in the summary."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The code location and the instance that its runs are recorded in."""

    definitions: "dg.Definitions"
    instance: "dg.DagsterInstance"

    def register_aois(self) -> list[str]:
        """Let the AOI sensor tick once; names of all AOIs that are registered then."""
        import dagster as dg

        from geostack_dagster.components.partitions import AOIS

        sensor = self.definitions.resolve_sensor_def("aoi_sensor")
        context = dg.build_sensor_context(
            instance=self.instance,
            definitions=self.definitions,
            resources={"storage": _storage()},
        )
        for request in sensor.evaluate_tick(context).dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(AOIS.name or "", list(request.partition_keys))
        return list(self.instance.get_dynamic_partitions(AOIS.name or ""))

    def stages(self, pipeline: str) -> list[str]:
        """Nouns of a pipeline's assets, parents first."""
        graph = self.definitions.resolve_asset_graph()
        keys = [key for key in graph.toposorted_asset_keys if key.path[0] == pipeline]
        return [key.path[1] for key in keys]

    def materialize(
        self, pipeline: str, day: str, aois: Sequence[str], *, stages: Sequence[str] = ()
    ) -> bool:
        """One run of all assets, or some, for a date over AOIs; whether it succeeded."""
        import dagster as dg

        from geostack_dagster.components.partitions import range_tags

        keys = [dg.AssetKey([pipeline, noun]) for noun in stages or self.stages(pipeline)]
        return self.run(keys, tags=range_tags([day], aois))

    def execute(self, request: "dg.RunRequest") -> bool:
        """Run what a sensor asked for; whether it succeeded."""
        return self.run(
            list(request.asset_selection or ()),
            partition_key=request.partition_key,
            tags=dict(request.tags),
        )

    def tick(self, sensor: str) -> "Sequence[dg.RunRequest]":
        """What a sensor asks for now."""
        return self.look(sensor).run_requests or ()

    def look(self, sensor: str, cursor: str | None = None) -> "dg.SensorExecutionData":
        """One tick of a sensor."""
        import dagster as dg

        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(
            instance_ref=self.instance.get_ref(),
            cursor=cursor,
            repository_def=repository,
            resources=repository.get_top_level_resources(),
        ) as context:
            return repository.get_sensor_def(sensor).evaluate_tick(context)

    def bury(self) -> int:
        """Mark runs whose process is gone as failed, as run monitoring does; how many."""
        import dagster as dg

        lost = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        for one in lost:
            self.instance.report_run_failed(one, "the run's process is gone")
        return len(lost)

    def run(self, keys: "Sequence[dg.AssetKey]", **asked: Any) -> bool:
        """One run of these assets; whether it succeeded."""
        result = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
            **asked,
        )
        return result.success


def run(out: Path, *, items: Path | None = None) -> dict[str, Any]:
    """The demo over the sandbox; its summary, which is also written to `out`/summary.json."""
    from geostack_dagster.sandbox import AOIS, DESERT, Sandbox

    _clear(out)
    surroundings = Surroundings(out)
    surroundings.prepare(aois=AOIS)
    write_wind(surroundings.storage)
    with ExitStack() as stack:
        with console.status("starting the twins of the archives ..."):
            sandbox = stack.enter_context(Sandbox(items))
        stack.enter_context(environment(surroundings.environment | sandbox.environment))
        chain = stack.enter_context(_chain())
        aois = chain.register_aois()
        ran = _backfill(chain, PIPELINES, DATES, aois)
        shutil.copy(DESERT, surroundings.aois)
        desert = [name for name in chain.register_aois() if name not in aois]
        # A pass is compared with all others that the cube holds: first the cube, then the rest.
        ran |= _backfill(chain, DESERT_PIPELINES, DESERT_DATES, desert, phases=(_READ, _RETRIEVED))
        with console.status("scoring against the truth ..."):
            from geostack_dagster.cli.methane_scores import methane_scores
            from geostack_dagster.cli.scores import scores_of

            scores = scores_of(PIPELINES, DATES, aois)
            scores |= methane_scores(PIPELINES, DATES, aois)
            scores |= methane_scores(DESERT_PIPELINES, DESERT_DATES, desert)
        asked = dict.fromkeys(PIPELINES, len(DATES) * len(aois))
        asked |= dict.fromkeys(DESERT_PIPELINES, len(DESERT_DATES) * len(desert))
        summary = _summary(chain, asked, ran=ran, scores=scores)
        with console.status("a day in the life ..."):
            filled = [(PIPELINES, aois, DATES), (DESERT_PIPELINES, desert, DESERT_DATES)]
            summary["day"] = _day(chain, sandbox, filled)
        with console.status("looking for secrets on disk ..."):
            summary["leaks"] = _leaks(out, sandbox)
        summary["ok"] &= all(row["ok"] for row in summary["day"]) and not summary["leaks"]
        return _finish(out, summary)


def _day(
    chain: Chain,
    sandbox: "Sandbox",
    filled: Sequence[tuple[Sequence[str], Sequence[str], Sequence[str]]],
) -> list[dict[str, Any]]:
    from geostack_dagster.cli.day import Life

    life = Life(
        pipeline="earth_search_s2",
        archive="earth_search",
        pipelines=PIPELINES,
        storage=Path(os.environ["GEOSTACK_STORAGE"]),
        control=sandbox.control,
        materialize=chain.materialize,
        tick=chain.tick,
        execute=chain.execute,
        bury=chain.bury,
    )
    return life.play(frozenset(place for one in filled for place in product(*one)))


def run_alone(pipeline: str, day: str, aoi: str, *stages: str) -> None:
    """Materialize a partition with the instance and the sandbox that the environment names."""
    with _chain() as chain:
        chain.materialize(pipeline, day, [aoi], stages=stages)


def _leaks(out: Path, sandbox: "Sandbox") -> list[str]:
    """Files below `out` that hold a signature, a token or a secret of the sandbox's account."""
    from geostack_dagster.auth.redaction import scan

    names = {name for name in sandbox.account if _IS_SECRET.search(name)}
    found = scan([out], secrets=[sandbox.account[name] for name in names])
    return sorted({str(leak.path.relative_to(out)) for leak in found})


@contextmanager
def _chain() -> Iterator[Chain]:
    import dagster as dg

    from geostack_dagster.definitions import defs

    with console.status("loading the code location ..."):
        definitions = defs()
    with dg.DagsterInstance.get() as instance:
        yield Chain(definitions, instance)


def run_live(out: Path) -> dict[str, Any]:
    """The same chain over the real Earth Search: internet, no account, no truth to score with."""
    from geostack_dagster.sandbox import AOIS

    _clear(out)
    surroundings = Surroundings(out)
    surroundings.prepare(aois=AOIS)
    with ExitStack() as stack:
        stack.enter_context(environment(surroundings.environment))
        chain = stack.enter_context(_chain())
        aois = chain.register_aois()
        ran = _backfill(chain, LIVE_PIPELINES, LIVE_DATES, aois)
        asked = dict.fromkeys(LIVE_PIPELINES, len(LIVE_DATES) * len(aois))
        summary = _summary(chain, asked, ran=ran, scores={})
        return _finish(out, summary)


def _storage() -> Any:
    from geostack_dagster.resources.storage import Storage

    return Storage(root=os.environ["GEOSTACK_STORAGE"], aoi_folder=os.environ["GEOSTACK_AOIS"])


def _clear(out: Path) -> None:
    """Start afresh: the demo shows a first run. Only what a demo makes is removed."""
    for name in ("dagster", "storage", "aois", "quicklooks"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("summary.json", "report.html"):
        (out / name).unlink(missing_ok=True)


def _backfill(
    chain: Chain,
    pipelines: Sequence[str],
    dates: Sequence[str],
    aois: Sequence[str],
    *,
    phases: Sequence[Sequence[str]] = ((),),
) -> dict[str, list[str]]:
    """One run for each pipeline and date, as Dagster cuts a backfill; dates that failed.

    `phases` are stages that all dates go through before those after them; all in one by default.
    """
    failed: dict[str, list[str]] = {pipeline: [] for pipeline in pipelines}
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        for pipeline in pipelines:
            task = bar.add_task(pipeline, total=len(phases) * len(dates) * len(aois))
            for stages, day in product(phases, dates):
                if not chain.materialize(pipeline, day, aois, stages=stages):
                    failed[pipeline].append(day)
                bar.advance(task, len(aois))
    return failed


def _summary(
    chain: Chain, asked: Mapping[str, int], *, ran: dict[str, list[str]], scores: dict[str, Any]
) -> dict[str, Any]:
    """What the events say.

    `asked` is the number of partitions that every stage of a pipeline was to materialize.
    """
    pipelines = {name: _stages(chain, name, asked[name]) for name in ran}
    stages = [stage for pipeline in pipelines.values() for stage in pipeline.values()]
    return {
        "ok": not any(ran.values())
        and all(stage["status"] == "ok" for stage in stages)
        and all(score["ok"] for score in scores.values()),
        "pipelines": pipelines,
        "scores": scores,
    }


def _finish(out: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Gather the quicklooks, write the summary and print it."""
    quicklooks = _quicklooks(out)
    summary["ok"] = bool(summary["ok"] and quicklooks)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    _print(summary, quicklooks, out)
    _report(out / "report.html")
    return summary


def _report(page: Path) -> None:
    """Write the page about what is there now, and open it where there is a display."""
    from geostack_dagster.cli.report import show, write

    with console.status("writing the report ..."):
        write(page)
    console.print(f"report {'opened' if show(page) else 'to open in a browser'}: {page}")


def _stages(chain: Chain, pipeline: str, asked: int) -> dict[str, dict[str, Any]]:
    nouns = chain.stages(pipeline)
    main = next(noun for noun in _INFERENCE if noun in nouns)
    return {
        "inference" if noun == main else noun: _stage(_latest(chain, pipeline, noun), asked)
        for noun in nouns
    }


def _latest(chain: Chain, pipeline: str, noun: str) -> dict[str, dict[str, Any]]:
    """Metadata of the latest materialization of every partition of an asset."""
    import dagster as dg

    found: dict[str, dict[str, Any]] = {}
    key = dg.AssetKey([pipeline, noun])
    for record in chain.instance.fetch_materializations(key, limit=10_000).records:
        event = record.asset_materialization
        if event is not None and "outcome" in event.metadata:
            values = {name: value.value for name, value in event.metadata.items()}
            found.setdefault(str(event.partition), values)
    return found


def _stage(partitions: dict[str, dict[str, Any]], asked: int) -> dict[str, Any]:
    outcomes: dict[str, int] = defaultdict(int)
    for one in partitions.values():
        outcomes[one["outcome"]] += 1
    return {
        "status": "ok" if len(partitions) == asked else "incomplete",
        "partitions": len(partitions),
        "seconds": round(sum(one["seconds"] for one in partitions.values()), 3),
        "bytes_read": sum(one["bytes_read"] for one in partitions.values()),
        "outcomes": dict(outcomes),
    }


def _quicklooks(out: Path) -> list[Path]:
    """Copies of all published quicklooks in one folder, for a quick look."""
    folder = out / "quicklooks"
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for picture in sorted((out / "storage").glob("*/published/**/*.png")):
        parts = picture.relative_to(out / "storage").parts
        copy = folder / "_".join((parts[0], *parts[2:]))
        shutil.copyfile(picture, copy)
        copies.append(copy)
    return copies


def _print(summary: dict[str, Any], quicklooks: Sequence[Path], out: Path) -> None:
    rows = [
        {
            "pipeline": pipeline,
            "stage": stage,
            "status": facts["status"],
            "partitions": facts["partitions"],
            "seconds": f"{facts['seconds']:.2f}",
            "read": byte_size(facts["bytes_read"]),
        }
        for pipeline, stages in summary["pipelines"].items()
        for stage, facts in stages.items()
    ]
    console.print(records("backfill", rows))
    scores = [
        {"score": name, **{key: _short(value) for key, value in score.items()}}
        for name, score in summary["scores"].items()
    ]
    if scores:
        console.print(records("scores against the truth", scores))
    if "day" in summary:
        day = [{**row, "asked_for": "; ".join(row["asked_for"]) or "-"} for row in summary["day"]]
        console.print(records("a day in the life of earth_search_s2", day))
        console.print(f"secrets and signed URLs on disk: {len(summary['leaks'])}")
    console.print(f"{len(quicklooks)} quicklooks in {out / 'quicklooks'}")
    console.print(f"summary in {out / 'summary.json'}: ok = {summary['ok']}")


def _short(value: object) -> object:
    return f"{value:.5f}" if isinstance(value, float) else value
