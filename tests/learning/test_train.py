"""Training: repeatable and resumable to the bit, and it learns."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from geostack_dagster import storage
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.detector import Architecture
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.train import Training, fit
from tests.learning.world import SMALL

TINY = Training(
    steps=12,
    warmup=2,
    batch=4,
    checkpoint_every=5,
    architecture=Architecture(width=2, depth=1),
)


@pytest.fixture(scope="module")
def samples(world):
    return assemble(world.chips(world.scenes[:4]), world)


@pytest.fixture(scope="module")
def uninterrupted(samples):
    return fit(samples, TINY)


def weights(trained):
    return trained.detector.to_bytes()


class PowerCutError(Exception):
    """The machine goes away."""


def cut_at(step):
    def look(progress):
        if progress.step == step:
            raise PowerCutError

    return look


def test_it_learns(model):
    _, trained = model
    assert np.isfinite(trained.losses).all()
    assert trained.losses.shape == (SMALL.steps,)
    assert trained.losses[-20:].mean() < 0.5 * trained.losses[:5].mean()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(samples, uninterrupted):
    assert weights(fit(samples, TINY)) == weights(uninterrupted)
    other = fit(samples, dataclasses.replace(TINY, seed=1))
    assert weights(other) != weights(uninterrupted)


@pytest.mark.parametrize("step", [3, 5, 7, 11])
def test_a_resumed_training_equals_an_uninterrupted_one(samples, uninterrupted, tmp_path, step):
    checkpoint = f"{tmp_path}/checkpoint"
    with pytest.raises(PowerCutError):
        fit(samples, TINY, checkpoint=checkpoint, progress=cut_at(step))
    resumed = fit(samples, TINY, checkpoint=checkpoint)
    assert resumed.resumed_at == 5 * (step // 5)
    assert weights(resumed) == weights(uninterrupted)
    assert resumed.losses.tobytes() == uninterrupted.losses.tobytes()
    again = fit(samples, TINY, checkpoint=checkpoint)
    assert again.resumed_at == TINY.steps
    assert weights(again) == weights(uninterrupted)


def test_checkpoints_may_be_written_at_other_steps(samples, uninterrupted, tmp_path):
    often = dataclasses.replace(TINY, checkpoint_every=2)
    with pytest.raises(PowerCutError):
        fit(samples, often, checkpoint=f"{tmp_path}/c", progress=cut_at(9))
    resumed = fit(samples, TINY, checkpoint=f"{tmp_path}/c")
    assert resumed.resumed_at == 8
    assert weights(resumed) == weights(uninterrupted)


@pytest.mark.parametrize("change", ["seed", "data"])
def test_the_checkpoint_of_another_training_is_refused(samples, tmp_path, change):
    checkpoint = f"{tmp_path}/checkpoint"
    with pytest.raises(PowerCutError):
        fit(samples, TINY, checkpoint=checkpoint, progress=cut_at(6))
    before = storage.read_bytes(checkpoint)
    training = dataclasses.replace(TINY, seed=9) if change == "seed" else TINY
    data = dataclasses.replace(samples, digest="other") if change == "data" else samples
    with pytest.raises(ConfigurationError, match="belongs to another training"):
        fit(data, training, checkpoint=checkpoint)
    assert storage.read_bytes(checkpoint) == before


def test_a_checkpoint_that_is_cut_off_is_refused(samples, tmp_path):
    checkpoint = f"{tmp_path}/checkpoint"
    with pytest.raises(PowerCutError):
        fit(samples, TINY, checkpoint=checkpoint, progress=cut_at(6))
    storage.write_bytes(checkpoint, storage.read_bytes(checkpoint)[:-900])
    with pytest.raises(IntegrityError, match="cut off"):
        fit(samples, TINY, checkpoint=checkpoint)


def test_progress_is_told_after_every_step(samples):
    seen = []
    trained = fit(samples, TINY, progress=seen.append)
    assert [one.step for one in seen] == list(range(1, 13))
    assert {one.steps for one in seen} == {12}
    assert [np.float32(one.loss) for one in seen] == trained.losses.tolist()


def test_doubtful_pixels_and_nodata_teach_nothing(samples, uninterrupted):
    doubtful = ~samples.known & samples.positive[:, None, None]  # draws stay as they are
    assert doubtful.any()
    noisy = samples.plume ^ doubtful  # their labels turned round
    assert weights(fit(dataclasses.replace(samples, plume=noisy), TINY)) == weights(uninterrupted)
    unseen = ~np.isfinite(samples.maps).all(axis=1)
    relabelled = samples.known | unseen
    assert (relabelled & ~samples.known).any()
    found = fit(dataclasses.replace(samples, known=relabelled), TINY)
    assert weights(found) == weights(uninterrupted)


def test_chips_without_weight_are_never_drawn(samples):
    chosen = samples.positive & (np.cumsum(samples.positive) > 1)
    silent = np.where(chosen, np.float32(0), samples.weight).astype(np.float32)
    ruined = samples.maps.copy()
    ruined[chosen] = 1e6
    one = fit(dataclasses.replace(samples, weight=silent), TINY)
    other = fit(dataclasses.replace(samples, weight=silent, maps=ruined), TINY)
    assert weights(one) == weights(other)


def test_a_training_that_diverges_says_so(samples):
    wild = dataclasses.replace(TINY, learning_rate=1e30, warmup=0)
    with pytest.raises(IntegrityError, match="lower the learning rate"):
        fit(samples, wild)


@pytest.mark.parametrize("side", [True, False])
def test_one_kind_of_chip_is_not_enough(samples, side):
    chosen = samples.positive == side
    few = dataclasses.replace(
        samples,
        **{name: getattr(samples, name)[chosen] for name in ("maps", "plume", "known", "weight")},
    )
    with pytest.raises(ConfigurationError, match="chips with plumes and chips without"):
        fit(few, TINY)


def test_chips_that_do_not_fit_the_network_are_refused(samples):
    deep = dataclasses.replace(TINY, architecture=Architecture(width=1, depth=6))
    with pytest.raises(ConfigurationError, match="multiple of 64"):
        fit(samples, deep)


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"steps": 0}, {"positive_share": 1.5}, {"warmup": 999}):
        with pytest.raises(ConfigurationError):
            dataclasses.replace(TINY, **wrong)
    assert dataclasses.replace(TINY, checkpoint_every=1).digest == TINY.digest
    assert dataclasses.replace(TINY, dice=0.4).digest != TINY.digest


def test_a_redirected_standard_error_stays_open():
    """Training is imported while it is redirected, and Dagster configures logging afterwards."""
    script = """
import io, logging.config, sys
first = sys.stderr = io.StringIO()
import geostack_dagster.learning.train
sys.stderr = io.StringIO()
logging.config.dictConfig({"version": 1})
sys.exit(first.closed)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert done.returncode == 0
