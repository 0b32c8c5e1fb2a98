"""The world's desert, east of the Caspian Sea: bare ground under a sky without clouds.

Two short-wave bands see methane only where the ground keeps its colour from pass to pass. Over
crops they see crops.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.sampling import Floats

_WEST, _SOUTH, _EAST, _NORTH = 53.9, 38.2, 54.6, 38.8


def is_desert(longitude: Floats, latitude: Floats) -> NDArray[np.bool_]:
    """Whether places lie in it [degrees]."""
    inside: NDArray[Any] = (longitude > _WEST) & (longitude < _EAST)
    return np.asarray(inside & (latitude > _SOUTH) & (latitude < _NORTH), np.bool_)
