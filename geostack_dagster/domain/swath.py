"""Products in sensor geometry: where their files keep what, and what a pipeline wants of them.

A swath is `downtrack x crosstrack x band`: lines as the sensor flew, columns as its detectors lie.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from geostack_dagster.errors import ConfigurationError

type Windows = tuple[tuple[float, float], ...]
"""Wavelengths from and to, both included [nm]."""

type Opener = Literal["obstore", "fsspec", "earthaccess"]
OPENERS: tuple[str, ...] = get_args(Opener.__value__)
"""What reads the bytes: our byte source over either transport, or files of `earthaccess.open`."""


class Geometry(StrEnum):
    """How the pixels of a collection lie."""

    GRID = "grid"
    """On the ground, by an affine transform in a CRS."""
    SWATH = "swath"
    """As the sensor saw them; longitude and latitude are arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathLayout:
    """Paths of a product's arrays inside its HDF5 (netCDF4) files, and which file has them.

    Files are named by bands of the collection's table.
    """

    data: str
    """Array of `downtrack, crosstrack, band`, in the file `file`."""
    file: str
    observation_file: str | None = None
    """File with angles of sun and view for each pixel; None if the product has none."""
    wavelengths: str = "sensor_band_parameters/wavelengths"
    """[nm]"""
    fwhm: str = "sensor_band_parameters/fwhm"
    """[nm]"""
    good: str = "sensor_band_parameters/good_wavelengths"
    """1 where a band is usable; absent from radiance."""
    longitude: str = "location/lon"
    latitude: str = "location/lat"
    elevation: str = "location/elev"
    glt_x: str = "location/glt_x"
    """1-based column of each map pixel; 0 is nodata, negative is interpolated."""
    glt_y: str = "location/glt_y"
    observation: str = "obs"
    """Array of `downtrack, crosstrack, quantity` in `observation_file`."""
    observation_names: str = "sensor_band_parameters/observation_bands"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentNoise:
    """Noise-equivalent radiance of a spectrometer, |a sqrt(b + L) + c| [unit of its radiance]."""

    a: float
    b: float
    c: float = 0.0
    reach_nm: tuple[float, float]
    """Wavelengths that the coefficients hold for; beyond them the noise is not known."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathChoice:
    """Which part of a granule is wanted, and who reads it."""

    wavelengths_nm: Windows = ()
    """Bands whose centre lies in one of these; all bands if there is none."""
    columns: Literal["aoi", "all"] = "aoi"
    rows: Literal["aoi", "all"] = "all"
    """All lines by default: a detector's statistics come from the whole of its column."""
    margin_m: float = 0.0
    """Ground around the AOI that counts as well [m]."""
    opener: Opener = "obstore"

    def __post_init__(self) -> None:
        for low, high in self.wavelengths_nm:
            if not low <= high:
                raise ConfigurationError(
                    f"a window of wavelengths must rise, not go from {low} to {high} nm"
                )
        if self.opener not in OPENERS:
            raise ConfigurationError(
                f"unknown opener {self.opener!r}; choose one of {', '.join(OPENERS)}"
            )
        if self.margin_m < 0:
            raise ConfigurationError(f"margin_m must not be negative, it is {self.margin_m}")
