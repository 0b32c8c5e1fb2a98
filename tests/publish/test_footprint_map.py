"""Footprint maps show the AOI inside the Items' outlines, also across the antimeridian."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.publish.footprint_map import footprint_map

AREA = AOI.from_bbox("a", (9.2, 45.2, 9.6, 45.5)).geometry


def box(west: float, south: float, east: float, north: float) -> dict[str, object]:
    return dict(AOI.from_bbox("b", (west, south, east, north)).geometry)


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def blue(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 2] - picture[..., 0] > 8) & (picture[..., 0] < 240)


def red(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 180) & (picture[..., 1] < 120)


def test_the_aoi_lies_inside_the_footprint() -> None:
    png = footprint_map(AREA, [box(9, 45, 10.2, 46)], title="po-valley")
    picture = decoded(png)
    assert len(png) < 30_000
    assert picture.shape[1] == 480
    (top, left), (bottom, right) = (
        edge(np.argwhere(blue(picture)), axis=0) for edge in (np.min, np.max)
    )
    rows, columns = np.nonzero(red(picture))
    assert top < rows.min()
    assert rows.max() < bottom
    assert left < columns.min()
    assert columns.max() < right


def test_more_items_are_darker_and_equal_ones_are_drawn_quickly() -> None:
    one, many = (decoded(footprint_map(AREA, [box(9, 45, 10.2, 46)] * count)) for count in (1, 400))
    assert many[100, 240, 0] < one[100, 240, 0] - 40


def test_the_antimeridian_leaves_no_seam_and_no_world_wide_band() -> None:
    area = AOI.from_bbox("fiji", (179.5, -17.5, -179.4, -16.5)).geometry
    picture = decoded(footprint_map(area, [box(178.9, -18, -178.8, -16)]))
    columns = np.nonzero(red(picture).sum(axis=0) > 60)[0]
    assert len(columns) <= 6  # the left and the right edge of the AOI, not the seam between
    assert np.ptp(columns) > 100


def test_items_without_a_footprint_are_counted_and_do_not_fail() -> None:
    assert footprint_map(AREA, [None, {"type": "Point", "coordinates": [9, 45]}])
    assert footprint_map(AREA, [])
    with pytest.raises(ConfigurationError, match="not 'Point'"):
        footprint_map({"type": "Point", "coordinates": [9, 45]}, [])


def test_recorded_items_are_drawn(shared_fixtures: Path) -> None:
    found = [
        json.loads(path.read_text()).get("geometry")
        for path in sorted((shared_fixtures / "items").glob("*/*/*.json"))
    ]
    assert len(footprint_map(AREA, found)) < 100_000
