"""Whether anything that is scored was seen: looked for afresh in chips as they were split.

`splits` keeps this true by construction; here it is measured, whoever made the split.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from geostack_dagster.learning.chips import Chip
from geostack_dagster.learning.splits import Split, SplitPolicy

_EARTH_RADIUS_KM = 6371.007
_LATE = (Split.TEST, Split.GATE)
_SHARED: Mapping[str, Callable[[Chip], tuple[str, ...]]] = {
    "site": lambda chip: (chip.site,),
    "orbit": lambda chip: (chip.orbit,),
    "scene": lambda chip: (chip.scene,),
    "plume": lambda chip: chip.plumes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What was found between splits."""

    leaks: tuple[str, ...]
    """One line for each way in which two splits touch; none if all is well."""
    nearest_km: float
    """Least distance of the centres of two chips of different splits; infinite with one split."""


def find_leakage(chips: Mapping[Split, Sequence[Chip]], policy: SplitPolicy) -> Leakage:
    """What chips of different splits share, and how near they are to each other.

    Args:
        chips: By split.
        policy: Says how far apart and on which side of the hold-out they have to be.
    """
    parts = {split: members for split, members in chips.items() if members}
    found, nearest = [], np.inf
    for one, other in combinations(sorted(parts), 2):
        found += list(_shared(parts, one, other))
        apart = _distance_km(parts[one], parts[other])
        nearest = min(nearest, apart)
        if apart <= policy.buffer_km:
            found.append(f"{one} and {other} are {apart:.1f} km apart, wanted {policy.buffer_km:g}")
    for split, members in parts.items():
        wrong = sum((chip.acquired >= policy.holdout) != (split in _LATE) for chip in members)
        if wrong:
            found.append(f"{wrong} chips of {split} lie on the other side of the hold-out")
    return Leakage(leaks=tuple(found), nearest_km=float(nearest))


def _shared(parts: Mapping[Split, Sequence[Chip]], one: Split, other: Split) -> Iterator[str]:
    for what, names in _SHARED.items():
        ours, theirs = (
            {name for chip in parts[split] for name in names(chip)} for split in (one, other)
        )
        for name in sorted(ours & theirs)[:3]:
            yield f"{one} and {other} share the {what} {name}"


def _distance_km(ours: Sequence[Chip], theirs: Sequence[Chip]) -> float:
    """Along the ground, between the nearest two."""
    chord, _ = KDTree(_on_sphere(theirs)).query(_on_sphere(ours))
    return float(2 * _EARTH_RADIUS_KM * np.arcsin(np.min(chord) / 2))


def _on_sphere(chips: Sequence[Chip]) -> Float64[np.ndarray, "n 3"]:
    longitude = np.radians([chip.longitude for chip in chips])
    latitude = np.radians([chip.latitude for chip in chips])
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
         np.sin(latitude)],
        axis=-1,
    )  # fmt: skip
