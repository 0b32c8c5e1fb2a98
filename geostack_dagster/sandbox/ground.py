"""Land cover of the world: which covers share a pixel, from smooth fields with mixed edges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.desert import is_desert
from geostack_dagster.sandbox.sampling import Lattice, Sites, node_degrees, node_spacing
from geostack_dagster.sandbox.spectra import COVERS

_LEVEL = 14  # coarsest octave 2.4 km
_WORLD = 247  # drawn for a good mixture of covers in both demonstration areas
_FEATURES = ("moisture", "relief", "parcel")
# Place of each cover in the space of the three standardised features; the nearest one wins.
_PROTOTYPES = {
    "forest": (0.3, 1.2, 0.0),
    "grassland": (0.3, 0.2, -0.9),
    "summer crop": (0.0, -0.6, 0.9),
    "winter crop": (-0.6, -0.6, 0.3),
    "bare soil": (-1.4, 0.0, 0.2),
    "built-up": (-0.5, -0.9, -1.4),
    "water": (1.4, -1.3, 0.0),
    "snow": (0.0, 2.6, 0.0),
}
_EDGE = np.float32(0.15)
"""Score difference within which covers mix: two or three 10 m pixels."""
_GAPS = np.float32(0.6)
"""Twice the mean share of soil between plants."""
_BARE = ("bare soil", "built-up")
"""Covers of the desert: soil, and gravel plains that look like buildings."""
_RULED_OUT = np.float32(-1e3)
_SOIL = next(index for index, cover in enumerate(COVERS) if cover.name == "bare soil")
_TEXTURE_CELL_M = 10.0
_TEXTURE = np.float32(0.06)
_PURE = 0.55
"""Share of a cover above which a classifier is sure of it; else SCL 7, unclassified."""


@dataclass(frozen=True, slots=True)
class Terrain:
    """What does not change from day to day over some places."""

    shares: NDArray[np.float32]
    """Cover shares times brightness, shape (cover, y, x)."""
    dominant: NDArray[np.uint8]
    """Cover that fills most of each pixel; len(COVERS) where none does."""


def terrain(sites: Sites) -> Terrain:
    """Land cover of some places."""
    shares = fractions(sites)
    most, dominant = shares[0].copy(), np.zeros(shares.shape[1:], np.uint8)
    for index, share in enumerate(shares[1:], 1):
        dominant[share > most] = index
        np.maximum(most, share, out=most)
    dominant[most < _PURE] = len(COVERS)
    shares = thinned(shares, sites)
    shares *= texture(sites)
    return Terrain(shares, dominant)


def fractions(sites: Sites) -> NDArray[np.float32]:
    """Share of each cover at each place, shape (cover, y, x), in the order of `COVERS`."""
    lattice = sites.lattice(node_spacing(sites.crs))
    shares = np.stack([lattice.interpolated(nodes) for nodes in _scores(sites.crs, lattice)])
    top = shares[0].copy()
    for score in shares[1:]:
        np.maximum(top, score, out=top)
    top -= _EDGE
    shares -= top
    np.maximum(shares, 0, out=shares)
    total = shares[0].copy()
    for share in shares[1:]:
        total += share
    shares /= total
    return shares


def thinned(shares: NDArray[np.float32], sites: Sites) -> NDArray[np.float32]:
    """The shares with some of the vegetation replaced by soil, more in some fields than others."""
    lattice = sites.lattice(node_spacing(sites.crs))
    lon, lat = node_degrees(sites.crs, lattice)
    gaps = _GAPS * lattice.interpolated(
        noise.fractal(lon, lat, _LEVEL + 1, noise.seed_of("vigour"))
    )
    for index, cover in enumerate(COVERS):
        if cover.green is not None:
            bare = shares[index] * gaps
            shares[index] -= bare
            shares[_SOIL] += bare
    return shares


def texture(sites: Sites) -> NDArray[np.float32]:
    """Brightness of each place around 1: no two neighbours are alike, indices are unaffected."""
    size = 1024
    columns, rows = sites.cells(_TEXTURE_CELL_M, size)
    values = 1 + _TEXTURE * (noise.table(noise.seed_of("texture"), size) - np.float32(0.5))
    return values[rows][:, columns] if sites.is_mesh else values[rows, columns]


def _scores(crs: str, lattice: Lattice) -> list[NDArray[np.float32]]:
    """Linear form of the nearest-prototype rule at lattice nodes: `q . x - |q|^2 / 2`."""
    lon, lat = node_degrees(crs, lattice)
    features = [
        (noise.fractal(lon, lat, _LEVEL, noise.seed_of(f"{name} {_WORLD}")) - np.float32(0.5))
        / np.float32(noise.FRACTAL_SPREAD)
        for name in _FEATURES
    ]
    scores = []
    for cover in COVERS:
        prototype = _PROTOTYPES[cover.name]
        score = np.full(lon.shape, -sum(q * q for q in prototype) / 2, np.float32)
        for q, feature in zip(prototype, features, strict=True):
            score += np.float32(q) * feature
        if cover.name not in _BARE:
            score[is_desert(lon, lat)] = _RULED_OUT
        scores.append(score)
    return scores
