"""What EnMAP saw of the world: Level-2A scenes over both demonstration areas, named as DLR does.

Scenes are smaller than the real 30 km: 400 x 400 pixels of 30 m, a square of 10 km in a north-up
map with nodata in its corners. Files of a scene are in `enmap_files.py`.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geostack_dagster.sandbox import weather
from geostack_dagster.sandbox.sampling import Axes, Floats
from geostack_dagster.sandbox.sun import sun

SHAPE = (400, 400)
PIXEL_M = 30.0
NODATA = -32768
_HALF_M = 4_950.0  # half the edge of the square that was seen
_VERSION = "V010402"
_SCAN = timedelta(seconds=1.49)
_PROCESSED_AFTER = timedelta(hours=19, minutes=14, seconds=38)
_FILED_AFTER = timedelta(hours=2, minutes=33, seconds=38, milliseconds=59)
_KNOWN_TAKE = (80454, date(2024, 6, 30))
_TAKES_PER_DAY = 57
_KNOWN_ORBIT = (17597, date(2025, 7, 8))
_ORBITS_PER_DAY = 14.91
_CLOUD = 0.2
_SAMPLED_STEP = 8

# EPSG code, middle of the AOI [m], angle of the track [degrees], UTC of the pass.
_AREAS = {
    "emmental": (32632, (414_059.0, 5_203_561.0), 14.2, timedelta(hours=10, minutes=44, seconds=7)),
    "rio_cuarto": (
        32720,
        (527_984.0, 6_334_261.0),
        12.1,
        timedelta(hours=14, minutes=52, seconds=31),
    ),
}
_DAYS = (
    date(2024, 6, 3),
    date(2024, 6, 8),
    date(2024, 6, 13),
    date(2024, 6, 18),
    date(2024, 6, 28),
    date(2024, 7, 3),
    date(2024, 7, 13),
)
LATE = date(2024, 7, 13)
"""The day whose scenes are in no catalogue until they arrive."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One Level-2A scene of EnMAP."""

    aoi: str
    """Demonstration area that it covers whole, as in `emmental`."""
    start: datetime
    epsg: int
    origin: tuple[float, float]
    """Outer corner of the first pixel [m]."""
    azimuth_deg: float
    """Angle between the map and the square that was seen."""
    renewed_after: timedelta = timedelta(0)
    """How long after its first processing it was processed anew."""

    @property
    def end(self) -> datetime:
        """UTC of the last line."""
        return self.start + _SCAN

    @property
    def processed(self) -> datetime:
        """When Level-2A was made: part of the name."""
        return self.start + _PROCESSED_AFTER + self.renewed_after

    @property
    def published(self) -> datetime:
        """When the catalogue got it: `created` and `updated`."""
        return self.processed + _FILED_AFTER

    @property
    def day(self) -> date:
        """Solar day: of UTC, too, for both areas at these hours."""
        return self.start.date()

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.day == LATE

    @property
    def datatake(self) -> str:
        """Ten digits, as in `0000078904`."""
        number, known = _KNOWN_TAKE
        later = 0 if self.aoi == "emmental" else 23
        return f"{number + (self.day - known).days * _TAKES_PER_DAY + later:010d}"

    @property
    def orbit(self) -> int:
        """Absolute orbit number."""
        number, known = _KNOWN_ORBIT
        return number + round((self.day - known).days * _ORBITS_PER_DAY)

    @property
    def id(self) -> str:
        """As in `ENMAP01-____L2A-DT0000078904_20240603T104407Z_001_V010402_20240604T055845Z`."""
        return (
            f"ENMAP01-____L2A-DT{self.datatake}_{self.start:%Y%m%dT%H%M%SZ}_001_{_VERSION}_"
            f"{self.processed:%Y%m%dT%H%M%SZ}"
        )

    @property
    def folder(self) -> str:
        """Path of its files on the download host, as in `ENMAP/files/L2A/2024/06/03/DT.../01`."""
        return f"ENMAP/files/L2A/{self.start:%Y/%m/%d}/DT{self.datatake}/01"

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """`proj:transform`."""
        return PIXEL_M, 0.0, self.origin[0], 0.0, -PIXEL_M, self.origin[1]

    @property
    def bbox_m(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the map [m]."""
        left, top = self.origin
        return left, top - SHAPE[0] * PIXEL_M, left + SHAPE[1] * PIXEL_M, top

    def seen(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Whether places in the scene's CRS have data."""
        left, bottom, right, top = self.bbox_m
        east, north = x - (left + right) / 2, y - (bottom + top) / 2
        sine, cosine = self._direction
        along, across = east * sine + north * cosine, east * cosine - north * sine
        within: NDArray[np.bool_] = np.maximum(np.abs(along), np.abs(across)) < _HALF_M
        return within

    @cached_property
    def ring(self) -> tuple[tuple[float, float], ...]:
        """Footprint: closed ring of longitude and latitude [degrees], as items state it."""
        left, bottom, right, top = self.bbox_m
        sine, cosine = self._direction
        project = Transformer.from_crs(self.epsg, 4326, always_xy=True).transform
        corners = []
        for u, v in ((1, 1), (-1, 1), (-1, -1), (1, -1), (1, 1)):
            along, across = u * _HALF_M, v * _HALF_M
            lon, lat = project(
                (left + right) / 2 + along * sine + across * cosine,
                (bottom + top) / 2 + along * cosine - across * sine,
            )
            corners.append((round(float(lon), 6), round(float(lat), 6)))
        return tuple(corners)

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the ring [degrees]."""
        xs, ys = zip(*self.ring, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @cached_property
    def sun(self) -> tuple[float, float]:
        """Zenith and azimuth of the sun over the middle [degrees]."""
        west, south, east, north = self.bbox
        return sun((west + east) / 2, (south + north) / 2, self.start)

    @cached_property
    def cloud_cover(self) -> int:
        """Percentage of cloudy pixels, sampled."""
        step = PIXEL_M * _SAMPLED_STEP
        sites = Axes(
            crs=f"EPSG:{self.epsg}",
            x0=self.origin[0] + step / 2,
            y0=self.origin[1] - step / 2,
            dx=step,
            dy=-step,
            width=SHAPE[1] // _SAMPLED_STEP,
            height=SHAPE[0] // _SAMPLED_STEP,
        ).sites()
        sky = weather.sky(sites, self.day)
        if sky is None:
            return 0
        seen = self.seen(*np.meshgrid(sites.x, sites.y))
        return round(100 * float(np.mean(sky.opacity[seen] >= _CLOUD)))

    @cached_property
    def _direction(self) -> tuple[float, float]:
        angle = math.radians(self.azimuth_deg)
        return math.sin(angle), math.cos(angle)


def _scenes() -> tuple[Scene, ...]:
    found = []
    for aoi, (epsg, (x, y), azimuth, hour) in _AREAS.items():
        left = round(x / PIXEL_M) * PIXEL_M - SHAPE[1] // 2 * PIXEL_M
        top = round(y / PIXEL_M) * PIXEL_M + SHAPE[0] // 2 * PIXEL_M
        for day in _DAYS:
            start = datetime(day.year, day.month, day.day, tzinfo=UTC) + hour
            found.append(
                Scene(aoi=aoi, start=start, epsg=epsg, origin=(left, top), azimuth_deg=azimuth)
            )
    return tuple(found)


SCENES = _scenes()
"""Seven scenes of each area, oldest first within an area."""
