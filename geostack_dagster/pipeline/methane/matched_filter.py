"""Columnwise filter or MAG1C on radiance in sensor geometry, put on the AOI's grid afterwards.

Statistics belong to the detector's columns, so the filter runs on whole granules as the cube holds
them; the geometry look-up table of each granule then tells which of its pixels a map pixel is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray
from pyproj import Transformer

from geostack_dagster.cube.swaths.book import StoredGranule
from geostack_dagster.cube.swaths.reading import Granule
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.swath import InstrumentNoise
from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.absorption import REFERENCE_AIR_MASS_FACTOR
from geostack_dagster.inference.enhancement import (
    Calibration,
    Enhancement,
    Retrieval,
    retrieve_enhancement,
    vertical,
)
from geostack_dagster.inference.geolocation import orthorectify
from geostack_dagster.inference.mag1c import Mag1c
from geostack_dagster.inference.matched_filter import Noise
from geostack_dagster.inference.screening import screen
from geostack_dagster.inference.target import methane_target
from geostack_dagster.pipeline.methane.absorber import absorber_of
from geostack_dagster.pipeline.methane.plan import Ask, DayPlan
from geostack_dagster.pipeline.methane.targets import fit_of, keep
from geostack_dagster.pipeline.spec import MethaneMethod
from geostack_dagster.pipeline.swath.cube import swath_store

_MAPS = ("enhancement", "uncertainty", "sensitivity")
_RETRIEVALS: Mapping[MethaneMethod, Retrieval] = {
    MethaneMethod.MATCHED_FILTER: Retrieval(),
    # one pass: it takes each iteration's plume out of the background by itself
    MethaneMethod.MAG1C: Retrieval(operator=Mag1c(), calibration=Calibration.SPARSE, passes=1),
}


def plans(ask: Ask) -> list[DayPlan]:
    """One retrieval for each day that the cube holds granules of."""
    store = swath_store(ask.spec, ask.partition, ask.workspace)
    stored = store.granules(ask.partition.window)
    days = sorted({one.day for one in stored})
    return [_plan(ask, [one for one in stored if one.day == day]) for day in days]


def _plan(ask: Ask, granules: Sequence[StoredGranule]) -> DayPlan:
    return DayPlan(
        day=granules[0].day,
        acquired=min(one.acquired for one in granules),
        item_count=len(granules),
        fingerprint=fingerprint(
            [
                [one.fingerprint for one in granules],
                absorber_of(ask.methane).digest,
                ask.grid.to_json(),
            ]
        ),
        retrieve=partial(_retrieve, ask, granules),
    )


def _retrieve(ask: Ask, granules: Sequence[StoredGranule]) -> Enhancement:
    """The day's map: where granules overlap, the first that saw a pixel counts."""
    store = swath_store(ask.spec, ask.partition, ask.workspace)
    grid = ask.grid
    maps = {name: np.full(grid.shape, np.nan) for name in _MAPS}
    targets, facts = [], {}
    for stored in granules:
        granule = store.granule(stored)
        found = _filtered(ask, granule)
        targets.append(found.target)
        facts[stored.id] = dict(found.facts)
        table = _table_on(grid, granule)
        free = np.isnan(maps["enhancement"])
        for name in _MAPS:
            placed = orthorectify(getattr(found, name), *table)
            maps[name] = np.where(free, placed, maps[name])
    return Enhancement(
        **maps,
        calibration=_RETRIEVALS[ask.methane.method].calibration,
        target=targets[0] if len(set(targets)) == 1 else fingerprint(targets),
        facts=facts,
    )


def _filtered(ask: Ask, granule: Granule) -> Enhancement:
    """Maps of a granule in sensor geometry, NaN where cloud, water or a flare hides the ground."""
    target = methane_target(
        absorber_of(ask.methane), granule.wavelengths_nm, granule.fwhm_nm, fit_of(ask.methane)
    )
    keep(target, ask.workspace)
    sun, view = granule.sun_zenith_deg, granule.view_zenith_deg
    clear, screened = granule.valid(), None
    if sun is not None:
        screened = screen(granule.values, granule.wavelengths_nm, sun)
        clear &= ~screened.hidden
    # MAG1C's uncertainty is that of its background
    noise = ask.spec.record.noise if ask.methane.method is MethaneMethod.MATCHED_FILTER else None
    found = retrieve_enhancement(
        granule.values,
        target,
        _RETRIEVALS[ask.methane.method],
        usable=clear,
        noise=_noise(noise, granule.wavelengths_nm),
    )
    facts = {
        "target": target.digest,
        "screened": "nothing: the sun's height is not told" if screened is None else screened.facts,
        "noise": "scatter of the background" if noise is None else noise.source,
    }
    found = _seen(found, clear, facts)
    if sun is None or view is None:
        told = "not told: the target's own was assumed"
        return replace(found, facts={**found.facts, "air_mass_factor": told})
    factor = sum(1 / np.cos(np.radians(angle.astype(np.float64))) for angle in (sun, view))
    return vertical(found, np.asarray(factor), reference=REFERENCE_AIR_MASS_FACTOR)


def _seen(
    found: Enhancement, clear: Bool[np.ndarray, "y x"], facts: Mapping[str, Any]
) -> Enhancement:
    """The maps where they are of the ground, with what else is to be told of them."""
    return replace(
        found,
        enhancement=np.where(clear, found.enhancement, np.nan),
        uncertainty=np.where(clear, found.uncertainty, np.nan),
        sensitivity=np.where(clear, found.sensitivity, np.nan),
        facts={**found.facts, **facts},
    )


def _noise(
    noise: InstrumentNoise | None, wavelengths_nm: Float64[np.ndarray, " band"]
) -> Noise | None:
    """Coefficients of every band; NaN, and so the uncertainty, where they are not known."""
    if noise is None:
        return None
    low, high = noise.reach_nm
    known = np.where((wavelengths_nm >= low) & (wavelengths_nm <= high), 1.0, np.nan)
    return Noise(*(jnp.asarray(value * known) for value in (noise.a, noise.b, noise.c)))


def _table_on(
    grid: Grid, granule: Granule
) -> tuple[Int[np.ndarray, "y x"], Int[np.ndarray, "y x"]]:
    """Sensor column and line of each pixel of a grid, as `orthorectify` takes them.

    Raises:
        IntegrityError: If the granule has no geometry look-up table.
    """
    glt_x, glt_y, place = granule.glt_x, granule.glt_y, granule.geotransform
    if glt_x is None or glt_y is None or place is None:
        raise IntegrityError(
            f"granule {granule.stored.id} has no geometry look-up table; it cannot be put on a map"
        )
    longitude, latitude = _centres(grid)
    column = np.floor((longitude - place[0]) / place[1]).astype(np.int64)
    row = np.floor((latitude - place[3]) / place[5]).astype(np.int64)
    inside = (row >= 0) & (row < glt_x.shape[0]) & (column >= 0) & (column < glt_x.shape[1])
    at = np.where(inside, row, 0), np.where(inside, column, 0)
    return np.where(inside, glt_x[at], 0), np.where(inside, glt_y[at], 0)


def _centres(grid: Grid) -> tuple[Float64[np.ndarray, "y x"], Float64[np.ndarray, "y x"]]:
    """Longitude and latitude of every pixel's centre."""
    half = grid.resolution / 2
    x: NDArray[Any] = grid.left + half + grid.resolution * np.arange(grid.width)
    y: NDArray[Any] = grid.top - half - grid.resolution * np.arange(grid.height)
    transformer = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    longitude, latitude = transformer.transform(*np.meshgrid(x, y))
    return longitude, latitude
