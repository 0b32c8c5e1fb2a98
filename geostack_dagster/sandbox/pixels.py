"""Pixels of an Item's assets: the world seen through what the Item states about them.

Works for Items of our own and for recorded ones: CRS, shape and transform come from the asset,
the encoding from the archive's facts (`encoding.py`). What cannot be rendered is refused with a
reason, never guessed.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import (
    Asset,
    Item,
    Projection,
    assets,
    item_id,
    moment,
    number,
    projection,
    properties,
)
from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.cog import Pixels, RasterSpec, Window
from geostack_dagster.sandbox.encoding import Encoding, encoding_of
from geostack_dagster.sandbox.media import is_image, media_of
from geostack_dagster.sandbox.msi import CIRRUS_NM, Msi
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.spectra import WAVELENGTHS_NM
from geostack_dagster.sandbox.world import NATIVE_M, World

_LAYER = re.compile(r"(?:^|_)(B\d[\dA]|SCL|AOT|WVP|TCI|PVI|CLD|SNW)(?:PRB)?(?=[_.])")
_PREVIEW_M, _PREVIEW_SHAPE = 320.0, (343, 343)
_TCI_FULL = 0.3558  # reflectance shown as 255 in true-colour images
_NOISE_TABLE = 1024
_SNR = 200.0
_WHOLE_TILE = 0.5  # percentage of nodata below which a footprint is only rounding
_GREATEST_DN = 65534
_SCENE_M = {**NATIVE_M, "AOT": 10, "SNW": 20, "CLD": 20, "B10": 60}
"""Native pixel of each layer that a scene can be rendered from [m]."""


class UnrenderableError(Exception):
    """The world has no pixels for this asset; the message says why."""


@dataclass(frozen=True, slots=True)
class _System:
    """What a GeoTIFF needs to know of a CRS."""

    epsg: int
    is_geographic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Facts that all layers of an Item share."""

    world: World
    moment: datetime
    seed: int
    """Of the sensor noise: a reprocessed product differs a little from its predecessor."""
    footprint: BaseGeometry | None
    """Where there are data, in the CRS of the layer; None for everywhere."""
    msi: Msi | None = None
    """Of a Sentinel-2 product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A painter of one asset."""

    spec: RasterSpec
    scene: Scene
    paint: Callable[["Layer", Window, Axes], Pixels]
    wavelength_nm: float = 0.0
    encoding: Encoding | None = None

    def __call__(self, window: Window) -> Pixels:
        """Pixels of a window; 0 outside the footprint."""
        axes = _axes(self.spec, window)
        inside = _inside(self.scene.footprint, axes)
        if inside is False:
            shape: tuple[int, ...] = (window.height, window.width)
            shape += (self.spec.samples,) if self.spec.samples > 1 else ()
            return np.zeros(shape, np.uint8 if self.spec.dtype == "uint8" else np.uint16)
        pixels = self.paint(self, window, axes)
        if inside is not True:
            pixels[~inside] = 0
        return pixels

    def is_empty(self, window: Window) -> bool:
        """Whether a window lies wholly outside the footprint; nothing is painted."""
        footprint = self.scene.footprint
        return footprint is not None and not footprint.intersects(_box(_axes(self.spec, window)))


def layer_of(item: Item, key: str, world: World) -> Layer:
    """The painter of one asset.

    Raises:
        UnrenderableError: If the asset is no GeoTIFF or JPEG 2000 that the world can fill.
    """
    asset = assets(item)[key]
    if not is_image(asset):
        raise UnrenderableError(
            f"media type {media_of(asset)!r} is neither a GeoTIFF nor JPEG 2000"
        )
    found = _LAYER.search(basename(str(asset.get("href"))))
    name = found.group(1) if found else None
    projected = _preview_projection(item) if name == "PVI" else projection(item, asset)
    code = _system(projected.crs)
    scene = Scene(
        world=world,
        moment=moment(item),
        seed=noise.seed_of(item_id(item), key),
        footprint=_footprint(item, code),
        msi=_msi(item),
    )
    return _layer(item, asset, name, (projected, code, scene))


