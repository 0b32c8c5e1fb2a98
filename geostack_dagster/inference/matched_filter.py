r"""Columnwise matched filter for methane, with sensitivity and uncertainty of every pixel.

A detector column has its own gain, noise and wavelengths, so it gets its own background. Model
(Thompson 2015): $x = \mu + \alpha t + \varepsilon$, $\varepsilon \sim N(0, C)$, $t = k \odot \mu$
with $k = d \ln L / dc$. Then

- enhancement $\hat\alpha_i = (x_i - \mu)^T C^{-1} t / (t^T C^{-1} t)$,
- sensitivity $s_i = |t^T C^{-1} (k \odot x_i)| / (t^T C^{-1} t)$: 1 on average, less if dark,
- uncertainty $u_i = \sqrt{(C^{-1}t)^T \mathrm{diag}(n_i^2) (C^{-1}t)} / |t^T C^{-1}(k \odot x_i)|$

with the instrument's noise $n_i$ (Fahlen 2024, as EMIT publishes them). The enhancement is signed
and relative to the column's mean: methane spread evenly over a column does not show.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64

from geostack_dagster.inference.background import (
    Radiance,
    Regulariser,
    Ridge,
    column_moments,
    project,
    solve,
)
from geostack_dagster.inference.columns import ColumnMaps, column_flags, observed_pixels


class Noise(NamedTuple):
    r"""Noise-equivalent radiance of each band: $|a \sqrt{b + x} + c|$ [unit of radiance]."""

    a: Float64[Array, " band"]
    b: Float64[Array, " band"]
    c: Float64[Array, " band"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedFilter:
    """Settings of the filter; equal settings share one compiled kernel."""

    regulariser: Regulariser = field(default_factory=Ridge)
    exact: bool = True
    """Products in float64. In float32 if False: 1 to 6 ppm m rms off, factorised in float64."""
    floor: float = -0.05
    """Pixels with a band below this do not enter the statistics [unit of radiance]."""
    minimum_pixels: int = 10
    """Columns with fewer pixels that count are NaN."""

    @property
    def usual_group(self) -> int:
        """Columns at a time that the caches of a CPU hold."""
        return 8

    def __call__(
        self,
        radiance: Radiance,
        usable: Bool[Array, "x y"],
        unit_absorption: Float64[Array, "x band"],
        noise: Noise | None,
    ) -> ColumnMaps:
        """Maps of a group of columns; NaN where a pixel or a whole column cannot be used.

        Args:
            radiance: Used bands only; NaN or a large negative fill where missing.
            usable: False keeps a pixel (cloud, water, flare, plume) out of the statistics; its
                enhancement is computed all the same.
            unit_absorption: k of every column [1 / (ppm m)].
            noise: Of the instrument; without it the uncertainty is that of the background.
        """
        observed, lowest = observed_pixels(radiance)
        counts = observed & usable & (lowest > self.floor)
        moments = column_moments(radiance, observed, counts, exact=self.exact)
        target = unit_absorption * moments.mean
        inverse = solve(moments, counts, target, self.regulariser)
        power = jnp.sum(target * inverse.weights, axis=1)
        weights = inverse.weights / power[:, None]
        response = unit_absorption * weights
        average = jnp.sum(moments.mean * response, axis=1)[:, None]
        sensitivity = jnp.abs(project(moments, response) + average)
        flags = column_flags(moments, power, minimum_pixels=self.minimum_pixels)
        seen = observed & (flags.fatal == 0)[:, None]
        null_sigma = 1.0 / jnp.sqrt(power)
        spread = null_sigma[:, None] if noise is None else _propagated(radiance, weights, noise)
        return ColumnMaps(
            enhancement=jnp.where(seen, project(moments, weights), jnp.nan),
            uncertainty=jnp.where(seen, spread / sensitivity, jnp.nan),
            sensitivity=jnp.where(seen, sensitivity, jnp.nan),
            null_sigma=null_sigma,
            strength=inverse.strength,
            mean=moments.mean,
            pixels=moments.pixels,
            flags=flags.all,
        )


def _propagated(
    radiance: Radiance, weights: Float64[Array, "x band"], noise: Noise
) -> Float64[Array, "x y"]:
    """Standard deviation of the enhancement that the instrument's noise alone causes [ppm m]."""
    a, b, c = (coefficient[None, None, :] for coefficient in noise)
    equivalent = a * jnp.sqrt(jnp.maximum(b + radiance.astype(jnp.float64), 0.0)) + c
    return jnp.sqrt(jnp.sum((weights[:, None, :] * equivalent) ** 2, axis=2))
