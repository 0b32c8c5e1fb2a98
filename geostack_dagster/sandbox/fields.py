"""Oil and gas fields that only EMIT sees: sites enough to learn from, and to be judged on.

Each lies in the middle of a cell of half a degree, so that what is learnt at one says nothing of
its neighbours, and has two sources. Every field is passed four times, by an orbit of its own.
They are in the catalogue only of a sandbox that is asked for them: the demonstration of the
learning loop asks.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from pyproj import Transformer

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.sandbox import noise

CRS = "EPSG:32640"
_CELL_DEG = 0.5
_ROWS, _COLUMNS = (36.25, 37.75, 39.25, 40.75), (53.8, 55.1, 56.4, 57.7, 59.0, 60.3)
_HALF_M = 5_000.0
# First day of each round of passes; none is a day of the demonstration areas.
_ROUNDS = (date(2024, 6, 4), date(2024, 6, 14), date(2024, 7, 4), date(2024, 7, 9))
_DAYS_OF_ROUND, _PER_DAY = 4, 6
_FIRST_HOUR, _STEP_H = 3.5, 1.6  # a little more than an orbit
_SILENT, _RATES_T_H = 0.25, (0.8, 9.0)
_OFFSET_M = (3_400.0, 2_200.0)


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field."""

    number: int

    @property
    def name(self) -> str:
        """As in `field_07`; also that of its AOI."""
        return f"field_{self.number:02d}"

    @cached_property
    def middle(self) -> tuple[float, float]:
        """Middle of the field in `CRS` [m]."""
        row, column = divmod(self.number, len(_COLUMNS))
        latitude = _ROWS[row]
        x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(
            _cell_centre(_COLUMNS[column], latitude), latitude
        )
        return float(x), float(y)

    @property
    def aoi(self) -> AOI:
        """Ten kilometres to a side."""
        x, y = self.middle
        to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
        west, south = to_degrees.transform(x - _HALF_M, y - _HALF_M)
        east, north = to_degrees.transform(x + _HALF_M, y + _HALF_M)
        return AOI.from_bbox(self.name, (west, south, east, north))

    @property
    def passes(self) -> tuple[datetime, ...]:
        """UTC of the first line of each pass."""
        later, slot = divmod(self.number, _PER_DAY)
        hour = timedelta(hours=_FIRST_HOUR + _STEP_H * slot)
        return tuple(
            datetime.combine(first + timedelta(days=later), datetime.min.time(), UTC) + hour
            for first in _ROUNDS
        )

    def sources(self) -> tuple[dict[str, Any], ...]:
        """Name, place [m] and rates [t/h] by day, as `plumes.Source` takes them."""
        x, y = self.middle
        return tuple(
            {
                "name": f"{self.name}/{side}",
                "crs": CRS,
                "x": x + sign * _OFFSET_M[0],
                "y": y + sign * _OFFSET_M[1],
                "prevailing_deg": 360 * noise.unit_of("prevailing", self.name, side),
                "rates_t_h": {one.date(): self._rate(side, one.date()) for one in self.passes},
            }
            for side, sign in enumerate((-1, 1))
        )

    def _rate(self, side: int, day: date) -> float:
        drawn = noise.unit_of("field", self.name, side, day)
        if drawn < _SILENT:
            return 0.0
        low, high = _RATES_T_H
        return float(round(low * (high / low) ** ((drawn - _SILENT) / (1 - _SILENT)), 2))


FIELDS = tuple(Field(number=number) for number in range(len(_ROWS) * len(_COLUMNS)))
DAYS = frozenset(one.date() for field in FIELDS for one in field.passes)
"""Days on which any of them is passed: the only ones on which they emit."""


def _cell_centre(longitude: float, latitude: float) -> float:
    """Longitude of the middle of the cell of about half a degree that holds a place."""
    count = max(1, round(360 / _CELL_DEG * math.cos(math.radians(latitude))))
    column = math.floor((longitude + 180) / 360 * count)
    return (column + 0.5) * 360 / count - 180