def scene_layer(item: Item, name: str, world: World, *, harmonised: bool) -> Layer:
    """The painter of a band of an Item that names no files, on the ground of `proj:bbox`.

    Args:
        item: As Sentinel Hub's catalogue has it.
        name: Of a Sentinel-2 layer.
        world: What is painted.
        harmonised: Whether numbers are `10000 R`, whatever the product's baseline.

    Raises:
        UnrenderableError: If the product has no such layer, or the Item does not say where it is.
    """
    bbox, code = properties(item).get("proj:bbox"), _system(projection(item, {}).crs)
    if name not in _SCENE_M or not isinstance(bbox, list):
        raise UnrenderableError(f"no layer {name}")
    pixel_m = _SCENE_M[name]
    left, bottom, right, top = bbox
    shape = round((top - bottom) / pixel_m), round((right - left) / pixel_m)
    scene = Scene(
        world=world,
        moment=moment(item),
        seed=noise.seed_of(item_id(item), name),
        footprint=_data_geometry(item, code),
        msi=_msi(item),
    )
    place = Projection(f"EPSG:{code.epsg}", shape, (pixel_m, 0.0, left, 0.0, -pixel_m, top))
    layer = _layer(item, {}, name, (place, code, scene))
    if layer.encoding is None or not harmonised:
        return layer
    return replace(layer, encoding=Encoding(scale=1e-4, offset=0.0))


def _layer(
    item: Item, asset: Asset, name: str | None, place: tuple[Projection, _System, Scene]
) -> Layer:
    projected, code, scene = place
    wavelength_nm = _centre(name, scene.msi) or _stated_wavelength(asset)
    if name in _SPECIAL:
        dtype, samples, paint = _SPECIAL[name]
        return Layer(
            spec=_spec(projected, code, dtype=dtype, samples=samples), scene=scene, paint=paint
        )
    if wavelength_nm is None:
        raise UnrenderableError("neither a Sentinel-2 layer nor a band with a wavelength")
    return Layer(
        spec=_spec(projected, code, dtype="uint16", samples=1),
        scene=scene,
        paint=_paint_reflectance,
        wavelength_nm=wavelength_nm,
        encoding=encoding_of(item, asset, is_sentinel2=name is not None),
    )


def _msi(item: Item) -> Msi | None:
    """Satellite and level of a Sentinel-2 product; None for anything else."""
    facts = properties(item)
    written = (item_id(item), item.get("collection"), facts.get("s2:product_type"))
    is_top_of_air = any("L1C" in str(text).upper() for text in written)
    return Msi.of(str(facts.get("platform")), "L1C" if is_top_of_air else "L2A")


def _centre(name: str | None, msi: Msi | None) -> float | None:
    """Wavelength of a Sentinel-2 band [nm]; B10 is one of Level-1C alone."""
    if name == "B10" and msi is not None and msi.level == "L1C":
        return CIRRUS_NM
    return WAVELENGTHS_NM.get(str(name))


def _paint_reflectance(layer: Layer, window: Window, axes: Axes) -> Pixels:
    encoding = layer.encoding or Encoding(scale=1e-4, offset=0.0)
    scene = layer.scene
    values = scene.world.sample(axes, layer.wavelength_nm, scene.moment, scene.msi)
    values = values * _noise(layer.scene.seed, window)
    values -= np.float32(encoding.offset)
    values /= np.float32(encoding.scale)
    np.rint(values, out=values)
    return np.clip(values, 1, _GREATEST_DN).astype(np.uint16)


def _paint_classes(layer: Layer, window: Window, axes: Axes) -> Pixels:
    return layer.scene.world.classify(axes, layer.scene.moment)


