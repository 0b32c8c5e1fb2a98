"""Scenes as learning sees them: three maps, what is known of every pixel, where and when."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pyproj import CRS, Transformer

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.sites import site_of

WHOLE = slice(None)
_EARTH_RADIUS_KM = 6371.007
type Affine6 = tuple[float, float, float, float, float, float]


class PixelState(IntEnum):
    """What is known of one pixel: `State`, as a number that arrays can hold."""

    UNOBSERVABLE = 0
    NO_PLUME = 1
    """Somebody looked, and there is none."""
    PLUME = 2
    UNCERTAIN = 3
    """Nobody looked, nobody was sure, or it is the rim of a plume: it trains and scores nothing."""

    @property
    def state(self) -> State:
        """The state by name."""
        return State[self.name]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """A scene or a window of it; NaN where unobserved."""

    enhancement: Float32[np.ndarray, "y x"]
    """[ppm m], signed."""
    uncertainty: Float32[np.ndarray, "y x"]
    """One standard deviation [ppm m]."""
    sensitivity: Float32[np.ndarray, "y x"]
    """1 on average, less where dark."""
    states: UInt8[np.ndarray, "y x"]
    """`PixelState` of every pixel."""

    def __post_init__(self) -> None:
        maps = (self.enhancement, self.uncertainty, self.sensitivity, self.states)
        if len({one.shape for one in maps}) != 1:
            raise ConfigurationError(
                f"maps of one scene differ in shape: {[one.shape for one in maps]}"
            )

    @property
    def channels(self) -> Float32[np.ndarray, "3 y x"]:
        """The maps in the detector's order."""
        return np.stack([self.enhancement, self.uncertainty, self.sensitivity]).astype(np.float32)

    @property
    def observed(self) -> Bool[np.ndarray, "y x"]:
        """Pixels where all maps have a value."""
        return np.asarray(np.isfinite(self.channels).all(axis=0))

    def window(self, rows: slice, columns: slice) -> "Maps":
        """Part of the maps."""
        part = (rows, columns)
        return Maps(
            enhancement=self.enhancement[part],
            uncertainty=self.uncertainty[part],
            sensitivity=self.sensitivity[part],
            states=self.states[part],
        )


@runtime_checkable
class SceneSource(Protocol):
    """Where pixels of scenes come from: cubes, files, a generator."""

    def read(self, scene: str, rows: slice, columns: slice) -> Maps:
        """Maps of a window of a scene, by its id.

        Raises:
            NoDataError: If there is no such scene.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One granule: identity and place, without pixels."""

    id: str
    acquired: datetime
    orbit: str
    """Overpass that it is part of: neighbouring granules share it and must stay together."""
    crs: str
    transform: Affine6
    """a b c d e f, x = a col + b row + c and y = d col + e row + f."""
    shape: tuple[int, int]
    tags: Mapping[str, str] = field(default_factory=dict)
    """Slices that it is scored in: sensor, surface, season."""

    def position(self, row: float, column: float) -> tuple[float, float]:
        """Longitude and latitude of a place in the grid; (0, 0) is the outer corner [degrees]."""
        a, b, c, d, e, f = self.transform
        x, y = a * column + b * row + c, d * column + e * row + f
        longitude, latitude = _to_degrees(self.crs).transform(x, y)
        return float((longitude + 180) % 360 - 180), float(latitude)

    @property
    def site(self) -> str:
        """Cell of its centre."""
        return site_of(*self.position(self.shape[0] / 2, self.shape[1] / 2))

    @property
    def pixel_km2(self) -> float:
        """Area of a pixel on the ground, at the middle of the scene."""
        a, b, _, d, e, _ = self.transform
        area = abs(a * e - b * d)
        crs = _crs(self.crs)
        if not crs.is_geographic:
            return area * float(crs.axis_info[0].unit_conversion_factor) ** 2 / 1e6
        latitude = self.position(self.shape[0] / 2, self.shape[1] / 2)[1]
        radian = math.radians(1) * _EARTH_RADIUS_KM
        return area * radian**2 * math.cos(math.radians(latitude))


@functools.lru_cache(maxsize=256)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@functools.lru_cache(maxsize=256)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(_crs(crs), "EPSG:4326", always_xy=True)
