"""Which pixels of a grid lie on an image, by its projection."""

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import Transformer

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import Projection
from geostack_dagster.stack.pixels import Window
from geostack_dagster.stack.projection import same_crs

type Covered = npt.NDArray[np.bool_]


def covered(stated: Projection, grid: Grid, window: Window, *, step: int = 1) -> Covered:
    """True where the centre of a pixel lies on the image; everywhere if its place is not known.

    Args:
        stated: The image's.
        grid: The grid.
        window: Rows and columns of the grid.
        step: Looks at every so many rows and columns only.
    """
    rows, columns = (np.arange(span.start, span.stop, step) for span in window)
    shape = (rows.size, columns.size)
    if stated.crs is None or stated.shape is None or stated.transform is None:
        return np.ones(shape, np.bool_)
    x, y = np.meshgrid(
        grid.left + (columns + 0.5) * grid.resolution, grid.top - (rows + 0.5) * grid.resolution
    )
    if not same_crs(stated.crs, grid.crs):
        x, y = Transformer.from_crs(grid.crs, stated.crs, always_xy=True).transform(x, y)
    column, row = ~Affine(*stated.transform) * (x, y)
    height, width = stated.shape
    inside: Covered = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside
