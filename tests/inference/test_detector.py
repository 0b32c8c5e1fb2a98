"""The learned detector: tiles equal the whole, files are whole or refused, nothing runs code."""

import dataclasses
import hashlib
import io
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.detector import (
    Architecture,
    Detector,
    Platt,
    log_odds,
    prepared,
    probability,
    segment,
)
from geostack_dagster.inference.tiling import tiled

SMALL = Architecture(width=3, depth=2)


def lively(architecture=SMALL, seed=0):
    """A detector whose head is drawn too, so that every weight matters."""
    detector = Detector.untrained(architecture, seed=seed)
    head = np.random.default_rng(seed).normal(scale=10, size=architecture.width)
    network = eqx.tree_at(lambda net: net.weight, detector.network, jnp.asarray(head, jnp.float32))
    return dataclasses.replace(detector, network=network, platt=Platt(slope=0.8, intercept=-0.3))


def scene(rows=70, columns=90, seed=0):
    rng = np.random.default_rng(seed)
    spread = np.array([500.0, 200.0, 0.4])[:, None, None]
    maps = (rng.normal(size=(3, rows, columns)) * spread + [[[0]], [[300]], [[1]]]).astype("f4")
    maps[:, 10:20, 30:44] = np.nan
    maps[1, 0, 0] = np.nan
    return maps


@pytest.fixture(scope="module")
def detector():
    return lively()


def test_the_usual_network_has_the_stated_size_and_reach():
    usual = Architecture()
    assert Detector.untrained(usual).parameters == 122_185
    assert (usual.reach_px, usual.halo_px, usual.align) == (46, 48, 8)


@pytest.mark.parametrize("architecture", [Architecture(width=2, depth=1), SMALL])
def test_results_depend_on_the_reach_and_no_farther(architecture):
    network = jax.jit(lively(architecture).network.__call__)
    reach, cell = architecture.reach_px, architecture.align
    size, start = 96, 48
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(1, size, size, 4)).astype(np.float32)
    logits = np.asarray(network(jnp.asarray(maps)))[0, start : start + cell, start : start + cell]
    for distance, same in ((reach + 1, True), (reach - 1, False)):
        other = rng.normal(size=maps.shape).astype(np.float32)
        kept = slice(start - distance + 1, start + cell + distance - 1)
        other[:, kept, kept] = maps[:, kept, kept]
        found = np.asarray(network(jnp.asarray(other)))[0]
        assert np.array_equal(found[start : start + cell, start : start + cell], logits) is same


@pytest.mark.parametrize("core", [8, 20, 64])
def test_tiles_equal_the_whole(detector, core):
    maps = scene()
    whole = probability(detector.logit(maps, core=96))
    found = probability(detector.logit(maps, core=core))
    assert np.nanmax(np.abs(found - whole)) < 1e-6
    assert np.nanstd(whole) > 0.05  # there is something to be equal


def test_the_usual_network_needs_its_whole_halo():
    usual = lively(Architecture())
    maps = scene(130, 100)
    whole = probability(usual.logit(maps, core=136))
    assert np.nanmax(np.abs(probability(usual.logit(maps, core=32)) - whole)) < 1e-6
    short = tiled(usual.kernel, maps, halo=usual.architecture.halo_px - 8, core=32, align=8)
    assert np.nanmax(np.abs(probability(short) - whole)) > 1e-4


def test_part_of_a_scene_gives_part_of_the_result(detector):
    maps = scene(96, 96)
    whole = detector.logit(maps, core=32)
    part = detector.logit(maps[:, 13:, 22:], core=32, origin=(13, 22))
    inner = detector.architecture.halo_px + 4
    np.testing.assert_allclose(
        probability(part[inner:, inner:]), probability(whole[13 + inner :, 22 + inner :]), atol=1e-6
    )


def test_scenes_of_any_size_compile_once():
    detector = lively()
    for size in ((40, 50), (90, 33), (64, 64)):
        detector.logit(scene(90, 90)[:, : size[0], : size[1]], core=32)
    assert detector.kernel.compilations == 1


