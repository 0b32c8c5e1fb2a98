"""What `deploy/` describes, as processes on loopback: PostgreSQL, Dagster and a Dask cluster."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from tests.services.postgres import Postgres
from tests.services.servers import Launch, free_port, running

DEPLOY = Path(__file__).parents[2] / "deploy"
WORKERS = 2
_DATABASE = "dagster"
_PATIENCE_S = 240.0  # a code server imports for half a minute where others compute
_ENDED = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED")
_PROGRAMS = Path(sys.executable).parent

_LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
_STATUS = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
  }
}"""
_ADD = """mutation ($selector: RepositorySelector!, $name: String!, $key: String!) {
  addDynamicPartition(
    repositorySelector: $selector, partitionsDefName: $name, partitionKey: $key
  ) { __typename }
}"""
_SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "geostack"}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses of a running one."""

    webserver: str
    scheduler: str
    postgres: Postgres
    logs: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Answer of the webserver's GraphQL."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.webserver}/graphql", body, headers), timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        assert "errors" not in found, found["errors"]
        return dict(found["data"])

    def add_partition(self, definition: str, key: str) -> None:
        """Register a dynamic partition."""
        self.ask(_ADD, selector=_SELECTOR, name=definition, key=key)

    def backfill(self, assets: list[list[str]], partitions: list[str]) -> str:
        """Launch one and wait for its end; its status."""
        selection = [{"path": path} for path in assets]
        params = {"assetSelection": selection, "partitionNames": partitions}
        launched = self.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        while True:
            found = self.ask(_STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            if found["status"] in _ENDED:
                return str(found["status"])
            time.sleep(1)

    def dump(self) -> None:
        """Write everything that the database holds beside the logs."""
        environment = {**os.environ, **self.postgres.environment}
        with (self.logs / "database.sql").open("wb") as file:
            program = self.postgres.programs / "pg_dump"
            subprocess.run([program, _DATABASE], env=environment, stdout=file, check=True)


@contextmanager
def deployed(
    folder: Path, postgres: Postgres, *, instance: Mapping[str, str], accounts: Mapping[str, str]
) -> Iterator[Deployment]:
    """All processes for the length of the block; their logs lie in `folder`/logs.

    Args:
        folder: Of the logs and of DAGSTER_HOME.
        postgres: Takes Dagster's storage.
        instance: Variables of the code server: storage and AOIs.
        accounts: Variables of those who read and write bytes: code server and workers.
    """
    logs, home = folder / "logs", folder / "home"
    logs.mkdir(parents=True)
    home.mkdir()
    postgres.database(_DATABASE)
    code, webserver, scheduler = free_port(), free_port(), free_port()
    address = f"tcp://127.0.0.1:{scheduler}"
    workspace = _configured(home, code)
    own = {**_storage(postgres), "DAGSTER_HOME": str(home)}
    located = {**own, **accounts, **instance, "DASK_SCHEDULER_ADDRESS": address}

    def start(name: str, command: str, port: int, environment: Mapping[str, str]) -> None:
        program, *arguments = command.split()
        launch = Launch(
            command=[_PROGRAMS / program, *arguments],
            port=port,
            log=logs / f"{name}.log",
            environment=environment,
            is_up=None if port else lambda: True,
            patience_s=_PATIENCE_S,
        )
        stack.enter_context(running(launch))

    with ExitStack() as stack:
        start(
            "scheduler", f"dask scheduler --host 127.0.0.1 --port {scheduler} --no-dashboard",
            scheduler, {},
        )  # fmt: skip
        for number in range(WORKERS):
            worker = f"dask worker {address} --host 127.0.0.1 --nthreads 2 --no-dashboard"
            start(f"worker-{number}", f"{worker} --local-directory {folder}", 0, accounts)
        server = f"code-server start -h 127.0.0.1 -p {code} -m geostack_dagster.definitions"
        start("code", f"dagster {server}", code, located)
        start(
            "webserver", f"dagster-webserver -h 127.0.0.1 -p {webserver} -w {workspace}",
            webserver, own,
        )  # fmt: skip
        start("daemon", f"dagster-daemon run -w {workspace}", 0, own)
        yield Deployment(f"http://127.0.0.1:{webserver}", address, postgres, logs)


def _configured(home: Path, port: int) -> Path:
    """`deploy/dagster.yaml` as it is; `deploy/workspace.yaml` with the code server here."""
    shutil.copyfile(DEPLOY / "dagster.yaml", home / "dagster.yaml")
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())
    (location,) = workspace["load_from"]
    location["grpc_server"] |= {"host": "127.0.0.1", "port": port}
    path = home / "workspace.yaml"
    path.write_text(yaml.safe_dump(workspace))
    return path


def _storage(postgres: Postgres) -> dict[str, str]:
    given = postgres.environment
    return {
        "DAGSTER_POSTGRES_HOST": given["PGHOST"],
        "DAGSTER_POSTGRES_PORT": given["PGPORT"],
        "DAGSTER_POSTGRES_USER": given["PGUSER"],
        "DAGSTER_POSTGRES_PASSWORD": given["PGPASSWORD"],
        "DAGSTER_POSTGRES_DB": _DATABASE,
    }
