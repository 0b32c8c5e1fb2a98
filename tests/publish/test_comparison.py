"""Maps side by side: outlines lie where they should, colours mean values, files stay small."""

import io

import numpy as np
import pytest
from PIL import Image

from geostack_dagster.publish.colours import Style, colour_table
from geostack_dagster.publish.comparison import Comparison, Panel
from geostack_dagster.publish.map_page import NODATA_GREY
from geostack_dagster.publish.quicklook import MAX_BYTES

RAMP = ("203060", "40a070")
STYLE = Style(ramp=RAMP, low=0.0, high=1.0)
WHITE, CYAN = (255, 255, 255), (0, 221, 238)
LEFT, TOP, SIDE, NEXT = 14, 80, 300, 314


def mask(rows: slice, columns: slice, shape=(60, 60)) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[rows, columns] = True
    return found


def comparison(*panels: Panel, truth: np.ndarray) -> Comparison:
    return Comparison(
        title="before and after", subtitle="a scene", panels=panels, truth=truth, pixel_m=60.0
    )


def maps_in(png: bytes, count: int, shape=(60, 60)) -> list[np.ndarray]:
    """The maps of a picture, in colours."""
    with Image.open(io.BytesIO(png)) as image:
        page = np.asarray(image.convert("RGB")).astype(int)
    width, height = (round(SIDE * side / max(shape)) for side in (shape[1], shape[0]))
    return [
        page[TOP : TOP + height, LEFT + NEXT * k : LEFT + NEXT * k + width] for k in range(count)
    ]


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """First and last row, first and last column of a colour."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    if not rows.size:
        return None
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_truth_is_outlined_on_every_map_and_findings_on_their_own():
    truth, found = mask(slice(10, 20), slice(30, 40)), mask(slice(40, 50), slice(5, 15))
    values = np.full((60, 60), 0.5)
    png = comparison(
        Panel(title="there", values=values, style=STYLE),
        Panel(title="old", values=values, style=STYLE, found=found),
        truth=truth,
    ).png()
    there, old = maps_in(png, 2)
    # Five pixels of the page to one of the map, and the line lies just outside.
    assert places(there, WHITE) == places(old, WHITE) == (49, 100, 149, 200)
    assert places(there, CYAN) is None
    assert places(old, CYAN) == (199, 250, 24, 75)


def test_colours_are_those_of_the_values_and_grey_is_no_value():
    values = np.full((60, 60), 1.0)
    values[:30] = 0.0
    values[:, :12] = np.nan
    nothing = np.zeros((60, 60), bool)
    (shown,) = maps_in(
        comparison(Panel(title="", values=values, style=STYLE), truth=nothing).png(), 1
    )
    table = colour_table(RAMP, 64)
    assert tuple(shown[20, 200]) == tuple(table[0])
    assert tuple(shown[280, 200]) == tuple(table[-1])
    assert tuple(shown[150, 20]) == (NODATA_GREY,) * 3


def test_what_has_no_value_is_named_where_there_is_such():
    whole, nothing = np.zeros((60, 60)), np.zeros((60, 60), bool)
    holed = whole.copy()
    holed[:5] = np.nan
    greys = []
    for values in (whole, holed):
        panel = Panel(title="", values=values, style=STYLE)
        png = comparison(panel, panel, panel, truth=nothing).png()
        with Image.open(io.BytesIO(png)) as image:
            footer = np.asarray(image.convert("RGB"))[-30:].astype(int)
        greys.append(int((footer == NODATA_GREY).all(axis=-1).sum()))
    assert greys[1] > greys[0] + 100


@pytest.mark.parametrize("shape", [(300, 320), (40, 300), (300, 40)])
def test_noise_of_any_shape_stays_small(shape):
    noise = np.random.default_rng(0).normal(size=shape)
    panel = Panel(title="noise", values=noise, style=STYLE, notes=("here", "there"))
    png = comparison(panel, panel, panel, truth=noise > 3).png()
    assert len(png) <= MAX_BYTES
    assert len(maps_in(png, 3, shape)) == 3
