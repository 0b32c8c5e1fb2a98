"""One image of a file (the full one, an overview or a mask) and where its tiles lie.

A strip is a tile as wide as the image, so nothing after this module knows about strips.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Compression(IntEnum):
    """TIFF compression codes that are decoded here."""

    NONE = 1
    LZW = 5
    JPEG = 7
    DEFLATE = 8
    DEFLATE_OLD = 32946
    PACKBITS = 32773
    JPEG2000 = 34712
    LERC = 34887
    LZMA = 34925
    ZSTD = 50000


class Predictor(IntEnum):
    """What was done to the values before compression."""

    NONE = 1
    DIFFERENCE = 2
    FLOAT = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """Size, layout and coding of one image, with the place of each of its tiles."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    samples: int
    dtype: str
    """Numpy name without byte order, `uint16`."""
    order: str = "<"
    """Byte order in the file."""
    strips: bool = False
    separate: bool = False
    """Whether each band has tiles of its own (planar configuration 2)."""
    compression: int = Compression.NONE
    predictor: int = Predictor.NONE
    photometric: int = 1
    jpeg_tables: bytes | None = field(default=None, repr=False)
    reduction: int = 0
    """Resolutions of JPEG 2000 that are left out: a level halves the one before."""
    lerc_packing: int = 0
    """What LERC blobs are packed with again: 0 nothing, 1 deflate, 2 zstd."""
    offsets: NDArray[np.uint64] = field(repr=False)
    counts: NDArray[np.uint64] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def across(self) -> int:
        """Tiles in a row of tiles."""
        return -(-self.width // self.tile_width)

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_height)

    @property
    def samples_per_tile(self) -> int:
        """Bands that lie interleaved in one tile."""
        return 1 if self.separate else self.samples

    def tile_rows(self, row: int) -> int:
        """Rows stored in a tile of this row of tiles: the last strip ends with the image."""
        if not self.strips:
            return self.tile_height
        return min(self.tile_height, self.height - row * self.tile_height)

    def tile_number(self, row: int, column: int, band: int) -> int:
        """Index into `offsets` for a tile that holds the 0-based band."""
        plane = band if self.separate else 0
        return (plane * self.down + row) * self.across + column
