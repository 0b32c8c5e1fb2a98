r"""MAG1C: the columnwise matched filter with an albedo factor and a reweighted l1 penalty.

Foote 2020, per column, with the template $k$ scaled by $10^5$:

- albedo factor $R_i = x_i \cdot \mu / \mu \cdot \mu$, once; start: the plain filter, clipped at 0;
- each iteration takes the enhancement out of the background, $z_i = x_i - R_i \alpha_i t$, takes
  $\mu, C$ of z and $t = k \odot \mu$, and solves
  $\alpha_i = \max(0, ((x_i - \mu)^T C^{-1} t - w_i) / (R_i \max(t^T C^{-1} t, 1)))$ with
  $w_i = 1 / (R_i (\alpha_i + 10^{-9}))$.

The result is sparse and never negative: it finds plumes, and understates their weak parts. Take
emission rates from the plain filter.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float64

from geostack_dagster.inference.background import Moments, Radiance, column_moments, project
from geostack_dagster.inference.columns import ColumnMaps, column_flags, observed_pixels

_SCALE = 1e5  # penalty and the least power of 1 assume enhancements in units of 1e5 ppm m
_EPSILON = 1e-9


class _Column(NamedTuple):
    """What stays the same over the iterations, for a group of columns."""

    moments: Moments
    weight: Float64[Array, "x y"]
    """1 for a pixel that counts, else 0."""
    albedo: Float64[Array, "x y"]
    unit: Float64[Array, "x band"]
    """Scaled template."""


class _State(NamedTuple):
    """What one iteration hands to the next."""

    enhancement: Float64[Array, "x y"]
    """In units of 1e5 ppm m."""
    target: Float64[Array, "x band"]


class _Filter(NamedTuple):
    """A target seen through a background."""

    target: Float64[Array, "x band"]
    weights: Float64[Array, "x band"]
    """C^-1 t."""
    power: Float64[Array, " x"]
    """t^T C^-1 t."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mag1c:
    """Settings of the operator; equal settings share one compiled kernel."""

    iterations: int = 30
    shrinkage: float = 1e-4
    """Covariance (1 - a) S + a diag(S), with S over n."""
    exact: bool = True
    """Products in float64; in float32 if False, factorised in float64 all the same."""
    floor: float = -0.05
    """Pixels with a band below this do not enter the statistics [unit of radiance]."""
    minimum_pixels: int = 10
    """Columns with fewer pixels that count are NaN."""

    @property
    def usual_group(self) -> int:
        """Few columns at a time: the iterations then run in the cache next to the core."""
        return 2 if self.exact else 4

    def __call__(
        self,
        radiance: Radiance,
        usable: Bool[Array, "x y"],
        unit_absorption: Float64[Array, "x band"],
        noise: None = None,
    ) -> ColumnMaps:
        """Maps of a group of columns; the arguments are those of `MatchedFilter`.

        The uncertainty is that of the background; the albedo factor stands for the sensitivity.
        """
        observed, lowest = observed_pixels(radiance)
        counts = observed & usable & (lowest > self.floor)
        moments = column_moments(radiance, observed, counts, exact=self.exact)
        column = _Column(
            moments, counts.astype(jnp.float64), _albedo(moments), _SCALE * unit_absorption
        )
        first = self._filter(column, moments.mean, _population_covariance(moments))
        state = jax.lax.fori_loop(
            0, self.iterations, lambda _, state: self._iterate(column, state), _start(column, first)
        )
        flags = column_flags(moments, first.power, minimum_pixels=self.minimum_pixels)
        seen = observed & (flags.fatal == 0)[:, None]
        null_sigma = _SCALE / jnp.sqrt(first.power)
        return ColumnMaps(
            enhancement=jnp.where(seen, _SCALE * state.enhancement, jnp.nan),
            uncertainty=jnp.where(seen, null_sigma[:, None] / jnp.abs(column.albedo), jnp.nan),
            sensitivity=jnp.where(seen, column.albedo, jnp.nan),
            null_sigma=null_sigma,
            strength=jnp.full_like(null_sigma, self.shrinkage),
            mean=moments.mean,
            pixels=moments.pixels,
            flags=flags.all,
        )

    def _iterate(self, column: _Column, state: _State) -> _State:
        r"""One reweighting; mean and covariance follow by a rank-2 update, not from the pixels.

        With $s_i = R_i \alpha_i$: $C_z = C_x - c t^T - t c^T + v t t^T$, c the covariance of x
        with s and v the variance of s.
        """
        moments, target = column.moments, state.target
        count = jnp.maximum(moments.pixels, 1.0)[:, None]
        amount = column.albedo * state.enhancement
        mean = jnp.sum(column.weight * amount, axis=1, keepdims=True) / count
        deviation = column.weight * (amount - mean)
        dtype = moments.departure.dtype
        shared = jnp.einsum("xyb,xy->xb", moments.departure, deviation.astype(dtype))
        shared = shared.astype(jnp.float64) / count
        variance = jnp.sum(deviation * deviation, axis=1, keepdims=True) / count
        # c t^T + t c^T - v t t^T is symmetric in q = c - v t / 2
        half = shared - 0.5 * variance * target
        cross = half[:, :, None] * target[:, None, :]
        covariance = _population_covariance(moments) - cross - jnp.swapaxes(cross, 1, 2)
        found = self._filter(column, moments.mean - mean * target, covariance)
        penalty = 1.0 / (column.albedo * (state.enhancement + _EPSILON))
        score = project(moments, found.weights)
        score += mean * jnp.sum(target * found.weights, axis=1, keepdims=True) - penalty
        power = jnp.maximum(found.power, 1.0)[:, None]
        return _State(jnp.maximum(score / (column.albedo * power), 0.0), found.target)

    def _filter(
        self,
        column: _Column,
        mean: Float64[Array, "x band"],
        covariance: Float64[Array, "x band band"],
    ) -> _Filter:
        """The target of this background, solved on correlations."""
        target = column.unit * mean
        variance = jnp.diagonal(covariance, axis1=1, axis2=2)
        scale = jnp.where(variance > 0, jnp.sqrt(variance), jnp.nan)
        identity = jnp.eye(covariance.shape[-1], dtype=jnp.float64)[None]
        correlation = covariance / scale[:, :, None] / scale[:, None, :]
        lower = jnp.linalg.cholesky(
            (1.0 - self.shrinkage) * correlation + self.shrinkage * identity
        )
        weights = cho_solve((lower, True), (target / scale)[:, :, None])[:, :, 0] / scale
        return _Filter(target, weights, jnp.sum(target * weights, axis=1))


def _start(column: _Column, first: _Filter) -> _State:
    """The plain filter with albedo factor, clipped at 0."""
    score = project(column.moments, first.weights)
    enhancement = score / (column.albedo * first.power[:, None])
    return _State(jnp.maximum(enhancement, 0.0), first.target)


def _albedo(moments: Moments) -> Float64[Array, "x y"]:
    """Brightness of each pixel along the mean spectrum: 1 for the mean itself."""
    norm = jnp.sum(moments.mean * moments.mean, axis=1)
    return project(moments, moments.mean / norm[:, None]) + 1.0


def _population_covariance(moments: Moments) -> Float64[Array, "x band band"]:
    """Covariance over n."""
    return moments.covariance * ((moments.pixels - 1.0) / moments.pixels)[:, None, None]
