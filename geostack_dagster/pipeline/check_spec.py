"""What a pipeline tolerates before a check speaks up."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """Thresholds; they decide no pixel, so changing one makes nothing stale."""

    radiometry: Literal["block", "warn"] = "block"
    """Whether indices and enhancements wait where pixels contradict their metadata."""
    least_coverage: float = 0.01
    """Mean share of pixels that hold a value, on days that have Items."""
    most_nodata: float = 0.999
    """Share of pixels of any one band without a value."""
    nodata_spread: float = 0.05
    """How much more of one band may be missing than of the fullest: a band lost in silence."""
    most_outside: float = 0.01
    """Share of values beyond what is physically possible."""
    stale_after_days: int | None = None
    """Age of an AOI's newest day with data; None allows the cadence and three revisits."""
