"""Colour ramps: which colours a quantity is drawn in, and between which values.

Ramps are anchors in sRGB, joined by straight lines; after ColorBrewer (vegetation, water, moisture)
and matplotlib's inferno and viridis. A diverging ramp has its neutral colour at a meaningful zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Ramp = tuple[str, ...]

_VEGETATION: Ramp = (
    "8c6d46", "b8985f", "dcc98f", "f7f3c1", "c5e08b", "86c66c", "3fa657", "127a3e", "00441b",
)  # fmt: skip
_WATER: Ramp = (
    "8c5a1e", "bb8f4c", "dcc48f", "efe3c6", "f7f6f1", "b3d5ea", "5ba3d0", "1f6eb3", "08306b",
)  # fmt: skip
_MOISTURE: Ramp = (
    "a50026", "d9592f", "f6a35c", "fddc9a", "fafbd0", "c6e6ee", "82bcd9", "477fb9", "313695",
)  # fmt: skip
_BURN: Ramp = (
    "40004b", "7b3294", "b98ac0", "e5d3e8", "f7f5ee", "d6ecc4", "93cd85", "3f9e4c", "00441b",
)  # fmt: skip
_SNOW: Ramp = (
    "5a4632", "8e7355", "bfa988", "e4dccd", "f4f5f6", "c9dff0", "86bde0", "3d8fd0", "123f8c",
)  # fmt: skip
_SOIL: Ramp = (
    "00571f", "3f9a57", "9ccb86", "dfecb8", "faf3d4", "ecce91", "cf9a56", "a0622d", "5e3413",
)  # fmt: skip
_PLUME: Ramp = (
    "3b6fb6", "a9c6e3", "f7f7f2", "fde3a0", "fbb04a", "f0702c", "c92a35", "7f1449", "3a0a3f",
)  # fmt: skip
_INFERNO: Ramp = (
    "000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d",
    "fcffa4",
)  # fmt: skip
_VIRIDIS: Ramp = (
    "440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b",
    "fde725",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a map of one quantity is drawn; values beyond the ends take the end colours."""

    ramp: Ramp
    low: float | None = None
    """Value of the first colour; None takes the 2nd percentile of the map."""
    high: float | None = None
    """Value of the last colour; None takes the 98th percentile of the map."""
    unit: str = ""
    """Shown above the colour bar; empty for a ratio."""

    def fitted(self, values: NDArray[Any]) -> "Style":
        """The same with both ends fixed, from the values where they were open."""
        if self.low is not None and self.high is not None:
            return self
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
        low = float(low) if self.low is None else self.low
        high = float(high) if self.high is None else self.high
        return Style(ramp=self.ramp, low=low, high=max(high, low + 1e-6), unit=self.unit)


STYLES: Mapping[str, Style] = {
    "NDVI": Style(ramp=_VEGETATION, low=-0.2, high=1.0),
    "EVI": Style(ramp=_VEGETATION, low=-0.2, high=1.0),
    "SAVI": Style(ramp=_VEGETATION, low=-0.2, high=1.0),
    "NDWI": Style(ramp=_WATER, low=-0.8, high=0.8),
    "MNDWI": Style(ramp=_WATER, low=-0.8, high=0.8),
    "NDMI": Style(ramp=_MOISTURE, low=-0.6, high=0.6),
    "NBR": Style(ramp=_BURN, low=-0.8, high=0.8),
    "NDSI": Style(ramp=_SNOW, low=-1.0, high=1.0),
    "BSI": Style(ramp=_SOIL, low=-0.5, high=0.5),
    # Zero lies a quarter up: noise of both signs stays pale, plumes stand out.
    "enhancement": Style(ramp=_PLUME, low=-500.0, high=1500.0, unit="ppm m"),
    "uncertainty": Style(ramp=_VIRIDIS, low=0.0, unit="ppm m"),
    "sensitivity": Style(ramp=_VIRIDIS, low=0.0, high=1.5),
    "probability": Style(ramp=_INFERNO, low=0.0, high=1.0),
}
"""Styles by band name; `style_of` also knows what is not listed."""


def style_of(name: str, *, unit: str = "") -> Style:
    """Style of a band, or a neutral one fitted to its values for a name that is not listed."""
    return STYLES.get(name, Style(ramp=_VIRIDIS, unit="" if unit == "1" else unit))


def colour_table(ramp: Ramp, levels: int) -> NDArray[np.uint8]:
    """The ramp in so many steps, `level rgb`."""
    anchors = np.array([[int(colour[k : k + 2], 16) for k in (0, 2, 4)] for colour in ramp])
    at, where = np.linspace(0, 1, levels), np.linspace(0, 1, len(ramp))
    channels = [np.interp(at, where, anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def ticks(low: float, high: float, step: float) -> list[float]:
    """Multiples of a step between two values, both included."""
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [number * step for number in range(first, last + 1)]


def round_step(at_least: float) -> float:
    """Smallest of 1, 2, 2.5, 5 times a power of ten that is not below a number."""
    power = 10.0 ** np.floor(np.log10(at_least))
    return float(next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= at_least * (1 - 1e-9)))