def test_results_are_nan_exactly_where_a_channel_is(detector):
    maps = scene()
    found = detector.logit(maps, core=32)
    assert np.array_equal(np.isfinite(found), np.isfinite(maps).all(axis=0))
    assert found.dtype == np.float32


def test_what_lies_under_nodata_does_not_matter(detector):
    maps, other = scene(), scene()
    other[0, 10:20, 30:44] = 1e6  # uncertainty and sensitivity are still missing there
    assert np.array_equal(
        detector.logit(maps, core=32), detector.logit(other, core=32), equal_nan=True
    )


def test_inputs_are_scaled_by_constants_and_clipped():
    maps = np.array([2000.0, 250.0, 9.0], np.float32)[None, :, None, None]
    found = np.asarray(prepared(jnp.asarray(maps), jnp.ones((1, 1, 1), bool), SMALL.channels))
    np.testing.assert_array_equal(found[0, 0, 0], np.float32([2.0, 0.5, 3.0, 1.0]))
    hidden = np.asarray(prepared(jnp.asarray(maps), jnp.zeros((1, 1, 1), bool), SMALL.channels))
    assert not hidden.any()


def test_an_untrained_detector_says_one_half():
    logits = Detector.untrained(SMALL).logit(scene(), core=64)
    assert (logits[np.isfinite(logits)] == 0).all()


@pytest.mark.parametrize(
    ("maps", "core", "said"),
    [(scene()[:2], 32, "the detector needs .'enhancement'"), (scene(), 30, "multiples of 4")],
)
def test_what_does_not_fit_is_refused(detector, maps, core, said):
    with pytest.raises(ConfigurationError, match=said):
        detector.logit(maps, core=core)


def test_a_detector_survives_writing_and_reading(detector):
    stored = dataclasses.replace(detector, threshold=0.37).to_bytes()
    found = Detector.from_bytes(stored)
    assert found.to_bytes() == stored
    assert (found.threshold, found.platt, found.architecture) == (0.37, detector.platt, SMALL)
    maps = scene()
    assert found.logit(maps, core=32).tobytes() == detector.logit(maps, core=32).tobytes()


def test_altered_cut_or_foreign_content_is_refused(detector):
    stored = detector.to_bytes()
    flipped = bytearray(stored)
    flipped[-5] ^= 1
    for content in (bytes(flipped), stored[:-7], b"", b"\x80\x04pickle", b'{"format": "x"}\n'):
        with pytest.raises(IntegrityError):
            Detector.from_bytes(content)


def with_payload(detector, payload, **changes):
    header = json.loads(detector.to_bytes().partition(b"\n")[0])
    header |= {"sha256": hashlib.sha256(payload).hexdigest(), **changes}
    return json.dumps(header).encode() + b"\n" + payload


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_with_the_right_checksum_never_runs(detector):
    payload = io.BytesIO()
    np.save(payload, np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(IntegrityError, match="does not fit its weights"):
        Detector.from_bytes(with_payload(detector, payload.getvalue()))


def test_weights_of_another_size_are_refused(detector):
    payload = lively(Architecture(width=2, depth=2)).to_bytes().partition(b"\n")[2]
    with pytest.raises(IntegrityError, match="does not fit its weights"):
        Detector.from_bytes(with_payload(detector, payload))


def test_segments_start_at_the_threshold_and_reach_down_to_half():
    chance = np.full((30, 30), 0.01)
    chance[5:15, 5:15] = 0.3  # above half of the threshold
    chance[8:10, 8:10] = 0.7
    chance[20:26, 20:26] = 0.3  # no core
    logit = np.log(chance / (1 - chance))
    logit[0, 0] = np.nan
    found = segment(logit, 0.5)
    assert found.labels.max() == 1
    assert found.mask.sum() == 100 - 4  # a cross opens the corners away
    assert segment(logit, 0.25).labels.max() == 2
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="not a probability"):
            segment(logit, threshold)


def test_probabilities_and_log_odds_are_inverse():
    chances = np.array([1e-6, 0.2, 0.5, 0.999])
    np.testing.assert_allclose(probability(np.vectorize(log_odds)(chances)), chances, rtol=1e-9)
    with np.errstate(all="raise"):
        assert probability(np.array([-2000.0, 2000.0])).tolist() == [0.0, 1.0]
