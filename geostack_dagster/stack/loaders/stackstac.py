"""A loader of `stackstac.stack`, with a reader of our own, and `stackstac.mosaic` over each day.

stackstac's own reader signs nothing, takes nodata from the file only, and reads single-band files.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import dask.array as da
import numpy as np
import pyproj
import rasterio
import stackstac
import xarray as xr
from odc.geo.warp import resampling_s2rio
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.encoding import Pixels, Valid, encode
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.pixels import check_band, nodata_of, valid_in
from geostack_dagster.stack.projection import bounds_on
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source, TargetBand
from geostack_dagster.stack.tolerance import Key, Tolerance, untolerant

_SEPARATOR = "/"


def load(
    recipe: Recipe,
    signer: Signer,
    *,
    chunks: Mapping[str, int],
    tolerance: Tolerance | None = None,
) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`.

    Raises:
        ConfigurationError: If the grid's CRS has no EPSG code, which stackstac needs.
    """
    epsg = _epsg(recipe.grid)
    tolerance = tolerance or untolerant(recipe)
    arrays: dict[str, da.Array] = {}
    for bands in _alike(recipe.bands):
        reader = ReaderFactory(recipe, bands, signer, tolerance)
        stack = _stack(recipe, bands, reader, epsg=epsg, chunks=chunks)
        for band in bands:
            arrays[band.name] = _by_day(recipe, band, stack, chunks)
    return {band.name: arrays[band.name] for band in recipe.bands}


def _alike(bands: Iterable[TargetBand]) -> list[list[TargetBand]]:
    """Bands that one array can hold: of one dtype, fill and resampling."""

    def kind(band: TargetBand) -> tuple[str, str, str]:
        return (band.encoding.dtype, str(band.encoding.fill), band.resampling)

    return [list(group) for _, group in groupby(sorted(bands, key=kind), kind)]


def _stack(
    recipe: Recipe,
    bands: list[TargetBand],
    reader: "ReaderFactory",
    *,
    epsg: int,
    chunks: Mapping[str, int],
) -> xr.DataArray:
    names = [band.name for band in bands]
    fill = bands[0].encoding.fill_value
    stack: xr.DataArray = stackstac.stack(
        [_plain_item(item, names, recipe.grid.crs, epsg) for item in recipe.items],
        assets=names,
        epsg=epsg,
        resolution=recipe.grid.resolution,
        bounds=recipe.grid.bounds,
        snap_bounds=False,
        resampling=resampling_s2rio(bands[0].resampling),
        chunksize=(1, 1, chunks["y"], chunks["x"]),
        dtype=np.dtype(bands[0].encoding.dtype),
        fill_value=fill,
        rescale=False,
        sortby_date=False,
        xy_coords=False,
        properties=False,
        band_coords=False,
        errors_as_nodata=(),
        reader=reader,
    )
    return stack


def _by_day(
    recipe: Recipe, band: TargetBand, stack: xr.DataArray, chunks: Mapping[str, int]
) -> da.Array:
    shape = recipe.grid.shape
    # stackstac leaves out Items and bands that lie beside the grid altogether.
    held = {name: at for at, name in enumerate(stack["id"].to_numpy())}
    has_band = band.name in stack["band"].to_numpy()
    layers = []
    for day in recipe.days:
        members = [held[item.id] for item in recipe.items if item.day == day and item.id in held]
        if not members or not has_band:
            fill = band.encoding.fill_value
            layers.append(
                da.full(shape, fill, band.encoding.dtype, chunks=(chunks["y"], chunks["x"]))
            )
            continue
        of_day = stack.sel(band=band.name).isel(time=members)
        layers.append(
            stackstac.mosaic(of_day, dim="time", reverse=True, nodata=band.encoding.fill_value).data
        )
    days: da.Array = da.stack(layers).rechunk((chunks["time"], chunks["y"], chunks["x"]))
    return days


