"""What a pipeline asks the archive for: headers once, over the transport that it names."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.days import Cadence
from geostack_dagster.errors import AssetError
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.chips import ChipAt, ChipReader
from geostack_dagster.stack.reader.aiohttp_transport import AiohttpTransport
from geostack_dagster.stack.reader.obstore_transport import ObstoreTransport
from geostack_dagster.stack.visit import Visit
from tests.pipeline.conftest import FIELD, Chain, spec_of

DAY = "2024-07-03"


def asked(sandbox):
    """Ranges of files that were asked for since the last call, and those that hold a header."""
    reads = [entry["range"] for entry in sandbox.control.log() if entry["range"]]
    sandbox.control.clear_log()
    return reads, [one for one in reads if one.startswith("bytes=0-")]


def test_a_second_visit_reads_no_header(chain, in_sandbox):
    first = chain.run(DAY, "snapshot", "stack", "cube")["cube"]
    assert first.facts["headers_read"] == len(chain.spec.bands)
    assert asked(in_sandbox)[1]

    # The same pixels into a cube that was lost.
    shutil.rmtree(chain.workspace.layout.cube(chain.spec.name, FIELD.name))
    again = chain.run(DAY, "cube")["cube"]
    reads, headers = asked(in_sandbox)
    assert (len(reads) > 0, headers) == (True, [])
    assert again.facts["headers_read"] == 0
    assert again.facts["requests"] == len(reads)
    assert 0 < again.facts["bytes_fetched"] < first.facts["bytes_fetched"]

    # Other chunks, and chips of one band.
    partition = chain.partition(DAY)
    recipe = read_recipe(partition, chain.workspace)
    index = chain.workspace.layout.tiles(partition)
    with Visit(recipe, signer_for(chain.spec.provider), index=index) as visit:
        red = visit.open(chunks={"y": 16, "x": 20}).B04.compute().to_numpy()
    chips = ChipReader(recipe, bands=["B04"], index=index).codes(
        [ChipAt(recipe.days[0], 3, 4)], size=(16, 16)
    )
    np.testing.assert_array_equal(chips[0], red[:, 3:19, 4:20])
    reads, headers = asked(in_sandbox)
    assert (len(reads) > 0, headers) == (True, [])


def test_one_day_of_a_week_is_read_without_headers(in_sandbox, workspace):
    chain = Chain(
        spec_of("earth_search", cadence=Cadence.WEEKLY, start=date(2024, 6, 2)), workspace
    )
    chain.run("2024-06-02", "snapshot", "stack", "cube")
    partition = chain.partition("2024-06-02")
    recipe = read_recipe(partition, workspace)
    assert len(recipe.days) == 2
    asked(in_sandbox)
    last = replace(recipe, items=tuple(one for one in recipe.items if one.day == recipe.days[1]))
    index = workspace.layout.tiles(partition)
    with Visit(last, signer_for(chain.spec.provider), index=index) as visit:
        visit.open().compute()
    reads, headers = asked(in_sandbox)
    assert (len(reads) > 0, headers) == (True, [])


def test_headers_survive_a_read_that_failed(in_sandbox, workspace):
    chain = Chain(spec_of("planetary_computer"), workspace)
    chain.run(DAY, "snapshot", "stack")
    in_sandbox.control.fault(path="*B08*", status=404)
    with pytest.raises(AssetError, match="B08"):
        chain.run(DAY, "cube")
    in_sandbox.control.clear_faults()
    asked(in_sandbox)
    report = chain.run(DAY, "cube")["cube"]
    assert report.outcome.value == "written"
    _, headers = asked(in_sandbox)
    assert 1 <= len(headers) < len(chain.spec.bands)
    assert report.facts["headers_read"] == len(headers)


def test_both_transports_give_equal_cubes(in_sandbox, tmp_path, monkeypatch):
    carried = []
    for kind in (ObstoreTransport, AiohttpTransport):
        _spy(monkeypatch, kind, carried)
    cubes, reports, used = {}, {}, {}
    for transport in ("obstore", "fsspec"):
        workspace = Workspace(str(tmp_path / transport))
        workspace.pin(FIELD)
        chain = Chain(spec_of("planetary_computer", transport=transport), workspace)
        reports[transport] = chain.run(DAY, "snapshot", "stack", "cube")
        used[transport] = set(carried)
        carried.clear()
        url = workspace.layout.cube(chain.spec.name, FIELD.name)
        cubes[transport] = open_store(url).open("reflectance", decode=False).load()
    assert used == {"obstore": {ObstoreTransport}, "fsspec": {AiohttpTransport}}
    for band in ("B02", "B04", "B08", "SCL"):
        np.testing.assert_array_equal(cubes["obstore"][band], cubes["fsspec"][band])
    for noun, report in reports["obstore"].items():
        assert report.fingerprint == reports["fsspec"][noun].fingerprint
    recipes = [next(Path(tmp_path / one).rglob("recipes/**/*.json")) for one in cubes]
    assert recipes[0].read_bytes() == recipes[1].read_bytes()


def _spy(monkeypatch, kind, carried):
    get = kind.get

    async def noted(self, ask):
        carried.append(kind)
        return await get(self, ask)

    monkeypatch.setattr(kind, "get", noted)
