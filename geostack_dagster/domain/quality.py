"""Flags of a cube's pixels: why one is not usable, in three different ways and one for the rest."""

from enum import IntFlag
from typing import Any

NAME = "quality"
"""The variable that holds them."""


class Quality(IntFlag):
    """Bits of a pixel; 0 is usable."""

    NO_OBSERVATION = 1
    """No Item gives it a value in any band: it lies outside their footprints."""
    MASKED = 2
    """Its class is not one that counts as clear ground: cloud, shadow, saturated."""
    UNREADABLE = 4
    """A band is unset there because its file could not be read."""
    INCOMPLETE = 8
    """Some bands hold a value and others do not, though all files could be read."""


FILL = int(Quality.NO_OBSERVATION)
"""Of a slot that was never written."""


def flag_attrs() -> dict[str, Any]:
    """CF attributes of the variable."""
    return {
        "long_name": "why a pixel is not usable; 0 is usable",
        "standard_name": "quality_flag",
        "flag_masks": [int(flag) for flag in Quality],
        "flag_meanings": " ".join(str(flag.name).lower() for flag in Quality),
        "units": "1",
    }
