"""Which plumes were found, and which findings are none: scores of things, not of pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from geostack_dagster.learning.scenes import PixelState

_EIGHT = np.ones((3, 3), bool)


class Truth(NamedTuple):
    """One true plume."""

    peak_ppm_m: float
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """When a finding is a plume."""

    overlap: float = 0.1
    """Least intersection over union, over known pixels; covering the peak counts as well."""
    gap_px: int = 4
    """Parts of a true plume this far apart on each side are one plume."""
    minimum_pixels: int = 5
    """True plumes of fewer pixels are neither wanted nor wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The balance of one scene."""

    truths: tuple[Truth, ...]
    right: int
    """Findings that are plumes."""
    wrong: int
    """Findings on ground that is known to be free of plumes; those in doubt are not counted."""


def match(
    labels: Int[np.ndarray, "y x"],
    states: UInt8[np.ndarray, "y x"],
    enhancement: Float[np.ndarray, "y x"],
    matching: Matching | None = None,
) -> Matched:
    """Findings against truth.

    Args:
        labels: Of the findings, 0 elsewhere.
        states: `PixelState`.
        enhancement: Says where a plume peaks [ppm m].
        matching: `Matching()` if None.
    """
    matching = matching or Matching()
    truth, numbers = _true_plumes(states == PixelState.PLUME, matching)
    known = (states == PixelState.PLUME) | (states == PixelState.NO_PLUME)
    count = int(labels.max(initial=0))
    found_sizes = np.bincount(labels[known], minlength=count + 1)
    truth_sizes = np.bincount(truth.ravel(), minlength=int(truth.max(initial=0)) + 1)
    shared = np.zeros((count + 1, truth_sizes.size), np.int64)
    np.add.at(shared, (labels[known], truth[known]), 1)
    union = found_sizes[:, None] + truth_sizes[None] - shared
    hit = shared >= matching.overlap * np.maximum(union, 1)
    peaks = _peaks(truth, enhancement, numbers)
    for number, place in zip(numbers, peaks, strict=True):
        hit[labels[place], number] |= True
    hit[0], hit[:, 0] = False, False
    return Matched(
        truths=tuple(
            Truth(float(enhancement[place]), bool(hit[:, number].any()))
            for number, place in zip(numbers, peaks, strict=True)
        ),
        right=int(hit[:, numbers].any(axis=1).sum()),
        wrong=_wrong(labels, states, hit),
    )


def _true_plumes(
    plume: Bool[np.ndarray, "y x"], matching: Matching
) -> tuple[Int[np.ndarray, "y x"], list[int]]:
    joined = ndimage.binary_dilation(plume, _EIGHT, iterations=matching.gap_px)
    pieces, count = ndimage.label(joined, _EIGHT)
    truth = np.where(plume, pieces, 0)
    sizes = np.bincount(truth.ravel(), minlength=count + 1)
    return truth, [n for n in range(1, count + 1) if sizes[n] >= matching.minimum_pixels]


def _peaks(
    truth: Int[np.ndarray, "y x"], enhancement: Float[np.ndarray, "y x"], numbers: list[int]
) -> list[tuple[int, int]]:
    if not numbers:
        return []
    values = np.nan_to_num(enhancement, nan=-np.inf)
    places = ndimage.maximum_position(values, truth, numbers)
    return [(int(row), int(column)) for row, column in places]


def _wrong(
    labels: Int[np.ndarray, "y x"],
    states: UInt8[np.ndarray, "y x"],
    hit: Bool[np.ndarray, "found truth"],
) -> int:
    """Findings that hit nothing and lie mostly on ground known to be free."""
    sizes = np.bincount(labels.ravel(), minlength=hit.shape[0])
    free = np.bincount(labels[states == PixelState.NO_PLUME], minlength=hit.shape[0])
    wrong = ~hit.any(axis=1) & (free > sizes / 2)
    return int(wrong[1:].sum())
