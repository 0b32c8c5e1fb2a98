"""Pixels of a radiance scene where no methane is seen: cloud, cirrus, water and flares.

An archive's own mask is better. Where there is none, as beside EMIT's radiance, thresholds on the
reflectance at the top of the atmosphere do: cloud is bright and white from 450 to 1650 nm, where
soil is red and snow dark; cirrus is bright at 1380 nm, where the air below is black (Gao 1993);
water is dark at 1000 nm. A flare is brighter at 2389 nm than the sun makes any ground. A heuristic:
white roofs and salt count as cloud. Without a band its test is left out, and the result says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from geostack_dagster.inference.blocks import Sliceable

SUNLIGHT: Mapping[int, float] = {450: 206.0, 1000: 74.6, 1250: 46.0, 1380: 36.3, 1650: 22.9}
"""Irradiance above the air at a distance of 1 au [uW cm-2 nm-1], to a few per cent, by nm."""

_WITHIN_NM = 10.0
_CLOUD = {450: 0.15, 1250: 0.2, 1650: 0.15}
_WHITE = (
    0.5  # least reflectance at 450 over that at 1250 nm: soil has a third, cloud more than half
)
_CIRRUS = {1380: 0.1}
_WATER_NM, _WATER = 1000, 0.05
_FLARE_NM, _FLARE = 2389, 1.5  # radiance [uW cm-2 sr-1 nm-1]
_AROUND_PX = 2  # edges of clouds and flares are mixed pixels
_EIGHT = np.ones((3, 3), bool)
_CROSS = ndimage.generate_binary_structure(2, 1)  # smaller than that is a roof


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screened:
    """What hides the ground, and what was looked for."""

    hidden: Bool[np.ndarray, "y x"]
    facts: Mapping[str, Any]
    """Pixels by what hides them; None where the bands to tell are missing. JSON-like."""


def screen(
    radiance: Sliceable,
    wavelength_nm: Float[np.ndarray, " band"],
    sun_zenith_deg: Shaped[np.ndarray, "y x"],
) -> Screened:
    """Hidden pixels of a scene.

    Args:
        radiance: `(y, x, band)` [uW cm-2 sr-1 nm-1].
        wavelength_nm: Of its bands.
        sun_zenith_deg: Of every pixel.
    """
    cosine = np.cos(np.radians(sun_zenith_deg.astype(np.float64)))
    scene = _Scene(_lights(radiance, wavelength_nm), cosine)
    found = {
        "cloud": _grown(scene.cloud()),
        "cirrus": scene.brighter(_CIRRUS),
        "water": scene.water(),
        "flare": _grown(scene.flare()),
    }
    hidden = np.zeros(sun_zenith_deg.shape, bool)
    for mask in found.values():
        if mask is not None:
            hidden |= mask
    facts = {name: None if mask is None else int(mask.sum()) for name, mask in found.items()}
    return Screened(hidden=hidden, facts=facts)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    lights: Mapping[int, Float[np.ndarray, "y x"]]
    """Radiance by nm, of the bands that there are."""
    cosine: Float[np.ndarray, "y x"]

    def brighter(self, limits: Mapping[int, float]) -> Bool[np.ndarray, "y x"] | None:
        """Where every reflectance exceeds its limit; None without one of the bands."""
        found = np.ones(self.cosine.shape, bool)
        for nm, limit in limits.items():
            reflectance = self.reflectance(nm)
            if reflectance is None:
                return None
            found &= reflectance > limit
        return found

    def cloud(self) -> Bool[np.ndarray, "y x"] | None:
        bright, blue, red = self.brighter(_CLOUD), self.reflectance(450), self.reflectance(1250)
        if bright is None or blue is None or red is None:
            return None
        return np.asarray(ndimage.binary_opening(bright & (blue > _WHITE * red), _CROSS))

    def water(self) -> Bool[np.ndarray, "y x"] | None:
        dark = self.reflectance(_WATER_NM)
        return None if dark is None else dark < _WATER

    def flare(self) -> Bool[np.ndarray, "y x"] | None:
        light = self.lights.get(_FLARE_NM)
        return None if light is None else light > _FLARE

    def reflectance(self, nm: int) -> Float[np.ndarray, "y x"] | None:
        """Of the top of the atmosphere; NaN where nothing was measured."""
        light = self.lights.get(nm)
        return None if light is None else np.pi * light / (SUNLIGHT[nm] * self.cosine)


def _lights(
    radiance: Sliceable, wavelength_nm: Float[np.ndarray, " band"]
) -> Mapping[int, Float[np.ndarray, "y x"]]:
    """Radiance by nm in the nearest band, unless that is too far; all read at once."""
    apart = {nm: np.abs(wavelength_nm - nm) for nm in (*SUNLIGHT, _FLARE_NM)}
    near = {nm: int(one.argmin()) for nm, one in apart.items() if one.min() <= _WITHIN_NM}
    if not near:
        return {}
    read = np.asarray(radiance[:, :, np.array(list(near.values()))], np.float64)
    return dict(zip(near, np.moveaxis(read, 2, 0), strict=True))


def _grown(mask: Bool[np.ndarray, "y x"] | None) -> Bool[np.ndarray, "y x"] | None:
    if mask is None or not mask.any():
        return mask
    return np.asarray(ndimage.binary_dilation(mask, _EIGHT, iterations=_AROUND_PX))
