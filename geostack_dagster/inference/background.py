"""Background statistics of detector columns, and how their covariance is made invertible.

Covariances are centred in two passes: a one-pass sum of squares loses all digits of a radiance
spectrum in float32 and some in float64. They are scaled to correlations before they are factored,
so a ridge means the same whatever the unit of radiance.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Float32, Float64, Int64

type Radiance = Float32[Array, "x y band"] | Float64[Array, "x y band"]

_RUN = 64  # lines of a float32 sum
_CHUNK = 16  # factors of a likelihood multiplied before one logarithm; none nears underflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Covariance (1 - a) S + a diag(S), with the same a for every column."""

    strength: float = 1e-10
    ceiling: float = 1e-4
    """Where the tenfold increases end for a column that is still not positive definite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Covariance (1 - a) S + a diag(S), a chosen per column by leave-one-out likelihood.

    The grid is Theiler's as JPL uses it: a = 10^-10 ... 1 in 201 steps of a twentieth of a decade.
    """

    lowest_exponent: float = -10.0
    steps: int = 201
    strides: tuple[int, ...] = (25, 5, 1)
    """Grid points apart in the first search, and in each that follows around the best so far."""


type Regulariser = Ridge | LeaveOneOut


class Moments(NamedTuple):
    """Statistics of the pixels that count, per column."""

    pixels: Float64[Array, " x"]
    mean: Float64[Array, "x band"]
    covariance: Float64[Array, "x band band"]
    departure: Float[Array, "x y band"]
    """Radiance of observed pixels minus a provisional mean, else 0."""
    offset: Float64[Array, "x band"]
    """Mean minus provisional mean."""


class Inverse(NamedTuple):
    """A regularised covariance applied to a target."""

    weights: Float64[Array, "x band"]
    """C^-1 t."""
    strength: Float64[Array, " x"]
    """The a that was used."""


def column_moments(
    radiance: Radiance, observed: Bool[Array, "x y"], counts: Bool[Array, "x y"], *, exact: bool
) -> Moments:
    """Mean and covariance (n - 1) of each column, centred in two passes.

    The first pass means every 16th line; the second centres on that, and corrects mean and
    covariance for what the first was off (Chan 1983), so no digit is lost and no third pass spent.

    Args:
        radiance: Any values where `observed` is False, NaN included.
        observed: Pixels with every band measured.
        counts: Those of them that enter the statistics.
        exact: Products in float64; in float32 if False.
    """
    dtype = jnp.float64 if exact else jnp.float32
    sample, weight = radiance[:, ::_CHUNK].astype(jnp.float64), counts[:, ::_CHUNK]
    provisional = jnp.sum(jnp.where(weight[:, :, None], sample, 0.0), axis=1)
    provisional /= jnp.maximum(jnp.sum(weight, axis=1, dtype=jnp.float64), 1.0)[:, None]
    departure = radiance.astype(jnp.float64) - provisional[:, None, :]
    departure = jnp.where(observed[:, :, None], departure, 0.0).astype(dtype)
    scatter, total = _scatter(departure, observed, counts)
    count = jnp.sum(counts, axis=1, dtype=jnp.float64)
    offset = total / jnp.maximum(count, 1.0)[:, None]
    scatter -= count[:, None, None] * offset[:, :, None] * offset[:, None, :]
    covariance = scatter / jnp.maximum(count - 1.0, 1.0)[:, None, None]
    return Moments(count, provisional + offset, covariance, departure, offset)


def project(moments: Moments, weights: Float64[Array, "x band"]) -> Float64[Array, "x y"]:
    """(x - mean) . w for every observed pixel.

    Several vectors in one product would be slower: XLA multiplies by one at twice the rate.
    """
    products = jnp.einsum("xyb,xb->xy", moments.departure, weights.astype(moments.departure.dtype))
    return products.astype(jnp.float64) - jnp.sum(moments.offset * weights, axis=1)[:, None]


