"""EMIT as NASA's catalogues list it: files found by name, placed by their headers, read."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling

from geostack_dagster.auth import broker
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import basename
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.recipe import Recipe
from geostack_dagster.stack.swath.ask import SwathAsk, make_swath_recipe
from tests.auth.conftest import VARIABLES
from tests.nasa import DATA, STORE, TOKEN, Nasa, serving

EVER = Window(date(2022, 1, 1), date(2026, 1, 1))
PIXEL = 0.000542232520256367  # degrees, of every map of EMIT
LPCLOUD, EARTHACCESS = provider_named("lpcloud"), provider_named("earthaccess")


@pytest.fixture
def derived(shared_fixtures: Path) -> dict[str, dict[str, Any]]:
    """CMR-STAC Items that NASA's own converter made, by collection."""
    path = shared_fixtures / "derived" / "cmr_stac_emit_items_by_nasa_code.json"
    return {item["collection"]: item for item in json.loads(path.read_text())}


def asked(item: dict[str, Any], grid: Grid) -> StackAsk:
    record = LPCLOUD.collection(item["collection"])
    names = tuple(record.bands.by_name)
    return StackAsk(collections=(record.id,), bands=names, grid=grid, window=EVER)


def inside(item: dict[str, Any], size: int = 40) -> Grid:
    """A UTM grid of 60 m in the middle of an Item's footprint."""
    west, south, east, north = item["bbox"]
    x, y = (west + east) / 2, (south + north) / 2
    half = size * PIXEL / 2
    aoi = AOI.from_bbox("middle", (x - half, y - half, x + half, y + half))
    return Grid.covering(aoi, crs="EPSG:32642", resolution=60)


@pytest.mark.parametrize(
    ("collection", "files"),
    [
        ("EMITL2BCH4ENH_002", ["CH4ENH", "CH4UNCERT", "CH4SENS"]),
        ("EMITL2BCH4PLM_002", ["CH4PLM"]),
    ],
)
def test_bands_are_files_by_name_over_https(derived, collection, files):
    item = derived[collection]
    recipe = make_recipe(LPCLOUD, [item], ask=asked(item, inside(item)))
    assert recipe.skipped == ()
    (found,) = recipe.items
    for source, product in zip(found.sources.values(), files, strict=True):
        assert basename(source.href).startswith(f"EMIT_L2B_{product}_002_2024")
        assert source.href.endswith(".tif")  # never the plume's JSON
        assert urlsplit(source.href).netloc == DATA
        assert item["assets"][source.key]["href"] == source.href
        assert (source.dtype, source.nodata) == ("float32", -9999.0)
        assert source.from_header == ("crs", "shape", "transform")
    assert all(band.encoding.is_float for band in recipe.bands)
    assert Recipe.loads(recipe.dumps()).fingerprint == recipe.fingerprint


def a_map(path: Path, item: dict[str, Any], seed: int) -> Path:
    """A COG as the archive makes it: EPSG:4326, float32, nodata -9999, LZW, blocks of 512."""
    west, _, _, north = item["bbox"]
    values = np.random.default_rng(seed).normal(0, 500, (1, 1100, 1200)).astype("float32")
    values[0, :40] = -9999.0
    profile = {
        "driver": "GTiff", "width": 1200, "height": 1100, "count": 1, "dtype": "float32",
        "crs": "EPSG:4326", "nodata": -9999.0, "compress": "lzw", "tiled": True,
        "blockxsize": 512, "blockysize": 512,
        "transform": Affine(PIXEL, 0, west, 0, -PIXEL, north),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    return path


def nearest(path: Path, grid: Grid) -> np.ndarray:
    """The map's pixel at the centre of each grid pixel, by PROJ alone."""
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = grid.left + columns * grid.resolution, grid.top - rows * grid.resolution
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    with rasterio.open(path) as file:
        across, down = ~file.transform @ (lon, lat)
        return file.read(1)[np.floor(down).astype(int), np.floor(across).astype(int)]


@pytest.fixture
def nasa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with serving(tmp_path) as found:
        for name, value in found.hosts.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
        monkeypatch.setenv("GEOSTACK_AWS_REGION", "none")
        broker.BROKER.clear()
        yield found
        broker.BROKER.clear()


def test_maps_without_a_projection_are_placed_by_their_headers(nasa: Nasa, derived, tmp_path):
    item = derived["EMITL2BCH4ENH_002"]
    grid = inside(item, size=60)
    recipe = make_recipe(LPCLOUD, [item], ask=asked(item, grid))
    sources = recipe.items[0].sources
    for seed, source in enumerate(sources.values()):
        path = a_map(tmp_path / basename(source.href), item, seed)
        nasa.files[urlsplit(source.href).path] = path.read_bytes()
    found = open_stack(recipe, signer=signer_for(LPCLOUD)).load()
    for name, source in sources.items():
        values = found[name].to_numpy()[0]
        expected = nearest(tmp_path / basename(source.href), grid)
        assert np.isfinite(expected).all()
        assert (values == expected).mean() >= 0.9999
        assert found[name].dtype == np.float32
    assert nasa.asked(STORE)
    assert not any("authorization" in asked.headers for asked in nasa.asked(STORE))


def test_granules_of_both_catalogues_are_one_swath(shared_fixtures: Path, derived):
    """`granules.stac` calls its assets data, data1, ...; CMR-STAC by paths; both are understood."""
    for concept, collection, files in (
        ("C2408009906-LPCLOUD", "EMITL1BRAD_001", ["L1B_RAD", "L1B_OBS"]),
        ("C2408750690-LPCLOUD", "EMITL2ARFL_001", ["L2A_RFL"]),
    ):
        (path,) = (shared_fixtures / "items" / "cmr_granules_stac" / concept).glob("*.json")
        item = json.loads(path.read_text())
        recipe = swath_of(item, collection)
        assert [basename(one.href)[5:12] for one in recipe.items[0].sources.values()] == files
        assert recipe.skipped == ()
    item = derived["EMITL2ARFL_001"]
    recipe = swath_of(item, "EMITL2ARFL_001", provider=LPCLOUD)
    (source,) = recipe.items[0].sources.values()
    assert basename(source.href) == f"{item['id']}.nc"
    assert urlsplit(source.href).netloc == DATA


def swath_of(item: dict[str, Any], collection: str, provider=EARTHACCESS):
    ring = item["geometry"]["coordinates"][0]
    west, south = np.min(ring, axis=0)
    aoi = AOI.from_bbox("there", (west, south, west + 0.1, south + 0.1))
    ask = SwathAsk(collection=collection, aoi=aoi, window=EVER)
    return make_swath_recipe(provider, [item], ask=ask)


def test_a_plume_without_its_map_is_left_out_by_name(derived):
    item = derived["EMITL2BCH4PLM_002"]
    kept = {key: one for key, one in item["assets"].items() if not key.startswith(("002", "s3"))}
    recipe = make_recipe(LPCLOUD, [{**item, "assets": kept}], ask=asked(item, inside(item)))
    assert recipe.items == ()
    assert "EMIT_L2B_CH4PLM_*.tif" in recipe.skipped[0].reason
    assert recipe.skipped[0].item == item["id"]
