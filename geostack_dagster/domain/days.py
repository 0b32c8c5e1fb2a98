"""Solar days and partition windows: which Items belong to which date of a cube."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from geostack_dagster.errors import ConfigurationError

_DEGREES_PER_HOUR = 15.0


class Cadence(StrEnum):
    """Length of the time window of one partition."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Window:
    """Solar days `start <= day < end` of one partition."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ConfigurationError(
                f"date range is backwards: {self.start} is not before {self.end}; swap the two"
            )

    @classmethod
    def of(cls, key: str, cadence: Cadence) -> "Window":
        """Window of a date partition key such as `2024-06-03`, the first day of its cadence."""
        try:
            start = date.fromisoformat(key)
        except ValueError as error:
            raise ConfigurationError(f"{key!r} is not a date like 2024-06-03") from error
        if cadence is Cadence.MONTHLY:
            return cls(start, date(start.year + start.month // 12, start.month % 12 + 1, 1))
        return cls(start, start + timedelta(days=7 if cadence is Cadence.WEEKLY else 1))

    @property
    def days(self) -> list[date]:
        """Every solar day of the window, in order."""
        return [
            self.start + timedelta(days=offset) for offset in range((self.end - self.start).days)
        ]

    def utc(self, longitude: float) -> tuple[datetime, datetime]:
        """UTC instants between which the window lies at this longitude [degrees]."""
        shift = _solar_shift(longitude)
        start, end = (
            datetime.combine(day, time(), tzinfo=UTC) - shift for day in (self.start, self.end)
        )
        return start, end


def solar_day(moment: datetime, longitude: float) -> date:
    """Local solar date of a UTC instant: scenes of one overpass never split at UTC midnight.

    Uses whole hours, as `odc.stac` does for `groupby="solar_day"`.
    """
    return (moment.astimezone(UTC) + _solar_shift(longitude)).date()


def _solar_shift(longitude: float) -> timedelta:
    return timedelta(hours=int(longitude / _DEGREES_PER_HOUR))