def _paint_colour(layer: Layer, window: Window, axes: Axes) -> Pixels:
    scene = layer.scene
    bands = [
        scene.world.sample(axes, WAVELENGTHS_NM[name], scene.moment)
        for name in ("B04", "B03", "B02")
    ]
    shown = np.stack(bands, axis=-1) * np.float32(255 / _TCI_FULL)
    return np.clip(np.rint(shown), 1, 255).astype(np.uint8)


def _paint_cloud(layer: Layer, window: Window, axes: Axes) -> Pixels:
    return np.rint(layer.scene.world.opacity(axes, layer.scene.moment) * 100).astype(np.uint8)


def _paint_column(layer: Layer, window: Window, axes: Axes) -> Pixels:
    """Aerosol (thickness x 1000) or vapour (cm x 1000): one value a day, more under clouds."""
    day = 80 + 200 * noise.unit_of("column", layer.spec.origin, layer.scene.moment.date())
    cloud = layer.scene.world.opacity(axes, layer.scene.moment)
    return np.rint(np.float32(day) * (1 + cloud)).astype(np.uint16)


def _paint_nothing(layer: Layer, window: Window, axes: Axes) -> Pixels:
    return np.zeros((window.height, window.width), np.uint8)


# dtype, samples, painter
_SPECIAL: dict[str | None, tuple[str, int, Callable[[Layer, Window, Axes], Pixels]]] = {
    "SCL": ("uint8", 1, _paint_classes),
    "TCI": ("uint8", 3, _paint_colour),
    "PVI": ("uint8", 3, _paint_colour),
    "AOT": ("uint16", 1, _paint_column),
    "WVP": ("uint16", 1, _paint_column),
    "CLD": ("uint8", 1, _paint_cloud),
    "SNW": ("uint8", 1, _paint_nothing),
}


