r"""Methane of the world: a source in each demonstration area, its emission rates and its plumes.

A plume is a column of constant rate Q carried by a constant wind U for a time T, cut into strands:

$$c(x, y) = \frac{Q}{U} g(x) F(x) \sum_k w_k(x) N(y;\, y_k(x), s(x)), \qquad \sum_k w_k = 1,$$

x downwind and y across [m]. Strands wander about a wandering middle, all in proportion to the
dispersion $\sigma_y = a x / \sqrt{1 + 10^{-4} x}$ (Briggs), exchange their shares $w_k$, and are
never narrower than a source of 20 m. Gusts g have mean 1 over the plume and F ends it softly at
x = U T. So every transect carries $g F Q / U$ exactly, the mass up to a distance X is Q X / U but
for the gust that is passing, and the mass of the whole plume is Q T. The wind is that of 10 m
height. Releases are a quarter of an hour old, so a demonstration area holds the whole of one. One
solar day has one plume: all sensors of a day see the same one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.special import ndtr

from geostack_dagster.sandbox import fields, noise
from geostack_dagster.sandbox.sampling import Floats, Sites

KG_M2_PER_PPM_M = 1e-6 * 0.01604 / 0.022414
"""Methane of 1 ppm m at 273.15 K and 101325 Pa."""
_DISPERSION = 0.13  # between Briggs's classes B and C: a sunny morning
_SOURCE_M = 20.0
_STRANDS = 6
_WIDTH, _MIDDLE, _SPREAD = 0.5, 0.6, 0.62  # of strands, their middle and themselves, in sigma_y
_UNEVEN, _GUSTS = 0.8, 0.15
_EDDY_M, _EDDY_GROWTH, _GUST_M = 350.0, 0.6, 400.0
_NODE_M = 20.0
_FRONT = 0.08  # softness of the far end, as a share of the length
_DURATION_S = 900.0
_SIGMAS = 5.0  # beyond which a strand has no mass
_SILENT_DAYS = 0.6
_SPEED_M_S, _VEER_DEG = (2.8, 4.8), 24.0
_RATES_T_H = (3.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A place that emits on some days."""

    name: str
    """Of the demonstration area."""
    crs: str
    x: float
    y: float
    prevailing_deg: float
    """Where the wind mostly comes from, clockwise from north."""
    rates_t_h: Mapping[date, float]
    """Days with a rate of their own [t/h], 0 for none; any other day's is drawn by its hash."""

    def wind(self, day: date) -> tuple[float, float]:
        """Speed 10 m above ground [m/s], and where it blows from [degrees clockwise from north]."""
        slow, fast = _SPEED_M_S
        veer = _VEER_DEG * (2 * noise.unit_of("veer", self.name, day) - 1)
        speed = slow + (fast - slow) * noise.unit_of("speed", self.name, day)
        return round(speed, 2), round((self.prevailing_deg + veer) % 360, 1)

    def rate_t_h(self, day: date) -> float:
        """Emission rate of a day [t/h]; 0 for none."""
        known = self.rates_t_h.get(day)
        if known is not None:
            return known
        low, high = _RATES_T_H
        drawn = noise.unit_of("rate", self.name, day)
        if drawn < _SILENT_DAYS:
            return 0.0
        share = (drawn - _SILENT_DAYS) / (1 - _SILENT_DAYS)
        return float(round(low * (high / low) ** share, 1))

    @property
    def degrees(self) -> tuple[float, float]:
        """Longitude and latitude."""
        lon, lat = _transformer(self.crs, "EPSG:4326").transform(self.x, self.y)
        return float(lon), float(lat)


def _june(day: int) -> date:
    return date(2024, 6, day)


def _july(day: int) -> date:
    return date(2024, 7, day)


