"""Drawing on a white page with Pillow: text, frames, and PNG bytes below a size."""

import io
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK = "#202020"
MUTED = "#606060"
LINE = "#909090"

_GREY_STEPS = 16  # anti-aliased text needs no more, and the palette has only 256 places


class Page:
    """A white RGB page to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        at: tuple[float, float],
        words: str,
        *,
        size: int = 13,
        colour: str = INK,
        anchor: str = "la",
    ) -> float:
        """Write words; returns their width [px]. `anchor` is Pillow's: `la` is left, ascender."""
        font = font_of(size)
        shown = printable(words)
        self.draw.text(at, shown, font=font, fill=colour, anchor=anchor)
        return float(font.getlength(shown))

    def fitted_text(
        self, at: tuple[float, float], words: str, *, size: int, room: float, colour: str = INK
    ) -> None:
        """Write words in one line, smaller or cut off if the room [px] needs it."""
        shown = printable(words)
        while size > 11 and font_of(size).getlength(shown) > room:
            size -= 1
        font = font_of(size)
        while len(shown) > 4 and font.getlength(shown) > room:
            shown = shown[:-4].rstrip() + "..."
        self.draw.text(at, shown, font=font, fill=colour, anchor="la")

    def paste(self, pixels: NDArray[np.uint8], at: tuple[int, int]) -> None:
        """Put an RGB picture with its upper left corner at a place."""
        self.image.paste(Image.fromarray(pixels), at)

    def frame(self, box: Sequence[float], colour: str = LINE) -> None:
        """A thin rectangle around left, top, right, bottom."""
        self.draw.rectangle([round(edge) for edge in box], outline=colour)

    def png(self) -> bytes:
        """PNG with a palette that holds every colour drawn, greys of text apart."""
        return encode_png(np.asarray(self.image))


@lru_cache(maxsize=32)
def font_of(size: int) -> Any:
    """Pillow's own font in a size [px]."""
    return ImageFont.load_default(size=size)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Smallest PNG of an RGB picture: exact palette where 256 colours do, else the nearest 256."""
    greys = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 1] == pixels[..., 2])
    step = 255 // (_GREY_STEPS - 1)
    rounded = np.where(
        greys[..., None], (pixels.astype(np.uint16) + step // 2) // step * step, pixels
    )
    codes = rounded.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, places = np.unique(codes, return_inverse=True)
    if len(colours) > 256:
        image: Any = Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)
    else:
        image = Image.frombytes("P", codes.shape[::-1], places.astype(np.uint8).tobytes())
        channels = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1)
        image.putpalette(channels.astype(np.uint8).tobytes())
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def printable(words: str) -> str:
    """The words in the letters that Pillow's own font has: Latin without accents."""
    plain = unicodedata.normalize("NFKD", words.translate({0x2212: "-", 0xD7: "x"}))
    kept = [letter for letter in plain if not unicodedata.combining(letter)]
    return "".join(letter if letter.isascii() or letter in "·°±" else "?" for letter in kept)
