"""What is drawn over a map: outlines with names, the wind, and lines of results below it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pyproj import Transformer

from geostack_dagster.domain.grid import Grid
from geostack_dagster.publish.canvas import INK, Page, font_of, printable

_SMOOTHING = 3  # drawn so much larger and averaged: Pillow's lines have stairs
_LINE_PX, _HALO_PX = 2, 5
_DASH_PX = 7.0
_LABEL_SIZE = 15
_BOX_PX = (104, 70)  # of the wind
_BOX_GAP = 8
_SHAFT_PX, _HEAD_PX, _HEAD_DEG = 42.0, 15.0, 28.0

type Ring = NDArray[np.float64]
type Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One thing on the map."""

    geometry: Mapping[str, Any]
    """GeoJSON Polygon or MultiPolygon, longitude and latitude."""
    label: str = ""
    is_sure: bool = True
    """Drawn through; else dashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breeze:
    """Wind over the map."""

    speed_m_s: float
    from_deg: float | None = None
    """Where it blows from, clockwise from north; None where only the speed is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Everything that is drawn over a map or written right below it."""

    outlines: Sequence[Outline] = ()
    wind: Breeze | None = None
    notes: Sequence[str] = ()
    """Lines below the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a grid is drawn on a page [px]."""

    grid: Grid
    left: int
    top: int
    width: int
    height: int

    def rings(self, geometry: Mapping[str, Any]) -> Iterator[Ring]:
        """Rings of a geometry as `vertex xy` inside the frame."""
        polygons = geometry["coordinates"]
        for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
            for ring in polygon:
                degrees = np.array([position[:2] for position in ring], np.float64)
                x, y = _from_degrees(self.grid.crs).transform(degrees[:, 0], degrees[:, 1])
                left, bottom, right, top = self.grid.bounds
                yield np.column_stack(
                    [
                        (np.asarray(x) - left) / (right - left) * self.width,
                        (top - np.asarray(y)) / (top - bottom) * self.height,
                    ]
                )


def draw(page: Page, frame: Frame, annotation: Annotation) -> None:
    """Draw outlines, their labels and the wind over a map that is on the page already."""
    placed = [(one, list(frame.rings(one.geometry))) for one in annotation.outlines]
    with _enlarged(page, frame) as canvas:
        for colour, width in (("#ffffff", _HALO_PX), (INK, _LINE_PX)):
            for one, rings in placed:
                for ring in rings:
                    _line(canvas, ring, colour, width, is_dashed=not one.is_sure)
    taken = [_bounds(rings) for _, rings in placed if rings]
    for (one, _), box in zip(((one, rings) for one, rings in placed if rings), taken, strict=True):
        if one.label:
            _label(page, frame, one.label, box)
    if annotation.wind is not None:
        _wind(page, frame, annotation.wind, taken)


@contextmanager
def _enlarged(page: Page, frame: Frame) -> Iterator[ImageDraw.ImageDraw]:
    """The framed part of a page, larger; put back smoothed, what was not drawn on as it was."""
    box = (frame.left, frame.top, frame.left + frame.width, frame.top + frame.height)
    size = (frame.width * _SMOOTHING, frame.height * _SMOOTHING)
    image = page.image.crop(box).resize(size, Image.Resampling.NEAREST)
    yield ImageDraw.Draw(image)
    small = image.resize((frame.width, frame.height), Image.Resampling.BOX)
    page.image.paste(small, (frame.left, frame.top))


def _line(
    canvas: ImageDraw.ImageDraw, ring: Ring, colour: str, width: int, *, is_dashed: bool
) -> None:
    parts = _dashes(ring) if is_dashed else [ring]
    for part in parts:
        points = [(float(x) * _SMOOTHING, float(y) * _SMOOTHING) for x, y in part]
        canvas.line(points, fill=colour, width=width * _SMOOTHING, joint="curve")


def _dashes(ring: Ring) -> Iterator[Ring]:
    """Every other piece of a line, all of one length."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    for start in np.arange(0.0, at[-1], 2 * _DASH_PX):
        ends = np.array([start, min(start + _DASH_PX, at[-1])])
        along = np.concatenate([ends[:1], at[(at > ends[0]) & (at < ends[1])], ends[1:]])
        yield np.column_stack([np.interp(along, at, ring[:, axis]) for axis in (0, 1)])


