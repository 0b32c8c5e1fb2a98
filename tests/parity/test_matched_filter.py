"""The matched filter against independent implementations: SPy, and plain numpy in float64."""

import jax
import numpy as np
import pytest
import spectral
from numpy.testing import assert_allclose

from geostack_dagster.inference.background import LeaveOneOut, Ridge
from geostack_dagster.inference.columns import Signature, Walk, walk_columns
from geostack_dagster.inference.matched_filter import MatchedFilter, Noise
from tests.inference import scenes

WIDE = (1500.0, 2450.0)


def _case(low=2137.0, high=2493.0, shape=(320, 9), seed=3):
    truth = scenes.plume(shape, rate_t_h=8, wind_m_s=3, source=(60, 2)).enhancement
    cube = scenes.radiance(shape, enhancement=truth, seed=seed, low=low, high=high)
    unit = scenes.emit_target(low, high).unit_absorption
    return cube, Signature(bands=np.arange(unit.size), unit_absorption=unit)


def _filter(cube, signature, operator, *, usable=None, group=4):
    usable = np.ones(cube.shape[:2], bool) if usable is None else usable
    return walk_columns(cube, operator, signature, usable=usable, walk=Walk(group=group, threads=1))


def _numpy(column, unit, ridge, usable=None, noise=None):
    """Textbook matched filter of one column with explicit inverse, float64."""
    x = column.astype(np.float64)
    kept = x if usable is None else x[usable]
    mean = kept.mean(axis=0)
    covariance = np.cov(kept, rowvar=False)
    covariance = (1 - ridge) * covariance + ridge * np.diag(np.diag(covariance))
    target = unit * mean
    weights = np.linalg.solve(covariance, target)
    power = target @ weights
    sensitivity = np.abs((unit * x) @ weights) / power
    spread = np.full(len(x), power**-0.5)
    if noise is not None:
        equivalent = np.abs(noise.a * np.sqrt(noise.b + x) + noise.c)
        spread = np.sqrt((equivalent**2) @ weights**2) / power
    return (x - mean) @ weights / power, spread / sensitivity, sensitivity


def test_agrees_with_spy():
    cube, signature = _case()
    ours = _filter(cube, signature, MatchedFilter(regulariser=Ridge(strength=0.0))).enhancement
    for number in range(cube.shape[1]):
        column = cube[:, number].astype(np.float64)
        stats = spectral.calc_stats(column[:, None, :])
        # SPy's target is the mean of a target class, from which it subtracts the mean itself
        peer = spectral.matched_filter(
            column[:, None, :], stats.mean * (1 + signature.unit_absorption), stats
        ).ravel()
        assert_allclose(ours[:, number], peer, rtol=0, atol=1e-2)


@pytest.mark.parametrize(("low", "high"), [(2137.0, 2493.0), WIDE])
@pytest.mark.parametrize("ridge", [0.0, 1e-10, 1e-4])
def test_agrees_with_numpy(low, high, ridge):
    # the wide window's condition number is 1e8, its bands three times as many: so are the lines
    cube, signature = _case(low, high, shape=(960, 4) if (low, high) == WIDE else (320, 9))
    depth = signature.bands.size
    noise = Noise(np.full(depth, 1.74e-3), np.full(depth, 0.267), np.full(depth, 1e-4))
    usable = np.random.default_rng(5).random(cube.shape[:2]) > 0.1
    signature = Signature(
        bands=signature.bands, unit_absorption=signature.unit_absorption, noise=noise
    )
    ours = _filter(cube, signature, MatchedFilter(regulariser=Ridge(strength=ridge)), usable=usable)
    for number in range(cube.shape[1]):
        alpha, spread, sensitivity = _numpy(
            cube[:, number], signature.unit_absorption, ridge, usable[:, number], noise
        )
        assert_allclose(ours.enhancement[:, number], alpha, rtol=0, atol=1e-6)
        assert_allclose(ours.uncertainty[:, number], spread, rtol=1e-8)
        assert_allclose(ours.sensitivity[:, number], sensitivity, rtol=1e-8)


def _theiler(column, grid):
    """Leave-one-out cost of every candidate with one inverse each (Theiler 2012, eq. 29)."""
    x = column.astype(np.float64) - column.astype(np.float64).mean(axis=0)
    n, depth = x.shape
    sample = np.cov(x, rowvar=False)
    diagonal = np.diag(np.diag(sample))
    costs = []
    for a in grid:
        beta = (1 - a) / (n - 1)
        matrix = n * beta * sample + a * diagonal
        r = np.einsum("nb,nb->n", x @ np.linalg.inv(matrix), x)
        q = 1 - beta * r
        logdet = np.linalg.slogdet(matrix)[1]
        good = np.all(q > 0)
        spread = np.sum(np.log(np.where(q > 0, q, 1)) + r / q) / (2 * n)
        costs.append(0.5 * (depth * np.log(2 * np.pi) + logdet) + spread if good else np.inf)
    return np.array(costs)


@pytest.mark.parametrize("lines", [100, 320])
def test_leave_one_out_finds_the_best_of_all_201(lines):
    cube, signature = _case(shape=(lines, 4), seed=lines)
    ours = _filter(cube, signature, MatchedFilter(regulariser=LeaveOneOut()))
    grid = 10.0 ** np.linspace(-10, 0, 201)
    for number in range(4):
        best = grid[np.argmin(_theiler(cube[:, number], grid))]
        assert_allclose(ours.strength[number], best, rtol=1e-9)
        alpha, _, _ = _numpy(cube[:, number], signature.unit_absorption, best)
        assert_allclose(ours.enhancement[:, number], alpha, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "rms", "largest"), [(2137.0, 2493.0, 2.0, 10.0), (*WIDE, 6.0, 30.0)]
)
def test_float32_stays_within_a_few_percent_of_the_noise(low, high, rms, largest):
    cube, signature = _case(low, high, shape=(640, 4))
    exact = _filter(cube, signature, MatchedFilter()).enhancement
    single = _filter(cube, signature, MatchedFilter(exact=False)).enhancement
    difference = single - exact
    assert np.sqrt(np.mean(difference**2)) < rms
    assert np.abs(difference).max() < largest
    assert np.abs(difference).max() > 0


def test_runs_in_float64():
    assert jax.config.jax_enable_x64
    cube, signature = _case(shape=(100, 4))
    assert _filter(cube, signature, MatchedFilter()).enhancement.dtype == np.float64