def _scatter(
    departure: Float[Array, "x y band"], observed: Bool[Array, "x y"], counts: Bool[Array, "x y"]
) -> tuple[Float64[Array, "x band band"], Float64[Array, "x band"]]:
    """Sums of products and of departures over the pixels that count."""
    weight = counts.astype(departure.dtype)
    scatter = jax.lax.cond(
        jnp.all(counts == observed),  # the others are zero: no weighted copy of the block needed
        lambda: _products(departure, departure),
        lambda: _products(departure * weight[:, :, None], departure),
    )
    total = jnp.einsum("xyb,xy->xb", departure, weight)
    return scatter, total.astype(jnp.float64)


def _products(
    left: Float[Array, "x y band"], right: Float[Array, "x y band"]
) -> Float64[Array, "x band band"]:
    """Sum over y of outer products; float32 operands are summed by short runs, those in float64.

    One long float32 sum would triple the error of a filter over an ill-conditioned background.
    """
    if left.dtype == jnp.float64:
        return jnp.einsum("xyb,xyc->xbc", left, right)
    padding = ((0, 0), (0, -left.shape[1] % _RUN), (0, 0))
    shape = (left.shape[0], -1, _RUN, left.shape[2])
    left, right = (jnp.pad(part, padding).reshape(shape) for part in (left, right))
    runs = jnp.einsum("xryb,xryc->xrbc", left, right)
    return jnp.sum(runs, axis=1, dtype=jnp.float64)


def solve(
    moments: Moments,
    counts: Bool[Array, "x y"],
    target: Float64[Array, "x band"],
    regulariser: Regulariser,
) -> Inverse:
    """C^-1 t per column; NaN where no allowed regularisation makes C positive definite."""
    deviation = jnp.sqrt(jnp.diagonal(moments.covariance, axis1=1, axis2=2))
    scale = jnp.where(deviation > 0, deviation, jnp.nan)
    correlation = moments.covariance / scale[:, :, None] / scale[:, None, :]
    if isinstance(regulariser, Ridge):
        weights, strength = _ridge(correlation, target / scale, regulariser)
    else:
        values, vectors = jnp.linalg.eigh(correlation)
        values = jnp.maximum(values, 0.0)
        power = _power(moments, counts, vectors / scale[:, :, None])
        strength = _most_likely(power, values, moments.pixels, regulariser)
        spectrum = (1.0 - strength) * values + strength
        rotated = jnp.einsum("xbc,xb->xc", vectors, target / scale)
        weights, strength = jnp.einsum("xbc,xc->xb", vectors, rotated / spectrum), strength[:, 0]
    return Inverse(weights / scale, strength)


def _ridge(
    correlation: Float64[Array, "x band band"], target: Float64[Array, "x band"], ridge: Ridge
) -> tuple[Float64[Array, "x band"], Float64[Array, " x"]]:
    """Solution with the smallest of a, 10 a, 100 a ... that can be factored."""
    identity = jnp.eye(correlation.shape[-1], dtype=jnp.float64)[None]

    def factor(strength: Float64[Array, " x"]) -> Float64[Array, "x band band"]:
        share = strength[:, None, None]
        lower: Array = jnp.linalg.cholesky((1.0 - share) * correlation + share * identity)
        return lower

    def failed(state: tuple[Array, Array]) -> Array:
        strength, lower = state
        allowed = _stronger(strength) <= ridge.ceiling * 1.000001
        return jnp.isnan(lower[:, -1, -1]) & allowed & ~jnp.isnan(correlation[:, 0, 0])

    def stronger(state: tuple[Array, Array]) -> tuple[Array, Array]:
        strength = jnp.where(failed(state), _stronger(state[0]), state[0])
        return strength, factor(strength)

    start = jnp.full(correlation.shape[0], ridge.strength, jnp.float64)
    strength, lower = jax.lax.while_loop(
        lambda state: jnp.any(failed(state)), stronger, (start, factor(start))
    )
    return cho_solve((lower, True), target[..., None])[..., 0], strength


