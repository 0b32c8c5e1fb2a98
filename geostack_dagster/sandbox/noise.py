"""Value noise on the globe: smooth random fields that are pure functions of place and seed.

Lattices have 2**level cells around the globe, so the noise closes at the antimeridian. Random
numbers come from an integer hash of our own: the same in every process and NumPy version.
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.floating[Any]]

_TABLE = 256
_WEIGHTS = (0.5, 0.27, 0.15, 0.08)
FRACTAL_SPREAD = 0.125
"""Standard deviation of `fractal`, measured; its mean is 0.5."""


def seed_of(*parts: object) -> int:
    """63-bit hash of the parts' text: the same in every process."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def unit_of(*parts: object) -> float:
    """Number in [0, 1) from the hash of the parts."""
    return seed_of(*parts) / 2**63


def hashed(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64 of the seed and each number: random bits that depend on nothing else."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


@lru_cache(maxsize=256)
def table(seed: int, size: int = _TABLE) -> NDArray[np.float32]:
    """Table of size x size random numbers in [0, 1), by seed and position."""
    bits = hashed(np.arange(size * size, dtype=np.uint64), seed)
    values = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    return values.reshape(size, size)


def normals(seed: int, count: int) -> NDArray[np.float32]:
    """Standard normal random numbers, by seed and position."""
    from scipy.special import ndtri

    bits = hashed(np.arange(count, dtype=np.uint64), seed) >> np.uint64(12)
    return np.asarray(ndtri((bits.astype(np.float64) + 0.5) / 2**52), np.float32)


def fractal(lon: Floats, lat: Floats, level: int, seed: int) -> NDArray[np.float32]:
    """Four octaves of value noise, coarsest cell 360 / 2**level degrees, values in [0, 1)."""
    total = np.zeros(lon.shape, np.float32)
    for octave, weight in enumerate(_WEIGHTS):
        values = _octave(lon, lat, 2.0 ** (level + octave), table(seed_of(seed, octave)))
        total += np.float32(weight) * values
    return total


def _octave(lon: Floats, lat: Floats, cells: float, values: NDArray[np.float32]) -> Floats:
    (i, tx), (j, ty) = (_cell((lon + 180) * (cells / 360))), (_cell((lat + 90) * (cells / 360)))
    i1, j1 = (i + 1) & (_TABLE - 1), (j + 1) & (_TABLE - 1)
    flat = values.ravel()
    row0, row1 = j * _TABLE, j1 * _TABLE
    low = flat[row0 + i] * (1 - tx) + flat[row0 + i1] * tx
    high = flat[row1 + i] * (1 - tx) + flat[row1 + i1] * tx
    mixed: Floats = low * (1 - ty) + high * ty
    return mixed


def _cell(scaled: Floats) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    lower = np.floor(scaled)
    t = (scaled - lower).astype(np.float32)
    return lower.astype(np.int64) & (_TABLE - 1), t * t * (3 - 2 * t)
