"""How far the demo's plumes are from the emissions of the synthetic world."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from geostack_dagster.cli.catalog import spec_of
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.plumes import State
from geostack_dagster.inference.quantify import KG_M2_PER_PPM_M
from geostack_dagster.pipeline.enhancement import GROUP
from geostack_dagster.pipeline.spec import MethaneMethod
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox.plumes import SOURCES, Source
from geostack_dagster.sandbox.world import World

type Map = NDArray[np.float64]

_NEAR_KM = 5.0
"""A plume that peaks so near to the source is the source's."""
_STRONG_T_H = 5.0
_RATIO, _SLOPE = (0.9, 1.1), (0.95, 1.05)
_CORE_PPM_M = 100.0
"""True enhancement from which a pixel belongs to the plume that is weighed."""
_LEAST_SEEN = 0.8
"""Part of the plume that must be observed for its mass to be compared."""
_OF_PEAK = 0.05
"""Part of the true peak from which a pixel counts for the slope of retrieved against true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One pipeline, day and source."""

    source: Source
    day: date
    rate_t_h: float
    seen: float
    """Observed part of the true plume, or of the scene where there is none."""
    mass_ratio: float | None
    slope: float | None
    """Of the retrieved column against the true one, pixel by pixel."""
    plumes: list[dict[str, Any]]
    """Those that are the source's."""
    others: int
    """Plumes that are not."""

    @property
    def is_found(self) -> bool:
        """Whether any plume is the source's."""
        return bool(self.plumes)


def methane_scores(
    pipelines: Sequence[str], dates: Sequence[str], aois: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Detection, false alarms, mass and rate of every pipeline whose enhancement is calibrated."""
    scores: dict[str, dict[str, Any]] = {}
    for pipeline in pipelines:
        methane = spec_of(pipeline).methane
        if methane is None or methane.method is MethaneMethod.RELATIVE:
            continue
        cases = list(_cases(pipeline, dates, aois))
        found = _scores(cases)
        if methane.method is MethaneMethod.MBMP:
            slopes = [one.slope for one in cases if one.slope is not None]
            slope = float(np.median(slopes)) if slopes else np.inf
            found["mbmp_slope"] = _within(slope, len(slopes), _SLOPE)
        scores |= {f"{pipeline}/{name}": score for name, score in found.items()}
    return scores


def _scores(cases: Sequence[_Case]) -> dict[str, dict[str, Any]]:
    strong = [one for one in cases if one.rate_t_h >= _STRONG_T_H and one.seen >= _LEAST_SEEN]
    masses = [one.mass_ratio for one in strong if one.mass_ratio is not None]
    rated = [
        (one, plume) for one in strong for plume in one.plumes if np.isfinite(plume["rate_kg_h"])
    ]
    covered = [
        plume["rate_95_low_kg_h"] <= 1000 * one.rate_t_h <= plume["rate_95_high_kg_h"]
        for one, plume in rated
    ]
    found = [one.is_found for one in strong]
    return {
        "detection_rate": _at_least(np.mean(found) if found else 0.0, 1.0, len(found)),
        "false_plumes": _at_most(sum(one.others for one in cases), 0, len(cases)),
        "ime_ratio": _within(float(np.median(masses)) if masses else np.inf, len(masses), _RATIO),
        "interval_95_coverage": _at_least(np.mean(covered) if covered else 0.0, 0.9, len(covered)),
    }


def _cases(pipeline: str, dates: Sequence[str], aois: Sequence[str]) -> Iterator[_Case]:
    workspace = Workspace(os.environ["GEOSTACK_STORAGE"])
    world = World()
    for source in SOURCES:
        if source.name not in aois:
            continue
        store = open_store(workspace.layout.cube(pipeline, source.name))
        try:
            grid = store.schema(GROUP).grid
        except NoDataError:  # a pipeline that failed has nothing to score
            continue
        filled = {slot.day for slot in store.slots(GROUP) if slot.item_count}
        for day in filled.intersection(map(date.fromisoformat, dates)):
            maps = store.open(GROUP).sel(time=np.datetime64(day))
            found = maps["enhancement"].to_numpy().astype(np.float64)
            truth = world.methane(grid, datetime.combine(day, time(12), tzinfo=UTC))
            seen, ratio = _mass(found, truth, grid)
            mine, others = _plumes(workspace, pipeline, source, day)
            yield _Case(
                source=source,
                day=day,
                rate_t_h=source.rate_t_h(day),
                seen=seen,
                mass_ratio=ratio,
                slope=_slope(found, truth),
                plumes=mine,
                others=others,
            )


def _mass(found: Map, truth: Map, grid: Grid) -> tuple[float, float | None]:
    """Observed part of the true plume, and retrieved over true mass where it is observed."""
    core, observed = truth > _CORE_PPM_M, np.isfinite(found)
    if not core.any():
        return float(observed.mean()), None
    both = core & observed
    if not both.any():
        return 0.0, None
    background = np.median(found[observed & (truth < 1)])
    kilograms = KG_M2_PER_PPM_M * grid.resolution**2
    mass = (found[both] - background).sum() * kilograms
    return float(both.sum() / core.sum()), float(mass / (truth[both].sum() * kilograms))


def _slope(found: Map, truth: Map) -> float | None:
    """Of least squares over the observed pixels of a plume; None where there is none."""
    both = np.isfinite(found) & (truth > _OF_PEAK * truth.max())
    if not both.any():
        return None
    x, y = truth[both] - truth[both].mean(), found[both] - found[both].mean()
    return float(x @ y / (x @ x))


def _plumes(
    workspace: Workspace, pipeline: str, source: Source, day: date
) -> tuple[list[dict[str, Any]], int]:
    """Rows of the source's own plumes, and how many others there are."""
    import geopandas

    partition = Partition(pipeline, source.name, day.isoformat(), Cadence.DAILY)
    (file,) = Path(workspace.layout.published(partition, "plumes")).glob("*.parquet")
    table = geopandas.read_parquet(file)
    sure = table[table["state"] == State.PLUME.value].to_dict("records")
    geod = Geod(ellps="WGS84")
    mine = [
        row
        for row in sure
        if source.rate_t_h(day) > 0
        and geod.inv(*source.degrees, row["longitude"], row["latitude"])[2] < 1000 * _NEAR_KM
    ]
    return mine, len(sure) - len(mine)


def _at_least(value: float, wanted: float, cases: int) -> dict[str, Any]:
    return {
        "value": float(value),
        "wanted": wanted,
        "ok": bool(cases and value >= wanted),
        "cases": cases,
    }


def _at_most(value: float, wanted: float, cases: int) -> dict[str, Any]:
    return {
        "value": float(value),
        "wanted": wanted,
        "ok": bool(cases and value <= wanted),
        "cases": cases,
    }


def _within(value: float, cases: int, limits: tuple[float, float]) -> dict[str, Any]:
    low, high = limits
    return {
        "value": value,
        "wanted": list(limits),
        "ok": bool(cases and low <= value <= high),
        "cases": cases,
    }
