"""A stored granule as a retrieval wants it: arrays, band table, geometry and a mask."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
import zarr
from jaxtyping import Bool, Float64, Int, Shaped
from numpy.typing import NDArray

from geostack_dagster.cube.swaths.book import StoredGranule

_GROUP = 64  # columns looked at together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Granule:
    """One granule; `values` is read when it is sliced, by whole columns best."""

    stored: StoredGranule
    quantity: str
    units: str | None
    values: zarr.Array[Any] = field(repr=False)
    """`downtrack, crosstrack, band`, float32, NaN where nothing was measured."""
    wavelengths_nm: Float64[np.ndarray, " band"]
    fwhm_nm: Float64[np.ndarray, " band"]
    good_bands: Bool[np.ndarray, " band"]
    lon: Float64[np.ndarray, "downtrack crosstrack"]
    lat: Float64[np.ndarray, "downtrack crosstrack"]
    glt_x: Int[np.ndarray, "north east"] | None
    """1-based column of each map pixel; 0 where there is none, negative if filled in."""
    glt_y: Int[np.ndarray, "north east"] | None
    geotransform: tuple[float, ...] | None
    """Of the table, GDAL's order, EPSG:4326."""
    elevation_m: Shaped[np.ndarray, "downtrack crosstrack"] | None
    sun_zenith_deg: Shaped[np.ndarray, "downtrack crosstrack"] | None
    view_zenith_deg: Shaped[np.ndarray, "downtrack crosstrack"] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and columns."""
        return self.stored.shape[0], self.stored.shape[1]

    def valid(self) -> Bool[np.ndarray, "downtrack crosstrack"]:
        """Pixels of which every good band is known, looked at some columns at a time."""
        found = np.zeros(self.shape, np.bool_)
        bands = np.flatnonzero(self.good_bands)
        for start in range(0, self.shape[1], _GROUP):
            columns = slice(start, min(start + _GROUP, self.shape[1]))
            block = np.asarray(self.values[:, columns, :])
            found[:, columns] = np.isfinite(block[..., bands]).all(axis=2)
        return found


def granule(stored: StoredGranule, quantity: str, data: xr.Dataset, values: Any) -> Granule:
    """A granule out of its stored Dataset; everything but its values is read."""
    table = _optional(data, "glt_x")
    transform = data["glt_x"].attrs.get("geotransform") if table is not None else None
    return Granule(
        stored=stored,
        quantity=quantity,
        units=data[quantity].attrs.get("units"),
        values=values,
        wavelengths_nm=data["wavelength_nm"].to_numpy().astype(np.float64),
        fwhm_nm=data["fwhm_nm"].to_numpy().astype(np.float64),
        good_bands=data["good_band"].to_numpy() == 1,
        lon=data["lon"].to_numpy(),
        lat=data["lat"].to_numpy(),
        glt_x=table,
        glt_y=_optional(data, "glt_y"),
        geotransform=None if transform is None else tuple(transform),
        elevation_m=_optional(data, "elev"),
        sun_zenith_deg=_optional(data, "sun_zenith"),
        view_zenith_deg=_optional(data, "view_zenith"),
    )


def _optional(data: xr.Dataset, name: str) -> NDArray[Any] | None:
    return data[name].to_numpy() if name in data.variables else None
