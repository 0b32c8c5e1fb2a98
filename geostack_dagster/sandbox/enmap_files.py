"""Files of EnMAP's scenes as DLR holds them, by the keys that its Items give them.

`SUFFIXES` names the files after the id of the scene; `enmap_files` makes them.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.cog import Painter, Pixels, RasterSpec, Window
from geostack_dagster.sandbox.enmap_pixels import OUTSIDE_CLASS, SCALE, EnmapView
from geostack_dagster.sandbox.enmap_scenes import NODATA, PIXEL_M, SHAPE, Scene
from geostack_dagster.sandbox.instruments import enmap_bands
from geostack_dagster.sandbox.objects import Document, Make, Stored, TileRenderer, cog_object

SUFFIXES: Mapping[str, str] = {
    "metadata": "METADATA.XML",
    "image": "SPECTRAL_IMAGE_COG.TIF",
    "vnir": "QL_VNIR_COG.TIF",
    "thumbnail": "QL_VNIR_COG_thumbnail.jpg",
    "swir": "QL_SWIR_COG.TIF",
    "quality_classes": "QL_QUALITY_CLASSES_COG.TIF",
    "quality_cloud": "QL_QUALITY_CLOUD_COG.TIF",
    "quality_cloud_shadow": "QL_QUALITY_CLOUDSHADOW_COG.TIF",
    "quality_haze": "QL_QUALITY_HAZE_COG.TIF",
    "quality_cirrus": "QL_QUALITY_CIRRUS_COG.TIF",
    "quality_snow": "QL_QUALITY_SNOW_COG.TIF",
    "quality_testflags": "QL_QUALITY_TESTFLAGS_COG.TIF",
    "defective_pixel_mask": "QL_PIXELMASK_COG.TIF",
}
"""What follows the id of a scene and a hyphen, by asset key."""
_FLAGS = {
    "quality_cloud": "cloud",
    "quality_cloud_shadow": "cloudshadow",
    "quality_haze": "haze",
    "quality_snow": "snow",
}
_EMPTY = ("quality_cirrus", "quality_testflags")
# Wavelengths [nm] shown as red, green, blue.
_COLOURS = {"vnir": (640.0, 550.0, 470.0), "swir": (2200.0, 1650.0, 1050.0)}
_FULL_REFLECTANCE = 0.4
_THUMBNAIL_STEP = 4


def file_name(scene: Scene, key: str) -> str:
    """Name of the file of an asset."""
    return f"{scene.id}-{SUFFIXES[key]}"


def enmap_files(scene: Scene, renderer: TileRenderer) -> Mapping[str, Make]:
    """Every file of a scene, by asset key."""
    view = EnmapView(scene=scene)
    plain = _spec(scene)

    def image(key: str, paint: Painter, spec: RasterSpec = plain) -> Make:
        return cache(partial(_cog, scene, key, spec, paint, renderer))

    each_band = replace(plain, samples=enmap_bands().wavelength_nm.size, has_planes=True)
    files: dict[str, Make] = {
        "image": image("image", view.reflectance, replace(each_band, dtype="int16", nodata=NODATA)),
        "quality_classes": image(
            "quality_classes", view.classes, replace(plain, nodata=OUTSIDE_CLASS)
        ),
        "defective_pixel_mask": image("defective_pixel_mask", _nothing, each_band),
        "metadata": cache(partial(_document, scene, partial(_xml, scene), "application/xml")),
        "thumbnail": cache(partial(_document, scene, partial(_jpeg, view), "image/jpeg")),
    }
    files |= {key: image(key, partial(view.flags, what)) for key, what in _FLAGS.items()}
    files |= {key: image(key, _nothing) for key in _EMPTY}
    colours = replace(plain, samples=4)
    files |= {key: image(key, partial(_quicklook, view, key), colours) for key in _COLOURS}
    return {key: files[key] for key in SUFFIXES}


def _spec(scene: Scene) -> RasterSpec:
    return RasterSpec(
        epsg=scene.epsg,
        geographic=False,
        origin=scene.origin,
        pixel=(PIXEL_M, PIXEL_M),
        shape=SHAPE,
        dtype="uint8",
        nodata=None,
    )


def _cog(
    scene: Scene, key: str, spec: RasterSpec, paint: Painter, renderer: TileRenderer
) -> Stored:
    return cog_object(file_name(scene, key), spec, paint, renderer, scene.published)


def _document(scene: Scene, make: Callable[[], bytes], media: str) -> Stored:
    return Document(make, scene.published, media)


def _nothing(window: Window) -> Pixels:
    return np.zeros((window.height, window.width), np.uint8)


def _quicklook(view: EnmapView, key: str, window: Window) -> NDArray[np.uint8]:
    """Red, green, blue and opacity."""
    centres = enmap_bands().wavelength_nm
    layers = []
    for wavelength in _COLOURS[key]:
        band = int(np.abs(centres - wavelength).argmin())
        counts = view.reflectance(replace(window, sample=band))
        layers.append(np.clip(counts * (SCALE * 255 / _FULL_REFLECTANCE), 0, 255))
    layers.append(np.where(counts == NODATA, 0, 255))
    return np.stack(layers, axis=-1).astype(np.uint8)


def _jpeg(view: EnmapView) -> bytes:
    from PIL import Image

    step = _THUMBNAIL_STEP
    window = Window(step=step, row=0, column=0, height=SHAPE[0] // step, width=SHAPE[1] // step)
    buffer = io.BytesIO()
    Image.fromarray(_quicklook(view, "vnir", window)[..., :3].copy()).save(buffer, "JPEG")
    return buffer.getvalue()


def _xml(scene: Scene) -> bytes:
    """The part of METADATA.XML that describes the bands."""
    root = ET.Element("level_X")
    base = ET.SubElement(root, "base")
    ET.SubElement(base, "level").text = "L2A"
    ET.SubElement(base, "format").text = "GeoTIFF+Metadata"
    specific = ET.SubElement(root, "specific")
    ET.SubElement(specific, "datatakeStart").text = f"{scene.start:%Y-%m-%dT%H:%M:%S.%fZ}"
    ET.SubElement(specific, "backgroundValue").text = str(NODATA)
    described = ET.SubElement(specific, "bandCharacterisation")
    bands = enmap_bands()
    pairs = zip(bands.wavelength_nm, bands.fwhm_nm, strict=True)
    for number, (centre, width) in enumerate(pairs, start=1):
        band = ET.SubElement(described, "bandID", number=str(number))
        ET.SubElement(band, "wavelengthCenterOfBand").text = f"{centre:g}"
        ET.SubElement(band, "FWHMOfBand").text = f"{width:g}"
        ET.SubElement(band, "GainOfBand").text = str(SCALE)
        ET.SubElement(band, "OffsetOfBand").text = "0"
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written
