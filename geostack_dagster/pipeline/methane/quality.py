"""What each pixel of an enhancement map may be used for."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from geostack_dagster.inference.enhancement import LEAST_SENSITIVITY
from geostack_dagster.publish.product import ClassMap


class Quality(IntEnum):
    """Classes of the mask that is stored and published beside every enhancement."""

    NO_VALUE = 0
    USABLE = 1
    INSENSITIVE = 2


MEANINGS: Mapping[int, tuple[str, str]] = {
    Quality.NO_VALUE: ("no_value", "not observed, cloudy, or not retrievable"),
    Quality.USABLE: ("usable", "enhancement, uncertainty and sensitivity may be used"),
    Quality.INSENSITIVE: (
        "insensitive",
        f"responds less than {LEAST_SENSITIVITY:g} times as the background: too dark or saturated",
    ),
}
"""Name and description of each class."""

ATTRS: Mapping[str, Any] = {
    "long_name": "what the pixel may be used for",
    "flag_values": [quality.value for quality in Quality],
    "flag_meanings": " ".join(name for name, _ in MEANINGS.values()),
}
"""CF attributes of the mask in a cube."""


def quality(
    enhancement: Float64[np.ndarray, "y x"], sensitivity: Float64[np.ndarray, "y x"]
) -> UInt8[np.ndarray, "y x"]:
    """`Quality` of every pixel."""
    weak = np.isfinite(sensitivity) & (sensitivity < LEAST_SENSITIVITY)
    found = np.where(np.isfinite(enhancement), Quality.USABLE, Quality.NO_VALUE)
    return np.where(weak, Quality.INSENSITIVE, found).astype(np.uint8)


def class_map(
    enhancement: Float64[np.ndarray, "y x"], sensitivity: Float64[np.ndarray, "y x"]
) -> ClassMap:
    """The mask as a product publishes it."""
    return ClassMap(values=quality(enhancement, sensitivity), meanings=MEANINGS)
