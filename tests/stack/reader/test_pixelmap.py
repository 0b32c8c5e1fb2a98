"""Nearest-neighbour maps against exact PROJ and against what can be known without it."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader.types import RasterLoadParams
from pyproj import Transformer

from geostack_dagster.stack.reader.header import Header
from geostack_dagster.stack.reader.level import Level
from geostack_dagster.stack.reader.pixelmap import map_points
from geostack_dagster.stack.reader.placement import Geometry, lay, place
from geostack_dagster.stack.reader.window import Window

TILE = ("EPSG:32632", (10, 0, 600_000, 0, -10, 5_000_040), (10980, 10980))
GLOBE = ("EPSG:4326", (0.01, 0, -180, 0, -0.01, 90), (18000, 36000))
BEYOND_180 = ("EPSG:4326", (0.001, 0, 179, 0, -0.001, -16), (2000, 2000))


def header_of(crs: str, transform, shape) -> Header:
    nothing = np.zeros(0, np.uint64)
    level = Level(
        width=shape[1], height=shape[0], tile_width=512, tile_height=512, samples=1,
        dtype="uint16", offsets=nothing, counts=nothing,
    )  # fmt: skip
    return Header(levels=(level,), transform=transform, crs=crs)


def exact(source, grid: GeoBox) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source row and column of every pixel of the grid by PROJ, and which lie on the source."""
    crs, transform, shape = source
    columns, rows = np.meshgrid(np.arange(grid.shape.x) + 0.5, np.arange(grid.shape.y) + 0.5)
    x, y = grid.transform * (columns, rows)
    x, y = Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform(x, y)
    if crs == "EPSG:4326" and transform[2] > 170:
        x = np.where(x < 0, x + 360, x)
    column, row = (np.floor(found) for found in ~Affine(*transform) * (x, y))
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return row, column, inside


def found_by(source, grid: GeoBox) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = place(Geometry.of(header_of(*source), grid, RasterLoadParams("uint16")))
    row = np.full(grid.shape.yx, -1.0)
    column, inside = row.copy(), np.zeros(grid.shape.yx, bool)
    if made.empty:
        return row, column, inside
    window, part = made.window, made.part.slices
    rows, columns = np.mgrid[window.top : window.bottom, window.left : window.right]
    row[part], column[part] = made.map.take(rows), made.map.take(columns)
    inside[part] = True if made.map.inside is None else made.map.inside
    return row, column, inside


@pytest.mark.parametrize(
    ("source", "crs", "corner", "size"),
    [
        (TILE, "EPSG:32633", (190_000, 4_950_000), 10),
        (TILE, "EPSG:32633", (110_000, 5_010_000), 40),  # across two edges of the source
        (TILE, "EPSG:3857", (1_190_000, 5_600_000), 14),
        (TILE, "EPSG:4326", (10.5, 44.9), 1e-4),
        (TILE, "EPSG:3035", (4_420_000, 2_420_000), 10),
        (GLOBE, "EPSG:6933", (-400_000, 3_000_000), 1000),
        (BEYOND_180, "EPSG:32760", (790_000, 8_200_000), 100),
    ],
)
def test_the_map_is_exact_proj(source, crs, corner, size):
    grid = GeoBox((700, 600), Affine(size, 0, corner[0], 0, -size, corner[1]), crs)
    rows, columns, inside = exact(source, grid)
    found_rows, found_columns, found_inside = found_by(source, grid)
    assert inside.any()
    different = (found_inside != inside).mean()
    both = inside & found_inside
    different += ((found_rows != rows) | (found_columns != columns))[both].mean()
    assert different < 1e-5  # 99.99 % is what is promised


def test_a_pole_is_mapped_exactly():
    grid = GeoBox((300, 300), Affine(997, 0, -150_003, 0, -997, 150_001), "EPSG:3413")
    rows, columns, inside = exact(GLOBE, grid)
    found_rows, found_columns, found_inside = found_by(GLOBE, grid)
    assert (found_inside == inside).all()
    assert ((found_rows != rows) | (found_columns != columns))[inside].mean() < 1e-4


def test_a_map_needs_few_projections():
    asked = []

    def bend(columns, rows):
        asked.append(columns.size)
        return columns * 1.01 + rows**2 * 1e-6, rows * 0.99 + columns**2 * 1e-6

    made = map_points(bend, Window(0, 1024, 0, 1024), (2000, 2000))
    assert sum(asked) < 1024 * 1024 / 100
    columns, rows = bend(*np.meshgrid(np.arange(1024) + 0.5, np.arange(1024) + 0.5))
    expected = np.floor(rows) * 2000 + np.floor(columns)
    source = np.arange(2000 * 2000).reshape(2000, 2000)
    np.testing.assert_array_equal(made.take(source[made.window.slices]), expected)


def test_a_fold_is_left_to_the_exact_function():
    def folded(columns, rows):
        return np.where(columns > 100.25, columns - 90, columns), rows

    made = map_points(folded, Window(0, 64, 0, 200), (64, 200))
    source = np.arange(64 * 200).reshape(64, 200)
    columns = np.arange(200)
    expected = np.where(columns + 0.5 > 100.25, columns - 90, columns)
    np.testing.assert_array_equal(made.take(source[made.window.slices])[5], source[5, expected])


def test_points_that_do_not_project_are_outside():
    def half(columns, rows):
        return np.where(rows < 50, columns, np.inf), rows

    made = map_points(half, Window(0, 100, 0, 100), (100, 100))
    assert made.inside is not None
    assert made.inside[:50].all()
    assert not made.inside[50:].any()


def test_a_far_source_is_not_reached():
    grid = GeoBox((50, 50), Affine(10, 0, 300_000, 0, -10, 5_000_000), "EPSG:32632")
    assert place(Geometry.of(header_of(*TILE), grid, RasterLoadParams("uint16"))).empty


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("shift", "crs", "laid"),
    [
        ((5000, 5150), "EPSG:32632", True),
        ((-100, 10900), "EPSG:32632", True),
        ((10700.0000000001, -200), "EPSG:32632", True),
        ((-400, 0), "EPSG:32632", True),
        ((20000, 5), "EPSG:32632", True),
        ((5000.3, 5150), "EPSG:32632", False),
        ((5000, 5150), "EPSG:32633", False),
    ],
)
def test_a_grid_of_the_image_is_laid_as_it_would_be_placed(shift, crs, laid, resampling):
    grid = GeoBox((256, 300), Affine(*TILE[1]) * Affine.translation(*shift), crs)
    cfg = RasterLoadParams("uint16", resampling=resampling)
    geometry = Geometry.of(header_of(*TILE), grid, cfg)
    found = lay(geometry)
    assert (found is not None) == laid
    if found is not None:
        wanted = place(geometry)
        assert found.empty == wanted.empty
        if not found.empty:
            assert found == wanted


@pytest.mark.parametrize(
    "turn", [Affine.scale(2), Affine.scale(1, -1), Affine.rotation(90), Affine.scale(1.00001)]
)
def test_other_pixels_are_not_laid(turn):
    grid = GeoBox((256, 256), Affine(*TILE[1]) * Affine.translation(500, 500) * turn, TILE[0])
    assert lay(Geometry.of(header_of(*TILE), grid, RasterLoadParams("uint16"))) is None
