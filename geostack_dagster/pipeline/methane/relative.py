"""Matched filter on surface reflectance (EnMAP L2A): patterns of methane, and no amounts.

Atmospheric correction has taken part of the absorption away, and the map's columns are not the
detector's: the result is marked as relative, and emission rates are refused from it.
"""

from functools import partial

import numpy as np

from geostack_dagster.cube.slots import Slot
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.inference.columns import Walk
from geostack_dagster.inference.enhancement import (
    Calibration,
    Enhancement,
    Retrieval,
    retrieve_enhancement,
    unobserved,
)
from geostack_dagster.inference.target import NARROW_NM, Target, methane_target
from geostack_dagster.pipeline.methane.absorber import absorber_of
from geostack_dagster.pipeline.methane.plan import Ask, DayPlan
from geostack_dagster.pipeline.methane.targets import fit_of, keep

_POOL = 16
"""Map columns that share one background: no detector lies behind any one of them."""


def plans(ask: Ask) -> list[DayPlan]:
    """One retrieval for each day that the reflectance cube holds.

    Raises:
        ConfigurationError: If the pipeline reads no band in the methane window.
    """
    group = ask.spec.record.quantity
    target = _target(ask)
    return [
        DayPlan(
            day=slot.day,
            acquired=slot.acquired,
            item_count=slot.item_count,
            fingerprint=fingerprint([slot.fingerprint, target.digest]),
            retrieve=partial(_retrieve, ask, target, slot),
        )
        for slot in ask.store.slots(group, ask.partition.window)
        if slot.item_count
    ]


def _target(ask: Ask) -> Target:
    table = ask.spec.record.bands
    bands = table.select(ask.spec.band_names, where=ask.spec.name)
    spectral = [band for band in bands if band.wavelength_nm and band.fwhm_nm]
    target = methane_target(
        absorber_of(ask.methane),
        np.array([band.wavelength_nm for band in spectral], np.float64),
        np.array([band.fwhm_nm for band in spectral], np.float64),
        fit_of(ask.methane),
    )
    target.bands(NARROW_NM)
    return target


def _retrieve(ask: Ask, target: Target, slot: Slot) -> Enhancement:
    keep(target, ask.workspace)
    table = ask.spec.record.bands
    names = [
        band.name
        for band in table.select(ask.spec.band_names, where=ask.spec.name)
        if band.wavelength_nm and band.fwhm_nm
    ]
    day = ask.store.open(ask.spec.record.quantity).sel(time=np.datetime64(slot.day))
    inside = target.bands(NARROW_NM)
    spectra = np.full((*ask.grid.shape, len(names)), np.nan)
    for position in inside:
        spectra[..., position] = day[names[position]].to_numpy()
    if not np.isfinite(spectra[..., inside]).any():
        nothing = "no pixel has a value in the methane window"
        return unobserved(ask.grid.shape, Calibration.RELATIVE, target.digest, reason=nothing)
    return retrieve_enhancement(
        spectra,
        target,
        Retrieval(calibration=Calibration.RELATIVE, walk=Walk(group=_POOL * 2, pool=_POOL)),
    )
