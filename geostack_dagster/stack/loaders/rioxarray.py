"""A loader of rioxarray and dask only: `open_rasterio`, a window, `rio.reproject`.

Reads full-size pixels where the grids coincide and the nearest finer overview where they do not.
"""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.warp import resampling_s2rio

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.stack.encoding import Pixels, Valid, encode, paste
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.pixels import (
    Footprint,
    Window,
    footprint,
    geobox_of,
    nodata_of,
    overview_for,
    valid_in,
    with_marker,
)
from geostack_dagster.stack.recipe import Recipe, Source, TargetBand
from geostack_dagster.stack.tolerance import Tolerance, untolerant

_MARGIN_PX = 4  # pixels around a window that interpolation reaches into


def load(
    recipe: Recipe,
    signer: Signer,
    *,
    chunks: Mapping[str, int],
    tolerance: Tolerance | None = None,
) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    tolerance = tolerance or untolerant(recipe)
    return {
        band.name: _lazy(recipe, BlockReader(recipe, band, signer, tolerance), band, chunks)
        for band in recipe.bands
    }


def _lazy(
    recipe: Recipe, reader: "BlockReader", band: TargetBand, chunks: Mapping[str, int]
) -> da.Array:
    shape = (len(recipe.days), *recipe.grid.shape)
    sizes = da.core.normalize_chunks(
        (chunks["time"], chunks["y"], chunks["x"]), shape, dtype=band.encoding.dtype
    )
    array: da.Array = da.map_blocks(
        reader,
        chunks=sizes,
        dtype=band.encoding.dtype,
        meta=np.empty((0, 0, 0), band.encoding.dtype),
        name=f"rioxarray-{band.name}-{fingerprint([reader.tolerance.topic, sizes])}",
    )
    return array


class BlockReader:
    """Reads one chunk: every source of every day in it, the one on top first."""

    def __init__(
        self, recipe: Recipe, band: TargetBand, signer: Signer, tolerance: Tolerance
    ) -> None:
        self._layers = [
            [
                (item.id, item.sources[band.name])
                for item in recipe.items
                if item.day == day and band.name in item.sources
            ]
            for day in recipe.days
        ]
        self._band = band
        self._geobox = recipe.grid.geobox()
        self._signer = signer
        self.tolerance = tolerance

    def __call__(self, block_info: Any = None) -> Pixels:
        """The chunk that dask describes."""
        (first, last), rows, columns = block_info[None]["array-location"]
        encoding = self._band.encoding
        area = self._geobox[slice(*rows), slice(*columns)]
        block = np.full((last - first, *area.shape), encoding.fill_value, encoding.dtype)
        for day, sources in enumerate(self._layers[first:last]):
            for item, source in sources:
                self._lay(block[day], item, source, area)
        return block

    def _lay(self, target: Pixels, item: str, source: Source, area: GeoBox) -> None:
        band, radiometry = self._band, source.radiometry
        found = self.tolerance.read_onto(
            (item, band.name),
            area,
            lambda: reading(
                source.href, self._signer, lambda path: _read(path, source, area, band.resampling)
            ),
        )
        if found is None:
            return
        window, pixels, valid = found
        coded = encode(
            pixels, valid, band.encoding, scale=radiometry.scale, offset=radiometry.offset
        )
        paste(target[window], coded, band.encoding)


def _read(path: str, source: Source, area: GeoBox, resampling: str) -> tuple[Window, Pixels, Valid]:
    with _opened(path) as image:
        dataset = _dataset(image)
        found = footprint(geobox_of(dataset, source), area, resampling)
        level = None if found.is_empty else overview_for(dataset, source, found)
        if level is None:
            return _onto(image, source, area, found, resampling)
    with _opened(path, overview_level=level) as image:
        found = footprint(geobox_of(_dataset(image), source), area, resampling)
        return _onto(image, source, area, found, resampling)


def _onto(
    image: Any, source: Source, area: GeoBox, found: Footprint, resampling: str
) -> tuple[Window, Pixels, Valid]:
    if found.is_empty:
        return (slice(0, 0), slice(0, 0)), np.empty((0, 0), image.dtype), np.empty((0, 0), bool)
    dataset = _dataset(image)
    nodata = nodata_of(dataset, source)
    is_plain = found.is_aligned and found.shrink == 1
    rows, columns = found.source if is_plain else _widened(found, image.shape[-2:])
    part = image.isel(band=source.index - 1, y=rows, x=columns)
    pixels = part.to_numpy()
    valid = valid_in(pixels, nodata)
    if is_plain:
        return found.target, pixels, valid
    dtype, marker = with_marker(pixels.dtype)
    marked = xr.DataArray(
        np.where(valid, pixels.astype(dtype), marker), dims=("y", "x"), coords=part.coords
    )
    image_grid = geobox_of(dataset, source)
    target = area[found.target]
    warped = (
        marked.drop_vars("spatial_ref")
        .rio.write_crs(str(image_grid.crs))
        .rio.write_transform(image_grid[rows, columns].transform)
        .rio.write_nodata(marker)
        .rio.reproject(
            str(target.crs),
            shape=target.shape.yx,
            transform=target.transform,
            resampling=resampling_s2rio(resampling),
            nodata=marker,
        )
        .to_numpy()
    )
    return found.target, warped, valid_in(warped, marker)


def _widened(found: Footprint, shape: tuple[int, int]) -> Window:
    rows, columns = (
        slice(max(part.start - _MARGIN_PX, 0), min(part.stop + _MARGIN_PX, size))
        for part, size in zip(found.source, shape, strict=True)
    )
    return rows, columns


def _opened(path: str, **options: Any) -> Any:
    return rioxarray.open_rasterio(path, lock=False, cache=False, **options)


def _dataset(image: Any) -> Any:
    return image.rio._manager.acquire()  # noqa: SLF001 (rioxarray shows headers in no other way)
