"""Clouds of a day: how opaque they are and where their shadows fall."""

from dataclasses import dataclass
from datetime import date
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.desert import is_desert
from geostack_dagster.sandbox.sampling import Sites, node_degrees, node_spacing

_LEVEL = 14
_RAMP = np.float32(0.06)
"""Noise excess from the edge of a cloud to its opaque core."""
_SHADOW_EAST_M, _SHADOW_NORTH_M = -480.0, 720.0  # of clouds 1.5 km high, sun in the south-east
_SHADOW_DEPTH = np.float32(0.6)
_THIN, _OPAQUE = np.float32(0.2), np.float32(0.6)
_CLEAR_SKY, _FULL_SKY = 0.02, 0.98
# Days with weather of their own; any other day has one drawn by its hash.
_COVER = {
    date(2024, 6, 3): 0.1,
    date(2024, 6, 8): 0.25,
    date(2024, 6, 13): 0.04,
    date(2024, 6, 18): 0.85,
    date(2024, 6, 23): 0.15,
    date(2024, 6, 28): 0.35,
    date(2024, 7, 3): 0.0,
    date(2024, 7, 8): 0.2,
}
_DRAWN = (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Sky:
    """Clouds over some places; all arrays have shape (y, x)."""

    opacity: NDArray[np.float32]
    """Share of the light that comes from the cloud, 0 to 1."""
    shade: NDArray[np.float32]
    """Factor on the light that reaches the ground, 0.4 to 1."""

    def classes(self, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scene classes: 9 and 8 cloud, 10 cirrus, 3 shadow, else those of the ground."""
        found = ground.copy()
        found[self.shade < 1] = 3
        found[self.opacity > 0] = 10
        found[self.opacity >= _THIN] = 8
        found[self.opacity >= _OPAQUE] = 9
        return found


def cloud_share(day: date) -> float:
    """Share of the sky that clouds take on a day, the same all over the world."""
    low, high = _DRAWN
    return _COVER.get(day, low + (high - low) * noise.unit_of("sky", day))


def sky(sites: Sites, day: date) -> Sky | None:
    """Clouds on a day; None for a day without any."""
    share = cloud_share(day)
    if share < _CLEAR_SKY:
        return None
    quantile = NormalDist(0.5, noise.FRACTAL_SPREAD).inv_cdf(1 - min(share, _FULL_SKY))
    opacity = _opacity(sites, day, np.float32(quantile))
    metre = node_spacing(sites.crs) / 80
    caster = sites.shifted(-_SHADOW_EAST_M * metre, -_SHADOW_NORTH_M * metre)
    shade = 1 - _SHADOW_DEPTH * _opacity(caster, day, np.float32(quantile))
    return Sky(opacity, shade)


def _opacity(sites: Sites, day: date, edge: np.float32) -> NDArray[np.float32]:
    lattice = sites.lattice(node_spacing(sites.crs))
    lon, lat = node_degrees(sites.crs, lattice)
    nodes = noise.fractal(lon, lat, _LEVEL, noise.seed_of("cloud", day))
    nodes[is_desert(lon, lat)] = 0
    field = lattice.interpolated(nodes)
    field -= edge
    field /= _RAMP
    return np.clip(field, np.float32(0), np.float32(1)).astype(np.float32, copy=False)
