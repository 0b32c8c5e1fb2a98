"""EMIT's files are ordinary netCDF-4 and GeoTIFF, and hold the world's truth and nothing more."""

import json
import random
import warnings
from datetime import date

import h5py
import numpy as np
import pytest
import rasterio
import shapely
from numpy.testing import assert_allclose
from pyproj import Geod
from rasterio.io import MemoryFile

from geostack_dagster.inference.absorption import methane_surrogate
from geostack_dagster.inference.enhancement import Retrieval, retrieve_enhancement
from geostack_dagster.inference.geolocation import orthorectify
from geostack_dagster.inference.target import methane_target
from geostack_dagster.sandbox.absorption import AIR_MASS_OF_TABLE
from geostack_dagster.sandbox.emit_files import ch4enh_files, ch4plm_files, l1b_files
from geostack_dagster.sandbox.emit_maps import NODATA, geometry_of, maps_of
from geostack_dagster.sandbox.emit_netcdf import OBSERVATIONS, radiance_file
from geostack_dagster.sandbox.emit_plumes import COMPLEXES
from geostack_dagster.sandbox.emit_radiance import EmitView, composition_of, methane_column
from geostack_dagster.sandbox.emit_scenes import GRANULES
from geostack_dagster.sandbox.instruments import emit_bands, emit_noise
from geostack_dagster.sandbox.objects import TileRenderer
from geostack_dagster.sandbox.plumes import emissions
from tests.sandbox.stored import RangeFile, content

PLUME, EMPTY, SOUTHERN = (
    next(one for one in GRANULES if (one.aoi, one.day) == wanted)
    for wanted in (
        ("emmental", date(2024, 6, 3)),
        ("emmental", date(2024, 6, 8)),
        ("rio_cuarto", date(2024, 6, 13)),
    )
)


@pytest.fixture(scope="module")
def renderer():
    made = TileRenderer(256 << 20)
    yield made
    made.close()


@pytest.fixture(scope="module")
def radiance(renderer):
    return l1b_files(PLUME, renderer)[f"{PLUME.name('L1B_RAD', '001')}.nc"]()


def test_granules_are_named_as_the_archive_names_them():
    assert PLUME.name("L1B_RAD", "001").startswith("EMIT_L1B_RAD_001_20240603T103405_2415507_")
    assert len({granule.stamp for granule in GRANULES}) == len(GRANULES) == 19
    for granule in GRANULES:
        assert 20 < granule.sun[0] < 65
        assert 0 <= granule.cloud_cover <= 100


def test_h5py_reads_a_window_by_ranges(radiance):
    """A hyperslab costs its own bytes: no reader needs the whole file."""
    source = RangeFile(radiance)
    with h5py.File(source, "r") as file:
        assert set(file) >= {"radiance", "location", "sensor_band_parameters"}
        assert set(file["location"]) == {"lon", "lat", "elev", "glt_x", "glt_y"}
        assert_allclose(
            file["sensor_band_parameters/wavelengths"], emit_bands().wavelength_nm, rtol=1e-6
        )
        data = file["radiance"]
        assert data.shape == (512, 400, 285)
        assert data.chunks is None
        window = data[100:110, 200:220, 150:]
    view = EmitView(granule=PLUME)
    wanted = view.radiance(slice(96, 128), slice(200, 250))[4:14, :20, 150:]
    np.testing.assert_array_equal(window, wanted)
    assert radiance.size > 233e6
    assert source.fetched < 2e6


def test_any_range_is_the_same_bytes_whoever_asks(radiance):
    """Another process, with caches of its own and reading in another order, sees the same file."""
    other_renderer = TileRenderer(64 << 20)
    other = l1b_files(PLUME, other_renderer)[f"{PLUME.name('L1B_RAD', '001')}.nc"]()
    assert (other.size, other.etag) == (radiance.size, radiance.etag)
    drawn = random.Random(3)
    for _ in range(5):
        start = drawn.randrange(radiance.size - 1)
        stop = min(start + drawn.randrange(1, 300_000), radiance.size)
        whole = content(radiance, start, stop)
        middle = drawn.randrange(start, stop)
        assert content(other, middle, stop) == whole[middle - start :]
        assert content(other, start, middle) == whole[: middle - start]
    assert content(other, 0, 4096) == content(radiance, 0, 4096)
    other_renderer.close()


