"""Target spectra that retrievals used, kept under the digests that their outputs carry."""

import json

from geostack_dagster import storage
from geostack_dagster.inference.target import Fit, Target
from geostack_dagster.pipeline.spec import MethaneSpec
from geostack_dagster.pipeline.workspace import Workspace


def fit_of(methane: MethaneSpec) -> Fit:
    """Range and kind of the fit that makes a target.

    Raises:
        ConfigurationError: If the range makes no fit.
    """
    usual = Fit()
    return Fit(
        columns_ppm_m=methane.fit_ppm_m or usual.columns_ppm_m, kind=methane.fit_kind or usual.kind
    )


def keep(target: Target, workspace: Workspace) -> None:
    """Write the spectrum with what decided it, unless it is kept already."""
    url = workspace.layout.target(target.digest)
    if storage.exists(url):
        return
    document = {
        "digest": target.digest,
        "absorption_model": target.source,
        "fit": {"kind": target.fit.kind, "columns_ppm_m": target.fit.columns_ppm_m},
        "wavelength_nm": target.wavelength_nm.tolist(),
        "fwhm_nm": target.fwhm_nm.tolist(),
        "unit_absorption_per_ppm_m": target.unit_absorption.tolist(),
        "covered": target.covered.tolist(),
    }
    storage.write_bytes(url, (json.dumps(document, indent=1) + "\n").encode())
