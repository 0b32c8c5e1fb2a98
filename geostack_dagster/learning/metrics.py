"""Scores from counts: everything a resampling of sites needs, without touching a pixel again.

Scores of pixels are counted in fine bins, 1/32 of a logit or of a standard deviation, so curves
over thresholds are sums of histograms, one for each site.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Num
from numpy.typing import ArrayLike
from scipy.special import expit

BINS = 2048
_LOW, _HIGH = -24.0, 40.0
_CENTRES = _LOW + (np.arange(BINS) + 0.5) * (_HIGH - _LOW) / BINS


class Counts(NamedTuple):
    """Sums over scenes; leading axes are resamples."""

    plume: Num[np.ndarray, "*draws bin"]
    """Plume pixels by score."""
    free: Num[np.ndarray, "*draws bin"]
    """Pixels known to be free, by score."""
    hits: Num[np.ndarray, "*draws"]
    """Plume pixels inside of a finding."""
    findings: Num[np.ndarray, "*draws"]
    """Known pixels inside of a finding."""
    truths: Num[np.ndarray, "*draws"]
    """True plumes."""
    found: Num[np.ndarray, "*draws"]
    """True plumes that were found."""
    right: Num[np.ndarray, "*draws"]
    """Findings that are plumes."""
    wrong: Num[np.ndarray, "*draws"]
    """Findings that are none."""
    area_km2: Num[np.ndarray, "*draws"]
    """Ground where it is known what should be found."""


type Metric = Callable[[Counts], Float64[np.ndarray, "*draws"]]


class ReliabilityBin(NamedTuple):
    """Pixels of about one confidence."""

    confidence: float
    frequency: float
    pixels: int


def score_histogram(
    score: Float[np.ndarray, "y x"], chosen: Bool[np.ndarray, "y x"]
) -> Int64[np.ndarray, " bin"]:
    """Number of chosen pixels in each bin of score; what lies beyond the ends is in the last."""
    position = (score[chosen].astype(np.float64) - _LOW) * (BINS / (_HIGH - _LOW))
    return np.asarray(np.bincount(np.clip(position, 0, BINS - 1).astype(int), minlength=BINS))


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    return Counts(*(np.sum(np.stack(column), axis=0) for column in zip(*counts, strict=True)))


def resampled(counts: Iterable[Counts], weights: Float64[np.ndarray, "draw n"]) -> Counts:
    """Weighted sums of counts, one for each row of weights."""
    columns = zip(*counts, strict=True)
    return Counts(*(weights @ np.stack(column).astype(np.float64) for column in columns))


def average_precision(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Area under precision over recall of pixels: precision weighted by the recall it adds."""
    hits = np.cumsum(counts.plume[..., ::-1], axis=-1)
    found = hits + np.cumsum(counts.free[..., ::-1], axis=-1)
    gained = counts.plume[..., ::-1]
    precision = np.nan_to_num(_ratio(hits, found))
    return _ratio((gained * precision).sum(axis=-1), hits[..., -1])


def pixel_f1(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Harmonic mean of precision and recall of the pixels of findings."""
    return _ratio(2 * counts.hits, counts.findings + counts.plume.sum(axis=-1))


def detection_rate(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Part of the true plumes that was found (POD)."""
    return _ratio(counts.found, counts.truths)


def false_alarm_ratio(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Part of the findings that are no plumes (FAR)."""
    return _ratio(counts.wrong, counts.wrong + counts.right)


def object_f1(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Harmonic mean of the precision of findings and the detection rate."""
    precision, recall = 1 - false_alarm_ratio(counts), detection_rate(counts)
    return np.asarray(np.nan_to_num(_ratio(2 * precision * recall, precision + recall)))


def false_per_1000_km2(counts: Counts) -> Float64[np.ndarray, "*draws"]:
    """Findings that are no plumes, per 1000 square kilometres."""
    return _ratio(1000 * counts.wrong, counts.area_km2)


def reliability(counts: Counts, *, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Confidence against frequency, in bins of about equally many pixels; scores are logits."""
    pixels = counts.plume + counts.free
    middle = np.cumsum(pixels) - pixels / 2
    group = np.minimum((middle * bins / max(pixels.sum(), 1)).astype(np.int64), bins - 1)
    sums = [
        np.bincount(group, weights=values, minlength=bins)
        for values in (pixels * expit(_CENTRES), counts.plume, pixels)
    ]
    return tuple(
        ReliabilityBin(float(confidence / count), float(plume / count), int(count))
        for confidence, plume, count in zip(*sums, strict=True)
        if count > 0
    )


def calibration_error(counts: Counts, *, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and frequency, by pixel."""
    found = reliability(counts, bins=bins)
    pixels = sum(one.pixels for one in found)
    distance = sum(one.pixels * abs(one.confidence - one.frequency) for one in found)
    return distance / pixels if pixels else float("nan")


def _ratio(top: ArrayLike, bottom: ArrayLike) -> Float64[np.ndarray, "*draws"]:
    """Quotient, NaN where nothing was counted."""
    top, bottom = np.asarray(top), np.asarray(bottom)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(bottom > 0, top / bottom, np.nan))