def read_by_gdal(file):
    """Facts of the observations, and longitudes: GDAL takes the last row for the southern one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(f"netcdf:{file}:obs") as source:
            facts = source.shape, source.count, source.nodata, source.tags()
        with rasterio.open(f"netcdf:{file}:/location/lon") as source:
            return facts, (source.read(1)[::-1],)


def test_an_independent_netcdf_library_reads_it(renderer, tmp_path):
    """GDAL reads through libnetcdf: dimensions, groups and fill values are what it expects."""
    file = tmp_path / "obs.nc"
    made = l1b_files(PLUME, renderer)[f"{PLUME.name('L1B_OBS', '001')}.nc"]()
    file.write_bytes(content(made))
    (shape, count, nodata, tags), (lon,) = read_by_gdal(file)
    assert (shape, count, nodata) == ((512, 400), 11, -9999)
    assert tags["NC_GLOBAL#flight_line"].startswith("emit20240603t103405_o15507_s")
    lines, columns = np.mgrid[:512, :400].astype(float)
    assert_allclose(lon, PLUME.swath.degrees(lines, columns)[0], rtol=1e-12)
    with h5py.File(file, "r") as opened:
        names = opened["sensor_band_parameters/observation_bands"].asstr()[:]
        assert tuple(names) == OBSERVATIONS
        zenith = opened["obs"][256, 200, OBSERVATIONS.index(OBSERVATIONS[4])]
        assert_allclose(zenith, PLUME.sun[0], rtol=1e-6)
        assert opened["obs"].dims[0][0].name == "/downtrack"


def test_the_geometry_table_leads_to_the_nearest_pixel():
    granule, ortho = PLUME, PLUME.swath.ortho
    layers = {one.name: one for one in radiance_file(granule).variables if one.paint}
    rows, columns = slice(0, ortho.height), slice(0, ortho.width)
    column, line = (layers[f"location/glt_{axis}"].paint(rows, columns) for axis in "xy")
    assert (column > 0).mean() > 0.4
    assert (np.diff(column[300][column[300] > 0]) != 0).any()
    lon = ortho.left + (np.arange(ortho.width) + 0.5) * ortho.degrees
    lat = ortho.top - (np.arange(ortho.height) + 0.5) * ortho.degrees
    seen = np.argwhere(column > 0)[::997]
    there = granule.swath.degrees(line[tuple(seen.T)] - 1.0, column[tuple(seen.T)] - 1.0)
    _, _, apart = Geod(ellps="WGS84").inv(lon[seen[:, 1]], lat[seen[:, 0]], *there)
    assert max(apart) < 45  # half the diagonal of a pixel of 60 m, and a little for the sway
    every = np.unique(line[column > 0].astype(np.int64) * 1000 + column[column > 0])
    assert every.size > 0.97 * 512 * 400


def test_noise_is_what_the_instrument_states():
    view = EmitView(granule=EMPTY)
    window = slice(0, 128), slice(100, 150)
    light = view.light(*window)
    departure = (view.radiance(*window) - light) / emit_noise(light, emit_bands().wavelength_nm)
    assert abs(departure.mean()) < 0.005
    assert_allclose(departure.std(), 1, atol=0.005)
    neighbours = (departure[:, 1:] * departure[:, :-1]).mean()
    assert abs(neighbours) < 0.005


def test_radiance_looks_like_radiance():
    light = EmitView(granule=EMPTY).light(slice(0, 512, 8), slice(0, 400, 8))
    bands = emit_bands().wavelength_nm
    typical = {550: (3, 12), 860: (4, 14), 1240: (1.5, 6), 1380: (0, 0.1), 1650: (0.5, 2.5),
               2200: (0.1, 1.0)}  # fmt: skip
    for wavelength, (low, high) in typical.items():
        median = np.median(light[..., np.abs(bands - wavelength).argmin()])
        assert low < median < high, wavelength


@pytest.mark.parametrize("granule", [PLUME, SOUTHERN], ids=["north", "south"])
def test_an_independent_filter_finds_the_mass_of_the_plume(granule):
    """The forward model saturates and sees slant columns; the filter knows neither."""
    truth = methane_column(granule)
    columns = np.flatnonzero((truth > 300).any(axis=0))
    window = slice(max(columns[0] - 6, 0), columns[0] + 60)
    view, bands = EmitView(granule=granule), emit_bands()
    scene = composition_of(granule)
    clear = (scene.shares[-1] < 0.05)[:, window] & (scene.shares[6] < 0.3)[:, window]
    found = retrieve_enhancement(
        view.radiance(slice(0, 512), window),
        methane_target(methane_surrogate(), bands.wavelength_nm, bands.fwhm_nm),
        Retrieval(),
        usable=clear,
    )
    column = found.corrected / (view.air_mass_factor / AIR_MASS_OF_TABLE)
    inside = clear & (truth[:, window] > 500) & np.isfinite(column)
    assert inside.sum() > 150
    assert_allclose(column[inside].sum(), truth[:, window][inside].sum(), rtol=0.1)
    empty = clear & (truth[:, window] < 1) & np.isfinite(column)
    assert 150 < column[empty].std() < 500
    assert abs(column[empty].mean()) < 15


@pytest.mark.parametrize("granule", [PLUME, EMPTY], ids=["plume", "empty"])
def test_the_archives_maps_are_truth_and_noise(granule):
    maps, scene = maps_of(granule), composition_of(granule)
    seen = maps.enhancement != NODATA
    np.testing.assert_array_equal(seen, maps.sensitivity != NODATA)
    truth = 0.0 if scene.column_ppm_m is None else scene.column_ppm_m
    departure = (maps.enhancement - maps.sensitivity * truth)[seen]
    sigma = (maps.uncertainty * maps.sensitivity)[seen]
    assert_allclose((departure / sigma).std(), 1, atol=0.05)
    assert abs(departure.mean()) < 5
    assert 300 < np.median(maps.uncertainty[seen]) < 700
    assert_allclose(maps.sensitivity[seen].mean(), 1, atol=0.1)


def test_maps_on_the_ground_are_those_of_the_sensor(renderer):
    files = ch4enh_files(PLUME, renderer)
    assert [name[:18] for name in files][:3] == [
        "EMIT_L2B_CH4ENH_00", "EMIT_L2B_CH4UNCERT", "EMIT_L2B_CH4SENS_0"
    ]  # fmt: skip
    table, ortho = geometry_of(PLUME), PLUME.swath.ortho
    glt = [
        np.where(table.inside, part.astype(np.int32) + 1, 0) for part in (table.column, table.line)
    ]
    maps = maps_of(PLUME)
    for name, layer in zip(
        files, (maps.enhancement, maps.uncertainty, maps.sensitivity), strict=False
    ):
        with MemoryFile(content(files[name]())) as memory, memory.open() as source:
            assert source.crs.to_epsg() == 4326
            assert source.dtypes == ("float32",)
            assert source.nodata == -9999
            assert source.transform[:6] == pytest.approx(
                (0.000542232520256367, 0, ortho.left, 0, -0.000542232520256367, ortho.top)
            )
            np.testing.assert_array_equal(source.read(1), orthorectify(layer, *glt, fill=NODATA))


def test_plume_complexes_are_crops_of_the_enhancement(renderer, shared_fixtures):
    recorded = json.loads(
        (shared_fixtures / "plume" / "EMIT_L2B_CH4PLMMETA_002_3374.geojson").read_text()
    )
    plume = COMPLEXES[0]
    assert plume.granule is PLUME
    files = ch4plm_files(plume, renderer)
    whole = geometry_of(PLUME).ortho(maps_of(PLUME).enhancement)
    with MemoryFile(content(files[f"{plume.name}.tif"]())) as memory, memory.open() as source:
        crop, (left, _, _, top) = source.read(1), source.bounds
    size = PLUME.swath.ortho.degrees
    row, column = (
        round((PLUME.swath.ortho.top - top) / size),
        round((left - PLUME.swath.ortho.left) / size),
    )
    same = whole[row : row + crop.shape[0], column : column + crop.shape[1]]
    inside = crop != NODATA
    np.testing.assert_array_equal(crop[inside], same[inside])
    assert inside.sum() > 200
    made = json.loads(content(files[plume.named("CH4PLMMETA") + ".json"]()))
    assert made["features"][0]["properties"].keys() == recorded["features"][0]["properties"].keys()
    assert made["crs"] == recorded["crs"]
    outline = shapely.from_geojson(json.dumps(made["features"][0]["geometry"]))
    assert outline.is_valid
    assert outline.buffer(size).contains(shapely.Point(plume.emission.source.degrees))
    assert_allclose(outline.area, inside.sum() * size**2, rtol=0.15)
    peak = made["features"][0]["properties"]["Max Plume Concentration (ppm m)"]
    assert peak == round(float(crop.max()))


def test_every_emission_is_listed_and_nothing_else():
    listed = {(one.granule.aoi, one.granule.day) for one in COMPLEXES}
    emitted = {
        (active.source.name, granule.day)
        for granule in GRANULES
        for active in emissions(granule.day)
        if active.source.name in {one.aoi for one in GRANULES}  # EMIT does not see the desert
    }
    assert listed == emitted
    assert all(one.outline.geom_type == "Polygon" for one in COMPLEXES)