def _noise(seed: int, window: Window) -> NDArray[np.float32]:
    """Sensor noise as a factor, by absolute pixel; a slice where the raster is not decimated."""
    factors = _noise_factors()
    size, step = _NOISE_TABLE, window.step
    row = (window.row * step + step // 2 + seed) % size
    column = (window.column * step + step // 2 + (seed >> 20)) % size
    if step == 1 and window.height <= size and window.width <= size:
        return factors[row : row + window.height, column : column + window.width]
    rows = (row + step * np.arange(window.height)) % size
    columns = (column + step * np.arange(window.width)) % size
    return factors[rows][:, columns]


@lru_cache(maxsize=1)
def _noise_factors() -> NDArray[np.float32]:
    """Uniform around 1 with standard deviation 1/SNR, twice in each direction."""
    values = noise.table(noise.seed_of("sensor"), _NOISE_TABLE) - np.float32(0.5)
    return np.tile(1 + values * np.float32(12**0.5 / _SNR), (2, 2))


def _axes(spec: RasterSpec, window: Window) -> Axes:
    (left, top), (width, height), step = spec.origin, spec.pixel, window.step
    return Axes(
        crs=f"EPSG:{spec.epsg}",
        x0=left + (window.column * step + step // 2 + 0.5) * width,
        y0=top - (window.row * step + step // 2 + 0.5) * height,
        dx=width * step,
        dy=-height * step,
        width=window.width,
        height=window.height,
    )


def _spec(projected: Projection, code: _System, *, dtype: str, samples: int) -> RasterSpec:
    if projected.shape is None or projected.transform is None:
        raise UnrenderableError("no proj:shape or proj:transform is stated")
    a, b, c, d, e, f = projected.transform
    if b or d or a <= 0 or e >= 0:
        raise UnrenderableError(f"transform {projected.transform} is not north-up")
    return RasterSpec(
        epsg=code.epsg,
        geographic=code.is_geographic,
        origin=(c, f),
        pixel=(a, -e),
        shape=projected.shape,
        dtype=dtype,
        samples=samples,
    )


@lru_cache(maxsize=256)
def _system(crs: str | None) -> _System:
    if crs is None:
        raise UnrenderableError("no proj:code or proj:epsg is stated")
    if not crs.startswith("EPSG:"):  # looking the code of a WKT up takes a quarter of a second
        raise UnrenderableError("the CRS is not given by an EPSG code")
    try:
        return _System(int(crs.removeprefix("EPSG:")), CRS.from_user_input(crs).is_geographic)
    except (CRSError, ValueError) as error:
        raise UnrenderableError(f"unknown CRS {crs!r}") from error


def _preview_projection(item: Item) -> Projection:
    """Previews state no projection; they cover the tile with 320 m pixels."""
    for asset in assets(item).values():
        known = projection(item, asset)
        if known.transform is not None and known.shape not in (None, _PREVIEW_SHAPE):
            _, _, left, _, _, top = known.transform
            transform = (_PREVIEW_M, 0.0, left, 0.0, -_PREVIEW_M, top)
            return Projection(crs=known.crs, shape=_PREVIEW_SHAPE, transform=transform)
    raise UnrenderableError("no asset states where the tile lies")


def _stated_wavelength(asset: Asset) -> float | None:
    """Centre wavelength [nm] of an asset that holds one optical band."""
    bands: Any = asset.get("eo:bands") or asset.get("bands")  # the latter from STAC 1.1 on
    if not isinstance(bands, list) or len(bands) != 1 or not isinstance(bands[0], dict):
        return None
    stated = bands[0].get("center_wavelength", bands[0].get("eo:center_wavelength"))
    micrometres = number(stated)
    thermal = 3.0
    return micrometres * 1000 if micrometres is not None and micrometres < thermal else None


def _missing(item: Item) -> float:
    """Percentage of pixels without data."""
    stated = properties(item)
    counted = stated.get("statistics")  # CDSE's
    share = counted.get("nodata") if isinstance(counted, dict) else None
    return number(stated.get("s2:nodata_pixel_percentage", share)) or 0.0


def _footprint(item: Item, code: _System) -> BaseGeometry | None:
    geometry = item.get("geometry")
    if _missing(item) < _WHOLE_TILE or not isinstance(geometry, dict):
        return None
    return _ground(geometry, code)


def _data_geometry(item: Item, code: _System) -> BaseGeometry | None:
    """Where a scene has data, as Sentinel Hub states it."""
    projected = properties(item).get("proj:geometry")
    if isinstance(projected, dict):
        found = shapely.from_geojson(json.dumps(projected))
        shapely.prepare(found)
        return found
    geometry = item.get("geometry")
    return _ground(geometry, code) if isinstance(geometry, dict) else None


def _ground(geometry: dict[str, Any], code: _System) -> BaseGeometry:
    """A geometry in degrees as one in another CRS."""
    # Edges are straight in the projection: footprints are traced along the rows of the tile.
    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except GEOSException as error:
        raise UnrenderableError(f"the geometry is not GeoJSON: {error}") from error
    project = Transformer.from_crs(4326, code.epsg, always_xy=True).transform
    footprint = shapely.transform(
        shape, lambda degrees: np.column_stack(project(degrees[:, 0], degrees[:, 1]))
    )
    shapely.prepare(footprint)
    return footprint


def _inside(footprint: BaseGeometry | None, axes: Axes) -> "bool | NDArray[np.bool_]":
    if footprint is None:
        return True
    window = _box(axes)
    if footprint.contains(window):
        return True
    if not footprint.intersects(window):
        return False
    sites = axes.sites()
    x, y = np.meshgrid(sites.x, sites.y)
    within: NDArray[np.bool_] = shapely.contains_xy(footprint, x, y)
    return within


def _box(axes: Axes) -> BaseGeometry:
    """From the centre of the first pixel to that of the last."""
    right, bottom = axes.x0 + axes.dx * (axes.width - 1), axes.y0 + axes.dy * (axes.height - 1)
    return shapely.box(axes.x0, bottom, right, axes.y0)
