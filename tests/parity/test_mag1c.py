"""MAG1C against a direct implementation of its formulas in float64 numpy, one column at a time."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from geostack_dagster.inference.columns import Signature, Walk, walk_columns
from geostack_dagster.inference.mag1c import Mag1c
from tests.inference import scenes


def _reference(column, unit_absorption, iterations, a=1e-4):
    x = column.astype(np.float64)
    k = 1e5 * unit_absorption

    def background(z):
        mean = z.mean(axis=0)
        sample = np.cov(z, rowvar=False, ddof=0)
        covariance = (1 - a) * sample + a * np.diag(np.diag(sample))
        target = k * mean
        return mean, target, np.linalg.solve(covariance, target)

    mean, target, weights = background(x)
    albedo = x @ mean / (mean @ mean)
    alpha = np.maximum(0, (x - mean) @ weights / (albedo * (target @ weights)))
    for _ in range(iterations):
        penalty = 1 / (albedo * (alpha + 1e-9))
        residual = x - (albedo * alpha)[:, None] * target
        mean, target, weights = background(residual)
        power = max(target @ weights, 1)
        alpha = np.maximum(0, ((x - mean) @ weights - penalty) / (albedo * power))
    return 1e5 * alpha


@pytest.fixture(scope="module")
def case():
    shape = (400, 6)
    truth = scenes.plume(shape, rate_t_h=10, wind_m_s=3, source=(80, 1)).enhancement
    cube = scenes.radiance(shape, enhancement=truth, seed=11)
    unit = scenes.emit_target().unit_absorption
    return cube, Signature(bands=np.arange(unit.size), unit_absorption=unit)


def _ours(case, operator, group=2):
    cube, signature = case
    usable = np.ones(cube.shape[:2], bool)
    return walk_columns(
        cube, operator, signature, usable=usable, walk=Walk(group=group, threads=1)
    ).enhancement


@pytest.mark.parametrize("iterations", [0, 1, 30])
def test_agrees_with_the_formulas(case, iterations):
    ours = _ours(case, Mag1c(iterations=iterations))
    cube, signature = case
    expected = np.stack(
        [_reference(cube[:, i], signature.unit_absorption, iterations) for i in range(6)], axis=1
    )
    assert (expected > 0).any()
    assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_float32_stays_within_the_table(case):
    exact, single = _ours(case, Mag1c()), _ours(case, Mag1c(exact=False))
    assert np.sqrt(np.mean((single - exact) ** 2)) < 1
    assert np.abs(single - exact).max() < 150
    assert np.mean((single > 0) != (exact > 0)) < 1e-3


def test_is_sparse_and_never_negative(case):
    ours = _ours(case, Mag1c())
    assert ours.min() == 0
    assert np.mean(ours == 0) > 0.5


def test_column_groups_do_not_matter(case):
    assert_allclose(_ours(case, Mag1c(), group=1), _ours(case, Mag1c(), group=6), rtol=0, atol=1e-6)
