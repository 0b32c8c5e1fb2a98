"""Labels from a file that a person filled in: a review queue, or outlines of their own.

A wrong file is refused whole, naming the feature and the remedy: half a review is worse than none.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapely import is_valid_reason
from shapely.errors import ShapelyError
from shapely.geometry import shape

from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label, read_labels

_STATES = ", ".join(State)
_DEGREES = (-360.0, -90.0, 360.0, 90.0)
_IN_DEGREES = re.compile(r"(CRS:?|OGC:?[\d.]*:)CRS84\b|EPSG:{1,2}4326\b")
"""How editors name longitude and latitude in the member `crs` of older GeoJSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What a file says."""

    labels: tuple[Label, ...]
    left_open: int
    """Features without a state: not looked at yet."""


def read_review(content: bytes) -> Reviewed:
    """Labels of the features that have a state; those without one are left open.

    Raises:
        ConfigurationError: If the content is not GeoJSON, no feature has a state, or one is wrong:
            an unknown state, no id or one that another feature has, no time, no outline in
            degrees, or a whole scene called a plume. The message names it and says what to do.
    """
    features = _features(content)
    said = [
        (_name(feature, number), feature)
        for number, feature in enumerate(features, start=1)
        if _properties(feature, number).get("state") not in (None, "")
    ]
    if not said:
        raise ConfigurationError(
            f"none of {len(features)} features has a `state`; set it to one of {_STATES} in each "
            "that you looked at"
        )
    names = [name for name, _ in said]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"several features have the id {twice[0]}; keep one of them")
    for name, feature in said:
        _check(name, feature)
    document = {"features": [_prepared(name, feature) for name, feature in said]}
    return Reviewed(labels=read_labels(document), left_open=len(features) - len(said))


def _features(content: bytes) -> Sequence[Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ConfigurationError(
            f"this is no JSON ({error}); export the reviewed layer as GeoJSON"
        ) from error
    found = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(found, list):
        raise ConfigurationError("this is no GeoJSON FeatureCollection; export the layer as one")
    crs = json.dumps(document.get("crs"))
    if crs != "null" and not _IN_DEGREES.search(crs):
        raise ConfigurationError(f"the layer's `crs` is {crs}; export it in EPSG:4326")
    return found


def _properties(feature: Any, number: int) -> Mapping[str, Any]:
    stated = feature.get("properties") if isinstance(feature, Mapping) else None
    if not isinstance(stated, Mapping):
        raise ConfigurationError(f"feature {number} has no properties; add at least `state`")
    return stated


def _name(feature: Mapping[str, Any], number: int) -> str:
    name = feature["properties"].get("id") if isinstance(feature["properties"], Mapping) else None
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"feature {number} has no `id`; keep the one of the queue, and give an outline of your "
            "own any text that no other has"
        )
    return name


def _check(name: str, feature: Mapping[str, Any]) -> None:
    stated = feature["properties"]
    state = str(stated["state"]).strip().upper()
    if state not in State:
        raise ConfigurationError(
            f"{name} has the state {stated['state']!r}; use one of {_STATES}, or leave it empty"
        )
    if stated.get("kind") == "scene" and state == State.PLUME:
        raise ConfigurationError(
            f"{name} is a whole scene and cannot be a PLUME; draw the plume as a feature of its "
            f"own with the same `observed`, and leave the scene UNCERTAIN or say {State.NO_PLUME} "
            "for the rest of it"
        )
    if parse_datetime(stated.get("observed")) is None:
        raise ConfigurationError(
            f"{name} does not say when: `observed` is {stated.get('observed')!r}; copy it from the "
            "queue's features of that day, such as 2024-06-03T10:34:05Z"
        )
    _check_outline(name, feature.get("geometry"))


def _check_outline(name: str, geometry: Any) -> None:
    try:
        found = shape(geometry)
    except (ShapelyError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise ConfigurationError(f"{name} has no readable outline; draw it again") from error
    if found.geom_type not in ("Polygon", "MultiPolygon") or found.is_empty:
        raise ConfigurationError(f"{name} is a {found.geom_type}; a label needs a polygon")
    if any(ring[0] != ring[-1] for ring in _rings(geometry)):
        raise ConfigurationError(
            f"a ring of {name} does not end where it begins: part of it may be lost; close it, or "
            "draw it again"
        )
    if not found.is_valid:
        raise ConfigurationError(
            f"the outline of {name} is not valid ({is_valid_reason(found)}); draw it again"
        )
    west, south, east, north = found.bounds
    if not (
        _DEGREES[0] <= west
        and _DEGREES[1] <= south
        and east <= _DEGREES[2]
        and north <= _DEGREES[3]
    ):
        raise ConfigurationError(
            f"the outline of {name} is not in degrees; export the layer in EPSG:4326"
        )


def _rings(geometry: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    polygons = geometry["coordinates"]
    for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
        yield from polygon


def _prepared(name: str, feature: Mapping[str, Any]) -> dict[str, Any]:
    """The feature as `read_labels` wants it: what editors change on the way is put right."""
    stated = dict(feature["properties"])
    scenes = stated.get("scenes") or []
    return {
        "type": "Feature",
        "geometry": feature["geometry"],
        "properties": stated
        | {
            "id": name,
            "state": str(stated["state"]).strip().upper(),
            "scenes": scenes.split() if isinstance(scenes, str) else scenes,
            "source": "review",
        },
    }