def _bounds(rings: Sequence[Ring]) -> Box:
    vertices = np.concatenate(rings)
    (left, top), (right, bottom) = vertices.min(axis=0), vertices.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _label(page: Page, frame: Frame, words: str, box: Box) -> None:
    """Above an outline, or below it at the map's upper edge; never beyond the map."""
    half = font_of(_LABEL_SIZE).getlength(printable(words)) / 2 + 4
    middle = min(max((box[0] + box[2]) / 2, half), frame.width - half)
    above = box[1] - 8
    down = above if above > _LABEL_SIZE + 4 else min(box[3] + _LABEL_SIZE + 8, frame.height - 6)
    page.draw.text(
        (frame.left + middle, frame.top + down),
        printable(words),
        font=font_of(_LABEL_SIZE),
        fill=INK,
        anchor="ms",
        stroke_width=3,
        stroke_fill="white",
    )


def _wind(page: Page, frame: Frame, wind: Breeze, taken: Sequence[Box]) -> None:
    """An arrow along the wind and its speed, in the corner that hides least."""
    width, height = _BOX_PX
    left, top = min(_corners(frame), key=lambda corner: sum(_shared(corner, box) for box in taken))
    x, y = frame.left + left, frame.top + top
    page.draw.rounded_rectangle((x, y, x + width, y + height), 6, fill="white", outline="#909090")
    words = f"wind {wind.speed_m_s:.1f} m/s"
    if wind.from_deg is None:
        page.text((x + width / 2, y + height / 2), words, size=13, anchor="mm")
        return
    page.text((x + width / 2, y + height - 12), words, size=13, anchor="mm")
    inner = Frame(grid=frame.grid, left=x + 2, top=y + 2, width=width - 4, height=height - 24)
    with _enlarged(page, inner) as canvas:
        _arrow(canvas, (inner.width / 2, inner.height / 2), math.radians(wind.from_deg + 180))


def _arrow(canvas: ImageDraw.ImageDraw, middle: tuple[float, float], towards: float) -> None:
    """From upwind to downwind; `towards` is clockwise from north [rad]."""
    east, north = math.sin(towards), math.cos(towards)
    reach = _SHAFT_PX / 2
    tip = (middle[0] + east * reach, middle[1] - north * reach)
    tail = (middle[0] - east * reach, middle[1] + north * reach)
    barbs = [
        (
            tip[0] - math.sin(towards + turn) * _HEAD_PX,
            tip[1] + math.cos(towards + turn) * _HEAD_PX,
        )
        for turn in (math.radians(_HEAD_DEG), -math.radians(_HEAD_DEG))
    ]
    notch = (tip[0] - east * _HEAD_PX * 0.7, tip[1] + north * _HEAD_PX * 0.7)
    canvas.line(_scaled([tail, notch]), fill=INK, width=4 * _SMOOTHING)
    canvas.polygon(_scaled([tip, barbs[0], notch, barbs[1]]), fill=INK)


def _scaled(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _SMOOTHING, y * _SMOOTHING) for x, y in points]


def _corners(frame: Frame) -> Iterator[tuple[int, int]]:
    """Upper left corners of the wind's box, the preferred one first."""
    right = max(frame.width - _BOX_PX[0] - _BOX_GAP, 0)
    bottom = max(frame.height - _BOX_PX[1] - _BOX_GAP, 0)
    yield from ((right, _BOX_GAP), (_BOX_GAP, _BOX_GAP), (right, bottom), (_BOX_GAP, bottom))


def _shared(corner: tuple[int, int], box: Box) -> float:
    """Area that the wind's box and another one share, with room for a label above that."""
    across = min(corner[0] + _BOX_PX[0], box[2]) - max(corner[0], box[0])
    down = min(corner[1] + _BOX_PX[1], box[3]) - max(corner[1], box[1] - 2 * _LABEL_SIZE)
    return max(across, 0.0) * max(down, 0.0)


@lru_cache(maxsize=32)
def _from_degrees(crs: str) -> Transformer:
    return Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
