"""A pipeline that keeps all its state in a bucket does what it does on a disk."""

from pathlib import Path

import obstore
import pytest
import xarray as xr

from geostack_dagster.cube.store import open_store
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.workspace import Workspace
from tests.pipeline.conftest import FIELD, Chain, spec_of

pytestmark = pytest.mark.services

DAY = "2024-07-03"
STAGES = ("snapshot", "stack", "cube", "indices")


@pytest.fixture(params=["s3", "az"])
def place(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def chain_at(root: str) -> Chain:
    workspace = Workspace(root)
    workspace.pin(FIELD)
    return Chain(spec_of("planetary_computer"), workspace)


def cubes(chain: Chain) -> dict[str, xr.Dataset]:
    store = open_store(chain.workspace.layout.cube(chain.spec.name, FIELD.name))
    groups = {name: store.open(name, decode=False) for name in ("reflectance", "indices")}
    return {name: cube.sel(time=[DAY]).load() for name, cube in groups.items()}


def objects(place: str) -> dict[str, bytes]:
    store = obstore.store.from_url(place)
    names = [entry["path"] for batch in obstore.list(store) for entry in batch]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


@pytest.mark.usefixtures("in_sandbox")
def test_a_bucket_holds_what_a_disk_would(place: str, tmp_path: Path) -> None:
    here, there = chain_at(str(tmp_path)), chain_at(f"{place}/state")
    wanted, found = here.run(DAY), there.run(DAY)
    assert {noun: report.fingerprint for noun, report in found.items()} == {
        noun: report.fingerprint for noun, report in wanted.items()
    }
    local = cubes(here)
    for group, cube in cubes(there).items():
        xr.testing.assert_identical(cube, local[group])
    assert there.outcomes(DAY) == dict.fromkeys(STAGES, "unchanged")

    kept = objects(place)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    files = {name for name in files if not name.endswith(".lock")}  # only a disk needs them
    published = {name for name in files if "/cubes/" not in name and (tmp_path / name).is_file()}
    assert {f"state/{name}" for name in published} <= kept.keys()
    assert any(name.endswith(".tif") for name in published)
    assert not [name for name, content in kept.items() if b"sig=" in content]


@pytest.mark.usefixtures("in_sandbox")
def test_what_nothing_happens_to_costs_few_requests(s3_url: str, logs: Path) -> None:
    """Four stages with their claims; 46 when this was written."""
    chain = chain_at(f"{s3_url}/state")
    for stage in STAGES:
        run_stage(chain.spec, stage, chain.partition(DAY), chain.workspace)

    def asked() -> int:
        return (logs / "moto.log").read_text().count(f" /{s3_url.removeprefix('s3://')}")

    before = asked()
    for stage in STAGES:
        report = run_stage(chain.spec, stage, chain.partition(DAY), chain.workspace)
        assert report.outcome == "unchanged"
    assert 0 < asked() - before <= 50
