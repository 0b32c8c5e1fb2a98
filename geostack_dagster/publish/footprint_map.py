"""A small map of an area of interest and the footprints of the Items found over it."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely import Polygon, make_valid, union_all

from geostack_dagster.domain.counts import counted
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.publish.canvas import MUTED, Page
from geostack_dagster.publish.colours import round_step, ticks

_MARGIN_LEFT, _MARGIN_RIGHT, _HEADER, _FOOTER = 58, 16, 40, 30
_MAX_HEIGHT, _MIN_HEIGHT = 360, 140
_PADDING = 0.08
_SMOOTHING = 3  # drawn so much larger and averaged: Pillow's lines have stairs
_ITEM, _AOI = (31, 110, 179), (205, 55, 25)
_ONE_ITEM, _DEEPEST = 0.18, 0.6  # opacity of one footprint, and of any number of them
_GRATICULE = (0, 0, 0, 26)

type Ring = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """Degrees to pixels: longitudes are shortened by the cosine of the middle latitude."""

    west: float
    south: float
    east: float
    north: float
    width: int
    height: int

    def pixels(self, ring: Ring) -> list[tuple[float, float]]:
        x = (ring[:, 0] - self.west) / (self.east - self.west) * self.width
        y = (self.north - ring[:, 1]) / (self.north - self.south) * self.height
        return [(float(across), float(down)) for across, down in zip(x, y, strict=True)]


def footprint_map(
    aoi_geometry: Mapping[str, Any],
    item_geometries: Iterable[Mapping[str, Any] | None],
    *,
    title: str = "",
    width_px: int = 480,
) -> bytes:
    """PNG of the AOI (red) and Item footprints (blue, darker where they overlap), in degrees.

    Footprints across the antimeridian are drawn in one piece. Items without a polygon count in
    the title only.

    Raises:
        ConfigurationError: If the AOI is not a Polygon or MultiPolygon.
    """
    items = list(item_geometries)
    area = list(_rings(aoi_geometry))
    if not area:
        raise ConfigurationError(
            f"an AOI needs a Polygon or MultiPolygon to be drawn, not {aoi_geometry.get('type')!r}"
        )
    middle = _middle_longitude(np.concatenate(area))
    area = _joined(area, middle)
    footprints = [_joined(list(_rings(item)), middle) for item in items]
    view = _view([*area, *(ring for rings in footprints for ring in rings)], width_px)
    page = Page(view.width + _MARGIN_LEFT + _MARGIN_RIGHT, view.height + _HEADER + _FOOTER)
    page.fitted_text(
        (_MARGIN_LEFT, 12),
        " · ".join(words for words in (title, _count(items, footprints)) if words),
        size=15,
        room=view.width,
    )
    page.paste(_drawn(view, area, footprints), (_MARGIN_LEFT, _HEADER))
    page.frame((_MARGIN_LEFT, _HEADER, _MARGIN_LEFT + view.width, _HEADER + view.height))
    _label(page, view)
    return page.png()


def _count(items: list[Any], footprints: list[list[Ring]]) -> str:
    missing = sum(not rings for rings in footprints)
    words = counted(len(items), "Item")
    return f"{words}, {missing} without a footprint" if missing else words


def _rings(geometry: Mapping[str, Any] | None) -> Iterator[Ring]:
    """Outer rings; holes are not worth a line at this size, and empty parts do occur."""
    if geometry is None or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        return
    polygons = geometry["coordinates"]
    for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
        if not polygon or len(polygon[0]) < 4:
            continue
        yield np.array([position[:2] for position in polygon[0]], np.float64)


def _middle_longitude(vertices: Ring) -> float:
    angles = np.radians(vertices[:, 0])
    return math.degrees(math.atan2(np.sin(angles).mean(), np.cos(angles).mean()))


def _joined(rings: list[Ring], middle: float) -> list[Ring]:
    """Rings turned to within 180 degrees of a longitude, halves at the antimeridian made one."""
    turned = [
        np.column_stack([middle + (ring[:, 0] - middle + 180) % 360 - 180, ring[:, 1]])
        for ring in rings
    ]
    if len(turned) < 2:
        return turned
    whole = union_all([make_valid(Polygon(ring)) for ring in turned])
    parts = getattr(whole, "geoms", [whole])
    return [np.array(part.exterior.coords) for part in parts if isinstance(part, Polygon)]


def _view(rings: list[Ring], width_px: int) -> _View:
    vertices = np.concatenate(rings)
    (west, south), (east, north) = vertices.min(axis=0), vertices.max(axis=0)
    shrink = max(math.cos(math.radians((south + north) / 2)), 0.05)
    across, down = max((east - west) * shrink, 1e-3), max(north - south, 1e-3)
    across, down = across * (1 + 2 * _PADDING), down * (1 + 2 * _PADDING)
    room = width_px - _MARGIN_LEFT - _MARGIN_RIGHT
    height = min(max(room * down / across, _MIN_HEIGHT), _MAX_HEIGHT)
    # Whichever side has pixels to spare shows more of the surroundings.
    per_pixel = max(across / room, down / height)
    half_x, half_y = per_pixel * room / shrink / 2, per_pixel * height / 2
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    return _View(
        west=middle_x - half_x,
        south=middle_y - half_y,
        east=middle_x + half_x,
        north=middle_y + half_y,
        width=room,
        height=round(height),
    )


def _drawn(view: _View, area: list[Ring], footprints: list[list[Ring]]) -> NDArray[np.uint8]:
    size = (view.width * _SMOOTHING, view.height * _SMOOTHING)
    rings = Counter(ring.tobytes() for found in footprints for ring in found)
    outlines = {raw: _corners(view, np.frombuffer(raw).reshape(-1, 2)) for raw in rings}
    depth = np.zeros(size[::-1], np.float32)
    for raw, times in rings.items():  # the same tile comes once for every date
        depth += times * _inside(size, outlines[raw])
    shade = _DEEPEST * (1 - (1 - _ONE_ITEM) ** depth)[..., None]
    pixels = 255 * (1 - shade) + np.array(_ITEM) * shade
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture, "RGBA")
    for outline in outlines.values():
        draw.line(outline, (*_ITEM, 150), _SMOOTHING)
    for x in _meridians(view):
        draw.line((x * _SMOOTHING, 0, x * _SMOOTHING, size[1]), _GRATICULE, _SMOOTHING)
    for y in _parallels(view):
        draw.line((0, y * _SMOOTHING, size[0], y * _SMOOTHING), _GRATICULE, _SMOOTHING)
    for ring in area:
        draw.polygon(_corners(view, ring), fill=(*_AOI, 40))
        draw.line(_corners(view, ring), (*_AOI, 255), 2 * _SMOOTHING, joint="curve")
    small = picture.resize((view.width, view.height), Image.Resampling.BOX)
    return np.asarray(small)


def _corners(view: _View, ring: Ring) -> list[tuple[float, float]]:
    return [(x * _SMOOTHING, y * _SMOOTHING) for x, y in view.pixels(ring)]


def _inside(size: tuple[int, int], outline: list[tuple[float, float]]) -> NDArray[np.float32]:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon(outline, fill=1)
    return np.asarray(mask, np.float32)


def _meridians(view: _View) -> dict[float, str]:
    """Columns [px] and labels of round longitudes."""
    step = round_step((view.east - view.west) / 4)
    return {
        (at - view.west) / (view.east - view.west) * view.width: _degrees(at, step, "WE")
        for at in ticks(view.west, view.east, step)
    }


def _parallels(view: _View) -> dict[float, str]:
    """Rows [px] and labels of round latitudes."""
    step = round_step((view.north - view.south) / 4)
    return {
        (view.north - at) / (view.north - view.south) * view.height: _degrees(at, step, "SN")
        for at in ticks(view.south, view.north, step)
    }


def _degrees(value: float, step: float, sides: str) -> str:
    if sides == "WE":
        value = (value + 180) % 360 - 180
    decimals = len(f"{step:.9f}".rstrip("0").partition(".")[2])
    on_the_line = min(abs(value), 180 - abs(value)) < step / 2
    side = "" if on_the_line else sides[value > 0]
    return f"{abs(value):.{decimals}f}°{side}"


def _label(page: Page, view: _View) -> None:
    bottom = _HEADER + view.height
    for x, words in _meridians(view).items():
        if 14 < x < view.width - 14:
            page.text((_MARGIN_LEFT + x, bottom + 6), words, size=12, colour=MUTED, anchor="ma")
    for y, words in _parallels(view).items():
        if 8 < y < view.height - 8:
            page.text((_MARGIN_LEFT - 6, _HEADER + y), words, size=12, colour=MUTED, anchor="rm")
