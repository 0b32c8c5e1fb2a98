"""The champion over a cube: whole scenes, whose fingerprint knows the model that made them."""

import shutil

import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detector import probability as chance
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline import cube, probability
from geostack_dagster.pipeline.learning import challenger, evaluation, verdict
from geostack_dagster.pipeline.learning.scenes import CubeSource, scenes_of, whole
from geostack_dagster.pipeline.report import Outcome as Done
from tests.pipeline.learning.conftest import cubes, trained  # noqa: F401 - fixtures
from tests.pipeline.learning.sites import SETTINGS, SPEC, Site, loop_in, sites, write_cube


@pytest.fixture
def loop(trained, tmp_path):  # noqa: F811
    shutil.copytree(trained, tmp_path / "storage")
    return loop_in(tmp_path / "storage")


def one(loop) -> Site:
    return next(site for site in sites(loop) if site.split is Split.GATE)


def run(loop, site):
    return probability.run(SPEC, site.partition, loop.workspace)


def current(loop, site):
    return probability.current(SPEC, site.partition, loop.workspace)


def promote_other(loop):
    """Another model is champion, by a person's word."""
    other = loop_in(loop.workspace.root, training=SETTINGS["training"] | {"seed": 7, "steps": 40})
    challenger.run(other)
    evaluation.run(other)
    verdict.override(other, "challenger", Outcome.PROMOTE, person="ada", reason="test")


def test_without_a_champion_it_is_empty_and_says_so(cubes, tmp_path):  # noqa: F811
    shutil.copytree(cubes, tmp_path / "storage")
    fresh = loop_in(tmp_path / "storage")
    site = one(fresh)
    report = run(fresh, site)
    assert report.outcome is Done.EMPTY
    assert "no champion of finder yet" in report.note
    assert current(fresh, site) == report.fingerprint
    assert probability.made_by(SPEC, site.partition, fresh.workspace) == "none"


def test_a_cube_is_needed(loop):
    nowhere = Site(one(loop).number, Split.TRAIN)  # another day
    with pytest.raises(ConfigurationError, match="has no enhancement"):
        run(loop, nowhere)


def test_the_cube_holds_what_the_network_says_of_the_whole_scene(loop):
    site = one(loop)
    report = run(loop, site)
    assert report.outcome is Done.WRITTEN
    (scene,) = scenes_of(SPEC, loop.workspace, site.name, None)
    source = CubeSource.of(loop.workspace, [SPEC], [scene], loop.caution)
    maps = whole(source, scene).channels
    detector = loop.registry.load("champion").detector
    wanted = chance(detector.logit(maps, core=32))  # many tiles: the halo makes them one
    store = cube.cube_store(SPEC, site.partition, loop.workspace)
    found = store.open("probability").sel(time=np.datetime64(site.day))["probability"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert report.facts["plumes"] >= 1
    item = probability._opened(SPEC, site.partition, loop.workspace).shelf.item(site.day)
    assert item["properties"]["geostack:model"] == loop.registry.aliases.champion
    assert run(loop, site).outcome is Done.UNCHANGED


def test_another_champion_restales_its_outputs_and_nothing_else(loop):
    site = one(loop)
    before = run(loop, site).fingerprint
    maps = cube.cube_store(SPEC, site.partition, loop.workspace).fingerprint_of(
        "enhancement", site.partition.window
    )
    first = loop.registry.digest_of("champion")
    promote_other(loop)
    assert current(loop, site) is None
    assert probability.made_by(SPEC, site.partition, loop.workspace) == first
    assert maps == cube.cube_store(SPEC, site.partition, loop.workspace).fingerprint_of(
        "enhancement", site.partition.window
    )
    after = run(loop, site)
    assert after.outcome is Done.WRITTEN
    assert after.fingerprint != before

    loop.registry.rollback(by="ada", reason="test", at=site.acquired)
    assert current(loop, site) is None
    assert run(loop, site).fingerprint == before


def test_other_pixels_restale_it(loop):
    site = one(loop)
    run(loop, site)
    write_cube(loop.workspace, site, gain=1.1)
    assert current(loop, site) is None
    assert run(loop, site).outcome is Done.WRITTEN
