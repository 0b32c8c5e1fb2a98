"""Maps of one scene side by side: what is there, and what each of two finders made of it.

True outlines are drawn over every map in white, what a finder found over its own in cyan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geostack_dagster.publish.canvas import INK, MUTED, Page
from geostack_dagster.publish.colours import Style, colour_table, round_step
from geostack_dagster.publish.map_page import NODATA_GREY, Mask, Pixels, resampled
from geostack_dagster.publish.quicklook import MAX_BYTES

_SIDE, _GAP, _MARGIN = 300, 14, 14
_HEADER, _TITLE, _BAR, _NOTE, _FOOTER = 58, 22, 28, 18, 30
_BAR_PX = (110, 10)
_HALO, _TRUTH, _FOUND = (0, 0, 0), (255, 255, 255), (0, 221, 238)
_LEVELS = (64, 32, 16, 8)
_SCALE_SHARE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One map of the scene."""

    title: str
    values: NDArray[np.floating[Any]]
    """`y x`, NaN where there is no value."""
    style: Style
    """With both ends fixed."""
    found: Mask | None = None
    """True where it was found."""
    notes: Sequence[str] = ()
    """Lines below the map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Panels in a row."""

    title: str
    subtitle: str
    """On which scene."""
    panels: Sequence[Panel]
    """Maps of one shape."""
    truth: Mask
    """True where there is a plume."""
    pixel_m: float

    def png(self) -> bytes:
        """The picture, in fewer colours where it would be larger than 100 kB."""
        for levels in _LEVELS:
            picture = self._drawn(levels).png()
            if len(picture) <= MAX_BYTES:
                break
        return picture

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height of a map on the page [px]."""
        rows, columns = self.truth.shape
        scale = _SIDE / max(rows, columns)
        return max(round(columns * scale), 1), max(round(rows * scale), 1)

    def _drawn(self, levels: int) -> Page:
        notes = max(len(one.notes) for one in self.panels)
        count, height = len(self.panels), self._size[1]
        page = Page(
            2 * _MARGIN + count * _SIDE + (count - 1) * _GAP,
            _HEADER + _TITLE + height + _BAR + notes * _NOTE + _FOOTER,
        )
        room = page.image.width - 2 * _MARGIN
        page.fitted_text((_MARGIN, 8), self.title, size=19, room=room)
        page.fitted_text((_MARGIN, 34), self.subtitle, size=13, room=room, colour=MUTED)
        for number, one in enumerate(self.panels):
            self._panel(page, one, _MARGIN + number * (_SIDE + _GAP), levels)
        self._footer(page)
        return page

    def _panel(self, page: Page, one: Panel, left: int, levels: int) -> None:
        width, height = self._size
        top = _HEADER + _TITLE
        table = colour_table(one.style.ramp, levels)
        page.fitted_text((left, _HEADER), one.title, size=14, room=_SIDE)
        page.paste(self._map(one, table), (left, top))
        page.frame((left - 1, top - 1, left + width, top + height))
        _colour_bar(page, (left, top + height + 8), table, one.style)
        for number, words in enumerate(one.notes):
            at = (left, top + height + _BAR + number * _NOTE)
            page.fitted_text(at, words, size=13, room=_SIDE)

    def _map(self, one: Panel, table: Pixels) -> Pixels:
        low, high = float(one.style.low or 0.0), float(one.style.high or 1.0)
        shown = resampled(one.values, self._size)
        level = np.nan_to_num((shown - low) / (high - low)).clip(0, 1) * (len(table) - 1)
        grey = np.uint8(NODATA_GREY)
        pixels = np.where(np.isnan(shown)[..., None], grey, table[np.rint(level).astype(int)])
        for mask, colour in ((one.found, _FOUND), (self.truth, _TRUTH)):
            if mask is not None:
                _outline(pixels, mask, colour)
        return pixels

    def _footer(self, page: Page) -> None:
        middle = page.image.height - _FOOTER / 2
        width_m = self.truth.shape[1] * self.pixel_m
        metres = round_step(width_m * _SCALE_SHARE)
        at = _MARGIN + metres / width_m * self._size[0]
        page.draw.rectangle((_MARGIN, middle - 2, at, middle + 1), fill=INK)
        at += 8 + page.text((at + 8, middle), f"{metres / 1000:g} km", anchor="lm") + 28
        for colour, words in ((_TRUTH, "true plume"), (_FOUND, "found")):
            page.draw.rectangle((at, middle - 6, at + 22, middle + 6), fill=_HALO)
            page.draw.rectangle((at + 2, middle - 1, at + 20, middle + 1), fill=colour)
            at += 30 + page.text((at + 30, middle), words, anchor="lm") + 28
        if any(np.isnan(one.values).any() for one in self.panels):
            box = (at, middle - 6, at + 13, middle + 6)
            page.draw.rectangle(box, fill=(NODATA_GREY, NODATA_GREY, NODATA_GREY))
            page.text((at + 20, middle), "no value", anchor="lm")


def _outline(pixels: Pixels, mask: Mask, colour: tuple[int, int, int]) -> None:
    """Draw around a mask that has fewer pixels than the picture, with a dark halo."""
    rows, columns = pixels.shape[:2]
    inside = mask[
        np.ix_(
            np.arange(rows) * mask.shape[0] // rows,
            np.arange(columns) * mask.shape[1] // columns,
        )
    ]
    edge = ndimage.binary_dilation(inside, iterations=1) & ~inside
    pixels[ndimage.binary_dilation(edge) & ~edge] = _HALO
    pixels[edge] = colour


def _colour_bar(page: Page, at: tuple[int, int], table: Pixels, style: Style) -> None:
    (left, top), (width, height) = at, _BAR_PX
    middle = top + height / 2
    low = page.text((left, middle), f"{style.low:g}", size=12, colour=MUTED, anchor="lm")
    start = round(left + low + 6)
    gradient = table[np.linspace(0, len(table) - 1, width).round().astype(int)]
    page.paste(np.repeat(gradient[None], height, axis=0), (start, top))
    page.frame((start - 1, top - 1, start + width, top + height))
    words = f"{style.high:g} {style.unit}".strip()
    page.text((start + width + 6, middle), words, size=12, colour=MUTED, anchor="lm")
