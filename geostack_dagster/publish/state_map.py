"""A map of AOIs and plumes as inline SVG: no tiles, no network."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from geostack_dagster.domain.counts import counted
from geostack_dagster.publish.colours import round_step, ticks
from geostack_dagster.publish.state import Area, PlumeMark

_SIZE = 340.0
_LEFT = 72.0
"""Room for the labels of the latitudes, such as -33.1225°."""
_PADDING = 0.12
_LEAST_RADIUS, _MOST_RADIUS = 4.0, 14.0

_RIGHT = 32.0
"""Room for half a label of the easternmost longitude."""

type Position = tuple[float, float]
type Ring = list[Position]


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """Degrees to pixels: longitudes are shortened by the cosine of the middle latitude."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, rings: Sequence[Ring]) -> "_View":
        xs = [x for ring in rings for x, _ in ring]
        ys = [y for ring in rings for _, y in ring]
        across = (max(xs) - min(xs)) * _PADDING or 0.01
        up = (max(ys) - min(ys)) * _PADDING or 0.01
        return cls(
            west=min(xs) - across, south=min(ys) - up, east=max(xs) + across, north=max(ys) + up
        )

    @property
    def height(self) -> float:
        middle = math.radians((self.south + self.north) / 2)
        width = (self.east - self.west) * math.cos(middle)
        return min(max(_SIZE * (self.north - self.south) / width, _SIZE / 3), _SIZE * 1.6)

    def place(self, position: Position) -> Position:
        x = (position[0] - self.west) / (self.east - self.west) * _SIZE
        y = (self.north - position[1]) / (self.north - self.south) * self.height
        return round(x, 1), round(y, 1)


def area_map(area: Area, plumes: Sequence[PlumeMark]) -> str:
    """SVG of an AOI with its plumes: outlines, and dots as wide as their rates.

    Sure plumes are filled, doubtful ones hollow: colour alone tells nothing.
    """
    rings = list(_rings(area.geometry))
    marks = [mark for mark in plumes if mark.area == area.name]
    outlines = [list(_rings(mark.geometry)) for mark in marks]
    view = _View.around([*rings, *(ring for found in outlines for ring in found)])
    sure = sum(mark.is_sure for mark in marks)
    words = f"{area.name}: {counted(sure, 'plume')}, {len(marks) - sure} doubtful"
    strongest = max((mark.rate_kg_h or 0 for mark in marks), default=0)
    drawn = [
        *_graticule(view),
        f'<path class="aoi" d="{_path(view, rings)}"/>',
        *(
            _plume(view, mark, found, strongest)
            for mark, found in sorted(
                zip(marks, outlines, strict=True),
                key=lambda pair: (pair[0].is_sure, -(pair[0].rate_kg_h or 0)),
            )
        ),
    ]
    box = f"{-_LEFT:.0f} -8 {_SIZE + _LEFT + _RIGHT:.0f} {view.height + 34:.0f}"
    return (
        f'<svg class="map" role="img" viewBox="{box}" '
        f'aria-label="{escape(words)}"><title>{escape(words)}</title>{"".join(drawn)}</svg>'
    )


def _plume(view: _View, mark: PlumeMark, rings: Sequence[Ring], strongest: float) -> str:
    kind = "sure" if mark.is_sure else "doubtful"
    xs = [x for ring in rings for x, _ in ring]
    ys = [y for ring in rings for _, y in ring]
    x, y = view.place((sum(xs) / len(xs), sum(ys) / len(ys)))
    share = math.sqrt((mark.rate_kg_h or 0) / strongest) if strongest else 0.0
    radius = _LEAST_RADIUS + (_MOST_RADIUS - _LEAST_RADIUS) * share
    return (
        f'<g class="plume {kind}"><title>{escape(describe(mark))}</title>'
        f'<path d="{_path(view, rings)}"/><circle cx="{x}" cy="{y}" r="{radius:.1f}"/></g>'
    )


def describe(mark: PlumeMark) -> str:
    """A plume in one line."""
    words = [f"{mark.day}, {mark.pipeline}", "plume" if mark.is_sure else "doubtful"]
    if mark.rate_kg_h is not None:
        words.append(f"{mark.rate_kg_h:,.0f} kg/h")
    return ", ".join(words)


def _graticule(view: _View) -> Iterator[str]:
    step = round_step((view.east - view.west) / 5)
    for value in ticks(view.west, view.east, step):
        x, _ = view.place((value, view.south))
        yield f'<path class="grid" d="M{x} 0V{view.height:.1f}"/>'
        below = f'x="{x}" y="{view.height + 16:.1f}" text-anchor="middle"'
        yield f"<text {below}>{_degrees(value, step)}</text>"
    for value in ticks(view.south, view.north, step):
        _, y = view.place((view.west, value))
        yield f'<path class="grid" d="M0 {y}H{_SIZE:.0f}"/>'
        yield f'<text x="-6" y="{y + 4}" text-anchor="end">{_degrees(value, step)}</text>'


def _degrees(value: float, step: float) -> str:
    """A label with the digits that its line needs: 46.975 is not 46.98."""
    decimals = next((n for n in range(6) if math.isclose(round(step, n), step)), 6)
    return f"{value + 0.0:.{decimals}f}°"


def _path(view: _View, rings: Iterable[Ring]) -> str:
    def line(ring: Ring) -> str:
        return "M" + "L".join("{} {}".format(*view.place(position)) for position in ring) + "Z"

    return "".join(map(line, rings))


def _rings(geometry: Mapping[str, Any]) -> Iterator[Ring]:
    """Outer rings of a Polygon or MultiPolygon; east of 180 where it crosses the antimeridian."""
    polygons = geometry.get("coordinates", [])
    polygons = [polygons] if geometry.get("type") == "Polygon" else polygons
    rings = [[(float(p[0]), float(p[1])) for p in polygon[0]] for polygon in polygons if polygon]
    xs = [x for ring in rings for x, _ in ring]
    crosses = bool(xs) and max(xs) - min(xs) > 180
    for ring in rings:
        yield [(x + 360 if crosses and x < 0 else x, y) for x, y in ring]
