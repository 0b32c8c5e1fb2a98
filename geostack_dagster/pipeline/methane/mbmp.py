"""Methane from Sentinel-2's two short-wave bands, against passes without plume.

The references of a day are other days of the same cube: same relative orbit, nearly cloud-free,
within 60 days (`inference.references`). While the cube holds none the pass is compared with itself
alone (MBSP), and the result says so; when one arrives the day's inputs have changed and it is
retrieved anew.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostack_dagster.cube.slots import Slot
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.inference.darkening import Geometry
from geostack_dagster.inference.enhancement import Calibration, Enhancement, unobserved
from geostack_dagster.inference.mbmp import Pass, methane_column, multi_pass, single_pass
from geostack_dagster.inference.references import Acquisition, ReferenceRule, choose_references
from geostack_dagster.pipeline.methane.overpass import geometry_of, items_of, relative_orbit
from geostack_dagster.pipeline.methane.plan import Ask, DayPlan
from geostack_dagster.stack.masks import clear_mask, spacing_of
from geostack_dagster.stack.recipe import MaskPolicy

_RULE = ReferenceRule()
_NEEDED = ("B11", "B12")
_BRIGHT = (("B02", 0.25), ("B10", 0.012))
"""Reflectances at the top of the atmosphere above which a pixel of Level-1C counts as cloud: white
in blue, or high in the cirrus band. A heuristic: Level-1C has no scene classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    """A day of the cube that can be a pass or a reference."""

    slot: Slot
    acquisition: Acquisition
    geometry: Geometry


def plans(ask: Ask) -> list[DayPlan]:
    """One retrieval for each day that the reflectance cube holds.

    Raises:
        ConfigurationError: If the pipeline does not read B11 and B12, or the platform is unknown.
    """
    missing = [name for name in _NEEDED if name not in ask.spec.band_names]
    if missing:
        raise ConfigurationError(
            f"{ask.spec.name}: MBMP needs the bands {', '.join(_NEEDED)}; add {missing} to `bands`"
        )
    group, window = ask.spec.record.quantity, ask.partition.window
    around = Window(
        window.start - timedelta(days=_RULE.within_days),
        window.end + timedelta(days=_RULE.within_days),
    )
    slots = ask.store.slots(group, Window(max(around.start, ask.spec.start), around.end))
    days = [found for slot in slots if slot.item_count and (found := _day(ask, slot)) is not None]
    return [_plan(ask, day, days) for day in days if window.start <= day.slot.day < window.end]


def _plan(ask: Ask, day: _Day, days: Sequence[_Day]) -> DayPlan:
    try:
        chosen = choose_references(day.acquisition, [one.acquisition for one in days], _RULE)
    except NoDataError:
        chosen = ()
    names = {one.name for one in chosen}
    references = [one for one in days if one.acquisition.name in names]
    return DayPlan(
        day=day.slot.day,
        acquired=day.slot.acquired,
        item_count=day.slot.item_count,
        fingerprint=fingerprint(
            [
                day.slot.fingerprint,
                [one.slot.fingerprint for one in references],
                day.geometry.absorption.digest,
                day.geometry.air_mass_factor,
            ]
        ),
        retrieve=partial(_retrieve, ask, day, references),
    )


def _retrieve(ask: Ask, day: _Day, references: Sequence[_Day]) -> Enhancement:
    cube = ask.store.open(ask.spec.record.quantity)
    level = "L1C" if ask.spec.collection.endswith("l1c") else "L2A"
    plume = _pass(ask, cube, day.slot.day)
    try:
        if references:
            change = multi_pass(plume, [_pass(ask, cube, one.slot.day) for one in references])
        else:
            change = single_pass(plume)
    except NoDataError as error:
        calibration = Calibration.ABSOLUTE if level == "L1C" else Calibration.RELATIVE
        digest = day.geometry.absorption.digest
        return unobserved(ask.grid.shape, calibration, digest, reason=str(error))
    found = methane_column(change, day.geometry, level=level)
    names = [one.acquisition.name for one in references]
    return replace(found, facts={**found.facts, "references": names, "rule": asdict(_RULE)})


def _pass(ask: Ask, cube: xr.Dataset, day: date) -> Pass:
    found = cube.sel(time=np.datetime64(day))
    b11, b12 = (found[name].to_numpy().astype(np.float64) for name in _NEEDED)
    return Pass(b11=b11, b12=b12, clear=_clear(ask, found))


def _clear(ask: Ask, day: xr.Dataset) -> NDArray[np.bool_]:
    """Usable ground: by scene classes where there are any, else by brightness."""
    classes = ask.spec.record.clear
    if classes is not None and classes.band in day:
        policy = MaskPolicy(classes=classes, buffer_m=ask.spec.mask_buffer_m)
        codes = np.nan_to_num(day[classes.band].to_numpy()).astype(np.uint8)
        return clear_mask(codes, policy, spacing_m=spacing_of(ask.grid))
    clear = np.ones(ask.grid.shape, np.bool_)
    for name, limit in _BRIGHT:
        if name in day:
            values = day[name].to_numpy()
            clear &= np.isfinite(values) & (values < limit)
    return clear


def _day(ask: Ask, slot: Slot) -> _Day | None:
    """What a slot's Items say of the pass; None where their snapshot is gone."""
    items = items_of(ask, slot.day)
    if not items:
        return None
    geometry = geometry_of(items[0])
    cube = ask.store.open(ask.spec.record.quantity).sel(time=np.datetime64(slot.day))
    return _Day(
        slot=slot,
        geometry=geometry,
        acquisition=Acquisition(
            name=slot.day.isoformat(),
            day=slot.day,
            relative_orbit=relative_orbit(items[0]),
            platform=geometry.platform,
            cloud_fraction=float(1 - _clear(ask, cube).mean()),
        ),
    )
