"""EnMAP's files hold the world's reflectance in DLR's layout, with the day's methane left in."""

import json
from dataclasses import replace
from datetime import date
from functools import cache
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rasterio.io import MemoryFile

from geostack_dagster.domain.grid import Grid
from geostack_dagster.providers.enmap_bands import BANDS
from geostack_dagster.sandbox.cog import VirtualCog, Window
from geostack_dagster.sandbox.enmap_files import SUFFIXES, enmap_files, file_name
from geostack_dagster.sandbox.enmap_pixels import EMPTY_BANDS, EnmapView
from geostack_dagster.sandbox.enmap_scenes import NODATA, PIXEL_M, SCENES, SHAPE
from geostack_dagster.sandbox.instruments import enmap_bands
from geostack_dagster.sandbox.objects import CogObject, TileRenderer
from geostack_dagster.sandbox.world import World
from tests.sandbox.stored import content

CLEAR, CLOUDY, PLUME = (
    next(one for one in SCENES if (one.aoi, one.day) == wanted)
    for wanted in (
        ("rio_cuarto", date(2024, 6, 3)),
        ("emmental", date(2024, 6, 8)),
        ("rio_cuarto", date(2024, 6, 13)),
    )
)
WORLD = World()
RECORDED = "ENMAP01-____L2A-DT0000140097_20250708T104407Z_001_V010502_20250709T035921Z"
MIDDLE = Window(step=1, row=150, column=150, height=100, width=120)


@pytest.fixture(scope="module")
def renderer():
    made = TileRenderer(256 << 20)
    yield made
    made.close()


def grid(scene) -> Grid:
    """The pixels of `MIDDLE`."""
    left, top = scene.origin
    return Grid(
        crs=f"EPSG:{scene.epsg}",
        resolution=PIXEL_M,
        left=left + MIDDLE.column * PIXEL_M,
        top=top - MIDDLE.row * PIXEL_M,
        width=MIDDLE.width,
        height=MIDDLE.height,
    )


@cache
def view_of(scene) -> EnmapView:
    return EnmapView(scene=scene)


def counts(scene, band: int) -> np.ndarray:
    return view_of(scene).reflectance(replace(MIDDLE, sample=band))


def test_files_are_named_as_recorded_ones(shared_fixtures, renderer):
    item = json.loads(
        (shared_fixtures / "items" / "dlr" / "ENMAP_HSI_L2A" / f"{RECORDED}.json").read_text()
    )
    suffixes = {
        key: asset["href"].rsplit("/", 1)[1].removeprefix(f"{RECORDED}-")
        for key, asset in item["assets"].items()
    }
    assert dict(SUFFIXES) == suffixes
    assert list(enmap_files(CLEAR, renderer)) == list(suffixes)
    assert file_name(PLUME, "image") == f"{PLUME.id}-SPECTRAL_IMAGE_COG.TIF"
    parts, recorded = PLUME.id.split("_"), RECORDED.split("_")
    assert [len(part) for part in parts] == [len(part) for part in recorded]


def test_the_image_has_a_plane_for_each_band(renderer):
    """A band costs its own tiles only; GDAL finds the planes where the header says."""
    image = enmap_files(CLEAR, renderer)["image"]()
    assert isinstance(image, CogObject)
    assert image.layout.spec.samples == 224
    one_plane = replace(image.layout.spec, samples=3)
    few = CogObject("few", VirtualCog(one_plane), image.paint, renderer, image.modified)
    with MemoryFile(content(few)) as memory, memory.open() as source:
        assert source.dtypes == ("int16",) * 3
        assert source.nodata == NODATA
        assert source.transform[:6] == CLEAR.transform
        assert source.crs.to_epsg() == CLEAR.epsg
        found = source.read()
    whole = Window(step=1, row=0, column=0, height=SHAPE[0], width=SHAPE[1])
    for band in range(3):
        wanted = view_of(CLEAR).reflectance(replace(whole, sample=band))
        np.testing.assert_array_equal(found[band], wanted)
    corner, middle = found[:, :20, :20], found[:, 190:210, 190:210]
    assert (corner == NODATA).all()
    assert (middle > 0).all()


