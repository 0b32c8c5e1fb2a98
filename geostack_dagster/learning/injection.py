"""Plumes of known rate, added to real enhancement maps: labels where nature gave too few.

The column of a steady plume (Gaussian across, Briggs' widths, mass exact) is multiplied by a
log-normal texture of mean 1, meanders, saturates as the absorption does, and is seen through the
sensitivity of every pixel.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy import ndimage

from geostack_dagster.inference.quantify import METHANE_KG_MOL, MOLAR_VOLUME_M3
from geostack_dagster.learning.scenes import Maps, PixelState

BRIGGS = {"A": 0.22, "B": 0.16, "C": 0.11, "D": 0.08, "E": 0.06, "F": 0.04}
"""Widening of a plume by stability class: rural, sigma_y = a x / sqrt(1 + 1e-4 x)."""
_SATURATION_PPM_M = 1.36e5  # science 3.2: tau = k c / (1 + c / c_s)
_EIGHT = np.ones((3, 3), bool)


@runtime_checkable
class Inject(Protocol):
    """What adds a plume to a window; the same generator state gives the same plume."""

    def __call__(self, maps: Maps, rng: np.random.Generator, /) -> Maps:
        """The window with one plume more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """One source and the air that carries its gas away."""

    rate_t_h: float
    wind_m_s: float
    direction_deg: float
    """From the direction of growing columns, towards growing rows."""
    stability: str = "C"
    meander_m: float = 0.0
    """Sideways amplitude at a distance of 2 km."""
    texture: float = 0.5
    """Standard deviation of the logarithm of the turbulent texture."""


def plume_column(
    shape: tuple[int, int],
    source: tuple[float, float],
    emission: Emission,
    *,
    pixel_m: float,
    rng: np.random.Generator,
    oversampling: int = 4,
) -> Float64[np.ndarray, "y x"]:
    r"""Column of a plume [ppm m], averaged over the parts of each pixel.

    $c = Q / (\sqrt{2\pi} U \sigma_y) \exp(-y^2 / 2\sigma_y^2)$ for x > 0 downwind: the mass within
    a distance X of the source is $Q X / U$ on average.

    Args:
        shape: Rows and columns of the window.
        source: Row and column of the source; it may lie outside.
        emission: Rate, wind and turbulence.
        pixel_m: Size of a pixel.
        rng: Draws texture and phase of the meander.
        oversampling: Parts of a pixel in each direction.
    """
    step = pixel_m / oversampling
    rows, columns = (
        (np.arange(size * oversampling) + 0.5) * step - (at + 0.5) * pixel_m
        for size, at in zip(shape, source, strict=True)
    )
    angle = math.radians(emission.direction_deg)
    x = columns[None, :] * math.cos(angle) + rows[:, None] * math.sin(angle)
    y = rows[:, None] * math.cos(angle) - columns[None, :] * math.sin(angle)
    downwind = np.maximum(x, step)
    phase = rng.uniform(0, 2 * np.pi)
    y = y - emission.meander_m * downwind / 2000 * np.sin(2 * np.pi * downwind / 2500 + phase)
    sigma = np.maximum(
        BRIGGS[emission.stability] * downwind / np.sqrt(1 + 1e-4 * downwind), pixel_m / 6
    )
    line_kg_m = emission.rate_t_h * 1000 / 3600 / emission.wind_m_s
    column = line_kg_m / (math.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * (y / sigma) ** 2)
    column = np.where(x > 0, column, 0.0) * MOLAR_VOLUME_M3 / METHANE_KG_MOL * 1e6
    fine = column.reshape(shape[0], oversampling, shape[1], oversampling)
    return np.asarray(fine.mean(axis=(1, 3)) * _texture(shape, emission.texture, rng))


def add_column(
    maps: Maps,
    column: Float64[np.ndarray, "y x"],
    *,
    threshold_ppm_m: float = 250.0,
    ring_px: int = 2,
) -> Maps:
    """The window as a retrieval would see it with this gas in it, and labelled so.

    Args:
        maps: Window without a plume where the gas goes.
        column: True column [ppm m].
        threshold_ppm_m: Column from which a pixel belongs to the plume.
        ring_px: Pixels around it that are neither plume nor not.
    """
    seen = maps.sensitivity * column / (1 + column / _SATURATION_PPM_M)
    return replace(
        maps,
        enhancement=(maps.enhancement + seen).astype(np.float32),
        states=_labelled(maps, column > threshold_ppm_m, ring_px),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomPlume:
    """Adds a plume drawn from what satellites see: an `Inject`."""

    pixel_m: float = 60.0
    rates_t_h: tuple[float, float] = (0.5, 15.0)
    """Least and largest rate, uniform in the logarithm."""
    winds_m_s: tuple[float, float] = (1.5, 8.0)
    stabilities: str = "ABCD"
    threshold_ppm_m: float = 250.0

    def __call__(self, maps: Maps, rng: np.random.Generator, /) -> Maps:
        """The window with one plume more, its source anywhere in it."""
        low, high = np.log(self.rates_t_h)
        emission = Emission(
            rate_t_h=float(np.exp(rng.uniform(low, high))),
            wind_m_s=float(rng.uniform(*self.winds_m_s)),
            direction_deg=float(rng.uniform(0, 360)),
            stability=str(rng.choice(list(self.stabilities))),
            meander_m=float(rng.uniform(0, 300)),
        )
        rows, columns = maps.states.shape
        source = (float(rng.uniform(0, rows)), float(rng.uniform(0, columns)))
        column = plume_column(
            maps.states.shape, source, emission, pixel_m=self.pixel_m, rng=rng, oversampling=3
        )
        return add_column(maps, column, threshold_ppm_m=self.threshold_ppm_m)


def _texture(
    shape: tuple[int, int], strength: float, rng: np.random.Generator
) -> Float64[np.ndarray, "y x"]:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5, mode="wrap")
    spread = field.std()
    field = field / spread if spread > 0 else field
    return np.asarray(np.exp(strength * field - strength**2 / 2))


def _labelled(maps: Maps, plume: Bool[np.ndarray, "y x"], ring_px: int) -> UInt8[np.ndarray, "y x"]:
    states = maps.states.copy()
    observed = states != PixelState.UNOBSERVABLE
    if plume.any() and ring_px:
        ring = ndimage.binary_dilation(plume, _EIGHT, iterations=ring_px)
        states[ring & observed & (states != PixelState.PLUME)] = PixelState.UNCERTAIN
    states[plume & observed] = PixelState.PLUME
    return states
