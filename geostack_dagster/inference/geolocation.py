"""From sensor geometry to the map, by a geometry look-up table."""

from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from geostack_dagster.errors import IntegrityError


def orthorectify(
    values: Shaped[np.ndarray, "y x"],
    glt_x: Int[np.ndarray, "north east"],
    glt_y: Int[np.ndarray, "north east"],
    *,
    fill: Any = np.nan,
) -> Shaped[np.ndarray, "north east"]:
    """Values of a sensor-geometry map at each map pixel: the nearest, never an average.

    The table holds 1-based column and line of the sensor; 0 means nodata, and a negative number
    the same pixel found by interpolation. Statistics belong in sensor geometry: here pixels occur
    twice.

    Raises:
        IntegrityError: If the table points outside the map: it belongs to another granule.
    """
    column, line = np.abs(glt_x).astype(np.int64), np.abs(glt_y).astype(np.int64)
    inside = (column > 0) & (line > 0)
    height, width = values.shape
    if inside.any() and (line[inside].max() > height or column[inside].max() > width):
        raise IntegrityError(
            f"the geometry table points to line {line[inside].max()}, column "
            f"{column[inside].max()} of a map of {height} x {width}; it is of another granule"
        )
    found = values[np.where(inside, line - 1, 0), np.where(inside, column - 1, 0)]
    return np.where(inside, found, np.asarray(fill, found.dtype))
