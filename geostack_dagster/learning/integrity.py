"""What must hold of any model before its skill matters: whole, finite, repeatable, tile-proof."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from geostack_dagster.inference.detector import Detector, probability

_SMALL_TILES = 8  # cells of the coarsest level in a small tile: as many seams as can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """What was measured on one scene."""

    reloads: bool
    """Weights written and read back give the same bytes."""
    deterministic: bool
    """A second run gives the same bits."""
    finite: bool
    """Every observed pixel has a logit, no other has."""
    halo_difference: float
    """Largest difference of probability between small tiles and one tile over the whole scene."""


def examine(detector: Detector, maps: Float32[np.ndarray, "3 y x"]) -> Integrity:
    """Integrity of a detector, tried on a scene.

    Args:
        detector: As it would be registered.
        maps: Its channels over a scene of some hundred pixels; the larger, the slower.
    """
    align = detector.architecture.align
    whole_core = -(-max(maps.shape[-2:]) // align) * align
    whole = detector.logit(maps, core=whole_core)
    again = detector.logit(maps, core=whole_core)
    tiled = detector.logit(maps, core=_SMALL_TILES * align)
    content = detector.to_bytes()
    difference = np.abs(probability(whole) - probability(tiled))
    observed = np.isfinite(maps).all(axis=0)
    return Integrity(
        reloads=Detector.from_bytes(content).to_bytes() == content,
        deterministic=whole.tobytes() == again.tobytes(),
        finite=bool(np.array_equal(np.isfinite(whole), observed)),
        halo_difference=float(difference[observed].max(initial=0.0)),
    )
