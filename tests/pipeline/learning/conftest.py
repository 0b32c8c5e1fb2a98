"""One storage of cubes, and one in which a champion was made; tests work on copies."""

import shutil

import pytest

from geostack_dagster.pipeline.learning import challenger, evaluation, training_set, verdict
from tests.pipeline.learning.sites import build, label, loop_in, names, sites


@pytest.fixture(scope="session")
def cubes(tmp_path_factory):
    """Cubes of all sites, without a label."""
    root = tmp_path_factory.mktemp("loop") / "cubes"
    build(root)
    return root


@pytest.fixture(scope="session")
def trained(cubes, tmp_path_factory):
    """The same with labels, a champion, and all that led to it."""
    root = tmp_path_factory.mktemp("loop") / "trained"
    shutil.copytree(cubes, root)
    loop = loop_in(root)
    label(loop, sites(loop))
    training_set.run(loop, names(loop))
    challenger.run(loop)
    evaluation.run(loop)
    assert verdict.judge(loop).passed
    verdict.promote(loop)
    return root


@pytest.fixture
def fresh(cubes, tmp_path):
    """A loop in which nothing is labelled."""
    shutil.copytree(cubes, tmp_path / "storage")
    return loop_in(tmp_path / "storage")


@pytest.fixture
def loop(trained, tmp_path):
    """A loop with a champion."""
    shutil.copytree(trained, tmp_path / "storage")
    return loop_in(tmp_path / "storage")
