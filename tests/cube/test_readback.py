"""Others read the cubes: xarray, rioxarray and GDAL find values, CRS, scale and nodata."""

import dataclasses
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from pyproj import CRS

from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.store import CubeStore, open_store
from geostack_dagster.domain.grid import Grid
from tests.cube import scenes

assert rioxarray


@pytest.fixture
def written(store: CubeStore) -> CubeStore:
    scenes.write(store, {0: 1, 2: 2}, "made", span=scenes.window(0, 7))
    return store


def test_the_cube_is_lazy_and_of_one_snapshot(versioned: CubeStore):
    scenes.write(versioned, {0: 1}, "one")
    cube = versioned.open("surface", decode=False)
    scenes.write(versioned, {0: 2}, "two")
    np.testing.assert_array_equal(cube.B04[0], scenes.pixels(1)["B04"])
    np.testing.assert_array_equal(
        versioned.open("surface", decode=False).B04[0], scenes.pixels(2)["B04"]
    )


def test_bookkeeping_reads_as_coordinates(written: CubeStore):
    cube = written.open("surface")
    assert set(cube.data_vars) == {"B04", "ndvi"}
    held = cube.isel(time=np.flatnonzero(cube.item_count > 0))
    assert held.time.values.astype("datetime64[D]").tolist() == [scenes.day(0), scenes.day(2)]
    assert held.fingerprint.values.tolist() == ["slot-1", "slot-2"]
    assert held.acquired.values[0] == np.datetime64("2024-01-01T10:30:05.123456")
    assert np.isnat(cube.acquired.values[1])
    assert math.isnan(cube.coverage.values[1])


def test_it_can_be_dask_backed_and_pickled(written: CubeStore):
    cube = pickle.loads(pickle.dumps(written.open("surface", chunks={}, decode=False)))
    assert cube.B04.chunks[1:] == ((4, 3), (4, 4, 2))
    np.testing.assert_array_equal(cube.B04.isel(time=2), scenes.pixels(2)["B04"])


def test_attributes_are_flat_as_netcdf_wants_them(written: CubeStore):
    for value in written.open("surface").attrs.values():
        assert not isinstance(value, dict)
        assert np.asarray(value).dtype.kind in "Uif"


def test_rioxarray_finds_crs_and_transform(written: CubeStore):
    band = written.open("surface").B04.isel(time=0)
    assert band.rio.crs.to_epsg() == 32632
    assert band.rio.transform()[:6] == scenes.GRID.transform
    assert band.rio.bounds() == scenes.GRID.bounds
    assert math.isnan(band.rio.nodata)
    assert band.rio.encoded_nodata == 0


def test_plain_xarray_reads_the_plain_store(tmp_path: Path):
    store = open_store(str(tmp_path / "cube"), kind="zarr")
    store.ensure(scenes.SCHEMA)
    scenes.write(store, {0: 1}, "made")
    cube = xr.open_zarr(tmp_path / "cube", group="surface", consolidated=False, chunks=None)
    assert set(cube.data_vars) == {"B04", "ndvi"}
    assert cube.rio.crs.to_epsg() == 32632
    np.testing.assert_array_equal(cube.ndvi[0], scenes.pixels(1)["ndvi"])


def test_gdal_reads_the_plain_store(tmp_path: Path):
    store = open_store(str(tmp_path / "cube"), kind="zarr")
    store.ensure(scenes.SCHEMA)
    scenes.write(store, {3: 1}, "made")
    with rasterio.open(f'ZARR:"{tmp_path}/cube":/surface/B04:3') as band:
        assert band.crs.to_epsg() == 32632
        assert band.transform[:6] == scenes.GRID.transform
        assert (band.nodata, band.scales, band.offsets) == (0, (1e-4,), (-0.1,))
        np.testing.assert_array_equal(band.read(1), scenes.pixels(1)["B04"])
    with rasterio.open(f'ZARR:"{tmp_path}/cube":/surface/ndvi:3') as band:
        np.testing.assert_array_equal(band.read(1), scenes.pixels(1)["ndvi"])


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3413", "EPSG:3031", "EPSG:6933", "EPSG:32733"])
def test_any_crs_reads_back(tmp_path: Path, crs: str):
    resolution = 0.001 if crs == "EPSG:4326" else 20.0
    grid = Grid(crs=crs, resolution=resolution, left=1.0, top=2.0, width=6, height=5)
    schema = CubeSchema(
        name="any",
        grid=grid,
        start=scenes.START,
        variables=(Variable(name="v", dtype="uint8", fill_value=0),),
    )
    store = open_store(str(tmp_path / "cube"), kind="zarr")
    store.ensure(schema)
    cube = store.open("any")
    assert CRS(cube.rio.crs) == CRS(crs)
    np.testing.assert_allclose(cube.rio.transform()[:6], grid.transform)
    with rasterio.open(f'ZARR:"{tmp_path}/cube":/any/v:0') as band:
        assert CRS(band.crs) == CRS(crs)
        np.testing.assert_allclose(band.transform[:6], grid.transform)


def test_a_chunk_larger_than_the_grid_is_the_grid(tmp_path: Path):
    schema = dataclasses.replace(scenes.SCHEMA, chunk=(512, 512))
    assert schema.chunk == (7, 10)
    store = open_store(str(tmp_path / "cube"))
    store.ensure(schema)
    assert scenes.write(store, {0: 1}, "made").chunks == 2
    scenes.assert_holds(store, {0: 1})
