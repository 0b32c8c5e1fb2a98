"""The world's wind as the table that a reanalysis would be exported to."""

import csv
import io
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, time

from geostack_dagster.sandbox.emit_scenes import GRANULES
from geostack_dagster.sandbox.fields import DAYS
from geostack_dagster.sandbox.plumes import FIELD_SOURCES, SOURCES

_HOURS = range(0, 24, 2)


def wind_table(days: Iterable[date] | None = None) -> str:
    """CSV of `longitude,latitude,time,u10,v10`, a row every two hours at each source.

    Of the days given, or of all days with an overpass; fields are in tables of theirs.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(("longitude", "latitude", "time", "u10", "v10"))
    known = sorted({one.day for one in GRANULES} if days is None else set(days))
    fields = FIELD_SOURCES if DAYS.intersection(known) else ()
    for source in (*SOURCES, *fields):
        longitude, latitude = source.degrees
        for day in known:
            speed, from_deg = source.wind(day)
            angle = math.radians(from_deg)
            east, north = -speed * math.sin(angle), -speed * math.cos(angle)
            for hour in _HOURS:
                when = datetime.combine(day, time(hour), tzinfo=UTC)
                writer.writerow(
                    (
                        f"{longitude:.5f}",
                        f"{latitude:.5f}",
                        when.isoformat(),
                        f"{east:.3f}",
                        f"{north:.3f}",
                    )
                )
    return buffer.getvalue()
