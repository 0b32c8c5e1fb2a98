"""One contract for all loaders."""

import logging
import pickle
from dataclasses import replace

import dask
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 (the accessor `rio`)
import xarray as xr

from geostack_dagster.domain.hrefs import SIGNATURE
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.stack.load import coordinates, decode, open_stack
from geostack_dagster.stack.loaders import LOADERS

SMALL = {"y": 200, "x": 200}


@pytest.fixture(params=LOADERS)
def loader(request):
    return request.param


def values(recipe, signer, loader, band="B04", **options):
    return open_stack(recipe, signer=signer, loader=loader, **options)[band].compute().to_numpy()


def test_native_pixels_are_exact(kit, write, signer, loader):
    pixels = kit.unique(512, 512)
    recipe = kit.recipe([kit.item(assets={"B04": write("a.tif", pixels)})])
    for chunks in (SMALL, {"y": 512, "x": 512}, {"y": 100, "x": 333}):
        np.testing.assert_array_equal(values(recipe, signer, loader, chunks=chunks)[0], pixels)


def test_a_window_of_the_image_and_what_lies_beside_it(kit, write, signer, loader):
    pixels = kit.unique(512, 512)
    grid = replace(kit.grid, left=kit.grid.left - 300, top=kit.grid.top - 1000, width=100)
    recipe = kit.recipe([kit.item(assets={"B04": write("a.tif", pixels)})], grid=grid)
    found = values(recipe, signer, loader, chunks=SMALL)[0]
    wanted = np.zeros((512, 100), np.uint16)
    wanted[:412, 30:] = pixels[100:, :70]
    np.testing.assert_array_equal(found, wanted)


def test_baselines_are_aligned_before_they_are_laid_over_one_another(kit, write, signer, loader):
    """Two granules of one day, one with the -1000 offset; overlap and nodata in both."""
    old, new = kit.unique(512, 512, first=1), kit.unique(512, 512, first=3000)
    old[:, 300:] = 0
    new[:, :200] = 0
    items = [
        kit.item("B", {"B04": write("new.tif", new)}, baseline="05.11"),
        kit.item("A", {"B04": write("old.tif", old)}, baseline="03.01"),
    ]
    found = values(kit.recipe(items), signer, loader, chunks=SMALL)
    shifted = np.where(old != 0, np.minimum(old.astype(int) + 1000, 65535), 0)
    np.testing.assert_array_equal(found[0], np.where(shifted != 0, shifted, new))
    assert (found[0][:, :300] == shifted[:, :300]).all()


def test_the_first_acquisition_is_on_top_whatever_the_order_of_items(kit, write, signer, loader):
    first, second = kit.unique(512, 512, first=1), kit.unique(512, 512, first=999)
    items = [
        kit.item("A", {"B04": write("2.tif", second)}, when="2024-06-03T10:31:00Z"),
        kit.item("B", {"B04": write("1.tif", first)}, when="2024-06-03T10:30:00Z"),
    ]
    for order in (items, items[::-1]):
        found = values(kit.recipe(order), signer, loader)
        np.testing.assert_array_equal(found[0], first)


def test_bands_of_all_kinds_and_days_without_a_band(kit, write, signer, loader):
    red = kit.unique(512, 512)
    classes = kit.unique(512, 512, dtype="uint8")
    enhancement = kit.unique(512, 512, dtype="float32")
    enhancement[5:9, 7] = -9999
    items = [
        kit.item("A", {"B04": write("r.tif", red), "SCL": write("s.tif", classes)}),
        kit.item(
            "B",
            {"ENH": write("e.tif", enhancement, nodata=-9999)},
            when="2024-06-05T10:30:00Z",
        ),
    ]
    recipe = kit.recipe(items, bands=("B04", "SCL", "ENH"))
    found = open_stack(recipe, signer=signer, loader=loader, chunks={"time": 2, **SMALL}).compute()
    assert {name: str(found[name].dtype) for name in found} == {
        "B04": "uint16",
        "SCL": "uint8",
        "ENH": "float32",
    }
    np.testing.assert_array_equal(found.B04, [red, np.zeros_like(red)])
    np.testing.assert_array_equal(found.SCL, [classes, np.zeros_like(classes)])
    wanted = np.where(enhancement == -9999, np.nan, enhancement)
    np.testing.assert_array_equal(found.ENH, [np.full_like(wanted, np.nan), wanted])


def test_a_band_that_no_item_has(kit, write, signer, loader):
    red = kit.unique(512, 512)
    item = kit.item(assets={"B04": write("r.tif", red)})
    recipe = kit.recipe([item], bands=("B04", "B08", "SCL", "ENH"))
    assert len(recipe.skipped) == 3
    found = open_stack(recipe, signer=signer, loader=loader, chunks=SMALL).compute()
    np.testing.assert_array_equal(found.B04[0], red)
    assert (found.B08 == 0).all()
    assert (found.SCL == 0).all()
    assert np.isnan(found.ENH).all()


