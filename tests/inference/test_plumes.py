"""Detection, labels, outlines and states, against constructions with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from shapely.geometry import shape as geometry

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detection import (
    Detected,
    Detection,
    canonical_labels,
    detect,
    smooth,
)
from geostack_dagster.inference.plumes import Certainty, State, find_plumes, outline, scene_state
from tests.inference import scenes

SHAPE = (96, 96)
SIGMA = 200.0
SMOOTH = jax.jit(smooth, static_argnums=2)


def _map(seed, *rates, wind_m_s=4.0):
    """Enhancement with noise and these plumes, and the plumes alone."""
    truth = np.zeros(SHAPE)
    for number, rate in enumerate(rates):
        truth += scenes.plume(
            SHAPE, rate_t_h=rate, wind_m_s=wind_m_s, source=(20 + 50 * number, 10), oversampling=2
        ).enhancement
    return truth + scenes.correlated_noise(SHAPE, SIGMA, seed), truth


def _detect(enhancement, settings=None, clear=None):
    clear = np.ones(enhancement.shape, bool) if clear is None else clear
    return detect(enhancement, np.full(enhancement.shape, SIGMA), clear, settings)


def test_smoothing_is_a_normalised_convolution():
    rng = np.random.default_rng(0)
    values, valid = rng.normal(size=(40, 50)), rng.random((40, 50)) > 0.2
    result = np.asarray(SMOOTH(jnp.asarray(values), jnp.asarray(valid), 1.5))
    options = {"sigma": 1.5, "mode": "constant", "truncate": 4.0}
    top = ndimage.gaussian_filter(np.where(valid, values, 0), **options)
    expected = top / ndimage.gaussian_filter(valid.astype(float), **options)
    assert_allclose(result[valid], expected[valid], rtol=1e-12)
    assert np.isnan(result[~valid]).all()


def test_gaps_neither_spread_nor_darken():
    valid = np.ones((30, 30), bool)
    valid[10:15, 10:15] = False
    values = np.where(valid, 7.0, np.nan)
    result = np.asarray(SMOOTH(jnp.asarray(values), jnp.asarray(valid), 2.0))
    assert_allclose(result[valid], 7.0)


def test_blocks_with_the_halo_smooth_like_the_whole():
    rng = np.random.default_rng(1)
    values, valid = rng.normal(size=(64, 48)), rng.random((64, 48)) > 0.1
    whole = np.asarray(SMOOTH(jnp.asarray(values), jnp.asarray(valid), 1.5))
    halo = Detection().halo_px
    part = (slice(20 - halo, 40 + halo), slice(0, 48))
    block = np.asarray(SMOOTH(jnp.asarray(values[part]), jnp.asarray(valid[part]), 1.5))
    assert_allclose(block[halo:-halo], whole[20:40], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_two_plumes_are_two_labels_in_order(seed):
    enhancement, truth = _map(seed, 8.0, 6.0)
    detected = _detect(enhancement)
    assert detected.labels.max() == 2
    rows = [np.nonzero(detected.labels == number)[0].min() for number in (1, 2)]
    assert rows[0] < rows[1]
    assert truth[detected.labels == 1].mean() > 100
    plumes = find_plumes(detected, enhancement, np.ones(SHAPE, bool))
    assert [plume.number for plume in plumes] == [1, 2]
    assert all(plume.state is State.PLUME for plume in plumes)
    for plume in plumes:
        assert detected.labels[plume.peak] == plume.number
        assert detected.score[plume.peak] == plume.peak_score


def test_strong_plumes_are_found_nineteen_times_in_twenty():
    """Q >= 5 t/h at U <= 5 m/s, in every direction."""
    found = 0
    rng = np.random.default_rng(3)
    for seed in range(60):
        plume = scenes.plume(
            SHAPE,
            rate_t_h=rng.uniform(5, 15),
            wind_m_s=rng.uniform(2, 5),
            direction_deg=rng.uniform(0, 360),
            source=(48, 48),
            oversampling=2,
            texture_seed=seed,
        )
        enhancement = plume.enhancement + scenes.correlated_noise(SHAPE, SIGMA, 100 + seed)
        detected = _detect(enhancement)
        sources = detected.mask & (plume.enhancement > 250)
        found += bool(sources.sum() > 5)
    assert found >= 57


def test_noise_alone_has_hardly_a_plume():
    counts = [
        len([p for p in _plumes_of(_map(seed)[0]) if p.state is State.PLUME]) for seed in range(40)
    ]
    assert sum(counts) <= 1


def _plumes_of(enhancement):
    return find_plumes(_detect(enhancement), enhancement, np.ones(enhancement.shape, bool))


def test_labels_do_not_depend_on_how_pieces_were_numbered():
    labels = np.array([[0, 3, 0, 1], [0, 3, 0, 1], [2, 0, 0, 0]], np.int32)
    expected = [[0, 1, 0, 2], [0, 1, 0, 2], [3, 0, 0, 0]]
    assert_array_equal(canonical_labels(labels), expected)
    swapped = np.array([0, 3, 1, 2], np.int32)[labels]
    assert_array_equal(canonical_labels(swapped), expected)
    assert canonical_labels(np.zeros((3, 3), np.int32)).max() == 0


def test_mask_stays_clear_of_what_is_not_clear():
    enhancement, _ = _map(0, 8.0)
    clear = np.ones(SHAPE, bool)
    clear[:, 20:30] = False
    detected = _detect(enhancement, clear=clear)
    assert not detected.mask[~clear].any()
    enhancement[~clear] = np.nan
    assert_array_equal(_detect(enhancement).labels, detected.labels)


def test_a_minimum_drops_weak_ones():
    enhancement, _ = _map(2, 8.0)
    assert _detect(enhancement).mask.any()
    assert not _detect(enhancement, Detection(minimum_ppm_m=1e6)).mask.any()
    assert not _detect(enhancement, Detection(minimum_pixels=5000)).mask.any()


@pytest.mark.parametrize("gap", [1, 4, 12])
def test_a_cloud_across_a_plume_makes_no_second_one(gap):
    enhancement, _ = _map(0, 8.0)
    clear = np.ones(SHAPE, bool)
    clear[:, 36 : 36 + gap] = False
    detected = _detect(enhancement, clear=clear)
    assert detected.labels.max() == 1
    assert detected.mask[:, 35].any()
    assert detected.mask[:, 36 + gap].any()
    assert not detected.mask[~clear].any()
    apart = _detect(enhancement, Detection(bridge_px=0), clear=clear)
    assert apart.labels.max() == 2
    assert_array_equal(apart.mask, detected.mask)


@pytest.mark.parametrize("width", [1, 2])
def test_a_dead_column_neither_thins_nor_parts_a_plume(width):
    """Its halves, two pixels wide, would be opened away beside the gap."""
    enhancement = np.zeros(SHAPE)
    enhancement += scenes.correlated_noise(SHAPE, SIGMA / 10, 0)
    enhancement[20:70, 45:50] += 10 * SIGMA
    gap = slice(47, 47 + width)
    enhancement[:, gap] = np.nan
    detected = _detect(enhancement, Detection(sigma_px=0.5))
    assert detected.labels.max() == 1
    expected = np.zeros(SHAPE, bool)
    expected[21:69, 45:50] = True
    expected[:, gap] = False
    assert detected.mask[expected].all()
    assert not detected.mask[:, gap].any()


def test_a_cloud_s_edge_holds_no_thin_piece():
    enhancement = scenes.correlated_noise(SHAPE, SIGMA / 10, 0)
    enhancement[:, 50:60] = np.nan
    enhancement[20:70, 49] += 20 * SIGMA
    assert not _detect(enhancement, Detection(sigma_px=0.1)).mask.any()


def test_plumes_that_a_wide_cloud_parts_stay_two():
    enhancement, _ = _map(0, 8.0, 8.0)
    clear = np.ones(SHAPE, bool)
    clear[36:56] = False
    assert _detect(enhancement, clear=clear).labels.max() == 2


def test_a_map_without_noise_has_its_plume():
    """MAG1C leaves exactly nothing over most of a scene: no scatter to measure by."""
    sparse = np.zeros(SHAPE)
    sparse[40:50, 30:60] = 2000.0
    detected = _detect(sparse)
    assert detected.labels.max() == 1
    assert detected.mask[40:50, 30:60].all()
    assert not _detect(np.zeros(SHAPE)).mask.any()


def test_maps_of_another_byte_order_have_the_same_plumes():
    enhancement, _ = _map(0, 8.0, 8.0)
    found, foreign = _detect(enhancement), _detect(enhancement.astype(">f8"))
    assert found.labels.max() > 0
    assert_array_equal(foreign.labels, found.labels)


def test_what_a_penalty_left_of_noise_is_no_plume():
    """Next to no scatter is no measure either: any speck would stand far above it."""
    noise = np.maximum(SIGMA * np.random.default_rng(0).standard_normal(SHAPE) - 0.9 * SIGMA, 0)
    assert 0.1 < (noise > 0).mean() < 0.3
    assert not _detect(noise).mask.any()
    noise[40:50, 30:60] += 10 * SIGMA
    assert _detect(noise).labels.max() == 1


def test_settings_that_detect_nothing_are_refused():
    with pytest.raises(ConfigurationError, match="core >= grow"):
        Detection(core=2.0, grow=3.0)


def test_outlines_enclose_exactly_the_pixels():
    enhancement, _ = _map(1, 8.0, 6.0)
    detected = _detect(enhancement)
    transform = (60.0, 0.0, 500_000.0, 0.0, -60.0, 4_000_000.0)
    for plume in find_plumes(detected, enhancement, np.ones(SHAPE, bool)):
        polygon = geometry(outline(detected.labels, plume, transform))
        assert polygon.is_valid
        assert_allclose(polygon.area, plume.pixels * 3600)
        row, column = plume.peak
        assert polygon.covers(
            geometry(
                {
                    "type": "Point",
                    "coordinates": (5e5 + 60 * (column + 0.5), 4e6 - 60 * (row + 0.5)),
                }
            )
        )


def test_pixels_that_meet_at_a_corner_make_a_valid_outline():
    labels = np.array([[1, 0], [0, 1]], np.int32)
    score = np.where(labels, 9.0, 0.0)
    (plume,) = find_plumes(Detected(labels=labels, score=score), score, np.ones((2, 2), bool))
    polygon = geometry(outline(labels, plume, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)))
    assert polygon.is_valid
    assert polygon.area == 2


def test_states():
    enhancement, _ = _map(0, 8.0)
    everything, nothing = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    plumes = _plumes_of(enhancement)
    assert scene_state(plumes, everything) is State.PLUME
    assert scene_state(plumes, nothing) is State.PLUME
    strict = find_plumes(_detect(enhancement), enhancement, everything, Certainty(peak_score=1e3))
    assert scene_state(strict, everything) is State.UNCERTAIN
    assert scene_state((), everything) is State.NO_PLUME
    assert scene_state((), nothing) is State.UNOBSERVABLE


def _block(rows=2, columns=5, *, score=6.0, unseen=0):
    """A candidate of these pixels in the middle of a scene, some of its neighbours unseen."""
    labels = np.zeros((12, 12), np.int32)
    labels[4 : 4 + rows, 4 : 4 + columns] = 1
    clear = np.ones(labels.shape, bool)
    clear[3, 3 : 3 + unseen] = False
    detected = Detected(labels=labels, score=np.where(labels, score, 0.0))
    return detected, np.where(labels, 900.0, 0.0), clear


@pytest.mark.parametrize(
    ("candidate", "state"),
    [
        ({}, State.PLUME),
        ({"score": np.nextafter(6.0, 0.0)}, State.UNCERTAIN),
        ({"rows": 3, "columns": 3}, State.UNCERTAIN),  # 9 pixels of 10
        ({"unseen": 2}, State.PLUME),  # of 4 x 7 pixels in and around it
        ({"unseen": 3}, State.UNCERTAIN),
    ],
)
def test_where_a_candidate_becomes_a_plume(candidate, state):
    (plume,) = find_plumes(*_block(**candidate))
    assert plume.state is state


def test_the_most_unseen_neighbours_are_allowed_exactly():
    detected, enhancement, clear = _block(unseen=3)
    share = 3 / 28
    for allowed, state in ((share, State.PLUME), (np.nextafter(share, 0.0), State.UNCERTAIN)):
        (plume,) = find_plumes(detected, enhancement, clear, Certainty(masked_fraction=allowed))
        assert plume.masked_fraction == share
        assert plume.state is state


def test_half_a_scene_in_the_clear_is_enough_to_see_nothing():
    clear = np.zeros((10, 10), bool)
    clear[:5] = True
    assert scene_state((), clear) is State.NO_PLUME
    clear[0, 0] = False
    assert scene_state((), clear) is State.UNOBSERVABLE
    weak = find_plumes(*_block(score=5.0))
    assert scene_state(weak, clear) is State.UNCERTAIN


def test_a_plume_that_goes_on_under_a_cloud_is_uncertain():
    enhancement, truth = _map(0, 8.0)
    clear = np.ones(SHAPE, bool)
    clear[21:] = False
    detected = _detect(enhancement, clear=clear)
    states = {p.state for p in find_plumes(detected, enhancement, clear)}
    assert states == {State.UNCERTAIN}
    assert truth[detected.mask].max() > 100