SOURCES = (
    Source(
        name="emmental",
        crs="EPSG:32632",
        x=412_820.0,
        y=5_205_040.0,
        prevailing_deg=270.0,
        rates_t_h={
            _june(3): 14.0,
            _june(8): 0.0,
            _june(13): 6.0,
            _june(18): 0.0,
            _june(23): 25.0,
            _june(28): 0.0,
            _july(3): 4.0,
            _july(8): 0.0,
            _july(13): 10.0,
        },
    ),
    Source(
        name="rio_cuarto",
        crs="EPSG:32720",
        x=527_100.0,
        y=6_334_590.0,
        prevailing_deg=300.0,
        rates_t_h={
            _june(3): 0.0,
            _june(8): 0.0,
            _june(13): 9.0,
            _june(18): 0.0,
            _june(23): 20.0,
            _june(28): 0.0,
            _july(3): 5.0,
            _july(8): 0.0,
            _july(13): 15.0,
        },
    ),
    Source(
        name="korpezhe",
        crs="EPSG:32640",
        x=255_000.0,
        y=4_265_400.0,
        prevailing_deg=320.0,
        rates_t_h={
            _june(3): 0.0,
            _june(8): 0.0,
            _june(13): 16.0,
            _june(18): 0.0,
            _june(23): 0.0,
            _june(28): 0.0,
            _july(3): 24.0,
            _july(8): 0.0,
            _july(13): 8.0,
        },
    ),
)
"""One in each demonstration area, near its windward edge: upwind of ground that is neither water
nor snow, nor a crop whose colour changes within days. The last one lies in the desert."""
FIELD_SOURCES = tuple(Source(**one) for field in fields.FIELDS for one in field.sources())
"""Those of the fields that only EMIT sees, on the days that it does."""


@dataclass(frozen=True, kw_only=True)
class Emission:
    """What a source does on a day, and the plume of it."""

    source: Source
    day: date
    rate_t_h: float
    wind_m_s: float
    """10 m above ground; the plume moves at this speed."""
    wind_from_deg: float
    """Clockwise from north."""
    duration_s: float = _DURATION_S

    @property
    def length_m(self) -> float:
        """Distance that the first of the gas has come."""
        return self.wind_m_s * self.duration_s

    @property
    def mass_kg(self) -> float:
        """Of the whole plume."""
        return self.rate_t_h * 1000 / 3600 * self.duration_s

    def column(self, places: Sites) -> NDArray[np.float64]:
        """Enhancement at places [ppm m], shape (y, x)."""
        sites = _in(places, self.source.crs)
        x, y = np.broadcast_arrays(
            *((sites.x[None], sites.y[:, None]) if sites.is_mesh else (sites.x, sites.y))
        )
        angle = math.radians(self.wind_from_deg)
        east, north = x - self.source.x, y - self.source.y
        along = -east * math.sin(angle) - north * math.cos(angle)
        across = east * math.cos(angle) - north * math.sin(angle)
        reach = _SIGMAS * _SOURCE_M
        width = reach + _SIGMAS * _dispersion(np.maximum(along, 0))
        near = (along > -reach) & (along < self._reach_m) & (np.abs(across) < width)
        found = np.zeros(x.shape)
        found[near] = self._strands(along[near], across[near])
        return found

    def _strands(self, along: Floats, across: Floats) -> NDArray[np.float64]:
        scaled = np.maximum(along, 0) / _NODE_M
        node = scaled.astype(np.int64)
        t = scaled - node
        line, places, shares = self._tables
        sigma = np.hypot(_WIDTH * _dispersion(np.maximum(along, 0)), _SOURCE_M)
        total = np.zeros(along.shape)
        for place, share in zip(places, shares, strict=True):
            middle = place[node] * (1 - t) + place[node + 1] * t
            part = share[node] * (1 - t) + share[node + 1] * t
            total += part * np.exp(-0.5 * ((across - middle) / sigma) ** 2)
        total *= (line[node] * (1 - t) + line[node + 1] * t) * ndtr(along / _SOURCE_M)
        column: NDArray[np.float64] = total / (math.sqrt(2 * math.pi) * sigma)
        return column

    @property
    def _reach_m(self) -> float:
        return self.length_m * (1 + _SIGMAS * _FRONT)

    @cached_property
    def _tables(self) -> tuple[Floats, Floats, Floats]:
        """At nodes downwind: mass of a metre [ppm m m], places of strands [m] and their shares."""
        x = np.arange(math.ceil(self._reach_m / _NODE_M) + 2) * _NODE_M
        sigma = _dispersion(x)
        eddies = np.log1p(x / _EDDY_M) / _EDDY_GROWTH  # one unit is one eddy: they grow downwind
        middle = _MIDDLE * _wander(eddies, self._seed("middle"))
        places, uneven = np.empty((2, _STRANDS, x.size))
        for strand in range(_STRANDS):
            places[strand] = sigma * (
                middle + _SPREAD * _wander(1.7 * eddies, self._seed("place", strand))
            )
            uneven[strand] = np.exp(_UNEVEN * _wander(2 * eddies, self._seed("share", strand)))
        front = ndtr((self.length_m - x) / (_FRONT * self.length_m))
        gusty = front * (1 + _GUSTS * _wander(x / _GUST_M, self._seed("gust")))
        gusty *= (self.length_m / _NODE_M) / (gusty.sum() - gusty[0] / 2)
        line = self.rate_t_h * 1000 / 3600 / self.wind_m_s / KG_M2_PER_PPM_M * gusty
        return line, places, uneven / uneven.sum(axis=0)

    def _seed(self, *parts: object) -> int:
        return noise.seed_of("plume", self.source.name, self.day, *parts)