def test_class_codes_without_nodata_keep_their_zeros(kit, write, signer, loader):
    """0 is a class here; outside the image there is none, which must not look like class 0."""
    from geostack_dagster.domain.bands import Band, BandTable
    from geostack_dagster.stack.ask import make_recipe

    table = BandTable(
        (Band(name="QA", keys=("QA",), dtype="uint8", nodata=None, categorical=True),)
    )
    provider = kit.provider()
    collection = replace(provider.collections["s2"], bands=table)
    provider = replace(provider, collections={"s2": collection})
    classes = (np.arange(512 * 512) % 200).astype(np.uint8).reshape(512, 512)
    for crs, left, top in (
        ("EPSG:32632", kit.grid.left - 320, kit.grid.top),
        ("EPSG:32633", 127_600.0, 5_009_000.0),
    ):
        grid = replace(kit.grid, crs=crs, left=left, top=top)
        item = kit.item(assets={"QA": write("q.tif", classes, nodata=None)})
        recipe = make_recipe(provider, [item], ask=kit.ask(bands=("QA",), grid=grid))
        found = values(recipe, signer, loader, "QA", chunks=SMALL)[0]
        assert (found == 0).sum() > 100
        assert (found == 255).sum() > 512 * 32 - 1
        assert found[300, 300] != 255


def test_a_band_inside_a_file_of_several(kit, write, signer, loader):
    from geostack_dagster.domain.bands import Band, BandTable
    from geostack_dagster.stack.ask import make_recipe

    table = BandTable(
        tuple(
            Band(name=f"B{n}", keys=("image",), index=n, wavelength_nm=500.0 + n) for n in (1, 2, 3)
        )
    )
    provider = kit.provider()
    provider = replace(
        provider, collections={"s2": replace(provider.collections["s2"], bands=table)}
    )
    layers = np.stack([kit.unique(512, 512, first=n) for n in (1, 50, 900)])
    item = kit.item(assets={"image": write("cube.tif", layers)})
    recipe = make_recipe(provider, [item], ask=kit.ask(bands=("B3", "B2")))
    found = open_stack(recipe, signer=signer, loader=loader).compute()
    np.testing.assert_array_equal(found.B3[0], layers[2])
    np.testing.assert_array_equal(found.B2[0], layers[1])


def test_the_dataset_describes_itself(kit, write, signer, loader):
    recipe = kit.recipe(
        [
            kit.item("A", {"B04": write("a.tif", kit.unique(512, 512))}),
            kit.item("B", {"B04": write("b.tif", kit.unique(512, 512))}),
            kit.item("C", {"B04": write("c.tif", kit.unique(512, 512))}, when="2024-06-08T10:00Z"),
        ],
        snapshot="abc",
    )
    found = open_stack(recipe, signer=signer, loader=loader)
    assert found.B04.dims == ("time", "y", "x")
    assert found.B04.attrs["scale_factor"] == 1e-4
    assert found.B04.attrs["add_offset"] == -0.1
    assert found.B04.attrs["_FillValue"] == np.uint16(0)
    assert found.B04.attrs["units"] == "1"
    assert found.B04.attrs["long_name"] == "B04 red 664.6 nm"
    assert found.time.dtype == "datetime64[ns]"
    assert found.time.to_numpy().astype("datetime64[D]").astype(str).tolist() == [
        "2024-06-03",
        "2024-06-08",
    ]
    assert found.item_count.to_numpy().tolist() == [2, 1]
    assert str(found.acquired.to_numpy()[1]).startswith("2024-06-08T10:00")
    assert (found.x[0], found.y[0]) == (600005.0, 4999995.0)
    assert found.attrs["recipe"] == recipe.fingerprint
    assert found.rio.crs.to_epsg() == 32632
    assert tuple(found.rio.transform())[:6] == kit.grid.transform


def test_decoding_equals_what_xarray_makes_of_the_attributes(kit, write, signer, loader):
    pixels = kit.unique(512, 512)
    pixels[3, 4] = 0
    recipe = kit.recipe([kit.item(assets={"B04": write("a.tif", pixels)})])
    stack = open_stack(recipe, signer=signer, loader=loader)
    found = decode(stack)
    assert found.B04.dtype == np.float32
    assert dask.is_dask_collection(found.B04.data)
    np.testing.assert_allclose(
        found.B04, xr.decode_cf(stack.compute()).B04, rtol=0, atol=1e-6, equal_nan=True
    )
    assert np.isnan(found.B04[0, 3, 4])
    assert "_FillValue" not in found.B04.attrs


