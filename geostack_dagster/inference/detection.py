"""Detection of plumes on an enhancement map: smooth, threshold with hysteresis, label, canonically.

Labelling is a property of the whole scene: merge the blocks first, never label one by itself.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int32
from scipy import ndimage

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.blocks import Kernel

_TRUNCATE = 4.0  # standard deviations at which the Gaussian ends
_EIGHT = np.ones((3, 3), bool)
_CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Settings of the detector."""

    sigma_px: float = 1.5
    """Of the smoothing; the step that matters most for skill."""
    core: float = 4.5
    """Robust standard deviations that start a plume."""
    grow: float = 2.0
    """Robust standard deviations down to which it reaches."""
    minimum_pixels: int = 5
    bridge_px: int = 16
    """Pieces that meet under as much of what is not clear, such as a cloud, are one plume."""
    minimum_ppm_m: float = 0.0
    """Largest enhancement a plume must reach somewhere."""

    def __post_init__(self) -> None:
        if not (self.sigma_px > 0 and self.core >= self.grow > 0 and self.minimum_pixels > 0):
            raise ConfigurationError(f"{self} cannot detect anything: core >= grow > 0 is needed")

    @property
    def halo_px(self) -> int:
        """Pixels around a block that its smoothed values and its opening depend on."""
        return smoothing_radius(self.sigma_px) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detected:
    """What was found on a map."""

    labels: Int32[np.ndarray, "y x"]
    """0, or the number of the plume, in order of first pixel by row and column."""
    score: Float64[np.ndarray, "y x"]
    """Smoothed signal in robust standard deviations of the clear background; NaN unobserved."""

    @property
    def mask(self) -> Bool[np.ndarray, "y x"]:
        """Pixels of any plume."""
        return np.asarray(self.labels > 0)


def smoothing_radius(sigma_px: float) -> int:
    """Pixels on either side that a smoothed value depends on."""
    return int(np.ceil(_TRUNCATE * sigma_px))


def smooth(
    signal: Float[Array, "y x"], valid: Bool[Array, "y x"], sigma_px: float
) -> Float64[Array, "y x"]:
    """Normalised convolution G(v m) / G(m) with a Gaussian: gaps neither spread nor darken.

    NaN where no valid pixel is within reach, and where the pixel itself is not valid. Beyond the
    edge nothing is valid.
    """
    radius = smoothing_radius(sigma_px)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    weight = valid.astype(jnp.float64)
    values = jnp.where(valid, signal.astype(jnp.float64), 0.0)
    total = _separable(jnp.stack([values, weight]), taps / taps.sum())
    return jnp.where(valid, total[0] / jnp.where(valid, total[1], 1.0), jnp.nan)


def detect(
    enhancement: Float64[np.ndarray, "y x"],
    uncertainty: Float64[np.ndarray, "y x"],
    clear: Bool[np.ndarray, "y x"],
    settings: Detection | None = None,
) -> Detected:
    """Plumes of a whole scene.

    Enhancement over uncertainty is smoothed and scaled by median and MAD over clear pixels. Cores
    grow down to the lower threshold, a 3 x 3 cross opens what hangs on a single pixel, 8-connected
    pieces that hold a core and are large enough remain; those that meet under a cloud are one. A
    gap of one or two pixels, such as a dead detector's column, neither thins nor parts a plume.

    Args:
        enhancement: Signed [ppm m]; NaN unobserved.
        uncertainty: One standard deviation [ppm m].
        clear: False where no plume can be seen: cloud, water, flare.
        settings: `Detection()` if None.
    """
    settings = settings or Detection()
    valid = clear & np.isfinite(enhancement) & (uncertainty > 0)
    score = _score(enhancement, uncertainty, valid, settings.sigma_px)
    with np.errstate(invalid="ignore"):
        core, grown = score > settings.core, score > settings.grow
    narrow = ~valid & ~ndimage.binary_opening(~valid, _EIGHT)
    labels = grown_pieces(core, grown, settings.minimum_pixels, narrow)
    labels = bridged(labels, ~valid, settings.bridge_px)
    strongest = ndimage.maximum(np.nan_to_num(enhancement), labels, np.arange(labels.max() + 1))
    keep = np.asarray(strongest) >= settings.minimum_ppm_m
    return Detected(labels=canonical_labels(np.where(keep[labels], labels, 0)), score=score)


