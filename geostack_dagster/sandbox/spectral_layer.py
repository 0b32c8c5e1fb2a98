"""Pixels of images with hundreds of bands, for recorded Items of imaging spectrometers.

Surface reflectance at each band's centre, without noise, gas or the instrument's response; files of
the sandbox's own Items are more than that (`enmap_files.py`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.item import (
    Asset,
    Item,
    assets,
    moment,
    number,
    projection,
)
from geostack_dagster.sandbox.cog import Pixels, RasterSpec, Window
from geostack_dagster.sandbox.pixels import Layer, UnrenderableError, layer_of
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.world import World

_FEWEST_BANDS = 32
_NANOMETRES_FROM = 100.0  # what is smaller is in micrometres
_SCALE, _NODATA = 1e-4, -32768


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralLayer:
    """A painter of one plane after another."""

    spec: RasterSpec
    world: World
    moment: datetime
    centres_nm: tuple[float, ...]
    footprint: BaseGeometry | None

    def __call__(self, window: Window) -> Pixels:
        """Counts of one band; nodata outside the footprint."""
        (left, top), (width, height) = self.spec.origin, self.spec.pixel
        half = window.step // 2 + 0.5
        axes = Axes(
            crs=f"EPSG:{self.spec.epsg}",
            x0=left + (window.column * window.step + half) * width,
            y0=top - (window.row * window.step + half) * height,
            dx=width * window.step,
            dy=-height * window.step,
            width=window.width,
            height=window.height,
        )
        reflectance = self.world.sample(axes, self.centres_nm[window.sample or 0], self.moment)
        counts = np.rint(reflectance / np.float32(_SCALE)).astype(np.int16)
        if self.footprint is not None:
            sites = axes.sites()
            seen = shapely.contains_xy(self.footprint, *np.meshgrid(sites.x, sites.y))
            counts[~seen] = _NODATA
        return counts


def painter_of(item: Item, key: str, world: World) -> Layer | SpectralLayer:
    """The painter of one asset, whatever it shows.

    Raises:
        UnrenderableError: If the world has no pixels for it.
    """
    asset = assets(item)[key]
    centres = _centres(asset)
    if len(centres) < _FEWEST_BANDS:
        return layer_of(item, key, world)
    spec = _spec(item, asset, len(centres))
    return SpectralLayer(
        spec=spec,
        world=world,
        moment=moment(item),
        centres_nm=centres,
        footprint=_footprint(item, spec.epsg),
    )


def _centres(asset: Asset) -> tuple[float, ...]:
    """Centres of the bands [nm]; none if one of them is not stated."""
    bands: Any = asset.get("eo:bands")
    found = [
        number(band.get("center_wavelength")) if isinstance(band, dict) else None
        for band in (bands if isinstance(bands, list) else [])
    ]
    known = [centre for centre in found if centre is not None]
    if len(known) < len(found):
        return ()
    return tuple(one if one > _NANOMETRES_FROM else one * 1000 for one in known)


def _spec(item: Item, asset: Asset, bands: int) -> RasterSpec:
    placed = projection(item, asset)
    if placed.crs is None or placed.shape is None or placed.transform is None:
        raise UnrenderableError("no CRS, proj:shape or proj:transform is stated")
    try:
        crs = CRS.from_user_input(placed.crs)
    except CRSError as error:
        raise UnrenderableError(f"unknown CRS {placed.crs!r}") from error
    epsg = crs.to_epsg()
    a, b, left, d, e, top = placed.transform
    if epsg is None or b or d or a <= 0 or e >= 0:
        raise UnrenderableError(f"transform {placed.transform} in {placed.crs} is not north-up")
    return RasterSpec(
        epsg=epsg,
        geographic=crs.is_geographic,
        origin=(left, top),
        pixel=(a, -e),
        shape=placed.shape,
        dtype="int16",
        samples=bands,
        has_planes=True,
        nodata=_NODATA,
    )


def _footprint(item: Item, epsg: int) -> BaseGeometry | None:
    geometry = item.get("geometry")
    if not isinstance(geometry, dict):
        return None
    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except GEOSException as error:
        raise UnrenderableError(f"the geometry is not GeoJSON: {error}") from error
    project = Transformer.from_crs(4326, epsg, always_xy=True).transform
    found: BaseGeometry = shapely.transform(
        shape, lambda degrees: np.column_stack(project(degrees[:, 0], degrees[:, 1]))
    )
    shapely.prepare(found)
    return found
