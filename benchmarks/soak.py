"""The daemon and the webserver with every sensor and schedule on, while scenes keep arriving.

    python benchmarks/soak.py --minutes 15

Over the sandbox. Sensors look every half minute and schedules fire every five, so that they get
into one another's way as often as they can. Exit code 0 says that no run or tick failed, that
nothing was computed twice, and that the memory of every server stayed flat: in the last third of a
run of at least twelve minutes it grew by no more than 1 MiB/min (`_soak_account.Servers`). The
figures also say which runs found nothing to do.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil
from _soak_account import Servers, ticks_of, work_of
from _soak_feed import LATE_DATE, Feed
from dagster._core.scheduler.instigation import InstigatorStatus

from geostack_dagster.cli.aois import add
from geostack_dagster.cli.surroundings import ROOT, Surroundings, environment, write_wind
from geostack_dagster.sandbox import AOIS, Sandbox

PACE = {
    "schedule": {"cron": "*/5 * * * *", "window_days": 2},
    "reconcile": {"interval_s": 30, "recent_days": 4},
}
SAMPLE_S = 5.0
REST_S = 600.0
"""So long no run ends before the rest of them are given up."""
_FAULTS = ("failed_runs", "failed_ticks", "twice", "growing")
"""Figures that are empty lists in a good run."""


@dataclass(frozen=True)
class Soak:
    """A running Dagster over a running sandbox."""

    url: str
    process: psutil.Process
    sandbox: Sandbox
    pipelines: tuple[str, ...]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer of the webserver."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=120, trust_env=False).json()
        if "errors" in answer:
            raise RuntimeError(json.dumps(answer["errors"])[:800])
        found: dict[str, Any] = answer["data"]
        return found

    def switch_on(self) -> list[str]:
        """Turn on every sensor and schedule; their names."""
        found = self.ask(
            """{ repositoryOrError(repositorySelector: {
                repositoryName: "__repository__", repositoryLocationName: "geostack"
            }) { ... on Repository { sensors { name } schedules { name } } } }"""
        )["repositoryOrError"]
        where = {"repositoryName": "__repository__", "repositoryLocationName": "geostack"}
        names = []
        for kind, title in (("sensor", "Sensor"), ("schedule", "Schedule")):
            mutation = f"""mutation On($at: {title}Selector!) {{
                start{title}({kind}Selector: $at) {{ __typename }} }}"""
            for one in found[f"{kind}s"]:
                at = {**where, f"{kind}Name": one["name"]}
                answer = self.ask(mutation, at=at)[f"start{title}"]["__typename"]
                if "Error" in answer:
                    raise RuntimeError(f"{one['name']}: {answer}")
                names.append(one["name"])
        return names

    def backfill(self, date: str, aois: Sequence[str]) -> None:
        """Launch a backfill of every pipeline over one date."""
        found = self.ask("{ assetNodes { groupName assetKey { path } } }")["assetNodes"]
        mutation = """mutation Fill($with: LaunchBackfillParams!) {
            launchPartitionBackfill(backfillParams: $with) { __typename } }"""
        for pipeline in self.pipelines:
            chosen = {
                "assetSelection": [
                    one["assetKey"] for one in found if one["groupName"] == pipeline
                ],
                "partitionNames": [f"{aoi}|{date}" for aoi in aois],
            }
            answer = self.ask(mutation, **{"with": chosen})["launchPartitionBackfill"]
            if answer["__typename"] != "LaunchBackfillSuccess":
                raise RuntimeError(f"backfill of {pipeline}: {answer}")


def soak(minutes: float, home: Path, pipelines: Sequence[str] = ()) -> dict[str, Any]:
    """Run everything for some minutes; what happened."""
    with _running(home, tuple(pipelines)) as running, dg.DagsterInstance.get() as instance:
        feed = Feed(running.sandbox.control)
        running.backfill(LATE_DATE, ["emmental", "rio_cuarto"])
        automations = running.switch_on()
        servers, begin = Servers(), time.monotonic()
        while (elapsed := (time.monotonic() - begin) / 60) < minutes:
            # Nothing new in the last part: what arrived must come to an end.
            if elapsed < 0.75 * minutes:
                feed.tick(elapsed)
            servers.sample(running.process, elapsed)
            time.sleep(SAMPLE_S)
        ticks = ticks_of(instance)
        _come_to_rest(instance)
        facts = {
            "minutes": minutes,
            "automations": len(automations),
            "scenes": feed.done,
            **work_of(instance),
            **ticks,
            "servers": servers.figures(),
            "growing": servers.growing(),
        }
    return facts | {"ok": not any(facts[name] for name in _FAULTS)}


@contextmanager
def _running(home: Path, pipelines: tuple[str, ...]) -> Iterator[Soak]:
    surroundings = Surroundings(home)
    surroundings.prepare(aois=AOIS)
    write_wind(surroundings.storage)
    chosen = _project(home / "project", pipelines)
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        variables = surroundings.environment | sandbox.environment
        paths = [str(home / "project"), os.environ.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        stack.enter_context(environment(variables))
        for file in sorted(surroundings.aois.glob("*.geojson")):
            add(file, None)
        port = _free_port()
        with (home / "servers.log").open("w") as log:
            command = [
                *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
                *("-w", str(home / "project/workspace.yaml")),
                *("-h", "127.0.0.1", "-p", str(port)),
            ]
            process = subprocess.Popen(
                command, cwd=home, start_new_session=True, stdout=log, stderr=log
            )
            stack.callback(_stop, process)
            running = Soak(f"http://127.0.0.1:{port}", psutil.Process(process.pid), sandbox, chosen)
            _wait_until_up(running, process)
            yield running


def _project(folder: Path, pipelines: tuple[str, ...]) -> tuple[str, ...]:
    """A copy of the code location whose pipelines have `PACE`; their names."""
    source = ROOT / "geostack_dagster"
    (folder / "soaked/defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "soaked"\n'
        'code_location_name = "geostack"\n'
    )
    code = (source / "definitions.py").read_text()
    (folder / "soaked/definitions.py").write_text(code)
    for package in ("soaked", "soaked/defs"):
        (folder / package / "__init__.py").write_text("")
    for module in (source / "defs").glob("[a-z]*.py"):
        (folder / "soaked/defs" / module.name).write_text(module.read_text())
    names = []
    for defs in sorted((source / "defs").glob("*/defs.yaml")):
        text = defs.read_text()
        is_pipeline = "components.ProviderPipeline" in text
        if pipelines and is_pipeline and defs.parent.name not in pipelines:
            continue
        copy = folder / "soaked/defs" / defs.parent.name
        copy.mkdir()
        paced = [f"  {name}: {json.dumps(value)}" for name, value in PACE.items()]
        text = "\n".join([text.rstrip(), *paced, ""]) if is_pipeline else text
        (copy / "defs.yaml").write_text(text)
        names += [defs.parent.name] * is_pipeline
    (folder / "workspace.yaml").write_text(
        "load_from:\n  - python_module:\n      module_name: soaked.definitions\n"
        f"      working_directory: {folder}\n      location_name: geostack\n"
    )
    return tuple(names)


def _wait_until_up(running: Soak, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError("dagster dev ended; see servers.log")
        with suppress(httpx.HTTPError, ValueError, RuntimeError):
            found = running.ask(
                "{ workspaceOrError { ... on Workspace { locationEntries { "
                "loadStatus locationOrLoadError { __typename } } } } }"
            )
            entries = found["workspaceOrError"]["locationEntries"]
            if entries and all(one["loadStatus"] == "LOADED" for one in entries):
                return
        time.sleep(1)
    raise RuntimeError("the code location was not loaded in five minutes; see servers.log")


def _come_to_rest(instance: dg.DagsterInstance) -> None:
    """Let sensors and schedules ask for no more, and runs end; however slow, if they do end."""
    for state in instance.all_instigator_state():
        instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    left, since = -1, time.monotonic()
    while time.monotonic() - since < REST_S:
        unfinished = sum(not run.is_finished for run in instance.get_runs())
        if not unfinished:
            return
        if unfinished != left:
            left, since = unfinished, time.monotonic()
        time.sleep(2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGINT, 20), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return


def main() -> int:
    """Run the script; its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--quick", action="store_true", help="two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--pipelines", nargs="*", default=[], help="all by default")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the state there")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end, too
    minutes = 2.0 if asked.quick else asked.minutes
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        facts = soak(minutes, asked.keep or Path(scratch), asked.pipelines)
    text = json.dumps(facts, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n")
    return 0 if facts["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
