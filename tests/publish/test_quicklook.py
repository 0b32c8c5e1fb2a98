"""Pictures show the values in their colours, say why others are missing, and stay small."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.publish.canvas import encode_png, printable
from geostack_dagster.publish.colours import (
    STYLES,
    Style,
    colour_table,
    round_step,
    style_of,
    ticks,
)
from geostack_dagster.publish.map_page import (
    HIDDEN_GREY,
    NODATA_GREY,
    Caption,
    Masks,
    resampled,
)
from geostack_dagster.publish.quicklook import MAX_BYTES, index_map, thumbnail_true_colour

CAPTION = Caption(title="NDVI", subtitle="greenness", aoi="po-valley", date="2024-06-03")


def grid_of(values: np.ndarray, crs: str = "EPSG:32632", resolution: float = 10.0) -> Grid:
    height, width = values.shape
    return Grid(crs=crs, resolution=resolution, left=10.0, top=50.0, width=width, height=height)


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def test_a_value_has_the_colour_of_its_place_on_the_ramp() -> None:
    values = np.full((40, 60), 0.4, np.float32)
    picture = decoded(index_map(values, grid_of(values), caption=CAPTION))
    style = STYLES["NDVI"]
    level = round((0.4 - style.low) / (style.high - style.low) * 127)
    wanted = tuple(colour_table(style.ramp, 128)[level].tolist())
    # Most of the page is the map, all of the map is that colour.
    share = (picture == wanted).all(axis=-1).mean()
    assert share > 0.5


def test_cloud_and_no_data_are_different_greys_and_named_in_the_legend() -> None:
    values = np.full((40, 60), 0.4, np.float32)
    values[:, :20] = np.nan
    clear, observed = np.isfinite(values), np.ones(values.shape, bool)
    observed[:, :10] = False
    both = decoded(
        index_map(
            values, grid_of(values), caption=CAPTION, masks=Masks(clear=clear, observed=observed)
        )
    )
    hidden, nodata = ((both == grey).all(axis=-1) for grey in (HIDDEN_GREY, NODATA_GREY))
    # Equal halves of the missing part: no data on the left of what was not clear.
    assert hidden.sum() == pytest.approx(nodata.sum(), rel=0.05)
    assert (
        np.argwhere(nodata[60:300, :400])[:, 1].max()
        < np.argwhere(hidden[60:300, :400])[:, 1].min()
    )
    none = decoded(index_map(np.full((40, 60), 0.4), grid_of(values), caption=CAPTION))
    assert not (none[60:300, 20:400] == NODATA_GREY).all(axis=-1).any()


def test_without_masks_missing_means_no_data_and_not_clear_means_hidden() -> None:
    missing = np.array([[True, True], [False, True]])
    clear = np.array([[False, True], [True, False]])
    assert not Masks().hidden(missing).any()
    assert np.array_equal(Masks(clear=clear).hidden(missing), [[True, False], [False, True]])


def test_every_style_draws_and_diverging_ones_are_neutral_in_the_middle() -> None:
    values = np.linspace(-1, 1, 2400, dtype=np.float32).reshape(40, 60)
    for name, style in STYLES.items():
        assert len(index_map(values, grid_of(values), caption=Caption(title=name))) < MAX_BYTES
        if style.low and style.high == -style.low:
            middle = colour_table(style.ramp, 101)[50].astype(int)
            assert middle.min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (40, 60), (1500, 1400)])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_noise_of_any_shape_stays_below_the_limit(shape: tuple[int, int], crs: str) -> None:
    values = np.random.default_rng(0).uniform(-0.5, 1.2, shape).astype(np.float32)
    grid = grid_of(values, crs, 10.0 if crs == "EPSG:32632" else 0.001)
    png = index_map(values, grid, caption=CAPTION)
    assert len(png) <= MAX_BYTES
    height, width, _ = decoded(png).shape
    assert 320 <= width <= 640
    assert 180 <= height <= 640


def test_a_map_in_degrees_is_as_wide_as_on_the_ground() -> None:
    values = np.full((400, 400), 0.5)
    grid = Grid(crs="EPSG:4326", resolution=0.01, left=10.0, top=62.0, width=400, height=400)
    picture = decoded(index_map(values, grid, caption=CAPTION))
    colour = tuple(colour_table(STYLES["NDVI"].ramp, 128)[round(0.7 / 1.2 * 127)].tolist())
    rows, columns = np.nonzero((picture[:, :260] == colour).all(axis=-1))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(0.5, abs=0.02)  # cos(60 degrees)


def test_the_same_map_gives_the_same_bytes() -> None:
    values = np.random.default_rng(0).normal(size=(50, 60))
    assert index_map(values, grid_of(values), caption=CAPTION) == index_map(
        values.copy(), grid_of(values), caption=CAPTION
    )


def test_an_empty_map_and_odd_words_are_drawn() -> None:
    values = np.full((30, 40), np.nan)
    caption = Caption(title="temp\u00e9rature \u00d7 \u03c3", aoi="a" * 63, date="2024-06-03")
    picture = decoded(index_map(values, grid_of(values), caption=caption))
    assert (NODATA_GREY,) * 3 in colours_in(picture)
    assert printable("\u22120.5 m\u00b2 \u00e9 \u00d7 \u03c3") == "-0.5 m2 e x ?"


def test_shapes_off_the_grid_are_refused() -> None:
    values = np.zeros((4, 5))
    grid = grid_of(values)
    with pytest.raises(ConfigurationError, match=r"map of the quicklook has shape \(5, 4\)"):
        index_map(values.T, grid, caption=CAPTION)
    with pytest.raises(ConfigurationError, match="clear of the quicklook has shape"):
        index_map(values, grid, caption=CAPTION, masks=Masks(clear=np.ones((5, 4), bool)))
    with pytest.raises(ConfigurationError, match="differ in shape"):
        thumbnail_true_colour(values, values, values.T)


def test_open_ends_of_a_style_follow_the_values() -> None:
    values = np.linspace(0, 10, 1001)
    fitted = style_of("unknown", unit="ppm m").fitted(values)
    assert (fitted.low, fitted.high, fitted.unit) == (
        pytest.approx(0.2), pytest.approx(9.8), "ppm m",
    )  # fmt: skip
    flat = Style(ramp=("000000", "ffffff")).fitted(np.full(3, 2.0))
    assert flat.high > flat.low


def test_steps_and_ticks_are_round() -> None:
    assert [round_step(x) for x in (0.13, 0.2, 3.0, 24.0, 70.0)] == [0.2, 0.2, 5.0, 25.0, 100.0]
    assert ticks(-0.2, 1.0, 0.2) == pytest.approx([-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_means_leave_out_what_is_missing() -> None:
    values = np.array([[1, 3, np.nan, np.nan], [np.nan, 5, np.nan, 8]], np.float32)
    found = resampled(values, (2, 1))
    assert found[0, 0] == pytest.approx(3)
    assert np.isnan(found[0, 1])  # three of four are missing


def test_the_thumbnail_keeps_hues_and_stays_small() -> None:
    rng = np.random.default_rng(0)
    red, green, blue = (rng.uniform(0.02, 0.3, (900, 1000)) for _ in range(3))
    red[:300] = np.nan
    red[300:600], green[300:600], blue[300:600] = 0.2, 0.1, 0.05
    png = thumbnail_true_colour(red, green, blue)
    picture = decoded(png)
    assert len(png) <= MAX_BYTES
    assert (picture[10, 10] == NODATA_GREY).all()
    middle: Any = picture[picture.shape[0] // 2, 10]
    assert middle[0] > middle[1] > middle[2]


def test_clouds_do_not_turn_the_ground_black() -> None:
    ground = np.full((100, 100), 0.15)
    ground[:30] = 0.9
    picture = decoded(thumbnail_true_colour(ground, ground, ground))
    assert picture[-1, 0].min() > 90


def test_a_palette_is_exact_where_256_colours_do() -> None:
    pixels = np.zeros((4, 64, 3), np.uint8)
    pixels[..., 0] = np.arange(256).reshape(4, 64)
    pixels[..., 1] = 3
    assert np.array_equal(decoded(encode_png(pixels)), pixels)
