"""PNG quicklooks: a map that can be read on its own, small enough for a Dagster event.

North is up and pixels are square on the ground. Grey says why a pixel has no colour: light where
the ground was seen but not clear (cloud, shadow) or the value is undefined, dark where there is
no data at all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.publish.annotation import Annotation
from geostack_dagster.publish.canvas import encode_png
from geostack_dagster.publish.colours import Style, style_of
from geostack_dagster.publish.map_page import NODATA_GREY, Caption, MapPage, Masks, resampled

MAX_BYTES = 100_000
"""A picture is made coarser until it is smaller: Dagster keeps it inside an event."""

_WIDTH_PX, _NARROWEST = 640, 320
_COARSENING = ((128, 1.0), (64, 1.0), (32, 1.0), (32, 0.8), (24, 0.65), (16, 0.5), (8, 0.5))
_STRETCH_PERCENT = (2, 98)
_DARKEST, _BRIGHTEST = (0.0, 0.05), (0.12, 0.35)
_GAMMA = 1.3


def index_map(
    values: NDArray[np.floating[Any]],
    grid: Grid,
    *,
    caption: Caption,
    style: Style | None = None,
    masks: Masks | None = None,
    annotation: Annotation | None = None,
) -> bytes:
    """PNG of one map: colours, colour bar, scale bar, legend of greys and the grid's CRS.

    At most 100 kB: fewer colour levels, then a smaller page, where the map is too rich.

    Args:
        values: `y x`, NaN where there is no value.
        grid: Where the pixels lie.
        caption: Title, AOI and date.
        style: Colours and their range; by default the one for the caption's title.
        masks: Why values are missing.
        annotation: Outlines and wind over the map, and lines of results below it.

    Raises:
        ConfigurationError: If the values or a mask do not have the grid's shape.
    """
    masks = masks or Masks()
    for name, array in (("map", values), ("clear", masks.clear), ("observed", masks.observed)):
        if array is not None and array.shape != grid.shape:
            raise ConfigurationError(
                f"{name} of the quicklook has shape {array.shape}; the grid has {grid.shape}"
            )
    page = MapPage(
        values=values,
        grid=grid,
        caption=caption,
        style=(style or style_of(caption.title)).fitted(values),
        masks=masks,
        annotation=annotation or Annotation(),
    )
    for levels, factor in _COARSENING:
        picture = page.drawn(max(round(_WIDTH_PX * factor), _NARROWEST), levels=levels).png()
        if len(picture) <= MAX_BYTES:
            break
    return picture


def thumbnail_true_colour(
    red: NDArray[np.floating[Any]],
    green: NDArray[np.floating[Any]],
    blue: NDArray[np.floating[Any]],
    *,
    width_px: int = 480,
) -> bytes:
    """PNG of three reflectance bands `y x`; grey where any is NaN, at most 100 kB.

    All bands share one stretch, so hues stay those of the ground. It follows the scene (2nd to
    98th percentile) within what land reflects, so clouds do not turn everything else black.

    Raises:
        ConfigurationError: If the bands differ in shape.
    """
    if not red.shape == green.shape == blue.shape:
        raise ConfigurationError(
            f"bands of a thumbnail differ in shape: {red.shape}, {green.shape}, {blue.shape}"
        )
    stack = np.stack([red, green, blue], axis=-1).astype(np.float32)
    finite = stack[np.isfinite(stack)]
    low, high = np.percentile(finite, _STRETCH_PERCENT) if finite.size else (0.0, 1.0)
    low, high = np.clip(low, *_DARKEST), np.clip(high, *_BRIGHTEST)
    stretched = np.clip((stack - low) / (high - low), 0, 1) ** (1 / _GAMMA)
    for _, factor in _COARSENING:
        width = min(round(width_px * factor), 4 * red.shape[1])
        size = (width, max(round(width * red.shape[0] / red.shape[1]), 1))
        bands = [resampled(stretched[..., channel], size) for channel in range(3)]
        shown = np.stack(bands, axis=-1)
        missing = np.isnan(shown).any(axis=-1, keepdims=True)
        pixels = np.where(missing, NODATA_GREY, np.nan_to_num(shown) * 255)
        picture = encode_png(pixels.round().astype(np.uint8))
        if len(picture) <= MAX_BYTES:
            break
    return picture
