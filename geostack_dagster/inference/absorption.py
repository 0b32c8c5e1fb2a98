"""How much light methane takes: a surrogate shipped as a small table, and external tables by path.

Columns are ppm m at 273.15 K and 101325 Pa. The surrogate runs the demo and the tests; real work
loads a radiative-transfer table, whose digest then stands on every output.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, IntegrityError

type Spectrum = Float[np.ndarray, " band"]

REFERENCE_AIR_MASS_FACTOR = 2.09
"""1 / cos SZA + 1 / cos VZA for which the surrogate's and Sentinel-2's absorption was fitted."""
_ENVI_DTYPES = {"4": "f4", "5": "f8"}


@runtime_checkable
class Absorber(Protocol):
    """A model of the radiance that is left under a methane column."""

    @property
    def digest(self) -> str:
        """Fingerprint of the content: two models with the same digest are the same."""
        ...

    def radiance(
        self,
        wavelength_nm: Spectrum,
        fwhm_nm: Spectrum,
        columns_ppm_m: Float[np.ndarray, " column"],
    ) -> Float[np.ndarray, "column band"]:
        """Band radiance at each column, in any unit; NaN where the model does not reach."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    r"""Methane absorption as a sum of Gaussians, already smoothed by an imaging spectrometer.

    $\tau(\lambda, c) = k(\lambda)\, c / (1 + c / c_s)$ with
    $k(\lambda) = 10^{-5} \sum_j A_j e^{-(\lambda - \lambda_j)^2 / 2 s_j^2}$ per ppm m. Fitted to
    the unit absorption of weak columns at 8.6 nm FWHM (r = 0.9985, largest residual 8 % of the
    peak); the saturation reproduces a MODTRAN table to 1 % up to 16,000 ppm m.
    """

    lines: tuple[tuple[float, float, float], ...]
    """Centre [nm], standard deviation [nm], amplitude [1e-5 per ppm m]."""
    saturation_ppm_m: float
    reach_nm: tuple[float, float]
    """Wavelengths between which absence of a line means absence of absorption."""

    @property
    def digest(self) -> str:
        """Fingerprint of the table."""
        return fingerprint(
            {"lines": self.lines, "saturation": self.saturation_ppm_m, "reach": self.reach_nm}
        )

    def unit_absorption(self, wavelength_nm: Spectrum) -> Spectrum:
        """Optical depth per weak column [1 / (ppm m)]."""
        centre, width, amplitude = np.asarray(self.lines, np.float64).T
        shape = np.exp(-0.5 * ((wavelength_nm[:, None] - centre) / width) ** 2)
        return np.asarray(1e-5 * shape @ amplitude)

    def optical_depth(
        self, wavelength_nm: Spectrum, columns_ppm_m: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape band"]:
        """Optical depth of each column at each wavelength."""
        effective = columns_ppm_m / (1 + columns_ppm_m / self.saturation_ppm_m)
        return np.asarray(effective[..., None] * self.unit_absorption(wavelength_nm))

    def radiance(
        self,
        wavelength_nm: Spectrum,
        fwhm_nm: Spectrum,
        columns_ppm_m: Float[np.ndarray, " column"],
    ) -> Float[np.ndarray, "column band"]:
        """Transmittance at the band centres: the table is smoothed already, never convolve it."""
        low, high = self.reach_nm
        transmittance = np.exp(-self.optical_depth(wavelength_nm, columns_ppm_m))
        transmittance[:, (wavelength_nm < low) | (wavelength_nm > high)] = np.nan
        return np.asarray(transmittance)


_LINES = (
    (1638, 8.0, 0.109),
    (1666, 3.7, 0.147),
    (1670, 25.0, 0.114),
    (1704, 5.0, 0.097),
    (1728, 14.0, 0.104),
    (2168, 14.0, 0.104),
    (2202, 5.0, 0.505),
    (2234, 14.0, 0.195),
    (2272, 25.0, 0.821),
    (2288, 3.7, 0.155),
    (2298, 5.0, 0.659),
    (2304, 3.7, 0.216),
    (2318, 3.7, 0.733),
    (2324, 3.7, 0.240),
    (2340, 3.7, 0.617),
    (2348, 3.7, 0.782),
    (2348, 25.0, 0.698),
    (2354, 3.7, 0.452),
    (2370, 3.7, 0.436),
    (2374, 3.7, 0.827),
    (2382, 3.7, 0.179),
    (2392, 5.0, 0.373),
    (2402, 3.7, 0.170),
    (2402, 25.0, 0.319),
    (2428, 3.7, 0.085),
    (2468, 25.0, 0.048),
)
SURROGATE_DIGEST = "2d66ff562ce943d235c5"


def methane_surrogate() -> Surrogate:
    """The shipped methane table.

    Raises:
        IntegrityError: If the table is not the one that was fitted and validated.
    """
    table = Surrogate(lines=_LINES, saturation_ppm_m=1.36e5, reach_nm=(380.0, 2510.0))
    if table.digest != SURROGATE_DIGEST:
        raise IntegrityError(
            f"the methane absorption table has digest {table.digest}, not {SURROGATE_DIGEST}; "
            "refit and validate it, then record the new digest"
        )
    return table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookUpTable:
    """At-sensor radiance of a fine spectral grid for several methane columns."""

    wavelength_nm: Float[np.ndarray, " wavelength"]
    columns_ppm_m: Float[np.ndarray, " column"]
    spectra: Float[np.ndarray, "_ _"]
    """Radiance, one row per column of methane; checked against the axes on construction."""

    def __post_init__(self) -> None:
        shape = (self.columns_ppm_m.size, self.wavelength_nm.size)
        if self.spectra.shape != shape:
            raise IntegrityError(
                f"a look-up table of {shape[0]} columns and {shape[1]} wavelengths cannot hold "
                f"spectra of shape {self.spectra.shape}; check the header and the columns"
            )
        if np.any(np.diff(self.wavelength_nm) <= 0) or np.any(np.diff(self.columns_ppm_m) <= 0):
            raise IntegrityError("wavelengths and columns of a look-up table must increase")

    @property
    def digest(self) -> str:
        """Fingerprint of all values as little-endian float64, wherever they were read from."""
        content = hashlib.sha256()
        for array in (self.wavelength_nm, self.columns_ppm_m, self.spectra):
            content.update(np.ascontiguousarray(array, "<f8").tobytes())
        return content.hexdigest()[:20]

    def radiance(
        self,
        wavelength_nm: Spectrum,
        fwhm_nm: Spectrum,
        columns_ppm_m: Float[np.ndarray, " column"],
    ) -> Float[np.ndarray, "column band"]:
        """Radiance seen by Gaussian bands; NaN for a band whose response leaves the table.

        Raises:
            ConfigurationError: If a column lies beyond the table: it is never extrapolated.
        """
        low, high = self.columns_ppm_m[[0, -1]]
        if columns_ppm_m.min() < low or columns_ppm_m.max() > high:
            raise ConfigurationError(
                f"columns {columns_ppm_m.min():g} to {columns_ppm_m.max():g} ppm m leave the "
                f"look-up table, which holds {low:g} to {high:g} ppm m; narrow the fit range"
            )
        banded = self.spectra @ spectral_response(self.wavelength_nm, wavelength_nm, fwhm_nm)
        return np.stack(
            [np.interp(columns_ppm_m, self.columns_ppm_m, band) for band in banded.T], axis=1
        )


def spectral_response(
    grid_nm: Float[np.ndarray, " wavelength"], wavelength_nm: Spectrum, fwhm_nm: Spectrum
) -> Float[np.ndarray, "wavelength band"]:
    r"""Weights of each grid point in each band: $e^{-(\lambda - \lambda_b)^2 / 2 s_b^2}$, sum 1.

    Grid points count by their spacing, so an uneven grid does not tilt a band. A band that has
    not 2 standard deviations of grid on either side is NaN: a silent zero would look like a band
    without methane.
    """
    sigma = fwhm_nm / (2 * np.sqrt(2 * np.log(2)))
    weights = np.exp(-0.5 * ((grid_nm[:, None] - wavelength_nm) / sigma) ** 2)
    weights *= np.gradient(grid_nm)[:, None]
    total = weights.sum(axis=0)
    reached = (wavelength_nm - 2 * sigma >= grid_nm[0]) & (wavelength_nm + 2 * sigma <= grid_nm[-1])
    return np.asarray(weights / np.where(reached & (total > 0), total, np.nan))


def read_envi_table(header: Path, columns_ppm_m: Sequence[float]) -> LookUpTable:
    """A table from an ENVI pair (`NAME.hdr` beside `NAME.lut`), samples being the columns.

    Args:
        header: Path of the header; it gives wavelengths [nm], data type and byte order.
        columns_ppm_m: What each sample stands for; ENVI has no field for it.

    Raises:
        IntegrityError: If header and data contradict each other.
    """
    fields = _envi_header(header)
    try:
        order = {"0": "<", "1": ">"}[fields["byte order"]]
        dtype = np.dtype(order + _ENVI_DTYPES[fields["data type"]])
        wavelength = np.array(fields["wavelength"].split(","), np.float64)
        samples = int(fields["samples"])
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            f"the ENVI header {header.name} lacks or garbles {error}; a table needs samples, "
            "data type 4 or 5, byte order and wavelengths"
        ) from error
    if fields.get("interleave") != "bsq" or samples != len(columns_ppm_m):
        raise IntegrityError(
            f"the ENVI table {header.name} has {samples} samples in {fields.get('interleave')!r} "
            f"order; expected bsq with {len(columns_ppm_m)} samples, one per column"
        )
    values = np.fromfile(header.with_suffix(".lut"), dtype)
    if values.size != wavelength.size * samples:
        raise IntegrityError(
            f"{header.with_suffix('.lut').name} holds {values.size} values; its header announces "
            f"{wavelength.size} wavelengths of {samples} samples"
        )
    return LookUpTable(
        wavelength_nm=wavelength,
        columns_ppm_m=np.asarray(columns_ppm_m, np.float64),
        spectra=values.astype(np.float64).reshape(wavelength.size, samples).T.copy(),
    )


def read_table(path: Path) -> LookUpTable:
    """A table from `.npz`, netCDF-4 or HDF5 (`.nc`, `.h5`, `.hdf5`), or from `.csv`.

    Arrays are named `wavelength_nm`, `columns_ppm_m` and `spectra` (column, wavelength). A csv file
    has `wavelength_nm` and then one column per methane column, named in ppm m.

    Raises:
        ConfigurationError: If the suffix is none of these.
        IntegrityError: If an array is missing or has another shape, or the file is none.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            return _of_arrays(path, stored)
    if path.suffix in {".nc", ".h5", ".hdf5"}:
        h5py = import_module("h5py")
        if not h5py.is_hdf5(path):
            raise IntegrityError(
                f"the look-up table {path.name} is not HDF5, so no netCDF-4 either"
            )
        with h5py.File(path) as stored:
            return _of_arrays(path, stored)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise ConfigurationError(
        f"cannot tell how to read the look-up table {path.name}; give .npz, .nc, .h5 or .csv"
    )


def _of_arrays(path: Path, stored: Mapping[str, Any]) -> LookUpTable:
    names = ("wavelength_nm", "columns_ppm_m", "spectra")
    missing = [name for name in names if name not in stored]
    if missing:
        raise IntegrityError(f"the look-up table {path.name} has no {', '.join(missing)}")
    arrays: dict[str, Any] = {name: np.asarray(stored[name], np.float64) for name in names}
    return LookUpTable(**arrays)


def _read_csv(path: Path) -> LookUpTable:
    with path.open(encoding="utf-8") as lines:
        first, *columns = next(lines).strip().split(",")
        values = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)
    if first.strip() != "wavelength_nm":
        raise IntegrityError(f"the first column of {path.name} is {first!r}, not wavelength_nm")
    return LookUpTable(
        wavelength_nm=values[:, 0].copy(),
        columns_ppm_m=np.array(columns, np.float64),
        spectra=values[:, 1:].T.copy(),
    )


def _envi_header(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    pairs = re.findall(r"^([\w ]+?) *= *(\{[^}]*\}|.*)$", text, re.MULTILINE)
    return {name: value.strip("{} \n\r") for name, value in pairs}
