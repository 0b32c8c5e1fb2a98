"""Which overpasses may serve as the plume-free reference of another."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from geostack_dagster.errors import NoDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What decides whether a pass can serve as a reference."""

    name: str
    day: date
    relative_orbit: int | None
    """None where nothing tells it: then nothing tells either that another pass shares it."""
    platform: str
    cloud_fraction: float
    """Of the AOI, not of the tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRule:
    """Which passes may serve as references."""

    within_days: int = 60
    cloud_fraction: float = 0.05
    at_most: int = 5
    """Their median is used; beyond a dozen nothing is gained."""


def choose_references(
    acquisition: Acquisition, candidates: Iterable[Acquisition], rule: ReferenceRule | None = None
) -> tuple[Acquisition, ...]:
    """Best references first: same relative orbit, nearly cloud-free, near in time.

    The same platform comes before the other ones, then the nearest day, then the earlier day, then
    the name: the choice does not depend on the order of the candidates.

    Raises:
        NoDataError: If no candidate qualifies; the message counts why.
    """
    rule = rule or ReferenceRule()
    others = [other for other in candidates if other.day != acquisition.day]
    orbit = acquisition.relative_orbit
    same = [other for other in others if orbit is not None and other.relative_orbit == orbit]
    near = [other for other in same if _days(other, acquisition) <= rule.within_days]
    clear = [other for other in near if other.cloud_fraction <= rule.cloud_fraction]
    if not clear:
        raise NoDataError(
            f"no reference for {acquisition.name}: of {len(others)} passes on other days "
            f"{len(same)} share orbit {orbit}, {len(near)} lie within "
            f"{rule.within_days} days, 0 have at most {rule.cloud_fraction:.0%} cloud; widen the "
            "rule or the dates"
        )
    ranked = sorted(
        clear,
        key=lambda other: (
            other.platform != acquisition.platform,
            _days(other, acquisition),
            other.day,
            other.name,
        ),
    )
    return tuple(ranked[: rule.at_most])


def _days(first: Acquisition, second: Acquisition) -> int:
    return abs((first.day - second.day).days)
