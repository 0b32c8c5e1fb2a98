"""How far the demo's outputs are from the truth of the synthetic world."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.cli.catalog import spec_of
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.indices import bands_needed, compute
from geostack_dagster.pipeline.indices import GROUP
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox.world import World

# B04 and B08 are 10 m bands: on the 10 m grid nothing but noise and rounding is left of them.
_WANTED = {"NDVI": 0.01}
_WANTED_OTHERWISE = 0.02
_ROLES = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir": "B08",
    "swir16": "B11",
    "swir22": "B12",
}


def scores_of(
    pipelines: Sequence[str], dates: Sequence[str], aois: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Root-mean-square error of every index over clear pixels, by pipeline."""
    workspace = Workspace(os.environ["GEOSTACK_STORAGE"])
    world = World()
    scores: dict[str, dict[str, Any]] = {}
    for pipeline in pipelines:
        spec = spec_of(pipeline)
        if spec.collection != "sentinel-2-l2a":  # the truth is evaluated at Sentinel-2's pixels
            continue
        errors: dict[str, list[NDArray[np.float64]]] = {}
        for aoi in aois:
            _collect(errors, workspace.layout.cube(pipeline, aoi), dates, world)
        # An index of which nothing was found scores infinity: it must not pass for being absent.
        nothing = [np.empty(0)]
        scores |= {
            f"{pipeline}/{name}_rmse": _score(np.concatenate(errors.get(name, nothing)), name)
            for name in spec.indices
        }
    return scores


def _collect(
    errors: dict[str, list[NDArray[np.float64]]], url: str, dates: Sequence[str], world: World
) -> None:
    store = open_store(url)
    try:
        grid = store.schema(GROUP).grid
    except NoDataError:  # a pipeline that failed has nothing to score
        return
    filled = {slot.day: slot for slot in store.slots(GROUP) if slot.item_count}
    cube = store.open(GROUP)
    for key in dates:
        slot = filled.get(date.fromisoformat(key))
        if slot is None:
            continue
        names = [str(name) for name in cube.data_vars if name not in ("acquired", "fingerprint")]
        names = [name for name in names if cube[name].dims == ("time", "y", "x")]
        found = cube[names].sel(time=np.datetime64(slot.day)).load()
        moment = slot.acquired or datetime.combine(slot.day, datetime.min.time(), tzinfo=UTC)
        for name, truth in _truth(names, grid, moment, world).items():
            difference = found[name].to_numpy().astype(np.float64) - truth
            errors.setdefault(name, []).append(difference[np.isfinite(difference)])


def _truth(
    names: Sequence[str], grid: Grid, moment: datetime, world: World
) -> dict[str, NDArray[np.float64]]:
    reflectance = {
        role: world.reflectance(_ROLES[role], grid, moment).astype(np.float64)
        for role in bands_needed(names)
    }
    maps = compute(names, reflectance, dtype=np.float64)
    return {name: np.asarray(found) for name, found in maps.items()}


def _score(errors: NDArray[np.float64], name: str) -> dict[str, Any]:
    wanted = _WANTED.get(name, _WANTED_OTHERWISE)
    value = float(np.sqrt(np.mean(errors**2))) if errors.size else float("inf")
    return {"value": value, "wanted": wanted, "ok": value < wanted, "pixels": int(errors.size)}
