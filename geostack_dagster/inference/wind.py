"""Wind for emission rates: a value with its uncertainty, from a source that can be exchanged."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np

from geostack_dagster.errors import ConfigurationError, NoDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wind:
    """Wind 10 m above ground at one place and time."""

    speed_m_s: float
    sigma_m_s: float
    """One standard deviation of the speed."""
    from_deg: float | None = None
    """Where it blows from, clockwise from north; None if unknown."""
    source: str = "constant"

    def __post_init__(self) -> None:
        if not (0 < self.speed_m_s < np.inf and 0 <= self.sigma_m_s < np.inf):
            raise ConfigurationError(
                f"a wind of {self.speed_m_s:g} m/s with sigma {self.sigma_m_s:g} m/s carries no "
                "plume; speed must be positive and sigma not negative, both finite"
            )


@runtime_checkable
class WindSource(Protocol):
    """Anything that knows the wind: a constant, a reanalysis, a weather service."""

    def at(self, longitude: float, latitude: float, when: datetime) -> Wind:
        """Wind at a place [deg] and time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantWind:
    """The same wind everywhere."""

    speed_m_s: float
    sigma_m_s: float | None = None
    """`usual_sigma` if None."""
    from_deg: float | None = None

    def at(self, longitude: float, latitude: float, when: datetime) -> Wind:
        """That wind."""
        sigma = usual_sigma(self.speed_m_s) if self.sigma_m_s is None else self.sigma_m_s
        return Wind(speed_m_s=self.speed_m_s, sigma_m_s=sigma, from_deg=self.from_deg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GriddedWind:
    """Wind from components that a reanalysis gives: eastward and northward at 10 m."""

    components: Callable[[float, float, datetime], tuple[float, float]]
    """Longitude, latitude [deg] and time to (u, v) [m/s]."""
    name: str

    def at(self, longitude: float, latitude: float, when: datetime) -> Wind:
        """Speed and direction of the components, with the usual uncertainty.

        Raises:
            NoDataError: If it is calm.
        """
        east, north = self.components(longitude, latitude, when)
        speed = float(np.hypot(east, north))
        if speed == 0:
            raise NoDataError(
                f"{self.name} is calm at {longitude:.3f}, {latitude:.3f}, {when:%Y-%m-%dT%H:%MZ}: "
                "no wind carries a plume there"
            )
        return Wind(
            speed_m_s=speed,
            sigma_m_s=usual_sigma(speed),
            from_deg=float(np.degrees(np.arctan2(-east, -north)) % 360),
            source=self.name,
        )


def usual_sigma(speed_m_s: float) -> float:
    """Uncertainty of a reanalysis wind over one plume: half of it to 3 m/s, 1.5 m/s above."""
    return 0.5 * speed_m_s if speed_m_s <= 3 else 1.5
