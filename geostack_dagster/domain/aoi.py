"""Areas of interest: a name and a polygon in longitude and latitude."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from geostack_dagster.errors import ConfigurationError

# Dagster forbids `| [ ] ,` in partition keys; the name is a folder and part of URLs as well.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HALF_TURN = 180.0

type BBox = tuple[float, float, float, float]
"""west, south, east, north in degrees."""


@dataclass(frozen=True, slots=True)
class AOI:
    """An area asked for.

    The geometry is GeoJSON in degrees. An area that crosses the antimeridian is stored as a
    MultiPolygon whose parts stop at +-180, so every part is an ordinary polygon to a catalogue.
    """

    name: str
    geometry: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"AOI name {self.name!r} must be letters, digits, '.', '_' or '-', at most 63"
            )
        kind = self.geometry.get("type")
        if kind not in ("Polygon", "MultiPolygon"):
            raise ConfigurationError(
                f"AOI {self.name!r} is a {kind}; give a Polygon or a MultiPolygon"
            )
        for lon, lat in _positions(self.geometry["coordinates"]):
            if not (-_HALF_TURN <= lon <= _HALF_TURN and -90 <= lat <= 90):
                raise ConfigurationError(
                    f"AOI {self.name!r} has a vertex at ({lon}, {lat}); positions are "
                    "(longitude, latitude) in degrees: are the two swapped, or projected metres?"
                )

    @classmethod
    def from_bbox(cls, name: str, bbox: Sequence[float]) -> Self:
        """AOI of a west, south, east, north box; west > east means across the antimeridian.

        Raises:
            ConfigurationError: If the box is reversed, degenerate or not four finite degrees.
        """
        west, south, east, north = _checked_bbox(name, bbox)
        if west < east:
            return cls(name, {"type": "Polygon", "coordinates": _ring(west, south, east, north)})
        halves = [_ring(west, south, _HALF_TURN, north), _ring(-_HALF_TURN, south, east, north)]
        return cls(name, {"type": "MultiPolygon", "coordinates": halves})

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """AOI of a GeoJSON file, named after the file.

        Takes a geometry, a Feature or a FeatureCollection with one Feature.

        Raises:
            ConfigurationError: If the file is not such GeoJSON; the message names the file.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path.name} is not readable GeoJSON: {error}") from error
        return cls(path.stem, _only_geometry(document, path.name))

    @property
    def bbox(self) -> BBox:
        """West, south, east, north [degrees]; west > east when it crosses the antimeridian."""
        if not self.crosses_antimeridian:
            return _bounds(self.geometry["coordinates"])
        parts = [_bounds(part) for part in self.geometry["coordinates"]]
        return (
            min(part[0] for part in parts if part[2] >= _HALF_TURN),
            min(part[1] for part in parts),
            max(part[2] for part in parts if part[0] <= -_HALF_TURN),
            max(part[3] for part in parts),
        )

    @property
    def crosses_antimeridian(self) -> bool:
        """True when parts touch both +180 and -180."""
        if self.geometry["type"] != "MultiPolygon":
            return False
        west, _, east, _ = _bounds(self.geometry["coordinates"])
        return west <= -_HALF_TURN and east >= _HALF_TURN

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the bbox [degrees]."""
        west, south, east, north = self.bbox
        span = east - west if west <= east else east - west + 2 * _HALF_TURN
        longitude = west + span / 2
        if longitude > _HALF_TURN:
            longitude -= 2 * _HALF_TURN
        return longitude, (south + north) / 2

    def unwrapped(self) -> list[tuple[float, float]]:
        """All vertices, with negative longitudes turned by 360 if it crosses the antimeridian."""
        turn = 2 * _HALF_TURN if self.crosses_antimeridian else 0.0
        return [
            (lon + turn if lon < 0 else lon, lat)
            for lon, lat in _positions(self.geometry["coordinates"])
        ]


def _checked_bbox(name: str, bbox: Sequence[float]) -> BBox:
    if len(bbox) != 4 or not all(math.isfinite(value) for value in bbox):
        raise ConfigurationError(
            f"bbox of AOI {name!r} must be four finite degrees: west, south, east, north; "
            f"found {list(bbox)}"
        )
    west, south, east, north = (float(value) for value in bbox)
    if south >= north:
        raise ConfigurationError(
            f"bbox of AOI {name!r} has south {south} not below north {north}; "
            "the order is west, south, east, north"
        )
    if west == east:
        raise ConfigurationError(f"bbox of AOI {name!r} has no width: west = east = {west}")
    if west > east and west - east <= _HALF_TURN:
        raise ConfigurationError(
            f"bbox of AOI {name!r} has west {west} east of east {east}; swap them. (West > east "
            "means a box across the antimeridian, and this one would be wider than half a turn.)"
        )
    return west, south, east, north


def _ring(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def _only_geometry(document: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name} holds no GeoJSON object")
    if document.get("type") == "FeatureCollection":
        features = document.get("features") or []
        if len(features) != 1:
            raise ConfigurationError(
                f"{name} holds {len(features)} Features; write one file for each AOI"
            )
        document = features[0]
    geometry = document.get("geometry") if document.get("type") == "Feature" else document
    if not isinstance(geometry, dict) or "coordinates" not in geometry:
        raise ConfigurationError(f"{name} has no geometry; give a Polygon or a MultiPolygon")
    return geometry


def _positions(coordinates: Any) -> Iterator[tuple[float, float]]:
    if coordinates and isinstance(coordinates[0], int | float):
        yield float(coordinates[0]), float(coordinates[1])
        return
    for part in coordinates:
        yield from _positions(part)


def _bounds(coordinates: Any) -> BBox:
    positions = list(_positions(coordinates))
    longitudes = [lon for lon, _ in positions]
    latitudes = [lat for _, lat in positions]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)
