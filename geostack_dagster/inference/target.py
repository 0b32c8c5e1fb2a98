"""Target spectra: what one ppm m of methane does to the logarithm of each band's radiance.

A target is a result of its own: absorption model, bands, and the range and kind of the fit decide
it, moving weak plumes by up to 22 %. So it carries a hash, and every output carries that hash.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.absorption import Absorber

type FitKind = Literal["log_linear", "quadratic"]

NARROW_NM = ((2137.0, 2493.0),)
"""Strong methane band only: few columns of a covariance, little to confuse [nm]."""
WIDE_NM = ((500.0, 1275.0), (1321.0, 1340.0), (1500.0, 1790.0), (1950.0, 2450.0))
"""What EMIT's own processing uses: clutter is better known, statistics need more lines [nm]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How the curve of growth becomes one number per band.

    `log_linear`: least-squares slope of ln L over the columns, with intercept. `quadratic`:
    derivative at the first column of a parabola through L(c) / L(first).
    """

    columns_ppm_m: tuple[float, ...] = (0.0, 500.0, 1000.0, 2000.0, 4000.0)
    """The range of the fit, at the nodes that are fitted: an external table's own are exact."""
    kind: FitKind = "log_linear"

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.columns_ppm_m))
        if len(self.columns_ppm_m) < 3 or self.columns_ppm_m[0] < 0 or not rising:
            raise ConfigurationError(
                f"columns {self.columns_ppm_m} ppm m make no fit; give 3 or more, rising from 0 "
                "or more"
            )

    def slope(self, radiance: Float[np.ndarray, "column band"]) -> Float[np.ndarray, " band"]:
        """Change of ln L per ppm m in each band: negative where methane absorbs."""
        columns = np.asarray(self.columns_ppm_m)
        if self.kind == "log_linear":
            return np.asarray(_coefficients(columns, np.log(radiance), degree=1)[1])
        parabola = _coefficients(columns - columns[0], radiance / radiance[0], degree=2)
        return np.asarray(parabola[1] / parabola[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Unit absorption of a set of bands."""

    wavelength_nm: Float[np.ndarray, " band"]
    fwhm_nm: Float[np.ndarray, " band"]
    unit_absorption: Float[np.ndarray, " band"]
    """Change of ln radiance per ppm m; 0 in bands that are not `covered`."""
    covered: Bool[np.ndarray, " band"]
    """Bands that the absorption model reaches."""
    fit: Fit
    source: str
    """Digest of the absorption model."""

    @property
    def digest(self) -> str:
        """Hash of the spectrum with everything that decided it."""
        content = hashlib.sha256()
        for array in (self.wavelength_nm, self.fwhm_nm, self.unit_absorption):
            content.update(np.ascontiguousarray(array, "<f8").tobytes())
        fit = (self.fit.columns_ppm_m, self.fit.kind)
        return fingerprint([content.hexdigest(), self.source, fit])

    def bands(self, windows_nm: Sequence[tuple[float, float]] = NARROW_NM) -> Int[np.ndarray, " _"]:
        """Indices of the covered bands whose centres lie in the windows, in their order.

        Raises:
            ConfigurationError: If no band does.
        """
        inside = np.zeros(self.wavelength_nm.shape, bool)
        for low, high in windows_nm:
            inside |= (self.wavelength_nm >= low) & (self.wavelength_nm <= high)
        chosen = np.flatnonzero(inside & self.covered)
        if chosen.size == 0:
            raise ConfigurationError(
                f"no band lies in the windows {list(windows_nm)} nm; the instrument has "
                f"{self.wavelength_nm.min():.0f} to {self.wavelength_nm.max():.0f} nm"
            )
        return chosen


def methane_target(
    absorber: Absorber,
    wavelength_nm: Float[np.ndarray, " band"],
    fwhm_nm: Float[np.ndarray, " band"],
    fit: Fit | None = None,
) -> Target:
    r"""Unit absorption $k_b = d \ln L_b / dc$ of an instrument's bands.

    Radiance is convolved with each band first and its logarithm taken then: the optical depth of
    strong lines, averaged, overstates what a band sees.

    Args:
        absorber: Surrogate or look-up table.
        wavelength_nm: Band centres.
        fwhm_nm: Full widths at half maximum.
        fit: Range and kind; `Fit()` if None.

    Raises:
        IntegrityError: If a band has no centre or no width.
    """
    if not (np.all(np.isfinite(wavelength_nm)) and np.all(fwhm_nm > 0)):
        raise IntegrityError(
            "every band needs a finite wavelength and a positive FWHM; leave out the bands that "
            "the instrument marks as bad"
        )
    fit = fit or Fit()
    columns = np.asarray(fit.columns_ppm_m)
    slope = fit.slope(absorber.radiance(wavelength_nm, fwhm_nm, columns))
    covered = np.isfinite(slope)
    return Target(
        wavelength_nm=wavelength_nm,
        fwhm_nm=fwhm_nm,
        unit_absorption=np.where(covered, slope, 0.0),
        covered=covered,
        fit=fit,
        source=absorber.digest,
    )


def _coefficients(
    x: Float[np.ndarray, " node"], y: Float[np.ndarray, "node band"], *, degree: int
) -> Float[np.ndarray, "coefficient band"]:
    """Least-squares polynomial in x, constant first; x is scaled so that powers stay comparable."""
    scale = np.abs(x).max()
    powers = np.vander(x / scale, degree + 1, increasing=True)
    coefficients = np.linalg.pinv(powers) @ y
    return np.asarray(coefficients / scale ** np.arange(degree + 1)[:, None])
