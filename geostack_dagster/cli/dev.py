"""`geostack dev`: Dagster's UI and daemon, over the sandbox."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from geostack_dagster.cli.aois import add
from geostack_dagster.cli.surroundings import ROOT, Surroundings, environment
from geostack_dagster.cli.terminal import console


def run(home: Path, *, port: int, live: bool) -> int:
    """Run `dagster dev` until Ctrl-C; its exit code.

    Variables that are set already (`GEOSTACK_STORAGE`, `GEOSTACK_AOIS`, `DAGSTER_HOME`) win.
    """
    from geostack_dagster.sandbox import AOIS, Sandbox

    surroundings = Surroundings(home)
    surroundings.prepare(aois=None if live else AOIS)
    variables = surroundings.environment
    variables = {name: os.environ.get(name, value) for name, value in variables.items()}
    with ExitStack() as stack:
        if not live:
            variables |= stack.enter_context(Sandbox()).environment
        stack.enter_context(environment(variables))
        for file in sorted(Path(variables["GEOSTACK_AOIS"]).glob("*.geojson")):
            add(file, None)
        console.print(f"Dagster UI: [bold]http://127.0.0.1:{port}[/bold]   Ctrl-C stops all")
        command = [
            *(sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml")),
            *("-h", "127.0.0.1", "-p", str(port)),
        ]
        # A plain `kill` stops the children as well, as Ctrl-C does.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own words only
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()  # the terminal sent it to dagster as well
        finally:
            process.terminate()
            process.wait()