@pytest.mark.parametrize("scene", [CLEAR, CLOUDY], ids=["clear", "cloudy"])
def test_reflectance_is_the_worlds(scene):
    bands = enmap_bands().wavelength_nm
    chosen = [10, 60, 90, 110, 160, 200, 220]
    truth = WORLD.spectrum(grid(scene), bands[chosen], scene.start)
    for place, band in enumerate(chosen):
        error = counts(scene, band) * 1e-4 - truth[..., place]
        assert abs(error.mean()) < 2e-4
        assert error.std() < 0.004
        assert len(np.unique(error.round(6))) > 1000


def test_red_and_infrared_agree_with_sentinel2():
    """The same world: what differs is the pixel and the band's centre."""
    bands = enmap_bands().wavelength_nm
    for name, nearest in (("B04", 664.6), ("B08", 832.8), ("B11", 1613.7)):
        band = int(np.abs(bands - nearest).argmin())
        other = WORLD.reflectance(name, grid(CLEAR), CLEAR.start)
        ours = counts(CLEAR, band) * 1e-4
        assert np.corrcoef(ours.ravel(), other.ravel())[0, 1] > 0.9
        assert_allclose(ours.mean(), other.mean(), rtol=0.05)


def test_a_plume_darkens_the_bands_of_methane():
    view, bands = view_of(PLUME), enmap_bands()
    truth = WORLD.spectrum(grid(PLUME), bands.wavelength_nm, PLUME.start)
    column = WORLD.methane(grid(PLUME), PLUME.start, samples=2)
    strong = column > 2000
    assert strong.sum() > 100
    passed = bands.transmittance(column[strong], view.air_mass_factor)
    for wavelength, least in ((2300.0, 0.03), (1666.0, 0.003), (2050.0, 0.0), (865.0, 0.0)):
        band = int(np.abs(bands.wavelength_nm - wavelength).argmin())
        ratio = (counts(PLUME, band) * 1e-4)[strong].sum() / truth[..., band][strong].sum()
        if band in range(*bands.absorbing.indices(224)):
            light = truth[..., band][strong]
            weights = passed[:, band - bands.absorbing.start]
            assert_allclose(ratio, (light * weights).sum() / light.sum(), atol=0.004)
        assert 1 - ratio > least - 0.004
        assert 1 - ratio < 0.3


def test_bands_without_data_are_six(renderer):
    around = range(EMPTY_BANDS.start - 3, EMPTY_BANDS.stop + 3)
    inside = [index for index in around if (counts(CLEAR, index) == NODATA).all()]
    assert inside == list(EMPTY_BANDS)
    assert [BANDS[index][0] for index in (inside[0], inside[-1])] == [1330.86, 1390.48]
    described = ET.fromstring(content(enmap_files(CLEAR, renderer)["metadata"]()))
    centres = [float(one.text) for one in described.iter("wavelengthCenterOfBand")]
    assert centres == [centre for centre, _ in BANDS]


def test_quality_layers_say_what_the_world_is(renderer):
    layers = {}
    for key in ("quality_classes", "quality_cloud", "quality_cloud_shadow", "quality_snow"):
        with (
            MemoryFile(content(enmap_files(CLOUDY, renderer)[key]())) as memory,
            memory.open() as source,
        ):
            layers[key] = source.read(1)
    seen = layers["quality_classes"] != 3
    assert 0.5 < seen.mean() < 0.8
    assert abs(100 * layers["quality_cloud"][seen].mean() - CLOUDY.cloud_cover) < 3
    np.testing.assert_array_equal(
        layers["quality_classes"][seen] == 0, layers["quality_cloud"][seen] == 1
    )
    assert not (layers["quality_cloud"] & layers["quality_cloud_shadow"]).any()
    assert layers["quality_cloud_shadow"].any()
    assert {0, 1, 2} <= set(np.unique(layers["quality_classes"]))
