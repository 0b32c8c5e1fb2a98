"""The bare hand-off: a Recipe's pixels as one JAX array, for people who bring their own model."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from geostack_dagster.auth.signer import Signer
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import PROVIDERS
from geostack_dagster.stack.load import coordinates, decode, open_stack
from geostack_dagster.stack.recipe import Recipe

if TYPE_CHECKING:
    import jax

_ALIGNMENT = 64  # bytes; XLA borrows a host buffer that starts there instead of copying it
_THREADS = 32  # reads mostly wait for the archive, where it does not say how many it allows


def to_jax(
    recipe: Recipe,
    *,
    bands: Sequence[str] | None = None,
    decoded: bool = True,
    signer: Signer | None = None,
) -> "jax.Array":
    """Pixels of a Recipe, shape (time, band, y, x); `coordinates_of` names the axes.

    Float32 with NaN for what is missing, class codes included; with `decoded=False` the codes
    themselves. Each chunk is written once, into the buffer that JAX then uses.

    Raises:
        ConfigurationError: If the Recipe lacks a band, or `decoded=False` and the bands asked for
            are coded in different dtypes.
        AssetError, CredentialError, ServiceError: As every read.
    """
    import jax

    names = [band.name for band in recipe.select(bands)]
    dataset = open_stack(recipe, signer=signer)[names]
    if decoded:
        dataset = decode(dataset)
    target = aligned((len(recipe.days), len(names), *recipe.grid.shape), _common_dtype(dataset))
    parts = [target[:, position] for position in range(len(names))]
    provider = PROVIDERS.get(recipe.provider)
    threads = _THREADS if provider is None else provider.limits.concurrent_reads
    with ThreadPoolExecutor(threads) as pool, dask.config.set(pool=pool, scheduler="threads"):
        da.store([dataset[name].data for name in names], parts, lock=False)
    pixels: jax.Array = jax.device_put(target, may_alias=True)
    return pixels


def coordinates_of(recipe: Recipe, bands: Sequence[str] | None = None) -> xr.Coordinates:
    """Coordinates of what `to_jax` gives: time, band, y, x and the CRS; nothing is read."""
    named = {"band": [band.name for band in recipe.select(bands)], **coordinates(recipe)}
    return xr.Dataset(coords=named).coords


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An uninitialised array whose memory JAX can use without a copy."""
    nbytes = int(np.prod(shape)) * dtype.itemsize
    buffer = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + nbytes].view(dtype).reshape(shape)


def _common_dtype(dataset: xr.Dataset) -> np.dtype[Any]:
    kinds = {variable.dtype for variable in dataset.data_vars.values()}
    if len(kinds) > 1:
        raise ConfigurationError(
            f"bands {', '.join(map(str, dataset))} are coded in several dtypes "
            f"({', '.join(sorted(map(str, kinds)))}); ask for them apart, or decoded"
        )
    return np.dtype(kinds.pop())
