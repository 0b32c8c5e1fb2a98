"""Clear masks: True where a classification band says that the ground can be used."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geostack_dagster.domain.grid import Grid
from geostack_dagster.stack.recipe import MaskPolicy

type Spacing = tuple[float, float]
"""Size of a pixel along y and x [m]."""

_METRES_PER_DEGREE = 111_320.0


def clear_mask(
    classes: npt.NDArray[np.integer], policy: MaskPolicy, *, spacing_m: Spacing
) -> npt.NDArray[np.bool_]:
    """True where the class is one to keep and no class to keep away from is within the buffer.

    The distance is Euclidean, between pixel centres, and inclusive. What lies beyond the edge of
    `classes` is not seen: pixels nearer to it than `halo_px` need a wider block to be sure.

    Args:
        classes: Class codes, shape (..., y, x).
        policy: Classes to keep and to keep away from, and the buffer [m].
        spacing_m: Pixel size along y and x [m].
    """
    clear = np.isin(classes, policy.classes.keep)
    if policy.buffer_m <= 0 or not policy.classes.buffer_around:
        return clear
    for plane in np.ndindex(classes.shape[:-2]):
        near = np.isin(classes[plane], policy.classes.buffer_around)
        if near.any():
            away = ndimage.distance_transform_edt(~near, sampling=spacing_m)
            # Rounding must not decide about a pixel at exactly the radius.
            clear[plane] &= away > policy.buffer_m * (1 + 1e-9)
    return clear


def halo_px(policy: MaskPolicy, spacing_m: Spacing) -> tuple[int, int]:
    """Rows and columns around a block that its mask depends on [pixels]."""
    if not policy.classes.buffer_around:
        return 0, 0
    rows, columns = (math.floor(policy.buffer_m / size + 1e-9) for size in spacing_m)
    return rows, columns


def spacing_of(grid: Grid) -> Spacing:
    """Pixel size of a grid along y and x [m]; of a grid in degrees, at its middle latitude."""
    import pyproj

    crs = pyproj.CRS.from_user_input(grid.crs)
    if not crs.is_geographic:
        metres = grid.resolution * crs.axis_info[0].unit_conversion_factor
        return metres, metres
    _, bottom, _, top = grid.bounds
    metres = grid.resolution * _METRES_PER_DEGREE
    return metres, metres * math.cos(math.radians((bottom + top) / 2))
