"""A Recipe as a lazy Dataset: `time, y, x`, one variable per band, coded as CF describes."""

from collections.abc import Iterable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from geostack_dagster.auth.signer import Signer
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.encoding import Encoding, values_of
from geostack_dagster.stack.header import completed
from geostack_dagster.stack.loaders import Loader, loader_named, loader_of, pixels_read_by
from geostack_dagster.stack.recipe import Recipe, TargetBand
from geostack_dagster.stack.tolerance import Tolerance

DIMS = ("time", "y", "x")
CHUNKS: Mapping[str, int] = {"time": 1, "y": 1024, "x": 1024}
"""Default size of dask's chunks [pixels]."""


def open_stack(
    recipe: Recipe,
    *,
    signer: Signer | None = None,
    loader: str | Loader | None = None,
    chunks: Mapping[str, int] | None = None,
    tolerance: Tolerance | None = None,
) -> xr.Dataset:
    """A lazy Dataset of the Recipe's bands in their encodings; no pixel is read before `compute`.

    Coordinates: `time` (solar days that have Items), `acquired` (UTC of the day's first Item),
    `item_count`, `y`, `x` and `spatial_ref`. Task graphs hold canonical hrefs only; each chunk
    signs when it is read.

    Args:
        recipe: What to read.
        signer: Opens the hrefs; None takes the Recipe's provider with credentials found here.
        loader: Another loader of the same pixels, by its name or itself; None takes the Recipe's.
        chunks: Sizes by dim [pixels]; what is left out takes `CHUNKS`.
        tolerance: Notes what cannot be read, and decides how much of it may stay unset; without
            one nothing may.

    Raises:
        ConfigurationError: If `chunks` names another dim, or the provider or loader is unknown,
            or the loader reads pixels of another kind.
        AssetError, CredentialError, ServiceError: If metadata leaves the projection to a header
            that cannot be read.
    """
    sizes = _sizes(chunks or {})
    if signer is None:
        signer = signer_for(provider_named(recipe.provider))
    if recipe.items:
        recipe = completed(recipe, signer, tolerance=tolerance)
    if recipe.items:
        load = _loader(recipe, loader)
        arrays = load(recipe, signer, chunks=sizes, tolerance=tolerance)
    else:
        arrays = {band.name: _empty(recipe, band) for band in recipe.bands}
    return xr.Dataset(
        {
            band.name: (DIMS, arrays[band.name], band_attrs(band), {"grid_mapping": "spatial_ref"})
            for band in recipe.bands
        },
        coords=coordinates(recipe),
        attrs={
            "Conventions": "CF-1.11",
            "provider": recipe.provider,
            "collections": " ".join(recipe.collections),
            "recipe": recipe.fingerprint,
            "snapshot": recipe.snapshot,
        },
    )


def _loader(recipe: Recipe, loader: str | Loader | None) -> Loader:
    if loader is not None and not isinstance(loader, str):
        return loader
    return loader_named(loader_of(pixels_read_by(recipe.loader), loader or recipe.loader))


def coordinates(recipe: Recipe) -> dict[str, Any]:
    """Coordinates of the stack, without reading anything."""
    days = recipe.days
    of_day = {day: [item for item in recipe.items if item.day == day] for day in days}
    acquired = [min(item.acquired for item in of_day[day]).replace(tzinfo=None) for day in days]
    spatial = xr_coords(recipe.grid.geobox(), dims=("y", "x"))
    return {
        "time": ("time", np.array(days, "datetime64[ns]"), {"long_name": "local solar day"}),
        "acquired": (
            "time",
            np.array(acquired, "datetime64[ns]"),
            {"long_name": "first acquisition of the day, UTC"},
        ),
        "item_count": (
            "time",
            np.array([len(of_day[day]) for day in days], np.int32),
            {"long_name": "items of the day"},
        ),
        **{str(name): coordinate for name, coordinate in spatial.items()},
    }


def band_attrs(band: TargetBand) -> dict[str, Any]:
    """CF attributes of a variable: how to decode it and what it is."""
    encoding = band.encoding
    attrs: dict[str, Any] = {"long_name": band.long_name, "_FillValue": encoding.fill_value}
    if not encoding.is_float and not encoding.categorical:
        attrs |= {"scale_factor": encoding.scale, "add_offset": encoding.offset}
    if encoding.units is not None:
        attrs["units"] = encoding.units
    if band.wavelength_nm is not None:
        attrs["wavelength_nm"] = band.wavelength_nm
    return attrs


def decode(dataset: xr.Dataset) -> xr.Dataset:
    """Values as float32 with NaN for what is missing, as lazy as `dataset`; class codes too."""
    return dataset.assign({name: _decoded(variable) for name, variable in dataset.items()})


def _decoded(variable: xr.DataArray) -> xr.DataArray:
    attrs = {
        name: value
        for name, value in variable.attrs.items()
        if name not in ("_FillValue", "scale_factor", "add_offset")
    }
    found: xr.DataArray = xr.apply_ufunc(
        values_of,
        variable,
        kwargs={"encoding": encoding_in(variable)},
        dask="parallelized",
        keep_attrs=False,
        output_dtypes=[np.float32],
    )
    return found.assign_attrs(attrs)


def encoding_in(variable: xr.DataArray) -> Encoding:
    """The encoding that a variable's CF attributes state."""
    attrs = variable.attrs
    return Encoding(
        dtype=str(variable.dtype),
        fill=attrs["_FillValue"],
        scale=attrs.get("scale_factor", 1.0),
        offset=attrs.get("add_offset", 0.0),
        categorical="scale_factor" not in attrs and variable.dtype.kind != "f",
    )


def _empty(recipe: Recipe, band: TargetBand) -> da.Array:
    nothing: da.Array = da.from_array(
        np.empty((0, *recipe.grid.shape), band.encoding.dtype), chunks=(-1, -1, -1)
    )
    return nothing


def _sizes(chunks: Mapping[str, int]) -> dict[str, int]:
    unknown = _unknown(chunks, CHUNKS)
    if unknown:
        raise ConfigurationError(f"chunks names {unknown}; the dims are {', '.join(DIMS)}")
    return {**CHUNKS, **chunks}


def _unknown(names: Iterable[str], known: Iterable[str]) -> str:
    return ", ".join(sorted(set(names) - set(known)))