def grown_pieces(
    core: Bool[np.ndarray, "y x"],
    grown: Bool[np.ndarray, "y x"],
    minimum_pixels: int,
    gaps: Bool[np.ndarray, "y x"] | None = None,
) -> Int32[np.ndarray, "y x"]:
    """Labels of what is grown, opened by a 3 x 3 cross, holds a core and is large enough.

    Args:
        core: What a piece needs one pixel of.
        grown: What it is made of.
        minimum_pixels: Of a piece.
        gaps: Pixels not seen that neither thin nor part a piece around them, such as the column of
            a dead detector; none of them is labelled.
    """
    whole = grown if gaps is None else grown | gaps
    pieces, count = ndimage.label(ndimage.binary_opening(whole, _CROSS), _EIGHT)
    pieces[~grown] = 0
    numbers = np.arange(count + 1)
    keep = (ndimage.maximum(core, pieces, numbers) > 0) & (
        np.bincount(pieces.ravel(), minlength=count + 1) >= minimum_pixels
    )
    return canonical_labels(np.where(keep[pieces], pieces, 0).astype(np.int32))


def bridged(
    labels: Int32[np.ndarray, "y x"], hidden: Bool[np.ndarray, "y x"], bridge_px: int
) -> Int32[np.ndarray, "y x"]:
    """The same pieces, those with one number that meet when each goes on under what is hidden.

    A cloud or a dead detector column across a plume does not make two sources of it.
    """
    reached = labels > 0
    for _ in range(bridge_px // 2):
        reached |= hidden & ndimage.binary_dilation(reached, _EIGHT)
    whole, _ = ndimage.label(reached, _EIGHT)
    return canonical_labels(np.where(labels > 0, whole, 0).astype(np.int32))


def canonical_labels(labels: Int32[np.ndarray, "y x"]) -> Int32[np.ndarray, "y x"]:
    """The same pieces, numbered from 1 in order of their first pixel by row and column."""
    values, first = np.unique(labels, return_index=True)
    order = values[np.argsort(first)]
    order = order[order > 0]
    renumbered = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    renumbered[order] = np.arange(1, order.size + 1)
    return np.asarray(renumbered[labels])


def compilations(settings: Detection | None = None) -> int:
    """How often this detector was compiled in this process: once per shape of scene."""
    return _smoothing((settings or Detection()).sigma_px).compilations


@functools.cache
def _smoothing(sigma_px: float) -> Kernel:
    return Kernel(lambda signal, valid: smooth(signal, valid, sigma_px))


def _score(
    enhancement: Float64[np.ndarray, "y x"],
    uncertainty: Float64[np.ndarray, "y x"],
    valid: Bool[np.ndarray, "y x"],
    sigma_px: float,
) -> Float64[np.ndarray, "y x"]:
    signal = np.divide(enhancement, uncertainty, out=np.zeros_like(enhancement), where=valid)
    smoothed = np.asarray(_smoothing(sigma_px)(signal, valid))
    if not valid.any():
        return smoothed
    centre = np.median(smoothed[valid])
    spread = 1.4826 * np.median(np.abs(smoothed[valid] - centre))
    # a map that is exactly 0 over most of its ground (MAG1C) has no scatter, or next to none: that
    # of white noise then
    if np.median(np.abs(signal[valid])) == 0:
        spread = 1 / (2 * np.sqrt(np.pi) * sigma_px)
    return np.asarray((smoothed - centre) / spread)


def _separable(
    maps: Float64[Array, "n y x"], taps: Float64[np.ndarray, " tap"]
) -> Float64[Array, "n y x"]:
    """Convolution along columns, then along rows, zeros beyond the edge.

    A sum of shifted views: XLA fuses it into one loop, and has no fast float64 convolution.
    """
    radius = taps.size // 2
    for axis in (1, 2):
        length = maps.shape[axis]
        padding = [(radius, radius) if number == axis else (0, 0) for number in range(3)]
        padded = jnp.pad(maps, padding)
        shifted = (
            float(tap) * jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
            for start, tap in enumerate(taps)
        )
        maps = functools.reduce(jnp.add, shifted)
    return maps
