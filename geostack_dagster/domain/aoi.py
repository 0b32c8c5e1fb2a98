"""Areas of interest: a name and a polygon in longitude and latitude."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from geostack_dagster.domain.antimeridian import cut
from geostack_dagster.errors import ConfigurationError

# Dagster forbids `| [ ] ,` in partition keys; the name is a folder and part of URLs as well.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HALF_TURN = 180.0
_SMALLEST_RING = 4

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
    crs: str | None = None
    """CRS of its grids if it asks for one; None leaves the choice to `grid.choose_crs`."""

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
        for lon, lat in self._checked_positions():
            if not (-_HALF_TURN <= lon <= _HALF_TURN and -90 <= lat <= 90):
                raise ConfigurationError(
                    f"AOI {self.name!r} has a vertex at ({lon}, {lat}); positions are "
                    "(longitude, latitude) in degrees: are the two swapped, or projected metres?"
                )

    def _checked_positions(self) -> list[tuple[float, float]]:
        try:
            rings = list(_rings(self.geometry))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise ConfigurationError(
                f"AOI {self.name!r} has coordinates that are not rings of [longitude, latitude]"
            ) from error
        if not rings or any(len(ring) < _SMALLEST_RING or ring[0] != ring[-1] for ring in rings):
            raise ConfigurationError(
                f"AOI {self.name!r} has a ring that is not closed; a ring has four positions or "
                "more and ends where it starts"
            )
        return [position for ring in rings for position in ring]

    @classmethod
    def from_bbox(cls, name: str, bbox: Sequence[float]) -> Self:
        """AOI of a west, south, east, north box; west > east means across the antimeridian.

        Raises:
            ConfigurationError: If the box is reversed, degenerate or not four finite degrees.
        """
        west, south, east, north = _checked_bbox(name, bbox)
        if west < east:
            return cls(name, {"type": "Polygon", "coordinates": _box(west, south, east, north)})
        halves = [_box(west, south, _HALF_TURN, north), _box(-_HALF_TURN, south, east, north)]
        return cls(name, {"type": "MultiPolygon", "coordinates": halves})

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """AOI of a GeoJSON file, named after the file.

        Takes a geometry, a Feature or a FeatureCollection with one Feature. The property `crs` of
        the Feature (`"crs": "EPSG:3035"`) asks for a CRS. An area drawn across the antimeridian is
        cut there.

        Raises:
            ConfigurationError: If the file is not such GeoJSON; the message names the file.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path.name} is not readable GeoJSON: {error}") from error
        geometry, crs = _only_geometry(document, path.name)
        return cls(path.stem, _cut(path.stem, geometry), crs)

    @property
    def bbox(self) -> BBox:
        """West, south, east, north [degrees]; west > east when it crosses the antimeridian."""
        if not self.crosses_antimeridian:
            return _bounds(_rings(self.geometry))
        parts = self._parts
        return (
            min(part[0] for part in parts if part[2] > 0),
            min(part[1] for part in parts),
            max(part[2] for part in parts if part[2] <= 0),
            max(part[3] for part in parts),
        )

    @property
    def crosses_antimeridian(self) -> bool:
        """True when parts touch both +180 and -180."""
        parts = self._parts
        return any(part[2] >= _HALF_TURN and part[0] > 0 for part in parts) and any(
            part[0] <= -_HALF_TURN and part[2] <= 0 for part in parts
        )

    @property
    def _parts(self) -> list[BBox]:
        polygons = self.geometry["coordinates"]
        if self.geometry["type"] == "Polygon":
            polygons = [polygons]
        return [_bounds(map(_ring_positions, polygon)) for polygon in polygons if polygon]

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
        return [position for ring in self.unwrapped_rings() for position in ring]

    def unwrapped_rings(self) -> list[list[tuple[float, float]]]:
        """All rings, with negative longitudes turned by 360 if it crosses the antimeridian."""
        turn = 2 * _HALF_TURN if self.crosses_antimeridian else 0.0
        return [
            [(lon + turn if lon < 0 else lon, lat) for lon, lat in ring]
            for ring in _rings(self.geometry)
        ]


def _checked_bbox(name: str, bbox: Sequence[float]) -> BBox:
    if len(bbox) != 4 or not all(math.isfinite(value) for value in bbox):
        raise ConfigurationError(
            f"bbox of AOI {name!r} must be four finite degrees: west, south, east, north; "
            f"found {list(bbox)}"
        )
    west, south, east, north = (float(value) for value in bbox)
    west = -_HALF_TURN if west == _HALF_TURN else west  # a box may begin or end at the seam
    east = _HALF_TURN if east == -_HALF_TURN else east
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


def _box(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def _cut(name: str, geometry: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return cut(f"AOI {name!r}", geometry)
    except ConfigurationError:
        raise
    except (TypeError, ValueError, IndexError, KeyError):
        return geometry  # no rings of positions: the AOI itself says so best


def _only_geometry(document: Any, name: str) -> tuple[Mapping[str, Any], str | None]:
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        features = document.get("features")
        count = len(features) if isinstance(features, list) else 0
        if not isinstance(features, list) or count != 1:
            raise ConfigurationError(f"{name} holds {count} Features; write one file for each AOI")
        document = features[0]
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name} holds no GeoJSON object")
    is_feature = document.get("type") == "Feature"
    geometry = document.get("geometry") if is_feature else document
    crs = (document.get("properties") or {}).get("crs") if is_feature else None
    if crs is not None and not isinstance(crs, str):
        raise ConfigurationError(f"{name}: property crs is {crs!r}; write it like EPSG:3035")
    if not isinstance(geometry, dict) or "coordinates" not in geometry:
        raise ConfigurationError(f"{name} has no geometry; give a Polygon or a MultiPolygon")
    return geometry, crs


type _Ring = list[tuple[float, float]]


def _rings(geometry: Mapping[str, Any]) -> Iterator[_Ring]:
    polygons = geometry["coordinates"]
    for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
        yield from map(_ring_positions, polygon)


def _ring_positions(ring: Any) -> _Ring:
    return [(float(position[0]), float(position[1])) for position in ring]


def _bounds(rings: Iterable[_Ring]) -> BBox:
    longitudes, latitudes = zip(*(position for ring in rings for position in ring), strict=True)
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)
