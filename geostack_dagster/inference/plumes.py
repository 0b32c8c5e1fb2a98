"""Plumes as things: their pixels, their outlines, and how sure one can be of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from affine import Affine
from jaxtyping import Bool, Float64, Int32
from rasterio import features
from scipy import ndimage

from geostack_dagster.inference.detection import Detected, Detection, detect

_EIGHT = np.ones((3, 3), bool)


class State(StrEnum):
    """What a scene, or a candidate in it, amounts to."""

    PLUME = "PLUME"
    NO_PLUME = "NO_PLUME"
    UNCERTAIN = "UNCERTAIN"
    """For a person to look at."""
    UNOBSERVABLE = "UNOBSERVABLE"
    """Too little clear ground: nothing can be said, least of all that there is no plume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """Where a candidate becomes a plume, and where a scene becomes unobservable."""

    peak_score: float = 6.0
    """Least highest score of a plume [robust standard deviations]."""
    pixels: int = 10
    masked_fraction: float = 0.1
    """Most unobserved pixels in and right around a plume: more, and it may go on under a cloud."""
    clear_fraction: float = 0.5
    """Least clear part of a scene in which absence of plumes means something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plume:
    """One labelled candidate."""

    number: int
    """Its label."""
    pixels: int
    rows: slice
    columns: slice
    peak: tuple[int, int]
    """Row and column of the highest score."""
    peak_ppm_m: float
    """Largest enhancement."""
    peak_score: float
    masked_fraction: float
    """Unobserved part of its pixels and their neighbours, scene edges counted as unobserved."""
    state: State


def clutter_score(
    enhancement: Float64[np.ndarray, "y x"],
    uncertainty: Float64[np.ndarray, "y x"],
    clear: Bool[np.ndarray, "y x"],
    settings: Detection | None = None,
) -> float:
    """Highest score of a candidate in the map turned upside down; 0 if there is none.

    Methane is never missing from the background, so what looks like a plume there is the ground's
    doing or the instrument's; a plume that is no stronger may be, too.
    """
    upside_down = detect(-enhancement, uncertainty, clear, settings)
    return float(np.max(upside_down.score, where=upside_down.mask, initial=0.0))


def find_plumes(
    detected: Detected,
    enhancement: Float64[np.ndarray, "y x"],
    clear: Bool[np.ndarray, "y x"],
    certainty: Certainty | None = None,
) -> tuple[Plume, ...]:
    """Candidates in the order of their labels, each a PLUME or UNCERTAIN."""
    certainty = certainty or Certainty()
    observed = clear & np.isfinite(enhancement)
    return tuple(
        _plume(number, box, detected, np.where(observed, enhancement, np.nan), certainty)
        for number, box in enumerate(ndimage.find_objects(detected.labels), start=1)
        if box is not None
    )


def scene_state(
    plumes: Sequence[Plume],
    observed: Bool[np.ndarray, "y x"],
    certainty: Certainty | None = None,
) -> State:
    """The strongest statement that a scene allows; what is found counts however cloudy it is."""
    certainty = certainty or Certainty()
    states = {plume.state for plume in plumes}
    for state in (State.PLUME, State.UNCERTAIN):
        if state in states:
            return state
    if observed.mean() < certainty.clear_fraction:
        return State.UNOBSERVABLE
    return State.NO_PLUME


def outline(
    labels: Int32[np.ndarray, "y x"], plume: Plume, transform: Sequence[float]
) -> dict[str, Any]:
    """GeoJSON MultiPolygon around a plume, in the coordinates of the transform.

    Pixels that touch only at a corner become polygons of their own: one ring through a corner
    twice would not be valid.

    Args:
        labels: Of the scene.
        plume: One of its plumes.
        transform: Six numbers a b c d e f, x = a col + b row + c and y = d col + e row + f.
    """
    mask = labels[plume.rows, plume.columns] == plume.number
    placed = Affine(*transform) @ Affine.translation(plume.columns.start, plume.rows.start)
    shapes = features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4, transform=placed)
    return {
        "type": "MultiPolygon",
        "coordinates": [shape["coordinates"] for shape, _ in shapes],
    }


def _plume(
    number: int,
    box: tuple[slice, slice],
    detected: Detected,
    enhancement: Float64[np.ndarray, "y x"],
    certainty: Certainty,
) -> Plume:
    rows, columns = box
    mask = detected.labels[box] == number
    score = np.where(mask, np.nan_to_num(detected.score[box], nan=-np.inf), -np.inf)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    masked = _masked_fraction(mask, box, enhancement)
    peak_score = float(score[row, column])
    sure = (
        peak_score >= certainty.peak_score
        and int(mask.sum()) >= certainty.pixels
        and masked <= certainty.masked_fraction
    )
    return Plume(
        number=number,
        pixels=int(mask.sum()),
        rows=rows,
        columns=columns,
        peak=(int(row) + rows.start, int(column) + columns.start),
        peak_ppm_m=float(np.nanmax(enhancement[box][mask])),
        peak_score=peak_score,
        masked_fraction=masked,
        state=State.PLUME if sure else State.UNCERTAIN,
    )


def _masked_fraction(
    mask: Bool[np.ndarray, "h w"],
    box: tuple[slice, slice],
    enhancement: Float64[np.ndarray, "y x"],
) -> float:
    """Share of unobserved pixels among the plume's and its neighbours, beyond the edge included."""
    around = ndimage.binary_dilation(np.pad(mask, 1), _EIGHT)
    framed = np.full(around.shape, np.nan)
    height, width = enhancement.shape
    top, left = box[0].start - 1, box[1].start - 1
    inside_y = slice(max(top, 0), min(box[0].stop + 1, height))
    inside_x = slice(max(left, 0), min(box[1].stop + 1, width))
    target = (
        slice(inside_y.start - top, inside_y.stop - top),
        slice(inside_x.start - left, inside_x.stop - left),
    )
    framed[target] = enhancement[inside_y, inside_x]
    return float(np.isnan(framed[around]).mean())