def _plain_item(item: RecipeItem, names: Iterable[str], crs: str, epsg: int) -> dict[str, Any]:
    assets = {}
    for name in names:
        source = item.sources.get(name)
        bounds = None if source is None else bounds_on(source.projection, crs)
        if bounds is not None:
            assets[name] = {
                "href": f"{item.id}{_SEPARATOR}{name}",
                "proj:epsg": epsg,
                "proj:bbox": bounds,
            }
    return {
        "type": "Feature",
        "id": item.id,
        "properties": {"datetime": item.acquired.isoformat()},
        "assets": assets,
    }


class ReaderFactory:
    """What stackstac calls as its reader class: finds the source again and adds the signer."""

    def __init__(
        self, recipe: Recipe, bands: list[TargetBand], signer: Signer, tolerance: Tolerance
    ) -> None:
        self._signer = signer
        self._tolerance = tolerance
        self._bands = {band.name: band for band in bands}
        self._sources = {
            f"{item.id}{_SEPARATOR}{name}": source
            for item in recipe.items
            for name, source in item.sources.items()
            if name in self._bands
        }

    def __call__(self, *, url: str, spec: Any, **_: Any) -> "TolerantReader":
        """A reader of the asset that stackstac knows by this name."""
        item, name = url.rpartition(_SEPARATOR)[::2]
        reader = SigningReader(self._sources[url], self._bands[name], self._signer, spec)
        return TolerantReader(reader, (item, name), self._tolerance)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return (self._tolerance.topic, *self._bands)


class TolerantReader:
    """Reads one asset; gives what is unset for parts that cannot be read within the budget."""

    def __init__(self, reader: "SigningReader", key: Key, tolerance: Tolerance) -> None:
        self._reader = reader
        self._key = key
        self._tolerance = tolerance

    def read(self, window: Window, **_: Any) -> Pixels:
        """Pixels of a window of the grid, in the stack's encoding."""
        part = tuple(slice(*span) for span in window.toranges())
        found = self._tolerance.read(
            [self._key], (part[0], part[1]), lambda: self._reader.read(window)
        )
        if found is not None:
            return found
        encoding = self._reader.band.encoding
        return np.full((window.height, window.width), encoding.fill_value, encoding.dtype)

    def close(self) -> None:
        """Nothing stays open between reads."""


class SigningReader:
    """Reads one asset on stackstac's grid with a credential of now; its `Reader` protocol."""

    def __init__(self, source: Source, band: TargetBand, signer: Signer, spec: Any) -> None:
        self._source = source
        self.band = band
        self._signer = signer
        self._spec = spec

    def read(self, window: Window) -> Pixels:
        """Pixels of a window of the grid, in the stack's encoding."""
        pixels, valid = reading(
            self._source.href, self._signer, lambda path: self._warped(path, window)
        )
        radiometry = self._source.radiometry
        return encode(
            pixels,
            valid,
            self.band.encoding,
            scale=radiometry.scale,
            offset=radiometry.offset,
        )

    def _warped(self, path: str, window: Window) -> tuple[Pixels, Valid]:
        with rasterio.open(path, sharing=False) as dataset:
            check_band(dataset, self._source)
            nodata = nodata_of(dataset, self._source)
            with WarpedVRT(
                dataset,
                sharing=False,
                resampling=resampling_s2rio(self.band.resampling),
                src_nodata=nodata,
                nodata=nodata,
                add_alpha=nodata is None,
                **self._spec.vrt_params,
            ) as grid:
                pixels = grid.read(self._source.index, window=window)
                if nodata is not None:
                    return pixels, valid_in(pixels, nodata)
                return pixels, grid.read(grid.count, window=window) != 0


def _epsg(grid: Grid) -> int:
    code = pyproj.CRS.from_user_input(grid.crs).to_epsg()
    if code is None:
        raise ConfigurationError(
            f"stackstac needs an EPSG code, which {grid.crs[:60]} has not; use the loader 'odc'"
        )
    return int(code)
