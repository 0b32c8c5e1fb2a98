"""Which level serves a coarser read, by the same two rules as the peers this must agree with."""

from collections.abc import Sequence

from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.window import Window

_OVERSAMPLING = 1.2
_EPSILON = 0.1


def for_shrink(shrink: int, overviews: Sequence[int]) -> int:
    """Level for an integer reduction, as odc-loader picks it: the coarsest that is no coarser.

    0 is the full image.
    """
    found = 0
    for number, reduction in enumerate(overviews, start=1):
        if reduction > shrink:
            break
        found = number
    return found


def for_shape(levels: Sequence[Level], window: Window, shape: tuple[int, int]) -> int:
    """Level for a decimated nearest read, as GDAL picks it.

    `GDALBandGetBestOverviewLevel2` of GDAL 3.12: the most reduced level that is at most 1.2 times
    (and a tenth) coarser than asked, with the reduction taken along the less reduced axis.
    """
    rows, columns = window.shape
    wanted = rows / shape[0]
    if columns / shape[1] < wanted or shape[0] == 1:
        wanted = columns / shape[1]
    best, found = 0.0, 0
    for number, level in enumerate(levels[1:], start=1):
        reduction = min(levels[0].width / level.width, levels[0].height / level.height)
        if best < reduction < wanted * _OVERSAMPLING + _EPSILON:
            best, found = reduction, number
    return found
