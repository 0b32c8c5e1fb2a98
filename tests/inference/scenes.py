"""Hyperspectral scenes and plumes with known truth, small enough for a test.

Radiance after `science` section 3.2, plumes after 3.3: Gaussian in the mean, mass exact.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from geostack_dagster.inference.absorption import methane_surrogate
from geostack_dagster.inference.target import Target, methane_target

M_KG_MOL = 0.01604
V_M3_MOL = 0.022414
BRIGGS = {"A": 0.22, "B": 0.16, "C": 0.11, "D": 0.08, "E": 0.06, "F": 0.04}


@dataclass(frozen=True)
class Plume:
    """Enhancement map of one source and what made it."""

    enhancement: np.ndarray  # ppm m
    rate_t_h: float
    wind_m_s: float
    source: tuple[int, int]
    pixel_m: float


def plume(
    shape=(96, 96),
    *,
    rate_t_h,
    wind_m_s,
    pixel_m=60.0,
    stability="C",
    direction_deg=0.0,
    source=None,
    texture_seed=None,
    meander_m=0.0,
    oversampling=4,
):
    """Column of a steady plume, averaged over sub-pixels; total mass to a distance X is Q X / U."""
    source = source or (shape[0] // 2, shape[1] // 6)
    n = oversampling
    step = pixel_m / n
    y = (np.arange(shape[0] * n) + 0.5) * step - (source[0] + 0.5) * pixel_m
    x = (np.arange(shape[1] * n) + 0.5) * step - (source[1] + 0.5) * pixel_m
    xx, yy = np.meshgrid(x, y)
    angle = np.deg2rad(direction_deg)
    along, across = (
        xx * np.cos(angle) + yy * np.sin(angle),
        -xx * np.sin(angle) + yy * np.cos(angle),
    )
    downwind = np.maximum(along, step)
    across = across - meander_m * downwind / 2000 * np.sin(2 * np.pi * downwind / 2500 + 1.0)
    sigma = np.maximum(BRIGGS[stability] * downwind / np.sqrt(1 + 1e-4 * downwind), pixel_m / 6)
    line_kg_m = rate_t_h * 1000 / 3600 / wind_m_s
    column = line_kg_m / (np.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * (across / sigma) ** 2)
    column = np.where(along > 0, column, 0.0) * V_M3_MOL / M_KG_MOL * 1e6
    column = column.reshape(shape[0], n, shape[1], n).mean(axis=(1, 3))
    if texture_seed is not None:
        field = gaussian_filter(np.random.default_rng(texture_seed).standard_normal(shape), 1.5)
        column = column * np.exp(0.5 * field / field.std() - 0.125)
    return Plume(column, rate_t_h, wind_m_s, source, pixel_m)


def correlated_noise(shape, sigma, seed, correlation_px=0.6):
    """Zero-mean map of this standard deviation, as correlated as retrieval noise."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), correlation_px)
    return sigma * (field - field.mean()) / field.std()


def bands(low=2137.0, high=2493.0, step=7.43):
    """Centres and widths like EMIT's."""
    centre = np.arange(381.0, 2493.5, step)
    centre = centre[(centre >= low) & (centre <= high)]
    return centre, np.full(centre.size, 8.6)


def emit_target(low=2137.0, high=2493.0) -> Target:
    return methane_target(methane_surrogate(), *bands(low, high))


def _planck(wavelength_nm, temperature=5778.0):
    metres = wavelength_nm * 1e-9
    spectral = 1.1910e-16 / metres**5 / (np.exp(0.0143878 / (metres * temperature)) - 1)
    return spectral * 6.794e-5 * 1e-9 * 100.0  # uW cm-2 nm-1


def radiance(shape=(320, 24), *, enhancement=None, seed=0, low=2137.0, high=2493.0, noise=True):
    """EMIT-like radiance (y, x, band) in float32: mixtures, gases, columns with own gain, noise."""
    rng = np.random.default_rng(seed)
    wavelength, _ = bands(low, high)
    albedo = np.exp(0.25 * _field(rng, shape, 6.0))
    fraction = 1 / (1 + np.exp(-3 * _field(rng, shape, 10.0)))
    soil = 0.32 - 4e-5 * (wavelength - 2200) - 0.05 * np.exp(-(((wavelength - 2205) / 18) ** 2))
    carbonate = 0.40 - 0.09 * np.exp(-(((wavelength - 2335) / 28) ** 2))
    modes = sum(
        0.004
        * _field(rng, shape, 5.0)[..., None]
        * np.cos(np.pi * j * np.linspace(0, 1, wavelength.size))
        for j in range(1, 4)
    )
    rho = albedo[..., None] * (fraction[..., None] * soil + (1 - fraction[..., None]) * carbonate)
    rho = rho * (1 + modes)
    water = 1 + 0.03 * _field(rng, shape, 12.0)[..., None]
    tau = 0.9 * np.exp(-0.5 * ((wavelength - 2600) / 90) ** 2) * water
    tau = tau + 0.35 * np.exp(-0.5 * ((wavelength - 2060) / 25) ** 2)
    light = rho * _planck(wavelength) * np.cos(np.deg2rad(35)) / np.pi * np.exp(-2.2 * tau)
    if enhancement is not None:
        light = light * np.exp(-methane_surrogate().optical_depth(wavelength, enhancement))
    light = light * (1 + 2e-3 * rng.standard_normal((1, shape[1], wavelength.size)))
    if noise:
        light = light + 1.74e-3 * np.sqrt(0.267 + light) * rng.standard_normal(light.shape)
    return light.astype(np.float32)


def _field(rng, shape, scale_px):
    field = gaussian_filter(rng.standard_normal(shape), scale_px, mode="wrap")
    return (field - field.mean()) / field.std()
