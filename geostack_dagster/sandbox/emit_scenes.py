"""What EMIT saw of the world: granules over both demonstration areas, named as the archive does.

On the solar days of Sentinel-2's overpasses, at hours of its own: the space station's orbit
wanders. Files of a granule are in `emit_files.py`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np

from geostack_dagster.sandbox import fields, noise, weather
from geostack_dagster.sandbox.sampling import Sites
from geostack_dagster.sandbox.sun import sun
from geostack_dagster.sandbox.swath import Swath

FIRST = date(2024, 6, 3)
REVISIT = timedelta(days=5)
SPLIT = ("emmental", date(2024, 7, 8))
"""The area and the day on which the border of two granules of one orbit runs through the area."""
LATE = date(2024, 7, 13)
"""The day whose products are in no catalogue until they arrive."""
_SCAN = timedelta(seconds=4.3)  # 512 lines of 60 m at 7.2 km/s over ground
_PUBLISHED_AFTER = timedelta(days=2, hours=9, minutes=41)
_ORBITS_PER_DAY = 15.5
_CLOUD = 0.2  # opacity from which EMIT's mask calls a pixel cloudy
_SAMPLES = 48
_AOI_OFFSET_M = 6_000.0  # at most, from the middle of the granule

# UTM zone, middle of the AOI in it [m], heading of an ascending pass [degrees], and UTC of each
# pass; every other pass descends.
_AREAS = {
    "emmental": (
        "EPSG:32632",
        (414_059.0, 5_203_561.0),
        65.6,
        ("10:34:05", "12:11:48", "09:02:31", "11:15:20", "13:01:09", "09:47:52", "11:52:36",
         "10:20:14", "12:40:03"),
    ),
    "rio_cuarto": (
        "EPSG:32720",
        (527_984.0, 6_334_261.0),
        47.8,
        ("15:22:47", "16:48:10", "14:35:28", "15:57:33", "17:20:05", "15:04:19", "16:21:44",
         "14:51:02", "16:02:56"),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Granule:
    """One granule of EMIT."""

    aoi: str
    """Demonstration area that it covers whole but on `SPLIT`, as in `emmental`."""
    start: datetime
    """UTC of the first line."""
    swath: Swath
    before: "Granule | None" = None
    """The granule of the same orbit that ends where this one begins."""

    @property
    def end(self) -> datetime:
        """UTC of the last line."""
        return self.start + _SCAN

    @property
    def published(self) -> datetime:
        """When the archive got it."""
        return self.start + _PUBLISHED_AFTER

    @property
    def day(self) -> date:
        """Solar day: of UTC, too, for both areas at these hours."""
        return self.start.date()

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.day == LATE

    @property
    def orbit(self) -> str:
        """Year, day of year and orbit of the day, as in `2415507`."""
        hour = self.start.hour + self.start.minute / 60
        return f"{self.start:%y%j}{int(hour / 24 * _ORBITS_PER_DAY) + 1:02d}"

    @property
    def scene(self) -> str:
        """Number within the orbit, as in `003`."""
        if self.before is not None:
            return f"{int(self.before.scene) + 1:03d}"
        return f"{1 + noise.seed_of('scene', self.start) % 12:03d}"

    @property
    def stamp(self) -> str:
        """As in `20240603T103405_2415507_003`."""
        return f"{self.start:%Y%m%dT%H%M%S}_{self.orbit}_{self.scene}"

    def name(self, product: str, version: str) -> str:
        """Name of a granule or file without suffix, as in `EMIT_L1B_RAD_001_20240603T..._003`."""
        return f"EMIT_{product}_{version}_{self.stamp}"

    @property
    def ring(self) -> tuple[tuple[float, float], ...]:
        """Footprint: closed ring of longitude and latitude [degrees]."""
        return self.swath.ring

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north [degrees]."""
        return self.swath.bbox

    @cached_property
    def sun(self) -> tuple[float, float]:
        """Zenith and azimuth of the sun over the middle [degrees]."""
        lon, lat = self.swath.degrees(
            np.array((self.swath.lines - 1) / 2), np.array((self.swath.columns - 1) / 2)
        )
        return sun(float(lon), float(lat), self.start)

    @cached_property
    def cloud_cover(self) -> int:
        """Percentage of cloudy ground, sampled on a north-up mesh: few lattice nodes."""
        swath = self.swath
        ends = np.meshgrid([0.0, swath.lines - 1], [0.0, swath.columns - 1])
        corners = swath.sites(ends[0], ends[1])
        x, y = (np.linspace(np.min(at), np.max(at), _SAMPLES) for at in (corners.x, corners.y))
        line, column = swath.pixels(Sites(swath.crs, *np.meshgrid(x, y)))
        inside = (line >= 0) & (line < swath.lines) & (column >= 0) & (column < swath.columns)
        sky = weather.sky(Sites(swath.crs, x, y), self.day)
        return 0 if sky is None else round(100 * float(np.mean(sky.opacity[inside] >= _CLOUD)))


def _granules() -> tuple[Granule, ...]:
    found: list[Granule] = []
    for aoi, (crs, middle, ascending, hours) in _AREAS.items():
        for number, hour in enumerate(hours):
            day = FIRST + number * REVISIT
            reach = 0.0 if (aoi, day) == SPLIT else _AOI_OFFSET_M
            x, y = (
                value + reach * (2 * noise.unit_of("granule", aoi, day, axis) - 1)
                for axis, value in enumerate(middle)
            )
            swath = Swath(
                crs=crs,
                centre=(x, y),
                heading_deg=ascending if number % 2 == 0 else 180 - ascending,
            )
            start = datetime.combine(day, time.fromisoformat(hour), tzinfo=UTC)
            granule = Granule(aoi=aoi, start=start, swath=swath)
            found += _split(granule) if (aoi, day) == SPLIT else (granule,)
    return tuple(found)


def _split(granule: Granule) -> tuple[Granule, Granule]:
    """The two granules that meet in the middle of one."""
    swath = granule.swath
    before = replace(granule, swath=swath.moved(-swath.length_m / 2))
    after = replace(
        before, start=granule.start + _SCAN, swath=swath.moved(swath.length_m / 2), before=before
    )
    return before, after


GRANULES = _granules()
"""Nine passes over each area, oldest first within an area; one of them in two granules."""


def _over_fields() -> tuple[Granule, ...]:
    return tuple(
        Granule(
            aoi=field.name,
            start=start,
            swath=Swath(
                crs=fields.CRS, centre=field.middle, heading_deg=75.0, lines=400, columns=400
            ),
        )
        for field in fields.FIELDS
        for start in field.passes
    )


FIELD_GRANULES = _over_fields()
"""Four passes over each field, for a sandbox that has them."""
