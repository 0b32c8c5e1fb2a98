"""Quality flags of a stack, in the same graph as its bands: nothing is read for them."""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import batched

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from geostack_dagster.domain.quality import Quality, flag_attrs
from geostack_dagster.stack.encoding import Pixels
from geostack_dagster.stack.recipe import Recipe, TargetBand

type Flags = npt.NDArray[np.uint8]

_SET, _UNSET = 1, 2
_AT_ONCE = 8  # bands whose blocks are held together: a hyperspectral cube has hundreds


def quality_of(stack: xr.Dataset, recipe: Recipe) -> xr.DataArray:
    """Flags of every pixel, `time y x`, uint8: not observed, masked by class, incomplete.

    What could not be read is not known yet when a block is computed: such pixels count as not
    observed or incomplete here. Classes are those of the Recipe's mask, without its buffer.
    """
    bands = [band for band in recipe.bands if not band.encoding.categorical] or recipe.bands
    seen = reduce(
        lambda state, some: _folded(stack, some, state),
        batched(bands, _AT_ONCE),
        None,
    )
    policy = recipe.mask
    arrays = [seen] if policy is None else [seen, stack[policy.classes.band].data]
    flags = da.map_blocks(
        _flags,
        *arrays,
        keep=() if policy is None else policy.classes.keep,
        fill=None if policy is None else recipe.band(policy.classes.band).encoding.fill_value,
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    return xr.DataArray(flags, dims=("time", "y", "x"), coords=stack.coords, attrs=flag_attrs())


def _folded(stack: xr.Dataset, bands: Sequence[TargetBand], state: da.Array | None) -> da.Array:
    before = [] if state is None else [state]
    folded: da.Array = da.map_blocks(
        _states,
        *(stack[band.name].data for band in bands),
        *before,
        fills=[band.encoding.fill_value for band in bands],
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    return folded


def _states(*blocks: Pixels, fills: Sequence[float]) -> Flags:
    """Which of `_SET` and `_UNSET` the bands of each pixel are; the last block may be earlier."""
    found: Flags = np.zeros(blocks[0].shape, np.uint8)
    for block, fill in zip(blocks, fills, strict=False):
        unset = np.isnan(block) if np.isnan(fill) else block == fill
        found |= np.add(unset, _SET, dtype=np.uint8)  # False: 1, set; True: 2, unset
    for earlier in blocks[len(fills) :]:
        found |= earlier
    return found


def _flags(
    seen: Flags, classes: Pixels | None = None, *, keep: Iterable[int], fill: float | None
) -> Flags:
    # Comparisons are a hundred times as fast as a look-up in a table.
    flags = _where(seen == _UNSET, Quality.NO_OBSERVATION)
    flags |= _where(seen == (_SET | _UNSET), Quality.INCOMPLETE)
    if classes is not None:
        known = [*keep] if fill is None else [*keep, fill]  # without a class nothing is masked
        masked = np.ones(classes.shape, np.bool_)
        for one in known:
            masked &= classes != one
        flags |= _where(masked, Quality.MASKED)
    return flags


def _where(condition: npt.NDArray[np.bool_], flag: Quality) -> Flags:
    return np.multiply(condition, np.uint8(flag), dtype=np.uint8)
