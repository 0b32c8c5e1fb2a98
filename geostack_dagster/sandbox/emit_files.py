"""Files of EMIT's granules as LP DAAC holds them, computed when they are read.

`l1b_files`, `ch4enh_files` and `ch4plm_files` give every file of a granule of `EMITL1BRAD.001`,
`EMITL2BCH4ENH.002` and `EMITL2BCH4PLM.002` under its name.
"""

import io
import json
from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np

from geostack_dagster.sandbox.cog import Pixels, RasterSpec, Window
from geostack_dagster.sandbox.emit_maps import NODATA, Map, Maps, geometry_of, maps_of
from geostack_dagster.sandbox.emit_netcdf import observation_file, radiance_file
from geostack_dagster.sandbox.emit_plumes import PlumeComplex
from geostack_dagster.sandbox.emit_scenes import Granule
from geostack_dagster.sandbox.hdf5 import VirtualNetcdf
from geostack_dagster.sandbox.netcdf import NetcdfObject
from geostack_dagster.sandbox.objects import Document, Make, Stored, TileRenderer, cog_object

type Layer = Callable[[Maps], Map]

_LAYERS: Mapping[str, Layer] = {
    "CH4ENH": lambda maps: maps.enhancement,
    "CH4UNCERT": lambda maps: maps.uncertainty,
    "CH4SENS": lambda maps: maps.sensitivity,
}
_FULL_PPM_M = 1500.0  # shown white in browse images
_BROWSE_STEP = 2


def l1b_files(granule: Granule, renderer: TileRenderer) -> Mapping[str, Make]:
    """Radiance, observation geometry and a browse image in sensor geometry."""
    layouts: dict[str, Callable[[Granule], VirtualNetcdf]] = {
        "L1B_RAD": radiance_file,
        "L1B_OBS": observation_file,
    }
    files: dict[str, Make] = {}
    for product, layout in layouts.items():
        name = f"{granule.name(product, '001')}.nc"
        files[name] = cache(partial(_netcdf, name, granule, layout, renderer))
    browse = f"{granule.name('L1B_RAD', '001')}.png"
    return files | {browse: cache(partial(_browse, granule))}


def ch4enh_files(granule: Granule, renderer: TileRenderer) -> Mapping[str, Make]:
    """Enhancement, uncertainty, sensitivity and a browse image on the map."""
    files: dict[str, Make] = {}
    for product, layer in _LAYERS.items():
        name = f"{granule.name(f'L2B_{product}', '002')}.tif"
        files[name] = cache(partial(_layer, name, granule, layer, renderer))
    browse = f"{granule.name('L2B_CH4ENH', '002')}.png"
    return files | {browse: cache(partial(_browse, granule))}


def ch4plm_files(plume: PlumeComplex, renderer: TileRenderer) -> Mapping[str, Make]:
    """The crop, its metadata and a browse image."""

    def crop() -> Stored:
        name, published = f"{plume.name}.tif", plume.granule.published
        return cog_object(name, plume.spec, plume.paint, renderer, published)

    def metadata() -> Stored:
        content = partial(_json, plume)
        return Document(content, plume.granule.published, "application/json")

    return {
        f"{plume.name}.tif": cache(crop),
        f"{plume.named('CH4PLMMETA')}.json": cache(metadata),
        f"{plume.name}.png": cache(partial(_browse, plume.granule)),
    }


def _netcdf(
    name: str, granule: Granule, layout: Callable[[Granule], VirtualNetcdf], renderer: TileRenderer
) -> Stored:
    return NetcdfObject(name, layout(granule), renderer, granule.published)


def _layer(name: str, granule: Granule, layer: Layer, renderer: TileRenderer) -> Stored:
    ortho = granule.swath.ortho
    spec = RasterSpec(
        epsg=4326,
        geographic=True,
        origin=(ortho.left, ortho.top),
        pixel=(ortho.degrees, ortho.degrees),
        shape=(ortho.height, ortho.width),
        dtype="float32",
        nodata=NODATA,
    )
    return cog_object(name, spec, partial(_painted, granule, layer), renderer, granule.published)


def _painted(granule: Granule, layer: Layer, window: Window) -> Pixels:
    """Pixels of a decimation are pixels of the full map, as the archive's overviews are not."""
    geometry, at = geometry_of(granule), window.places
    values = layer(maps_of(granule))[geometry.line[at], geometry.column[at]]
    return np.where(geometry.inside[at], values, np.float32(NODATA))


def _browse(granule: Granule) -> Stored:
    return Document(partial(_png, granule), granule.published, "image/png")


def _png(granule: Granule) -> bytes:
    """A grey picture of the enhancement; black where there is none."""
    from PIL import Image

    values = maps_of(granule).enhancement[::_BROWSE_STEP, ::_BROWSE_STEP]
    shown = np.clip(values / _FULL_PPM_M, 0, 1) * 255
    buffer = io.BytesIO()
    Image.fromarray(shown.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _json(plume: PlumeComplex) -> bytes:
    return json.dumps(plume.metadata()).encode()
