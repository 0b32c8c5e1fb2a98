"""Layout of a map on a page: header, map, colour bar, scale bar and legend."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geostack_dagster.domain.grid import Grid
from geostack_dagster.publish.annotation import Annotation, Frame, draw
from geostack_dagster.publish.canvas import INK, MUTED, Page
from geostack_dagster.publish.colours import Style, colour_table, round_step, ticks
from geostack_dagster.publish.footprint import pixel_size_m

HIDDEN_GREY, NODATA_GREY = 204, 119
"""Seen but without a value, and not seen at all; multiples of 17, which the palette keeps."""

_MARGIN = 16
_HEADER, _FOOTER = 60, 64
_BAR_GAP, _BAR_WIDTH, _BAR_ROOM = 18, 16, 84
_MAX_MAP_HEIGHT, _MIN_BAR_HEIGHT = 480, 120
_NOTE_LINE, _NOTE_GAP = 21, 10
_TICK_ROOM = 36
_NARROWEST_PAGE = 360
_SCALE_BAR_SHARE = 0.3

type Pixels = NDArray[np.uint8]
type Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words around a map."""

    title: str
    """What is shown: `NDVI`."""
    subtitle: str = ""
    """Its long name."""
    aoi: str = ""
    date: str = ""
    """When it was seen: a day, or a moment."""
    sensor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Why pixels have no value; `y x`, both True where all is well."""

    clear: Mask | None = None
    """True = usable ground, as everywhere."""
    observed: Mask | None = None
    """True where a source had data, cloudy or not; without it, what is not clear was seen."""

    def hidden(self, missing: Mask) -> Mask:
        """Those of the missing pixels where the ground was seen: cloud, or an undefined value."""
        if self.observed is not None:
            return missing & self.observed
        return missing & ~self.clear if self.clear is not None else np.zeros_like(missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPage:
    """A map and everything around it; `drawn` lays it out for a width."""

    values: NDArray[np.floating[Any]]
    grid: Grid
    caption: Caption
    style: Style
    """With both ends fixed."""
    masks: Masks
    annotation: Annotation = field(default_factory=Annotation)

    def drawn(self, width: int, *, levels: int) -> Page:
        """The page, at most so wide [px], the map in so many colours."""
        columns, rows = self._map_size(width - 2 * _MARGIN - _BAR_GAP - _BAR_ROOM)
        table = colour_table(self.style.ramp, levels)
        page = Page(
            max(columns + 2 * _MARGIN + _BAR_GAP + _BAR_ROOM, _NARROWEST_PAGE),
            _HEADER + max(rows, _MIN_BAR_HEIGHT) + _FOOTER + self._notes_height,
        )
        self._header(page)
        page.paste(self._coloured((columns, rows), table), (_MARGIN, _HEADER))
        page.frame((_MARGIN - 1, _HEADER - 1, _MARGIN + columns, _HEADER + rows))
        frame = Frame(grid=self.grid, left=_MARGIN, top=_HEADER, width=columns, height=rows)
        draw(page, frame, self.annotation)
        self._colour_bar(page, _MARGIN + columns + _BAR_GAP, max(rows, _MIN_BAR_HEIGHT), table)
        self._notes(page)
        self._footer(page, columns)
        return page

    @property
    def _notes_height(self) -> int:
        notes = len(self.annotation.notes)
        return notes * _NOTE_LINE + _NOTE_GAP if notes else 0

    def _notes(self, page: Page) -> None:
        top = page.image.height - _FOOTER - self._notes_height + _NOTE_GAP
        for number, words in enumerate(self.annotation.notes):
            at = (_MARGIN, top + number * _NOTE_LINE)
            page.fitted_text(at, words, size=15, room=page.image.width - 2 * _MARGIN)

    def _map_size(self, room: int) -> tuple[int, int]:
        width_m, height_m = self._extent_m()
        pixels_per_m = min(room / width_m, _MAX_MAP_HEIGHT / height_m)
        return max(round(width_m * pixels_per_m), 1), max(round(height_m * pixels_per_m), 1)

    def _extent_m(self) -> tuple[float, float]:
        across, down = pixel_size_m(self.grid)
        return self.grid.width * across, self.grid.height * down

    def _header(self, page: Page) -> None:
        room = page.image.width - 2 * _MARGIN
        used = page.text((_MARGIN, 10), self.caption.title, size=21)
        page.fitted_text(
            (_MARGIN + used + 10, 16),
            self.caption.subtitle,
            size=14,
            room=room - used,
            colour=MUTED,
        )
        told = (self.caption.date, self.caption.aoi, self.caption.sensor)
        place = " · ".join(words for words in told if words)
        page.fitted_text((_MARGIN, 36), place, size=14, room=room)

    def _coloured(self, size: tuple[int, int], table: Pixels) -> Pixels:
        low, high = self._range()
        shown = resampled(self.values, size)
        missing = np.isnan(self.values)
        hidden = self.masks.hidden(missing)
        is_hidden = _share(hidden, size) >= _share(missing & ~hidden, size)
        level = np.nan_to_num((shown - low) / (high - low)).clip(0, 1) * (len(table) - 1)
        greys = np.where(is_hidden, HIDDEN_GREY, NODATA_GREY)[..., None].astype(np.uint8)
        return np.where(np.isnan(shown)[..., None], greys, table[np.rint(level).astype(int)])

    def _colour_bar(self, page: Page, left: int, height: int, table: Pixels) -> None:
        low, high = self._range()
        top = _HEADER
        gradient = table[np.linspace(len(table) - 1, 0, height).round().astype(int)]
        page.paste(np.repeat(gradient[:, None], _BAR_WIDTH, axis=1), (left, top))
        page.frame((left - 1, top - 1, left + _BAR_WIDTH, top + height))
        wanted = min(max(height // _TICK_ROOM, 4), 9)
        step = round_step((high - low) / (wanted - 1))
        decimals = len(f"{step:.9f}".rstrip("0").partition(".")[2])
        for value in ticks(low, high, step):
            y = top + (high - value) / (high - low) * (height - 1)
            page.draw.line((left + _BAR_WIDTH, y, left + _BAR_WIDTH + 4, y), fill=INK)
            label = f"{self._sign(value, low, high)}{value + 0.0:.{decimals}f}"
            page.text((left + _BAR_WIDTH + 8, y), label, anchor="lm")
        if self.style.unit:
            page.text((left + _BAR_WIDTH / 2, top - 8), self.style.unit, colour=MUTED, anchor="ms")

    def _sign(self, value: float, low: float, high: float) -> str:
        """Says at an end of the bar that the map goes on beyond it."""
        finite = self.values[np.isfinite(self.values)]
        if not finite.size:
            return ""
        if np.isclose(value, high) and finite.max() > high:
            return "> "
        return "< " if np.isclose(value, low) and finite.min() < low else ""

    def _footer(self, page: Page, columns: int) -> None:
        top = page.image.height - _FOOTER + 14
        self._scale_bar(page, top, columns)
        missing = np.isnan(self.values)
        hidden = self.masks.hidden(missing)
        right = float(page.image.width - _MARGIN)
        for grey, words, there in (
            (NODATA_GREY, "no data", (missing & ~hidden).any()),
            (HIDDEN_GREY, "not clear", hidden.any()),
        ):
            if there:
                right = _swatch(page, right, top, grey, words)
        page.fitted_text(
            (_MARGIN, top + 22),
            f"{self.grid.crs} · {pixel_size_m(self.grid)[1]:.4g} m pixels · "
            f"{self.grid.width} x {self.grid.height} · {1 - missing.mean():.0%} valid",
            size=13,
            room=page.image.width - 2 * _MARGIN,
            colour=MUTED,
        )

    def _scale_bar(self, page: Page, top: int, columns: int) -> None:
        width_m, _ = self._extent_m()
        metres = round_step(width_m * _SCALE_BAR_SHARE / 2)
        length = metres / width_m * columns
        page.draw.rectangle((_MARGIN, top + 5, _MARGIN + length, top + 8), fill=INK)
        page.text((_MARGIN + length + 8, top + 7), f"{metres / 1000:g} km", anchor="lm")

    def _range(self) -> tuple[float, float]:
        return float(self.style.low or 0.0), float(self.style.high or 0.0)


def resampled(values: NDArray[np.floating[Any]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Mean of the finite values under each pixel of a width and height; NaN where most are not."""
    valid = np.isfinite(values)
    share = _share(valid, size)
    total = _box(np.where(valid, values, 0), size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share >= 0.5, total / share, np.float32(np.nan))


def _share(mask: Mask, size: tuple[int, int]) -> NDArray[np.float32]:
    return _box(mask, size)


def _box(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32)


def _swatch(page: Page, right: float, top: int, grey: int, words: str) -> float:
    """Draw a legend entry that ends at `right`; returns where the next one has to end."""
    width = page.text((right, top + 7), words, anchor="rm")
    left = right - width - 20
    page.draw.rectangle((left, top, left + 13, top + 13), fill=(grey, grey, grey))
    page.frame((left, top, left + 13, top + 13))
    return left - 16
