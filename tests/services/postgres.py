"""A PostgreSQL cluster of the tests' own: unix sockets off, loopback only, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.servers import Launch, free_port, running

_USER = "geostack"
_INIT = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
_SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running cluster; everyone on loopback is its superuser."""

    programs: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Variables of libpq, less the database."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": _USER,
            "PGPASSWORD": "unused",
        }

    def database(self, name: str) -> str:
        """Address of a new, empty database."""
        self.run("postgres", f'create database "{name}"')
        return f"postgresql://{_USER}:unused@127.0.0.1:{self.port}/{name}"

    def run(self, database: str, *statements: str) -> None:
        """Execute SQL statements, each in a transaction of its own."""
        commands = [part for statement in statements for part in ("-c", statement)]
        subprocess.run(
            [self.programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, *commands],
            env={**os.environ, **self.environment},
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def cluster(programs: Path, log: Path) -> Iterator[Postgres]:
    """A new cluster for the length of the block."""
    # PostgreSQL refuses to run as root, and its user cannot look into pytest's folders.
    user = "postgres" if os.geteuid() == 0 else None
    found = Postgres(programs, free_port())
    with tempfile.TemporaryDirectory(prefix="geostack-postgres-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder) / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", _USER, *_INIT],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        launch = Launch(
            command=[programs / "postgres", "-D", data, "-p", str(found.port), *settings],
            port=found.port,
            log=log,
            user=user,
            stop=signal.SIGINT,  # does not wait for clients
            is_up=lambda: _is_ready(found),
        )
        with running(launch):
            yield found


def _is_ready(found: Postgres) -> bool:
    asked = subprocess.run(
        [found.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(found.port)],
        check=False,
    )
    return asked.returncode == 0
