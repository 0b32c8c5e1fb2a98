"""Annotations of `learning` are executed too; one small world and one small model for all."""

import pytest
from jaxtyping import install_import_hook

for package in ("geostack_dagster.inference", "geostack_dagster.learning"):
    install_import_hook(
        package, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    )

from tests.learning.world import SMALL, World, small_model  # noqa: E402 - after the hook


@pytest.fixture(scope="session")
def world():
    """Scenes to learn from, to calibrate on and to be judged by, each at a site of its own."""
    return World(52)


@pytest.fixture(scope="session")
def model(world):
    """A detector that learned from the world, and its training."""
    return small_model(world, SMALL)
