"""A backfill through the processes that `deploy/` describes, and by threads: the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from distributed import Client

from geostack_dagster.auth.redaction import scan
from geostack_dagster.components.partitions import AOI, AOIS, key_of
from geostack_dagster.cube.store import open_store
from geostack_dagster.definitions import defs
from geostack_dagster.domain.partition import Layout
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import Sandbox
from tests.pipeline.conftest import FIELD
from tests.services.deployment import WORKERS, Deployment, deployed
from tests.services.postgres import Postgres

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

PIPELINE = "cdse_s2"
STAGES = ("snapshot", "stack", "cube", "indices")
DAYS = ("2024-07-03", "2024-07-04")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    Workspace(str(tmp_path / "storage")).pin(FIELD)
    return tmp_path / "storage"


@pytest.fixture
def deployment(
    sandbox: Sandbox, postgres: Postgres, storage: Path, tmp_path: Path
) -> Iterator[Deployment]:
    instance = {"GEOSTACK_STORAGE": str(storage), "GEOSTACK_AOIS": str(tmp_path / "aois")}
    folder = tmp_path / "deployment"
    with deployed(folder, postgres, instance=instance, accounts=sandbox.environment) as running:
        yield running


def test_a_backfill_through_postgres_daemon_and_cluster(
    deployment: Deployment, in_sandbox: Sandbox, storage: Path, tmp_path: Path, monkeypatch
) -> None:
    deployment.add_partition(AOIS.name or AOI, FIELD.name)
    partitions = [str(key_of(day, FIELD.name)) for day in DAYS]
    status = deployment.backfill([[PIPELINE, stage] for stage in STAGES], partitions)
    assert status == "COMPLETED_SUCCESS", (deployment.logs / "daemon.log").read_text()[-2000:]

    with Client(deployment.scheduler, set_as_default=False) as client:
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == WORKERS
    assert all(done.values()), done

    wanted = threaded(tmp_path / "threaded", monkeypatch)
    assert everything(storage) == everything(wanted)

    deployment.dump()
    secrets = [value for value in in_sandbox.account.values() if len(value) > 8]
    assert secrets
    kept = {path.name for path in deployment.logs.iterdir()}
    assert {"scheduler.log", "worker-0.log", "code.log", "daemon.log", "database.sql"} <= kept
    assert PIPELINE in (deployment.logs / "database.sql").read_text()
    assert scan([deployment.logs, storage], secrets=secrets) == []


def threaded(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same partitions, by threads of this process."""
    monkeypatch.setenv("GEOSTACK_STORAGE", str(root))
    monkeypatch.setenv("GEOSTACK_AOIS", str(root))
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    Workspace(str(root)).pin(FIELD)
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(AOIS.name or AOI, [FIELD.name])
        job = defs().resolve_implicit_global_asset_job_def()
        for day in DAYS:
            assert job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey([PIPELINE, stage]) for stage in STAGES],
                partition_key=key_of(day, FIELD.name),
            ).success
    return root


def everything(root: Path) -> dict[str, bytes]:
    store = open_store(Layout(str(root)).cube(PIPELINE, FIELD.name))
    found: dict[str, bytes] = store._backend.reader().everything()
    return found