def test_nothing_is_read_before_compute(kit, archive, loader):
    hrefs = {f"B{n}": archive.put(f"/open/{n}.tif", b"") for n in range(3)}
    items = [kit.item(name, {"B04": href}) for name, href in hrefs.items()]
    stack = open_stack(kit.recipe(items), signer=kit.signer(), loader=loader)
    decode(stack)
    assert archive.requests == []


def test_metadata_without_projection_costs_one_header(kit, archive, loader):
    pixels = kit.unique(512, 512)
    href = archive.put("/open/a.tif", kit.tiff(pixels))
    bare = {"proj:shape": None, "proj:transform": None}
    recipe = kit.recipe(
        [kit.item(assets={"B04": href}, asset=bare, properties={"proj:epsg": None})]
    )
    assert recipe.items[0].sources["B04"].from_header == ("crs", "shape", "transform")
    stack = open_stack(recipe, signer=kit.signer(), loader=loader)
    assert 1 <= len(archive.requests) <= 3
    np.testing.assert_array_equal(stack.B04[0].compute(), pixels)


def test_graphs_and_pickles_hold_canonical_hrefs_only(kit, archive, loader):
    token = "abcdefghijklmnopqrstuvwxyz0123456789"
    archive.tokens = {token}
    href = archive.put("/closed/a.tif", kit.tiff(kit.unique(512, 512)))
    recipe = kit.recipe([kit.item(assets={"B04": f"{href}?sig={token}"})])
    stack = open_stack(recipe, signer=kit.signer(archive, token), loader=loader)
    stack.B04.isel(y=slice(0, 9)).compute()
    graph = stack.B04.__dask_graph__()
    content = pickle.dumps({key: graph[key] for key in graph})
    assert href.encode() in content
    assert token.encode() not in content
    assert b"sig=" not in content
    again = pickle.loads(pickle.dumps(stack))
    assert again.B04.shape == stack.B04.shape


def test_an_expired_token_is_renewed_in_the_middle_of_a_read(kit, archive, loader, caplog):
    caplog.set_level(logging.DEBUG)
    pixels = kit.unique(512, 512)
    href = archive.put("/closed/a.tif", kit.tiff(pixels))
    first, second = "a-first-token-that-dies-0123456789", "b-second-token-0123456789abcdef"
    archive.tokens = {first}
    signer = kit.signer(archive, first)
    stack = open_stack(
        kit.recipe([kit.item(assets={"B04": href})]), signer=signer, loader=loader, chunks=SMALL
    )
    np.testing.assert_array_equal(stack.B04[0, :200, :200].compute(), pixels[:200, :200])
    archive.tokens = {second}
    np.testing.assert_array_equal(stack.B04[0].compute(), pixels)
    assert signer.token == second
    assert signer.forgotten >= 1
    leaks = [record.getMessage() for record in caplog.records if first in record.getMessage()]
    assert [text for text in leaks if SIGNATURE.search(text)] == []


def test_headers_open_side_by_side(kit, archive, loader):
    """No lock around opening: 8 threads have 8 requests under way."""
    archive.latency_s = 0.1
    content = kit.tiff(kit.unique(512, 512))
    items = [
        kit.item(f"I{n}", {"B04": archive.put(f"/open/{n}.tif", content)}, when=f"2024-06-{n:02}")
        for n in range(1, 9)
    ]
    stack = open_stack(kit.recipe(items), signer=kit.signer(), loader=loader)
    with dask.config.set(scheduler="threads", num_workers=8):
        stack.B04.isel(y=slice(0, 64), x=slice(0, 64)).compute()
    assert archive.most_at_once >= 6


def test_an_empty_recipe_is_an_empty_stack(kit, signer, loader):
    stack = open_stack(kit.recipe([], bands=("B04", "SCL")), signer=signer, loader=loader)
    assert stack.sizes == {"time": 0, "y": 512, "x": 512}
    assert stack.B04.compute().dtype == np.uint16
    assert coordinates(kit.recipe([]))["time"][1].tolist() == []


def test_results_do_not_depend_on_gdal_options_around_the_read(kit, write, signer, loader):
    pixels = kit.unique(512, 512)
    recipe = kit.recipe([kit.item(assets={"B04": write("a.tif", pixels)})])
    with rasterio.Env(GDAL_HTTP_HEADERS="Authorization: Bearer secret-of-another-archive"):
        stack = open_stack(recipe, signer=signer, loader=loader)
        content = pickle.dumps(dict(stack.B04.__dask_graph__()))
        np.testing.assert_array_equal(stack.B04[0].compute(), pixels)
    assert b"secret-of-another-archive" not in content


def test_unknown_chunks_and_loaders_are_named(kit, signer):
    recipe = kit.recipe([kit.item()])
    with pytest.raises(ConfigurationError, match="chunks names row"):
        open_stack(recipe, signer=signer, chunks={"row": 5})
