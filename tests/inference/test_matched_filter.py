"""Properties of the columnwise filters: columns, scaling, gaps, bad detectors, truth."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.absorption import methane_surrogate
from geostack_dagster.inference.background import LeaveOneOut, Ridge
from geostack_dagster.inference.columns import (
    ColumnFlag,
    Signature,
    Walk,
    check_whole_columns,
    column_kernel,
    walk_columns,
)
from geostack_dagster.inference.enhancement import (
    Calibration,
    Retrieval,
    outlier_columns,
    retrieve_enhancement,
)
from geostack_dagster.inference.geolocation import orthorectify
from geostack_dagster.inference.mag1c import Mag1c
from geostack_dagster.inference.matched_filter import MatchedFilter, Noise
from geostack_dagster.inference.target import methane_target
from tests.inference import scenes

UNIT = scenes.emit_target().unit_absorption
SIGNATURE = Signature(bands=np.arange(UNIT.size), unit_absorption=UNIT)
OPERATORS = [
    MatchedFilter(),
    MatchedFilter(exact=False),
    MatchedFilter(regulariser=LeaveOneOut()),
    Mag1c(iterations=3),
]


def _run(cube, operator=OPERATORS[0], *, signature=SIGNATURE, usable=None, **walk):
    usable = np.ones(cube.shape[:2], bool) if usable is None else usable
    # the strict flags of these tests are a thread's own: more threads would compile once more
    walk = Walk(**{"group": 4, "threads": 1, **walk})
    return walk_columns(cube, operator, signature, usable=usable, walk=walk)


@pytest.fixture(scope="module")
def cube():
    return scenes.radiance((200, 10), seed=4)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: repr(one)[:40])
def test_groups_do_not_matter(cube, operator):
    whole, parts = _run(cube, operator, group=10), _run(cube, operator, group=4)
    for name in ("enhancement", "uncertainty", "sensitivity", "flags", "mean"):
        expected, found = getattr(whole, name), getattr(parts, name)
        tolerance = 1e-6 if name == "enhancement" else 1e-9
        assert_allclose(found, expected, rtol=1e-9, atol=tolerance)


class _Chunked:
    """A store that decodes whole chunks, and remembers which columns were read."""

    def __init__(self, values, columns):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.chunks = (values.shape[0], columns, values.shape[2])
        self.reads = []

    def __getitem__(self, key):
        self.reads.append(range(*key[1].indices(self.shape[1])))
        return self.values[key]


@pytest.mark.parametrize(
    ("columns", "group", "reads"), [(8, 4, 2), (6, 2, 2), (2, 4, 3), (7, 3, 2)]
)
def test_a_stored_chunk_is_read_once_and_not_for_every_group(cube, columns, group, reads):
    store = _Chunked(cube, columns)
    found, expected = _run(store, group=group), _run(cube, group=group)
    assert_array_equal(found.enhancement, expected.enhancement)
    assert len(store.reads) == reads
    assert sorted(one for read in store.reads for one in read) == list(range(10))


def test_permuting_columns_permutes_the_map(cube):
    order = np.random.default_rng(0).permutation(10)
    straight, shuffled = _run(cube), _run(cube[:, order].copy())
    assert_allclose(shuffled.enhancement, straight.enhancement[:, order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("regulariser", [Ridge(strength=1e-4), LeaveOneOut()])
def test_scaling_the_radiance_changes_nothing(cube, regulariser):
    operator = MatchedFilter(regulariser=regulariser, floor=-np.inf)
    exact = cube.astype(np.float64)
    for factor in (1e-3, 1e3):
        assert_allclose(
            _run(factor * exact, operator).enhancement,
            _run(exact, operator).enhancement,
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf, -9999.0])
def test_a_gap_stays_where_it_is(cube, gap):
    broken = cube.copy()
    broken[50, 3, 20] = gap
    excluded = np.ones(cube.shape[:2], bool)
    excluded[50, 3] = False
    found, expected = _run(broken), _run(cube, usable=excluded)
    holes = np.zeros(cube.shape[:2], bool)
    holes[50, 3] = True
    for name in ("enhancement", "uncertainty", "sensitivity"):
        assert_array_equal(np.isnan(getattr(found, name)), holes)
    assert_allclose(found.enhancement[~holes], expected.enhancement[~holes], rtol=0, atol=1e-7)
    assert found.pixels.tolist() == expected.pixels.tolist()


def test_screened_pixels_get_a_value_but_no_vote(cube):
    usable = np.ones(cube.shape[:2], bool)
    usable[:40] = False
    changed = cube.copy()
    changed[:40] *= 1.7
    first, second = _run(cube, usable=usable), _run(changed, usable=usable)
    assert np.isfinite(second.enhancement[:40]).all()
    assert_allclose(first.enhancement[40:], second.enhancement[40:], rtol=0, atol=1e-7)


def test_dark_pixels_below_the_floor_do_not_vote(cube):
    changed = cube.copy()
    changed[7, :, 0] = -0.06
    assert (_run(changed).pixels == 199).all()


def test_methane_over_the_whole_column_does_not_show():
    even = np.full((200, 4), 1000.0)
    quiet, full = (
        _run(scenes.radiance((200, 4), seed=6, enhancement=added)).enhancement
        for added in (None, even)
    )
    # relative to the column's mean: only the weaker signal of darker light remains
    assert abs(full.mean() - quiet.mean()) < 1


def test_bad_columns_are_nan_flagged_and_counted(cube):
    broken = cube.copy()
    broken[:, 1, 5] = 0.5
    broken[5:, 2] = np.nan
    usable = np.ones(cube.shape[:2], bool)
    usable[60:] = False
    few_lines = _run(broken, usable=usable)
    result = _run(broken)
    assert result.flags[0] == 0
    assert result.flags[1] == ColumnFlag.DEAD
    assert result.flags[2] == ColumnFlag.FEW_PIXELS
    assert np.isnan(result.enhancement[:, 1:3]).all()
    assert np.isfinite(result.enhancement[:, 0]).all()
    assert few_lines.flags[0] == ColumnFlag.UNDERDETERMINED
    assert np.isfinite(few_lines.enhancement[:, 0]).all()


def test_a_singular_column_gets_a_stronger_ridge(cube):
    twin = cube.astype(np.float64)
    twin[:, 0, 10] = twin[:, 0, 11]
    result = _run(twin, MatchedFilter(regulariser=Ridge(strength=1e-18)))
    assert np.isfinite(result.enhancement).all()
    assert 1e-18 < result.strength[0] <= 1e-4
    assert_allclose(result.strength[1:], 1e-18)


def test_pooled_columns_share_one_background(cube):
    pooled = _run(cube, pool=2, group=8)
    # the two columns laid end to end, as one long column
    joined = np.concatenate([cube[:, 0::2], cube[:, 1::2]], axis=0)
    long = _run(joined)
    assert_allclose(pooled.enhancement[:, 0::2], long.enhancement[:200], rtol=0, atol=1e-7)
    assert_allclose(pooled.enhancement[:, 1::2], long.enhancement[200:], rtol=0, atol=1e-7)
    assert pooled.pixels.tolist() == [400] * 10


def test_noise_makes_the_uncertainty(cube):
    depth = UNIT.size
    noise = Noise(np.full(depth, 1.74e-3), np.full(depth, 0.267), np.zeros(depth))
    twice = Noise(*(2 * noise[0], noise[1], noise[2]))
    once, double = (
        _run(
            cube,
            signature=Signature(bands=SIGNATURE.bands, unit_absorption=UNIT, noise=one),
        ).uncertainty
        for one in (noise, twice)
    )
    assert_allclose(double, 2 * once, rtol=1e-12)
    clean = scenes.radiance((200, 10), seed=4, noise=False)
    shown = (_run(cube).enhancement - _run(clean).enhancement).std()
    assert np.median(once) < 3 * shown


def test_per_column_targets_are_used(cube):
    smile = UNIT * np.linspace(0.5, 1.0, 10)[:, None]
    bent = _run(cube, signature=Signature(bands=SIGNATURE.bands, unit_absorption=smile))
    straight = _run(cube)
    expected = straight.enhancement / np.linspace(0.5, 1.0, 10)
    assert_allclose(bent.enhancement, expected, rtol=1e-9, atol=1e-6)


def test_one_compilation_per_shape_of_group(cube):
    operator = MatchedFilter(minimum_pixels=11)
    _run(cube, operator, group=4)
    _run(cube[:, :7].copy(), operator, group=4)
    assert column_kernel(operator).compilations == 1
    _run(cube[:100].copy(), operator, group=4)
    assert column_kernel(operator).compilations == 2


def test_cutting_along_track_is_forbidden():
    dims = ("downtrack", "crosstrack", "band")
    sizes = {"downtrack": 1280, "crosstrack": 1242, "band": 285}
    check_whole_columns(dims, {"downtrack": 1280, "crosstrack": 32, "band": 285}, sizes)
    with pytest.raises(ConfigurationError, match=r"'downtrack'.*rechunk"):
        check_whole_columns(dims, {"downtrack": 320, "crosstrack": 1242, "band": 285}, sizes)


def test_cutting_along_track_would_change_the_map():
    """Why it is forbidden: by as much as the noise itself."""
    scene = scenes.radiance((400, 4), seed=8)
    whole = _run(scene).enhancement
    halves = np.concatenate(
        [_run(scene[:200].copy()).enhancement, _run(scene[200:].copy()).enhancement]
    )
    assert np.sqrt(np.mean((whole - halves) ** 2)) > 0.3 * whole.std()


def test_walks_that_make_no_sense_are_refused():
    with pytest.raises(ConfigurationError, match="multiple of the pool"):
        Walk(group=4, pool=3)


# the scene: two passes, truth


@pytest.fixture(scope="module")
def scene():
    shape = (640, 64)
    truth = scenes.plume(shape, rate_t_h=10, wind_m_s=3, source=(160, 12), oversampling=2)
    return truth.enhancement, scenes.radiance(shape, enhancement=truth.enhancement, seed=2)


def test_the_second_pass_brings_the_plume_back(scene):
    truth, cube = scene
    plume = truth > 300
    ratio = {}
    for passes in (1, 2):
        result = retrieve_enhancement(cube, scenes.emit_target(), Retrieval(passes=passes))
        ratio[passes] = result.enhancement[plume].sum() / truth[plume].sum()
    assert 0.9 < ratio[2] < 1.1
    assert abs(ratio[2] - 1) < abs(ratio[1] - 1)
    assert result.facts["plume_pixels_left_out"] > plume.sum()


def test_background_is_unbiased_and_as_uncertain_as_stated(scene):
    truth, cube = scene
    result = retrieve_enhancement(cube, scenes.emit_target())
    quiet = result.enhancement[truth < 20]
    assert abs(quiet.mean()) < 0.1 * quiet.std()
    assert 0.8 < np.median(result.uncertainty) / quiet.std() < 1.2
    assert_allclose(np.median(result.sensitivity), 1, atol=0.2)
    assert result.target == scenes.emit_target().digest
    assert result.facts["columns"]["dead"] == 0


def test_correction_by_sensitivity_drops_dark_pixels(scene):
    _, cube = scene
    dark = cube.copy()
    dark[:30] *= 0.1
    result = retrieve_enhancement(dark, scenes.emit_target(), Retrieval(passes=1))
    assert np.isnan(result.corrected[:30]).mean() > 0.9
    assert np.isfinite(result.enhancement[:30]).all()


def test_an_outlying_detector_is_left_out(scene):
    _, cube = scene
    broken = cube.copy()
    broken[:, 20, 7] *= 3.0
    result = retrieve_enhancement(broken, scenes.emit_target(), Retrieval(passes=1))
    assert np.isnan(result.enhancement[:, 20]).all()
    assert result.facts["columns"]["outlier"] == 1


def test_a_band_made_of_its_neighbours_fools_no_column(scene):
    """Archives fill broken detector elements so: the filter then believes it sees no noise."""
    _, cube = scene
    filled = cube.copy()
    filled[:, 7, 10] = filled[:, 7, 11]
    filled[:, 9, 20] = (filled[:, 9, 19] + filled[:, 9, 21]) / 2
    result = retrieve_enhancement(filled, scenes.emit_target(), Retrieval(passes=1))
    assert_array_equal(np.isnan(result.enhancement).all(axis=0).nonzero()[0], [7, 9])
    assert result.facts["columns"]["singular"] == 2


@pytest.mark.parametrize("hidden", ["fill", "nan", "screened", "one line", "one band"])
def test_a_scene_of_which_nothing_can_be_said_is_nan_without_a_warning(scene, hidden):
    cube = scene[1][:, :8].copy()
    usable = np.full(cube.shape[:2], hidden != "screened")
    if hidden in {"fill", "nan"}:
        cube[:] = -9999.0 if hidden == "fill" else np.nan
    elif hidden == "one line":
        cube[1:] = np.nan
    elif hidden == "one band":
        cube[:, :, 3] = np.nan
    result = retrieve_enhancement(cube, scenes.emit_target(), usable=usable)
    assert np.isnan(result.enhancement).all()
    assert result.facts["columns"]["few_pixels"] == 8
    assert result.facts["null_sigma_ppm_m"] is None


def test_a_dead_detector_in_a_plume_leaves_its_neighbours_as_they_are():
    """Else the plume is too thin beside the gap, stays in the statistics, and hides itself."""
    plume = scenes.plume(
        (240, 48), rate_t_h=8, wind_m_s=3, direction_deg=90, source=(60, 24), oversampling=2
    )
    cube = scenes.radiance((240, 48), enhancement=plume.enhancement, seed=0)
    whole = retrieve_enhancement(cube, scenes.emit_target())
    cube[:, 24] = np.nan
    gappy = retrieve_enhancement(cube, scenes.emit_target())
    left_out = [one.facts["plume_pixels_left_out"] for one in (whole, gappy)]
    assert abs(left_out[1] - left_out[0]) < 0.1 * left_out[0]
    assert np.isnan(gappy.enhancement[:, 24]).all()
    moved = np.delete(gappy.enhancement - whole.enhancement, 24, axis=1)
    assert np.sqrt(np.mean(moved**2)) < 30
    beside = plume.enhancement > 1000
    beside[:, 24] = False
    assert_allclose(gappy.enhancement[beside].sum(), whole.enhancement[beside].sum(), rtol=0.05)


def test_columns_beside_a_gap_are_no_outliers():
    """Ground that brightens across the scene, and five detectors that saw nothing."""
    mean = np.outer(1.04 ** np.arange(40), np.linspace(2.0, 1.0, 6))
    assert not outlier_columns(mean, 10.0).any()
    for nothing in (0.0, np.nan):
        gappy = mean.copy()
        gappy[20:25] = nothing
        kept = np.delete(mean, slice(20, 25), axis=0)
        assert_array_equal(
            np.delete(outlier_columns(gappy, 10.0), slice(20, 25)), outlier_columns(kept, 10.0)
        )
        assert not outlier_columns(gappy, 10.0).any()


def test_smooth_ground_has_no_outliers():
    mean = 5 + np.sin(np.arange(200) / 20)[:, None] * np.ones(8)
    assert not outlier_columns(mean, 10.0).any()


def test_reflectance_is_relative(scene):
    _, cube = scene
    settings = Retrieval(passes=1, calibration=Calibration.RELATIVE)
    result = retrieve_enhancement(cube, scenes.emit_target(), settings)
    assert result.calibration == "relative, uncalibrated"


def test_bands_of_another_instrument_are_refused(scene):
    _, cube = scene
    with pytest.raises(ConfigurationError, match="bands"):
        retrieve_enhancement(cube[..., 1:], scenes.emit_target())


def test_a_mask_of_another_scene_is_refused(cube):
    with pytest.raises(ConfigurationError, match="200 x 10 pixels"):
        retrieve_enhancement(cube, scenes.emit_target(), usable=np.ones((10, 200), bool))


def test_a_scene_without_columns_is_refused(cube):
    with pytest.raises(ConfigurationError, match="at least one pixel"):
        retrieve_enhancement(cube[:, :0], scenes.emit_target())


def test_the_order_of_the_bands_does_not_matter(cube):
    order = np.random.default_rng(0).permutation(UNIT.size)
    target = scenes.emit_target()
    shuffled = methane_target(
        methane_surrogate(), target.wavelength_nm[order], target.fwhm_nm[order]
    )
    found = retrieve_enhancement(cube[:, :, order].copy(), shuffled)
    expected = retrieve_enhancement(cube, target)
    assert_allclose(found.enhancement, expected.enhancement, rtol=0, atol=1e-6)


def test_orthorectification_follows_the_table():
    values = np.arange(6.0).reshape(2, 3)
    glt_x = np.array([[1, -3, 0], [2, 2, 3]])
    glt_y = np.array([[1, 2, 0], [1, -2, 0]])
    expected = [[0.0, 5.0, np.nan], [1.0, 4.0, np.nan]]
    assert_array_equal(orthorectify(values, glt_x, glt_y), expected)
    with pytest.raises(IntegrityError, match="another granule"):
        orthorectify(values, glt_x, glt_y + 1)


def test_results_are_float64_under_jit():
    kernel = column_kernel(OPERATORS[0])
    shape = jax.eval_shape(
        kernel._compiled,
        jax.ShapeDtypeStruct((2, 50, 5), np.float32),
        jax.ShapeDtypeStruct((2, 50), bool),
        jax.ShapeDtypeStruct((2, 5), np.float64),
        None,
    )
    assert shape.enhancement.dtype == np.float64


def test_no_blas_keeps_threads_of_its_own():
    """SciPy's LAPACK, which JAX loads when it first solves, spins otherwise: 6 times the time."""
    script = """
import jax.numpy as jnp, threadpoolctl
from geostack_dagster.inference.columns import _blas
with _blas().limit(limits=1, user_api="blas"):
    jnp.linalg.eigh(jnp.eye(3))
    found = [one["num_threads"] for one in threadpoolctl.threadpool_info()]
assert set(found) == {1} and len(found) > 1, found
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
