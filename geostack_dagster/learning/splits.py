"""Splits by space, time and orbit: what is scored was never seen, nor its neighbourhood.

A site belongs to one split for good, by the hash of its name. A chip stays in its site's split
only if

1. it lies on that split's side of the temporal hold-out;
2. no site of a split that is held out more strictly is within the buffer, which is wider than
   plumes are long;
3. its orbit was given to the same split: neighbouring granules of one overpass, and the halves of
   a plume across their seam, never end up on two sides.

What fails is left out, and counted. Random splits of chips score up to 28 % too well (Kattenborn
2022).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.learning.chips import Chip
from geostack_dagster.learning.sites import sites_within


class Split(StrEnum):
    """What a chip is used for, least strictly held out first."""

    TRAIN = "train"
    VALIDATION = "validation"
    """Thresholds and calibration."""
    TEST = "test"
    GATE = "gate"
    """Promotion alone: frozen once, looked at by no one else."""


_STRICTNESS = {split: rank for rank, split in enumerate(Split)}
_HELD_OUT_IN_TIME = (Split.TEST, Split.GATE)
_USUAL = MappingProxyType(
    {Split.TRAIN: 0.7, Split.VALIDATION: 0.1, Split.TEST: 0.1, Split.GATE: 0.1}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPolicy:
    """What decides the split of a chip."""

    holdout: datetime
    """Test and gate hold chips from here on, training and validation those before."""
    salt: str = "geostack"
    """Another salt draws other sites."""
    buffer_km: float = 15.0
    """Least distance of the centres of chips of two splits: a plume and a chip."""
    shares: Mapping[Split, float] = field(default_factory=lambda: _USUAL)
    """Part of the sites."""

    def __post_init__(self) -> None:
        if set(self.shares) - set(Split) or not math.isclose(sum(self.shares.values()), 1.0):
            raise ConfigurationError(f"shares of splits must add up to 1: {dict(self.shares)}")
        if self.holdout.tzinfo is None:
            raise ConfigurationError(f"holdout {self.holdout} has no time zone; say UTC")

    def of_site(self, site: str) -> Split:
        """The split that a site belongs to."""
        left = _unit(self.salt, "site", site)
        for split, share in self.shares.items():
            left -= share
            if left < 0:
                return split
        return max(self.shares, key=lambda split: self.shares[split])


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which chip is used for what."""

    splits: Mapping[str, Split]
    """By chip id; those left out are not there."""
    orbits: Mapping[str, Split]
    """By orbit: hand it to the next assignment, so that what was held out stays so."""
    left_out: Mapping[str, int]
    """Number of chips by reason."""

    def select(self, chips: Iterable[Chip], split: Split) -> list[Chip]:
        """The chips of one split."""
        return [chip for chip in chips if self.splits.get(chip.id) is split]


def assign(
    chips: Iterable[Chip], policy: SplitPolicy, *, earlier: Mapping[str, Split] | None = None
) -> Assignment:
    """Split of every chip; neither their order nor chips of other orbits matter.

    Args:
        chips: Of an index.
        policy: What decides.
        earlier: `Assignment.orbits` of the assignment before: its orbits keep their split,
            whatever chips they have gained since.
    """
    earlier = earlier or {}
    left_out: Counter[str] = Counter()
    candidates: dict[str, list[tuple[Chip, Split]]] = {}
    for chip in chips:
        split = policy.of_site(chip.site)
        if (chip.acquired >= policy.holdout) != (split in _HELD_OUT_IN_TIME):
            left_out["on the other side of the temporal hold-out"] += 1
        elif _near_stricter(chip, split, policy):
            left_out["within the buffer of a stricter split"] += 1
        else:
            candidates.setdefault(chip.orbit, []).append((chip, split))
    orbits = dict(earlier)
    splits: dict[str, Split] = {}
    for orbit, members in candidates.items():
        orbits.setdefault(orbit, _elected(orbit, {split for _, split in members}, policy.salt))
        kept = {chip.id: split for chip, split in members if split is orbits[orbit]}
        left_out["of an orbit that serves another split"] += len(members) - len(kept)
        splits |= kept
    return Assignment(splits=splits, orbits=orbits, left_out=+left_out)


def _near_stricter(chip: Chip, split: Split, policy: SplitPolicy) -> bool:
    around = sites_within(chip.longitude, chip.latitude, policy.buffer_km)
    return any(_STRICTNESS[policy.of_site(site)] > _STRICTNESS[split] for site in around)


def _elected(orbit: str, present: Iterable[Split], salt: str) -> Split:
    """The split that an orbit serves: of those it has chips for, the one that its hash prefers."""
    return min(present, key=lambda split: _unit(salt, "orbit", f"{orbit}/{split.value}"))


def _unit(salt: str, kind: str, name: str) -> float:
    """A number in [0, 1) that depends on the words alone."""
    digest = hashlib.sha256(f"{salt}/{kind}/{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
