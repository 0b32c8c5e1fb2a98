"""EMIT-like files: the arrays, groups and attributes of the real ones, small, every value known."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PIXEL = 0.000542232520256367  # degrees, as on EMIT's maps
OBSERVED = (
    "Path length (sensor-to-ground in meters)",
    "To-sensor azimuth (0 to 360 degrees CW from N)",
    "To-sensor zenith (0 to 90 degrees from zenith)",
    "To-sun azimuth (0 to 360 degrees CW from N)",
    "To-sun zenith (0 to 90 degrees from zenith)",
    "Solar phase (degrees between to-sensor and to-sun vectors in principal plane)",
    "Slope (local surface slope as derived from DEM in degrees)",
    "Aspect (local surface aspect 0 to 360 degrees clockwise from N)",
    "Cosine(i) (apparent local illumination factor)",
    "UTC Time (decimal hours for mid-line pixels)",
    "Earth-sun distance (AU)",
)
DATA = "https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/EMITL1BRAD.001"


@dataclass(frozen=True)
class Emit:
    """A granule: its files, and what is in them."""

    name: str
    radiance: np.ndarray
    """NaN where the file has its fill value."""
    lon: np.ndarray
    lat: np.ndarray
    wavelengths: np.ndarray
    glt: tuple[np.ndarray, np.ndarray]
    files: dict[str, Path]

    @property
    def files_by_name(self) -> dict[str, Path]:
        return {path.name: path for path in self.files.values()}

    def item(self, **changes: Any) -> dict[str, Any]:
        """As our search makes it of CMR's metadata."""
        assets = {
            path.name: {
                "href": f"{DATA}/{self.name}/{path.name}",
                "roles": ["data"],
                "file:size": path.stat().st_size,
            }
            for path in self.files.values()
        }
        west, south = float(np.nanmin(self.lon)), float(np.nanmin(self.lat))
        east, north = float(np.nanmax(self.lon)), float(np.nanmax(self.lat))
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        moment = datetime.strptime(self.name.split("_")[4], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        properties = {"datetime": moment.isoformat(), "view:sun_elevation": 61.0}
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": self.name,
            "collection": "EMITL1BRAD_001",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
            "assets": assets,
            "links": [],
            **changes,
        }


def emit(
    folder: Path,
    name: str = "EMIT_L1B_RAD_001_20240703T101112_2418500_007",
    *,
    lines: int = 40,
    columns: int = 50,
    bands: int = 60,
    corner: tuple[float, float] = (8.0, 47.0),
    **options: Any,
) -> Emit:
    """Write a granule that flies to the south-east, 30 degrees off the meridian.

    `options` are those of `create_dataset` for the radiance; contiguous without any, as EMIT's.
    """
    y, x = np.mgrid[:lines, :columns].astype(np.float64)
    lon = corner[0] + PIXEL * (0.87 * x + 0.5 * y)
    lat = corner[1] - PIXEL * (0.87 * y - 0.5 * x)
    number = np.arange(lines * columns * bands).reshape(lines, columns, bands)
    radiance = (number % 8191 / 100.0 + 0.5).astype(np.float32)
    radiance[3, 4] = np.nan
    wavelengths = np.linspace(381.0, 2493.0, bands).astype(np.float32)
    glt = look_up(lon, lat)
    files = {
        "radiance": folder / f"{name}.nc",
        "observation": folder / f"{name.replace('_RAD_', '_OBS_')}.nc",
    }
    with h5py.File(files["radiance"], "w") as file:
        _array(file, "radiance", np.nan_to_num(radiance, nan=-9999.0), -9999.0, **options)
        file["radiance"].attrs.update(long_name="Radiance Data", units="uW/cm^2/SR/nm")
        _array(file, "flat_field_update", np.ones((columns, bands), "<f4"), -9999.0)
        bandwise = {"wavelengths": wavelengths, "fwhm": np.full(bands, 8.6, "<f4")}
        for path, values in bandwise.items():
            _array(file, f"sensor_band_parameters/{path}", values, -9999.0)
        _geolocation(file, lon, lat, glt)
        _attributes(file, lon, lat)
    with h5py.File(files["observation"], "w") as file:
        obs = np.zeros((lines, columns, len(OBSERVED)), "<f8")
        obs[..., 2], obs[..., 4] = 5 + y / 100, 30 + x / 100
        obs[3, 4] = -9999.0
        _array(file, "obs", obs, -9999.0)
        names = file.create_dataset(
            "sensor_band_parameters/observation_bands",
            data=list(OBSERVED),
            dtype=h5py.string_dtype(),
        )
        assert names.shape == (11,)
        _geolocation(file, lon, lat, glt)
        _attributes(file, lon, lat)
    return Emit(name, radiance, lon, lat, wavelengths, glt, files)


def look_up(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest sensor pixel of each map pixel, 1-based; 0 where none is near."""
    left, top = lon.min(), lat.max()
    height, width = round((top - lat.min()) / PIXEL) + 1, round((lon.max() - left) / PIXEL) + 1
    x, y = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    rows = np.rint((top - lat) / PIXEL).astype(int)
    columns = np.rint((lon - left) / PIXEL).astype(int)
    lines, samples = np.mgrid[: lon.shape[0], : lon.shape[1]]
    x[rows, columns], y[rows, columns] = samples + 1, lines + 1
    x[::7], y[::7] = -x[::7], -y[::7]  # as if interpolated
    return x, y


def _geolocation(file: Any, lon: np.ndarray, lat: np.ndarray, glt: Any) -> None:
    _array(file, "location/lon", lon, -9999.0)
    _array(file, "location/lat", lat, -9999.0)
    _array(file, "location/elev", np.full(lon.shape, 400.0), -9999.0)
    for path, table in zip(("glt_x", "glt_y"), glt, strict=True):
        cut = tuple(max(size // 3, 1) for size in table.shape)
        packed = {"chunks": cut, "compression": "gzip", "shuffle": True}
        _array(file, f"location/{path}", table, -9999, **packed)


def _attributes(file: Any, lon: np.ndarray, lat: np.ndarray) -> None:
    file.attrs["title"] = "EMIT L1B At-Sensor Calibrated Radiance Data 60 m V001"
    file.attrs["geotransform"] = [
        lon.min() - PIXEL / 2, PIXEL, -0.0, lat.max() + PIXEL / 2, -0.0, -PIXEL,
    ]  # fmt: skip


def _array(file: Any, path: str, values: np.ndarray, fill: float, **options: Any) -> None:
    made = file.create_dataset(path, data=values, fillvalue=values.dtype.type(fill), **options)
    made.attrs["_FillValue"] = values.dtype.type(fill)