def _stronger(strength: Float64[Array, " x"]) -> Float64[Array, " x"]:
    """Ten times as much, and from nothing the least that rounding does not swallow."""
    return jnp.maximum(10.0 * strength, 1e-15)


def _power(
    moments: Moments, counts: Bool[Array, "x y"], rotation: Float64[Array, "x band band"]
) -> Float64[Array, "x y band"]:
    """Squared departure of each pixel that counts along each eigenvector, else 0.

    In eigenvectors of the correlation every candidate covariance is diagonal: none is inverted.
    """
    dtype = moments.departure.dtype
    rotated = jnp.einsum("xyb,xbn->xyn", moments.departure, rotation.astype(dtype))
    shift = jnp.einsum("xb,xbn->xn", moments.offset, rotation)
    rotated = rotated.astype(jnp.float64) - shift[:, None, :]
    return jnp.where(counts[:, :, None], rotated**2, 0.0)


def _most_likely(
    power: Float64[Array, "x y band"],
    values: Float64[Array, "x band"],
    count: Float64[Array, " x"],
    search: LeaveOneOut,
) -> Float64[Array, "x 1"]:
    """Candidate of least cost: the best of a coarse grid, then of ever finer ones around it."""

    def best(index: Int64[Array, "x n"]) -> Int64[Array, "x 1"]:
        cost = _negative_log_likelihood(power, values, count, _candidate(index, search))
        return jnp.take_along_axis(index, jnp.argmin(cost, axis=1)[:, None], axis=1)

    last = search.steps - 1
    apart = search.strides[0]
    grid = jnp.arange(0, last + apart, apart, dtype=jnp.int64).clip(0, last)
    found = best(jnp.broadcast_to(grid[None], (values.shape[0], grid.size)))
    for finer in search.strides[1:]:
        around = jnp.arange(finer - apart, apart, finer, dtype=jnp.int64)
        found, apart = best((found + around[None]).clip(0, last)), finer
    return _candidate(found, search)


def _candidate(
    index: Int64[Array, "x candidate"], search: LeaveOneOut
) -> Float64[Array, "x candidate"]:
    last = search.steps - 1
    exponent = search.lowest_exponent * (1.0 - index.astype(jnp.float64) / last)
    return jnp.exp(jnp.log(10.0) * exponent)


def _negative_log_likelihood(
    power: Float64[Array, "x y band"],
    values: Float64[Array, "x band"],
    count: Float64[Array, " x"],
    strength: Float64[Array, "x candidate"],
) -> Float64[Array, "x candidate"]:
    r"""Leave-one-out cost of each candidate, less a constant (Theiler 2012, eq. 29).

    $\beta = (1 - a)/(n - 1)$, $G = n \beta S + a\,\mathrm{diag} S$, $r_k = x_k^T G^{-1} x_k$,
    $q_k = 1 - \beta r_k$; cost $\tfrac12 \ln|G| + \tfrac1{2n} \sum_k (\ln q_k + r_k / q_k)$,
    infinite where a $q_k$ is not positive.
    """
    share = (1.0 - strength) / jnp.maximum(count - 1.0, 1.0)[:, None]
    spectrum = strength[:, :, None] + (count[:, None] * share)[:, :, None] * values[:, None, :]
    distance = jnp.einsum("xyb,xmb->xmy", power, 1.0 / spectrum)
    left = 1.0 - share[:, :, None] * distance
    padding = -left.shape[2] % _CHUNK
    padded = jnp.pad(left, ((0, 0), (0, 0), (0, padding)), constant_values=1.0)
    chunks = padded.reshape(*left.shape[:2], _CHUNK, -1)
    logarithm = jnp.sum(jnp.log(jnp.prod(chunks, axis=2)), axis=2)
    spread = logarithm + jnp.sum(distance / left, axis=2)
    cost = 0.5 * jnp.sum(jnp.log(spectrum), axis=2) + spread / (2.0 * count[:, None])
    return jnp.where(jnp.min(left, axis=2) > 0, cost, jnp.inf)
