"""The GeoTIFF of an answer, held against what was asked."""

from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import AssetError, Reason

type Numbers = npt.NDArray[np.uint16]

_SHIFT_PX = 0.01


def numbers_of(data: bytes, count: int, grid: Grid) -> Numbers:
    """All bands of an answer, shape (band, y, x).

    Raises:
        AssetError: If it is no GeoTIFF, is cut short, or is not on the grid.
    """
    try:
        with MemoryFile(data, ext=".tif") as memory, memory.open() as image:
            _check(image, count, grid)
            pixels: Numbers = image.read()
    except (RasterioError, ValueError) as error:  # ValueError: of nothing at all
        raise AssetError(
            f"the service's answer of {len(data)} bytes is no whole GeoTIFF ({error})",
            reason=Reason.TRUNCATED,
        ) from None
    return pixels


def _check(image: Any, count: int, grid: Grid) -> None:
    found = (image.count, image.height, image.width, *set(image.dtypes))
    if found != (count, *grid.shape, "uint16"):
        raise AssetError(
            f"the service answered with {found}, asked were {(count, *grid.shape, 'uint16')}",
            reason=Reason.WRONG_ANSWER,
        )
    # Pixels of another place would pass for pixels of this one.
    if not np.allclose(image.bounds, grid.bounds, rtol=0, atol=_SHIFT_PX * grid.resolution):
        raise AssetError(
            f"the service answered for {tuple(image.bounds)}, not for {grid.bounds}",
            reason=Reason.WRONG_ANSWER,
        )
