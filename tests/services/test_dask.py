"""A pipeline on a Dask cluster of two processes does what it does in threads."""

import os
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from distributed import LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin

from geostack_dagster.cube.store import Kind, open_store
from geostack_dagster.engine import Engine
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    ServiceError,
)
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import Sandbox
from tests.clusters import cluster_of
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, window
from tests.pipeline.conftest import FIELD, Chain, spec_of

pytestmark = pytest.mark.services

DAY = "2024-07-03"
WORKERS, THREADS = 2, 2


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Iterator[LocalCluster]:
    """Two workers inside the sandbox, which find their credentials in their own environment."""
    with cluster_of(WORKERS, threads=THREADS, environment=sandbox.environment) as running:
        yield running


@pytest.fixture
def engine(cluster: LocalCluster) -> Engine:
    return Engine(scheduler=cluster.scheduler_address)


class Recorder(SchedulerPlugin):
    """Keeps every task that reaches the scheduler, as it travels."""

    def __init__(self) -> None:
        self.tasks: dict[str, bytes] = {}

    def update_graph(self, scheduler, *, tasks, **rest) -> None:
        for key in tasks:
            self.tasks[str(key)] = cloudpickle.dumps(scheduler.tasks[key].run_spec)


def chain_at(root: Path, provider: str, engine: Engine | None = None) -> Chain:
    workspace = Workspace(str(root), engine=engine or Engine())
    workspace.pin(FIELD)
    return Chain(spec_of(provider), workspace)


def everything(chain: Chain) -> dict[str, bytes]:
    store = open_store(chain.workspace.layout.cube(chain.spec.name, FIELD.name))
    return store._backend.reader().everything()


@pytest.mark.parametrize("provider", ["planetary_computer", "cdse", "sentinel_hub"])
@pytest.mark.usefixtures("in_sandbox")
def test_a_cluster_gives_the_bytes_of_threads(provider: str, engine: Engine, tmp_path: Path):
    here, there = chain_at(tmp_path / "a", provider), chain_at(tmp_path / "b", provider, engine)
    wanted, found = here.run(DAY), there.run(DAY)
    assert {noun: report.fingerprint for noun, report in found.items()} == {
        noun: report.fingerprint for noun, report in wanted.items()
    }
    assert everything(there) == everything(here)
    assert there.outcomes(DAY)["cube"] == "unchanged"
    for fact in ("bytes_fetched", "headers_read"):
        assert found["cube"].facts.get(fact) == wanted["cube"].facts.get(fact)


@pytest.mark.parametrize("provider", ["planetary_computer", "cdse"])
def test_no_secret_travels(
    provider: str, cluster: LocalCluster, engine: Engine, in_sandbox: Sandbox, tmp_path: Path
):
    recorder = Recorder()
    cluster.scheduler.add_plugin(recorder, name="recorder")
    try:
        chain_at(tmp_path, provider, engine).run(DAY, "snapshot", "stack", "cube")
    finally:
        cluster.scheduler.remove_plugin("recorder")
    sent = b"\n".join(recorder.tasks.values())
    assert sum("cube-write" in key for key in recorder.tasks) >= len(SCHEMA.variables)
    assert provider.encode() in sent
    secrets = [value for value in in_sandbox.account.values() if len(value) > 8]
    assert secrets
    for value in (*secrets, "sig=", "X-Amz-", "Authorization", "Bearer "):
        assert value.encode() not in sent


def test_workers_without_a_credential_say_which(in_sandbox: Sandbox, tmp_path: Path):
    bare = in_sandbox.environment | dict.fromkeys(in_sandbox.account, "")
    with cluster_of(1, environment=bare) as poor:
        chain = chain_at(tmp_path, "cdse", Engine(scheduler=poor.scheduler_address))
        chain.run(DAY, "snapshot", "stack")
        with pytest.raises(MissingCredentialError, match="CDSE_ACCESS_KEY_ID"):
            chain.run(DAY, "cube")


class TestStore:
    @pytest.mark.parametrize("kind", ["icechunk", "zarr"])
    def test_new_replaced_and_emptied_days(self, kind: Kind, engine: Engine, tmp_path: Path):
        stores = [
            open_store(str(tmp_path / name), kind=kind, engine=one)
            for name, one in (("threads", Engine()), ("cluster", engine))
        ]
        for store in stores:
            store.ensure(SCHEMA)
            for seeds, made in (({0: 1, 1: 2, 2: 3}, "one"), ({0: 4, 1: 2}, "two")):
                store.write(
                    SCHEMA.name,
                    window(0, 3),
                    scenes.dataset(seeds).chunk({"time": 1, "y": 4, "x": 4}),
                    [scenes.record(number, seed) for number, seed in seeds.items()],
                    scenes.commit(made),
                )
            assert_holds(store, {0: 4, 1: 2, 2: None})
        threads, processes = (store._backend.reader().everything() for store in stores)
        assert processes == threads

    def test_what_a_worker_raises_is_raised_and_nothing_is_written(
        self, engine: Engine, tmp_path: Path
    ):
        store = open_store(str(tmp_path / "cube"), engine=engine)
        store.ensure(SCHEMA)
        data = scenes.dataset({0: 1}).chunk({"y": 4, "x": 4})
        data = data.map_blocks(damaged, template=data)
        with pytest.raises(AssetError, match="damaged"):
            store.write(
                SCHEMA.name, window(0), data, [scenes.record(0, 1)], scenes.commit("made-1")
            )
        assert store.slots(SCHEMA.name) == []

    def test_options_do_not_travel(self, engine: Engine):
        with pytest.raises(ConfigurationError, match="do not travel"):
            open_store("s3://bucket/cube", options={"secret_access_key": "x"}, engine=engine)

    def test_workers_write_to_a_bucket_with_their_own_keys(self, s3_url: str):
        with cluster_of(1) as near:
            recorder = Recorder()
            near.scheduler.add_plugin(recorder)
            engine = Engine(scheduler=near.scheduler_address)
            store = open_store(f"{s3_url}/cube", engine=engine)
            store.ensure(SCHEMA)
            data = scenes.dataset({0: 1}).chunk({"y": 4, "x": 4})
            store.write(SCHEMA.name, window(0), data, [scenes.record(0, 1)], scenes.commit("one"))
            assert_holds(open_store(f"{s3_url}/cube"), {0: 1})
        sent = b"\n".join(recorder.tasks.values())
        assert s3_url.encode() in sent
        assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in sent


class TestEngine:
    def test_no_more_readers_than_an_archive_allows(self, engine: Engine):
        assert engine.processes == WORKERS
        assert engine.limited(WORKERS * THREADS).processes == WORKERS
        assert engine.limited(THREADS + 1).processes == 1
        assert engine.limited(1).processes == 1

    def test_a_scheduler_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("geostack_dagster.engine._CONNECT_S", 1.0)
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"):
            Engine(scheduler="tcp://127.0.0.1:9").compute([])


def damaged(block):
    raise AssetError("B04.tif is damaged")
