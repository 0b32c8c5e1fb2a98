"""The wind that a pipeline asks for: one value, or a table that a reanalysis was exported to."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import override
from urllib.parse import urlsplit

from geostack_dagster import storage
from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.wind import ConstantWind, GriddedWind, Wind, WindSource
from geostack_dagster.pipeline.spec import WindSpec
from geostack_dagster.pipeline.workspace import Workspace

_COLUMNS = ("longitude", "latitude", "time", "u10", "v10")
_WITHIN_KM, _WITHIN = 50.0, timedelta(hours=3)
_EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, slots=True)
class Row:
    """Wind at one place and time."""

    longitude: float
    latitude: float
    time: datetime
    components: tuple[float, float]
    """Eastward and northward at 10 m [m/s]."""


@dataclass(frozen=True, slots=True)
class StatedSigma(WindSource):
    """Another source's wind with an uncertainty that a person states."""

    source: WindSource
    sigma_m_s: float

    @override
    def at(self, longitude: float, latitude: float, when: datetime) -> Wind:
        return replace(self.source.at(longitude, latitude, when), sigma_m_s=self.sigma_m_s)


def wind_source(wind: WindSpec, workspace: Workspace) -> WindSource:
    """Where the pipeline's wind comes from.

    Raises:
        ConfigurationError: If the table is missing or malformed.
    """
    if wind.table is None:
        return ConstantWind(speed_m_s=wind.speed_m_s, sigma_m_s=wind.sigma_m_s)
    url = _place(wind.table, workspace)
    source = GriddedWind(components=_nearest(url, _rows(url, _content(url))), name=wind.table)
    return source if wind.sigma_m_s is None else StatedSigma(source, wind.sigma_m_s)


def table_text(wind: WindSpec, workspace: Workspace) -> str:
    """Text of the table, for fingerprints: another table is another answer."""
    return "" if wind.table is None else _content(_place(wind.table, workspace))


def _place(table: str, workspace: Workspace) -> str:
    is_whole = bool(urlsplit(table).scheme) or table.startswith("/")
    return table if is_whole else f"{workspace.layout.root}/{table}"


def _content(url: str) -> str:
    try:
        return storage.read_bytes(url).decode()
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no wind table at {url}; write a CSV with the columns "
            f"{','.join(_COLUMNS)} there, or leave out `methane.wind.table`"
        ) from None


@lru_cache(maxsize=4)
def _rows(url: str, content: str) -> tuple[Row, ...]:
    rows = []
    for number, record in enumerate(csv.DictReader(io.StringIO(content)), start=2):
        try:
            longitude, latitude, u10, v10 = (
                float(record[name]) for name in ("longitude", "latitude", "u10", "v10")
            )
            when = parse_datetime(record["time"])
        except (KeyError, TypeError, ValueError):
            when = None
        if when is None or not all(map(math.isfinite, (longitude, latitude, u10, v10))):
            raise ConfigurationError(
                f"line {number} of the wind table {url} is not {','.join(_COLUMNS)}"
            )
        rows.append(Row(longitude, latitude, when.astimezone(UTC), (u10, v10)))
    return tuple(rows)


def _nearest(
    url: str, rows: tuple[Row, ...]
) -> Callable[[float, float, datetime], tuple[float, float]]:
    def components(longitude: float, latitude: float, when: datetime) -> tuple[float, float]:
        found = [
            (distance, abs(row.time - when), row.components)
            for row in rows
            if abs(row.time - when) <= _WITHIN
            and (distance := _distance_km(row, longitude, latitude)) <= _WITHIN_KM
        ]
        if not found:
            raise ConfigurationError(
                f"the wind table {url} has nothing within {_WITHIN_KM:g} km and "
                f"{_WITHIN.seconds // 3600} hours of {longitude:.3f}, {latitude:.3f} at "
                f"{when:%Y-%m-%dT%H:%MZ}; add a row"
            )
        return min(found)[2]

    return components


def _distance_km(row: Row, longitude: float, latitude: float) -> float:
    """Great-circle distance by the haversine formula."""
    phi, other = math.radians(row.latitude), math.radians(latitude)
    step = math.radians(longitude - row.longitude)
    h = math.sin((other - phi) / 2) ** 2
    h += math.cos(phi) * math.cos(other) * math.sin(step / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(math.sqrt(min(h, 1.0)))