@lru_cache(maxsize=128)
def emission(source: Source, day: date) -> Emission | None:
    """What a source does on a day; None when it does nothing."""
    rate = source.rate_t_h(day)
    if not rate:
        return None
    speed, wind_from = source.wind(day)
    return Emission(source=source, day=day, rate_t_h=rate, wind_m_s=speed, wind_from_deg=wind_from)


def emissions(day: date) -> tuple[Emission, ...]:
    """Of all sources that are active on a day."""
    active = (*SOURCES, *FIELD_SOURCES) if day in fields.DAYS else SOURCES
    return tuple(
        found for found in (emission(source, day) for source in active) if found is not None
    )


def near(sites: Sites, day: date) -> tuple[Emission, ...]:
    """The emissions of a day whose plumes may reach some of the places."""
    return tuple(active for active in emissions(day) if _is_near(sites, active))


def enhancement(sites: Sites, day: date) -> NDArray[np.float64] | None:
    """Column of methane above the background at places [ppm m]; None where there is none."""
    total: NDArray[np.float64] | None = None
    for active in near(sites, day):
        column = active.column(sites)
        total = column if total is None else total + column
    return total


def pixel_means(
    place: Callable[[float, float], Sites], day: date, *, samples: int
) -> NDArray[np.float64] | None:
    """Enhancement averaged over pixels [ppm m]; None where there is none.

    Args:
        place: Places of all pixels moved by parts of a pixel along rows and columns (y, x).
        day: Solar day.
        samples: Points to a side of each pixel; 20 m apart they miss nothing.
    """
    total: NDArray[np.float64] | None = None
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    if not near(place(0.0, 0.0), day):
        return None
    for down in offsets:
        for right in offsets:
            column = enhancement(place(float(down), float(right)), day)
            if column is not None:
                total = column if total is None else total + column
    return None if total is None else total / samples**2


def _is_near(sites: Sites, active: Emission) -> bool:
    """Whether a plume may reach some of the places: by the box around them."""
    xs, ys = np.meshgrid(
        np.linspace(sites.x.min(), sites.x.max(), 5), np.linspace(sites.y.min(), sites.y.max(), 5)
    )
    box = _in(Sites(sites.crs, xs, ys), active.source.crs)
    if not np.isfinite(box.x).all():
        return False  # so far away that the projection has no place for it
    reach = 1.6 * active.length_m
    return bool(
        box.x.min() - reach < active.source.x < box.x.max() + reach
        and box.y.min() - reach < active.source.y < box.y.max() + reach
    )


def _in(sites: Sites, crs: str) -> Sites:
    if sites.crs == crs:
        return sites
    x, y = np.meshgrid(sites.x, sites.y) if sites.is_mesh else (sites.x, sites.y)
    east, north = _transformer(sites.crs, crs).transform(x, y)
    return Sites(crs, np.asarray(east), np.asarray(north))


def _dispersion(x: Floats) -> Floats:
    sigma: Floats = _DISPERSION * x / np.sqrt(1 + 1e-4 * x)
    return sigma


def _wander(x: Floats, seed: int) -> Floats:
    """Smooth random function of mean 0 and variance about 1, in two octaves."""
    total: Floats = np.zeros(x.shape)
    for octave, weight in enumerate((0.85, 0.53)):
        values = (noise.table(noise.seed_of(seed, octave), 64).ravel() - 0.5) * math.sqrt(12 / 0.74)
        scaled = x * 2**octave
        node = scaled.astype(np.int64)
        t = scaled - node
        t = t * t * (3 - 2 * t)
        total = total + weight * (values[node] * (1 - t) + values[node + 1] * t)
    return total


@lru_cache(maxsize=32)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
