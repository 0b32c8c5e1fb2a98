"""`geostack dev`: Dagster's UI and daemon, over the sandbox."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from geostack_dagster.cli.aois import add
from geostack_dagster.cli.surroundings import ROOT, Surroundings, environment, write_wind
from geostack_dagster.cli.terminal import console
from geostack_dagster.errors import ConfigurationError

_QUIET = "ignore:Function `dev_command` is superseded"
"""`dg dev`, which it names, needs a package more and does the same."""


def run(home: Path, *, port: int, live: bool) -> int:
    """Run `dagster dev` until Ctrl-C; its exit code.

    Variables that are set already (`GEOSTACK_STORAGE`, `GEOSTACK_AOIS`, `DAGSTER_HOME`) win.

    Raises:
        ConfigurationError: If the port is taken.
    """
    from geostack_dagster.sandbox import AOIS, Sandbox

    if _answers(port):
        raise ConfigurationError(f"something answers at port {port} already; give another --port")
    surroundings = Surroundings(home)
    surroundings.prepare(aois=None if live else AOIS)
    variables = surroundings.environment
    variables = {name: os.environ.get(name, value) for name, value in variables.items()}
    with ExitStack() as stack:
        if not live:
            write_wind(surroundings.storage)
            variables |= stack.enter_context(Sandbox()).environment
        stack.enter_context(environment(variables))
        for file in sorted(Path(variables["GEOSTACK_AOIS"]).glob("*.geojson")):
            add(file, None)
        command = [
            *(sys.executable, "-W", _QUIET, "-m", "dagster", "dev"),
            *("-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)),
        ]
        return _serve(command, home=home, port=port)


def _serve(command: list[str], *, home: Path, port: int) -> int:
    """Run dagster in a session of its own until it ends or we are told to stop; then stop it all.

    Told by Ctrl-C or a plain `kill`. A shell that starts this in the background has it ignore
    SIGINT, and Dagster's processes would inherit that.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=home, start_new_session=True)  # noqa: S603 - our words
    try:
        while not _answers(port):
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.5)
        console.print(f"Dagster UI: [bold]http://127.0.0.1:{port}[/bold]   Ctrl-C stops all")
        return process.wait()
    except KeyboardInterrupt:
        console.print("stopping ...")
        return 0
    finally:
        for number, patience_s in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
                break


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
