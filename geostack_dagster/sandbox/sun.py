"""Where the sun stands."""

import math
from datetime import datetime


def sun(lon: float, lat: float, when: datetime) -> tuple[float, float]:
    """Zenith and azimuth of the sun at a place [degrees] and moment (UTC).

    Declination and equation of time after Spencer (1971).
    """
    g = 2 * math.pi * (when.timetuple().tm_yday - 1 + when.hour / 24) / 365
    declination = (
        0.006918 - 0.399912 * math.cos(g) + 0.070257 * math.sin(g)
        - 0.006758 * math.cos(2 * g) + 0.000907 * math.sin(2 * g)
    )  # fmt: skip
    minutes = 229.18 * (
        0.000075 + 0.001868 * math.cos(g) - 0.032077 * math.sin(g)
        - 0.014615 * math.cos(2 * g) - 0.040849 * math.sin(2 * g)
    )  # fmt: skip
    solar_hour = when.hour + when.minute / 60 + minutes / 60 + lon / 15
    angle, phi = math.radians(15 * (solar_hour - 12)), math.radians(lat)
    height = math.sin(phi) * math.sin(declination)
    height += math.cos(phi) * math.cos(declination) * math.cos(angle)
    east = -math.cos(declination) * math.sin(angle)
    north = math.sin(declination) * math.cos(phi)
    north -= math.cos(declination) * math.sin(phi) * math.cos(angle)
    return math.degrees(math.acos(height)), math.degrees(math.atan2(east, north)) % 360


def distance_au(when: datetime) -> float:
    """Distance of the earth from the sun [astronomical units], to 1e-4."""
    return 1 - 0.01672 * math.cos(2 * math.pi * (when.timetuple().tm_yday - 4) / 365.256)
