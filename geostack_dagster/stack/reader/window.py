"""A rectangle of pixels of one level, and the tiles it takes to fill it."""

from collections.abc import Iterator
from dataclasses import dataclass

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.predictor import Cut


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `top` to `bottom` and columns `left` to `right`, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if self.bottom < self.top or self.right < self.left:
            raise ConfigurationError(
                f"a window must not end before it begins: rows {self.top}:{self.bottom}, "
                f"columns {self.left}:{self.right}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return 0 in self.shape

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an array of the level."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def clip(self, shape: tuple[int, int]) -> "Window":
        """The part of it that lies in an image of this shape; empty if none does."""
        top, bottom = (min(max(edge, 0), shape[0]) for edge in (self.top, self.bottom))
        left, right = (min(max(edge, 0), shape[1]) for edge in (self.left, self.right))
        return Window(top, bottom, left, right)

    def shift(self, rows: int, columns: int) -> "Window":
        """The same size, elsewhere."""
        return Window(
            self.top + rows, self.bottom + rows, self.left + columns, self.right + columns
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What one tile gives to a window: the cut of the tile, and where it goes."""

    tile: int
    rows: int
    """Rows that the tile stores."""
    cut: Cut
    target: tuple[slice, slice]
    """Of an array of the window's shape."""


def parts(level: Level, window: Window, band: int) -> Iterator[Part]:
    """Parts that fill a window inside the level with its 0-based band, each pixel once."""
    if window.empty:
        return
    height, width = level.tile_height, level.tile_width
    sample = 0 if level.separate else band
    for row in range(window.top // height, -(-window.bottom // height)):
        top, bottom = _overlap(row * height, height, window.top, window.bottom)
        for column in range(window.left // width, -(-window.right // width)):
            left, right = _overlap(column * width, width, window.left, window.right)
            yield Part(
                tile=level.tile_number(row, column, band),
                rows=level.tile_rows(row),
                cut=Cut(
                    top - row * height,
                    bottom - row * height,
                    left - column * width,
                    right - column * width,
                    sample,
                ),
                target=(
                    slice(top - window.top, bottom - window.top),
                    slice(left - window.left, right - window.left),
                ),
            )


def _overlap(start: int, length: int, first: int, last: int) -> tuple[int, int]:
    return max(start, first), min(start + length, last)
