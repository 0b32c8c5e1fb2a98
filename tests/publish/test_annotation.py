"""Outlines lie on the pixels they are of, the arrow points with the wind, results are written."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from geostack_dagster.domain.grid import Grid
from geostack_dagster.publish.annotation import Annotation, Breeze, Frame, Outline, draw
from geostack_dagster.publish.canvas import Page
from geostack_dagster.publish.map_page import Caption
from geostack_dagster.publish.quicklook import MAX_BYTES, index_map

GRID = Grid(crs="EPSG:32632", resolution=60.0, left=500_000.0, top=5_000_000.0, width=80, height=80)


def square(left: int, top: int, size: int) -> dict[str, object]:
    """Outline around some pixels of the grid [degrees]."""
    to_degrees = Transformer.from_crs(GRID.crs, "OGC:CRS84", always_xy=True)
    corners = [(left, top), (left + size, top), (left + size, top + size), (left, top + size)]
    ring = [
        list(to_degrees.transform(GRID.left + 60 * x, GRID.top - 60 * y))
        for x, y in [*corners, corners[0]]
    ]
    return {"type": "Polygon", "coordinates": [ring]}


def drawn(annotation: Annotation, size: int = 400) -> np.ndarray:
    """Where a grey page is dark after drawing, 5 px to a pixel of the grid."""
    page = Page(size, size)
    page.paste(np.full((size, size, 3), 170, np.uint8), (0, 0))
    draw(page, Frame(grid=GRID, left=0, top=0, width=size, height=size), annotation)
    return np.asarray(page.image.convert("L")) < 100


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_an_outline_runs_around_its_pixels() -> None:
    dark = drawn(Annotation(outlines=[Outline(geometry=square(20, 30, 10))]))
    rows, columns = np.nonzero(dark)
    assert (rows.min(), rows.max()) == pytest.approx((149, 201), abs=2)
    assert (columns.min(), columns.max()) == pytest.approx((99, 151), abs=2)
    assert not dark[155:195, 105:145].any()


def test_what_is_uncertain_is_dashed() -> None:
    sure, unsure = (
        drawn(Annotation(outlines=[Outline(geometry=square(20, 30, 20), is_sure=is_sure)])).sum()
        for is_sure in (True, False)
    )
    assert 0.35 * sure < unsure < 0.7 * sure


def test_outside_of_what_is_drawn_nothing_changes() -> None:
    values = np.random.default_rng(0).normal(size=GRID.shape)
    plain, marked = (
        decoded(index_map(values, GRID, caption=Caption(title="enhancement"), annotation=one))
        for one in (None, Annotation(outlines=[Outline(geometry=square(60, 60, 10))]))
    )
    # The upper left part of the map, far from the outline.
    assert np.array_equal(plain[60:300, 20:250], marked[60:300, 20:250])
    assert not np.array_equal(plain, marked)


@pytest.mark.parametrize("from_deg", [0.0, 45.0, 90.0, 200.0, 300.0])
def test_the_arrow_points_to_where_the_wind_blows(from_deg: float) -> None:
    dark = drawn(Annotation(wind=Breeze(speed_m_s=4.0, from_deg=from_deg)))
    # Inside the box in the upper right corner, above its words.
    rows, columns = np.nonzero(dark[14:52, 292:388])
    middle_x, middle_y = 392 - 104 / 2 - 292, 8 + 2 + (70 - 24) / 2 - 14
    # The head is the wider end: the mean of all dark pixels lies on its side.
    towards = math.radians(from_deg + 180)
    along = (columns - middle_x) * math.sin(towards) - (rows - middle_y) * math.cos(towards)
    across = (columns - middle_x) * math.cos(towards) + (rows - middle_y) * math.sin(towards)
    ahead, behind = np.abs(across[along > 6]), np.abs(across[along < -6])
    assert ahead.max() > 1.5 * behind.max()
    assert along.max() > 15
    assert along.min() < -15


def test_the_wind_does_not_hide_a_plume() -> None:
    free = drawn(Annotation(wind=Breeze(speed_m_s=3.0)))
    taken = drawn(
        Annotation(wind=Breeze(speed_m_s=3.0), outlines=[Outline(geometry=square(60, 2, 18))])
    )
    assert free[10:70, 300:390].any()
    assert not taken[14:70, 310:380].any()  # inside the outline, which is at the right


def test_results_make_the_page_longer_and_stay_below_the_limit() -> None:
    values = np.random.default_rng(0).normal(size=(226, 228)) * 400
    grid = Grid(crs="EPSG:32632", resolution=60.0, left=5e5, top=5e6, width=228, height=226)
    notes = ["Q = 26 t/h   68 %: 17 to 36", "3 uncertain candidates (dashed)"]
    annotation = Annotation(
        outlines=[Outline(geometry=square(20, 30, 10), label="26 t/h")],
        wind=Breeze(speed_m_s=4.3, from_deg=260.0),
        notes=notes,
    )
    caption = Caption(title="Methane plumes", sensor="EMIT", date="2024-06-03 10:30 UTC", aoi="a")
    plain = index_map(values, grid, caption=caption)
    full = index_map(values, grid, caption=caption, annotation=annotation)
    assert len(full) < MAX_BYTES
    assert len(decoded(full)) >= len(decoded(plain)) + 2 * 21
    assert full == index_map(values, grid, caption=caption, annotation=annotation)
