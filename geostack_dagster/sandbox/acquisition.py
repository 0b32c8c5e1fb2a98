"""What Sentinel-2 did: tiles, overpasses and processings, with the names that ESA gives them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.sun import sun
from geostack_dagster.sandbox.world import World

# Centre and width [um] of each band, as both archives state them.
BANDS: Mapping[str, tuple[float, float]] = {
    "B01": (0.443, 0.027),
    "B02": (0.49, 0.098),
    "B03": (0.56, 0.045),
    "B04": (0.665, 0.038),
    "B05": (0.704, 0.019),
    "B06": (0.74, 0.018),
    "B07": (0.783, 0.028),
    "B08": (0.842, 0.145),
    "B09": (0.945, 0.026),
    "B11": (1.61, 0.143),
    "B12": (2.19, 0.242),
    "B8A": (0.865, 0.033),
}
_ORBITS_PER_DAY = 143 / 10
# Absolute orbit on a known date, read off recorded Items.
_ORBIT_ON = {"S2A": (24558, date(2020, 3, 5)), "S2B": (17394, date(2020, 7, 5))}
_TILE_M = 109_800
_SAMPLES = 61
_SCL_NAMES = {
    2: "dark_features",
    3: "cloud_shadow",
    4: "vegetation",
    5: "not_vegetated",
    6: "water",
    7: "unclassified",
    8: "medium_proba_clouds",
    9: "high_proba_clouds",
    10: "thin_cirrus",
    11: "snow_ice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A square of the MGRS grid with the orbit that crosses it."""

    name: str
    epsg: int
    origin: tuple[float, float]
    """Outer corner of the first pixel [m]."""
    relative_orbit: int
    datatake: timedelta
    """From midnight UTC to the start of the datatake."""
    datastrip_delay: timedelta
    sensing_delay: timedelta
    """From the start of the datatake to the tile's own sensing time."""

    @property
    def zone(self) -> str:
        """UTM zone, as in `32`."""
        return self.name[:2]

    @property
    def latitude_band(self) -> str:
        """MGRS band, as in `T`."""
        return self.name[2]

    @property
    def square(self) -> str:
        """100 km square, as in `MT`."""
        return self.name[3:]

    @property
    def bbox_m(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top [m]."""
        left, top = self.origin
        return left, top - _TILE_M, left + _TILE_M, top

    def footprint(self) -> list[list[float]]:
        """Ring of the tile's corners in degrees."""
        left, bottom, right, top = self.bbox_m
        corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
        project = Transformer.from_crs(self.epsg, 4326, always_xy=True).transform
        return [[round(float(value), 8) for value in project(*corner)] for corner in corners]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """One run of the processor over an acquisition."""

    baseline: str
    delay: timedelta
    """From the datatake to the product."""
    sequence: int = 0
    """Earth Search's number of the processing."""

    @property
    def has_offset(self) -> bool:
        """Whether the processor added 1000 to the pixels."""
        return float(self.baseline) >= 4

    @property
    def short(self) -> str:
        """As in `N0510`."""
        return "N" + self.baseline.replace(".", "")


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """One overpass over one tile."""

    tile: Tile
    day: date
    platform: str
    """`S2A` or `S2B`."""
    cut: tuple[tuple[float, float], ...] = ()
    """Ring of the part that was seen [degrees]; empty for the whole tile."""

    @property
    def datatake(self) -> datetime:
        """Start of the datatake."""
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return midnight + self.tile.datatake

    @property
    def datastrip(self) -> datetime:
        """Start of the datastrip."""
        return self.datatake + self.tile.datastrip_delay

    @property
    def sensed(self) -> datetime:
        """Sensing time of the tile, to the millisecond."""
        jitter = timedelta(milliseconds=int(4000 * noise.unit_of("sensed", self.day)))
        return self.datatake + self.tile.sensing_delay + jitter

    @property
    def orbit(self) -> int:
        """Absolute orbit number."""
        number, known = _ORBIT_ON[self.platform]
        return number + round((self.day - known).days * _ORBITS_PER_DAY)

    def generated(self, processing: Processing) -> datetime:
        """When a processing was made."""
        return self.datatake + processing.delay

    def product(self, processing: Processing, level: str = "L2A") -> str:
        """ESA's product name without `.SAFE`."""
        return (
            f"{self.platform}_MSI{level}_{stamp(self.datatake)}_{processing.short}_"
            f"R{self.tile.relative_orbit:03d}_T{self.tile.name}_"
            f"{stamp(self.generated(processing))}"
        )

    def esa_properties(self, processing: Processing) -> dict[str, Any]:
        """The `s2:*` properties that both archives copy from the product."""
        made, baseline = stamp(self.generated(processing)), processing.baseline
        prefix, centre = f"{self.platform}_OPER_MSI_L2A", f"2{self.platform[-1]}PS"
        return {
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": baseline,
            "s2:product_uri": f"{self.product(processing)}.SAFE",
            "s2:generation_time": f"{self.generated(processing):%Y-%m-%dT%H:%M:%S}.000000Z",
            "s2:datatake_id": (
                f"G{self.platform}_{stamp(self.datatake)}_{self.orbit:06d}_N{baseline}"
            ),
            "s2:datatake_type": "INS-NOBS",
            "s2:datastrip_id": (
                f"{prefix}_DS_{centre}_{made}_S{stamp(self.datastrip)}_N{baseline}"
            ),
            "s2:granule_id": (
                f"{prefix}_TL_{centre}_{made}_A{self.orbit:06d}_T{self.tile.name}_N{baseline}"
            ),
            "s2:reflectance_conversion_factor": round(self._sun_distance_factor, 12),
        }

    def geometry(self) -> dict[str, Any]:
        """GeoJSON polygon of the pixels."""
        ring = [list(vertex) for vertex in self.cut] or self.tile.footprint()
        return {"type": "Polygon", "coordinates": [ring]}

    def bbox(self) -> list[float]:
        """Bounds of the geometry [degrees]."""
        xs, ys = zip(*self.geometry()["coordinates"][0], strict=True)
        return [min(xs), min(ys), max(xs), max(ys)]

    def statistics(self, world: World) -> dict[str, float]:
        """Scene-class percentages, sampled over the tile, and `eo:cloud_cover`."""
        known = _STATED.setdefault(world, {})  # every archive states them
        if self not in known:
            known[self] = _statistics(self.classes(world))
        return dict(known[self])

    @cached_property
    def sun(self) -> tuple[float, float]:
        """Zenith and azimuth of the sun over the tile's centre [degrees]."""
        lon, lat = (sum(values) / 4 for values in zip(*self.tile.footprint()[:4], strict=True))
        return sun(lon, lat, self.sensed)

    @property
    def _sun_distance_factor(self) -> float:
        return 1 + 0.0334 * math.cos(2 * math.pi * (self.day.timetuple().tm_yday - 3) / 365.25)

    def classes(self, world: World) -> NDArray[np.uint8]:
        """Scene classes, sampled over the tile; 0 where it was not seen."""
        step = _TILE_M / _SAMPLES
        left, _, _, top = self.tile.bbox_m
        axes = Axes(
            crs=f"EPSG:{self.tile.epsg}",
            x0=left + step / 2,
            y0=top - step / 2,
            dx=step,
            dy=-step,
            width=_SAMPLES,
            height=_SAMPLES,
        )
        codes = world.classify(axes, self.sensed).copy()
        if self.cut:
            project = Transformer.from_crs(self.tile.epsg, 4326, always_xy=True).transform
            lon, lat = project(*np.meshgrid(axes.sites().x, axes.sites().y))
            codes[~shapely.contains_xy(shapely.Polygon(self.cut), lon, lat)] = 0
        return codes


def stamp(moment: datetime) -> str:
    """As in `20240603T103021`."""
    return f"{moment:%Y%m%dT%H%M%S}"


_STATED: WeakKeyDictionary[World, dict[Acquisition, dict[str, float]]] = WeakKeyDictionary()


def _statistics(codes: NDArray[np.uint8]) -> dict[str, float]:
    seen = codes[codes > 0]
    shares = {
        f"s2:{name}_percentage": round(100 * float(np.mean(seen == code)), 6)
        for code, name in _SCL_NAMES.items()
    }
    clouds = ("medium_proba_clouds", "high_proba_clouds", "thin_cirrus")
    return shares | {
        "eo:cloud_cover": round(sum(shares[f"s2:{name}_percentage"] for name in clouds), 6),
        "s2:nodata_pixel_percentage": round(100 * float(np.mean(codes == 0)), 6),
        "s2:degraded_msi_data_percentage": 0.0,
        "s2:saturated_defective_pixel_percentage": 0.0,
    }
