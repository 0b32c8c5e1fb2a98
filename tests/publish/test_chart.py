"""Small charts: what is written on them can be read."""

import io
from itertools import groupby

import numpy as np
from PIL import Image

from geostack_dagster.publish.chart import Axes, chart


def test_title_and_name_of_the_axis_are_written_one_below_the_other():
    axes = Axes(title="Training loss, gyp", x="step", y="entropy and overlap, gyp")
    png = chart(axes, {"loss": ([0.0, 1.0, 2.0], [3.0, 2.0, 1.0])})
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    frame = int(np.argmax((pixels < 200).mean(axis=1) > 0.5))  # its upper edge
    inked = (pixels[:frame, 70:] < 200).any(axis=1)  # right of the numbers
    assert [is_ink for is_ink, _ in groupby(inked)] == [False, True, False, True, False]
