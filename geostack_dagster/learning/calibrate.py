"""Probabilities that mean what they say, and the threshold that serves best, from validation."""

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Float64

from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.detector import Detector, Platt, prepared, probability
from geostack_dagster.learning.samples import Samples

_BATCH = 32
_MOST_PIXELS = 2_000_000  # more change the fit of two numbers by nothing
_NEWTON_STEPS = 25
_THRESHOLDS = np.linspace(0.02, 0.98, 97)


def calibrated(detector: Detector, samples: Samples) -> Detector:
    """The detector with `platt` and `threshold` from these samples.

    Platt: the slope and intercept of the logit that make the plume pixels likeliest. Training
    weighs plumes up, so raw probabilities are too high. The threshold gives the best F1 of pixels.

    Args:
        detector: As trained.
        samples: Of the validation split, observed ones only: their share of plume pixels is what
            the probabilities will mean.

    Raises:
        NoDataError: If the samples lack pixels with or without a plume.
    """
    raw = replace(detector, platt=Platt())
    logits, plume = (np.concatenate(parts) for parts in zip(*_pixels(raw, samples), strict=True))
    if plume.all() or not plume.any():
        raise NoDataError("validation needs pixels with a plume and without; choose other sites")
    platt = fit_platt(logits, plume)
    believed = probability(platt.slope * logits + platt.intercept)
    return replace(detector, platt=platt, threshold=best_threshold(believed, plume))


def fit_platt(logits: Float64[np.ndarray, " n"], plume: Bool[np.ndarray, " n"]) -> Platt:
    """Slope and intercept of the likeliest `sigmoid(slope z + intercept)`, by Newton's method.

    With a whisper of a pull towards slope 1 and intercept 0, so that separable pixels end too.
    """
    every = -(-logits.size // _MOST_PIXELS)
    design = np.stack([logits[::every], np.ones_like(logits[::every])], axis=1)
    target = plume[::every].astype(np.float64)
    start = np.array([1.0, 0.0])
    pull = 1e-3 * np.eye(2)
    found = start.copy()
    for _ in range(_NEWTON_STEPS):
        chance = probability(design @ found)
        gradient = design.T @ (chance - target) + pull @ (found - start)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + pull
        step = np.linalg.solve(curvature, gradient)
        found -= np.clip(step, -1.0, 1.0)  # where the likelihood is flat, Newton overshoots
    return Platt(slope=float(found[0]), intercept=float(found[1]))


def best_threshold(believed: Float64[np.ndarray, " n"], plume: Bool[np.ndarray, " n"]) -> float:
    """The probability that gives plume pixels the best F1, of 97 that are tried."""
    above = np.searchsorted(_THRESHOLDS, believed, side="left")  # thresholds that it exceeds
    size = _THRESHOLDS.size + 1
    hits = np.cumsum(np.bincount(above[plume], minlength=size)[::-1])[::-1][1:]
    found = np.cumsum(np.bincount(above, minlength=size)[::-1])[::-1][1:]
    f1 = 2 * hits / np.maximum(found + plume.sum(), 1)
    return float(_THRESHOLDS[np.argmax(f1)])


def _pixels(
    detector: Detector, samples: Samples
) -> Iterator[tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Logits and truth of the known pixels, a batch of chips at a time."""
    channels = detector.architecture.channels

    @jax.jit
    def logits(maps: Float32[Array, "n c y x"], valid: Bool[Array, "n y x"]) -> Array:
        return detector.network(prepared(maps, valid, channels))

    for start in range(0, len(samples.ids), _BATCH):
        part = slice(start, start + _BATCH)
        valid = np.isfinite(samples.maps[part]).all(axis=1)
        found = np.asarray(logits(samples.maps[part], valid), np.float64)
        counts = valid & samples.known[part]
        yield found[counts], samples.plume[part][counts]
