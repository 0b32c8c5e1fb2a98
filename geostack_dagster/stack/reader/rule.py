"""What is known about one source beyond its file: better nodata, a calibration, a missing CRS."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.loader.types import RasterSource

from geostack_dagster.stack.reader.codec import Raw

type Valid = NDArray[np.bool_]
type Calibrate = Callable[[Raw, Valid], Raw]
"""Digital numbers and where they are valid, to the stack's codes; picklable for dask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """Travels as `driver_data` of odc-loader's `RasterSource`; an `MDParser` can put it there."""

    band: int | None = None
    """1-based band in the file, where it is not the one that odc-loader was told."""
    nodata: float | None = None
    """Overrides the file's; ignored if the file's type cannot hold it."""
    crs: str | None = None
    """For files that state none."""
    calibrate: Calibrate | None = None
    """Applied to digital numbers on the grid, before Items of one day are laid over one another."""
    key: tuple[str, str] | None = None
    """Item and band, by which a failure is noted."""

    @classmethod
    def of(cls, source: RasterSource) -> "SourceRule":
        """The rule that a source carries, or one that changes nothing."""
        found: Any = source.driver_data
        return found if isinstance(found, cls) else cls()
