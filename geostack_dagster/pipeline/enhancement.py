"""Methane enhancement of each day of a partition, on the AOI's grid, by the pipeline's method."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import UInt8

from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.cube.store import WriteReport
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.enhancement import Enhancement
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.methane.picture import caption_of, style_of
from geostack_dagster.pipeline.methane.plan import Ask, DayPlan
from geostack_dagster.pipeline.methane.quality import ATTRS, class_map, quality
from geostack_dagster.pipeline.products import Shelf
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec
from geostack_dagster.pipeline.swath.cube import swath_store
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.product import Product, PublishReport, publish

GROUP = "enhancement"
MASK = "mask"
TEXTS: Mapping[str, tuple[str, str]] = {
    "enhancement": ("methane enhancement above the background", "ppm m"),
    "uncertainty": ("one standard deviation of the enhancement", "ppm m"),
    "sensitivity": ("response of the pixel relative to the background", "1"),
}
"""Long name and unit of each map."""
_METHODS: Mapping[MethaneMethod, str] = {
    MethaneMethod.MATCHED_FILTER: "matched_filter",
    MethaneMethod.MAG1C: "matched_filter",
    MethaneMethod.RELATIVE: "relative",
    MethaneMethod.MBMP: "mbmp",
}


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Retrieve every day that the cube holds and commit the maps; nothing if they are current.

    Raises:
        ConfigurationError: If the cube has not been materialized, or lacks bands.
    """
    started = perf_counter()
    ask = _ask(spec, partition, workspace)
    if _source(ask) is None:
        raise ConfigurationError(f"{partition} has no cube; materialize {spec.name}/cube first")
    plans = _plans(ask)
    shelf = _shelf(ask, plans)
    facts: dict[str, Any] = {}
    if _is_current(ask, shelf, plans):
        written = WriteReport(written=False)
    else:
        written, facts = _write(ask, plans, shelf)
    return StageReport(
        outcome=cube.outcome_of(written, empty=not plans),
        fingerprint=shelf.fingerprint,
        note=cube.note_of(written, empty=not plans),
        facts={"days": len(plans), "commit": written.snapshot, **facts},
        pictures=shelf.pictures(GROUP, [plan.day for plan in plans]),
        seconds=perf_counter() - started,
        bytes_read=written.raw_bytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the maps if they are of the cube as it is, and published; else None."""
    ask = _ask(spec, partition, workspace)
    if _source(ask) is None:
        return None
    plans = _plans(ask)
    shelf = _shelf(ask, plans)
    return shelf.fingerprint if _is_current(ask, shelf, plans) else None


def _ask(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Ask:
    return Ask(
        spec=spec,
        methane=methane_of(spec),
        partition=partition,
        workspace=workspace,
        store=cube.cube_store(spec, partition, workspace),
    )


def _source(ask: Ask) -> str | None:
    """Fingerprint of what the cube holds of the partition; None if it was not made yet."""
    window = ask.partition.window
    if ask.spec.record.geometry is Geometry.SWATH:
        return swath_store(ask.spec, ask.partition, ask.workspace).fingerprint_of(window)
    return ask.store.fingerprint_of(ask.spec.record.quantity, window)


def _shelf(ask: Ask, plans: Sequence[DayPlan]) -> Shelf:
    """Where the products of these plans go."""
    days = [[str(plan.day), plan.fingerprint] for plan in plans]
    return Shelf(
        workspace=ask.workspace,
        partition=ask.partition,
        product=GROUP,
        fingerprint=fingerprint([ask.spec.code_version("enhancement"), days]),
    )


def _is_current(ask: Ask, shelf: Shelf, plans: Sequence[DayPlan]) -> bool:
    is_written = ask.store.is_current(GROUP, ask.partition.window, shelf.fingerprint)
    return is_written and shelf.holds(plan.day for plan in plans)


def methane_of(spec: PipelineSpec) -> MethaneSpec:
    """The spec's part on methane.

    Raises:
        ConfigurationError: If it has none.
    """
    if spec.methane is None:
        raise ConfigurationError(f"{spec.name} retrieves no methane; add `methane` to its spec")
    return spec.methane


def _plans(ask: Ask) -> list[DayPlan]:
    module = import_module(f"geostack_dagster.pipeline.methane.{_METHODS[ask.methane.method]}")
    plans: Callable[[Ask], list[DayPlan]] = module.plans
    return plans(ask)


def _write(ask: Ask, plans: Sequence[DayPlan], shelf: Shelf) -> tuple[WriteReport, dict[str, Any]]:
    grid, store = ask.grid, ask.store
    results = [plan.retrieve() for plan in plans]
    store.ensure(_schema(ask, grid))
    commit = cube.commit_of(ask.spec, "enhancement", ask.partition, shelf.fingerprint)
    shelf.clear(set(ask.partition.window.days) - {plan.day for plan in plans})
    if not plans:
        return store.clear(GROUP, ask.partition.window, commit), {}
    records = [
        SlotRecord(
            day=plan.day,
            item_count=plan.item_count,
            acquired=plan.acquired,
            fingerprint=plan.fingerprint,
        )
        for plan in plans
    ]
    data = _dataset(grid, plans, results)
    written = store.write(GROUP, ask.partition.window, data, records, commit)
    for plan, result in zip(plans, results, strict=True):
        _publish(ask, shelf, plan, result)
    return written, _facts(results)


def _schema(ask: Ask, grid: Grid) -> CubeSchema:
    return CubeSchema(
        name=GROUP,
        grid=grid,
        start=ask.spec.start,
        variables=(
            *(
                Variable(
                    name=name,
                    dtype="float32",
                    fill_value=np.nan,
                    attrs={"long_name": long_name, "units": unit},
                )
                for name, (long_name, unit) in TEXTS.items()
            ),
            Variable(name=MASK, dtype="uint8", fill_value=255, attrs=ATTRS),
        ),
        chunk=(ask.spec.chunk, ask.spec.chunk),
        title=f"Methane enhancement, {ask.spec.provider.title}, {ask.spec.collection}",
        attrs={
            "provider": ask.spec.provider.slug,
            "collection": ask.spec.collection,
            "method": ask.methane.method.value,
        },
    )


def _dataset(grid: Grid, plans: Sequence[DayPlan], results: Sequence[Enhancement]) -> xr.Dataset:
    half = grid.resolution / 2
    return xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                np.stack([getattr(result, name).astype(np.float32) for result in results]),
            )
            for name in TEXTS
        }
        | {MASK: (("time", "y", "x"), np.stack([_mask(result) for result in results]))},
        coords={
            "time": np.array([plan.day for plan in plans], "datetime64[ns]"),
            "y": grid.top - half - grid.resolution * np.arange(grid.height),
            "x": grid.left + half + grid.resolution * np.arange(grid.width),
        },
    )


def _mask(result: Enhancement) -> UInt8[np.ndarray, "y x"]:
    return quality(result.enhancement, result.sensitivity)


def _facts(results: Sequence[Enhancement]) -> dict[str, Any]:
    """Numbers that plot over partitions, and how the maps were made."""
    observed = np.concatenate([one.enhancement[np.isfinite(one.enhancement)] for one in results])
    sigma = np.concatenate([one.uncertainty[np.isfinite(one.uncertainty)] for one in results])
    found: dict[str, Any] = {
        "calibration": results[0].calibration.value,
        "target": results[0].target,
        "observed_fraction": float(observed.size / sum(one.enhancement.size for one in results)),
        "retrieval": dict(results[0].facts),
    }
    if observed.size:
        found |= {
            "enhancement_max_ppm_m": float(observed.max()),
            "enhancement_median_ppm_m": float(np.median(observed)),
            "uncertainty_median_ppm_m": float(np.median(sigma)),
        }
    return found


def _publish(ask: Ask, shelf: Shelf, plan: DayPlan, result: Enhancement) -> PublishReport:
    # MBMP falls back to MBSP where no day can be its reference
    method = str(result.facts.get("method", ask.methane.method.value))
    lineage = (
        f"Methane enhancement by {method} from {ask.spec.provider.title} {ask.spec.collection}"
    )
    facts = {
        "calibration": result.calibration.value,
        "target": result.target,
        "method": method,
        "references": list(result.facts.get("references", ())),
    }
    when = plan.acquired or datetime.combine(plan.day, time(12), tzinfo=UTC)
    product = Product(
        origin=shelf.origin(plan.day, lineage, facts),
        grid=ask.grid,
        bands={name: getattr(result, name).astype(np.float32) for name in TEXTS},
        texts={name: BandText(long_name=words, unit=unit) for name, (words, unit) in TEXTS.items()},
        mask=class_map(result.enhancement, result.sensitivity),
        style=style_of(result.enhancement, ()),
        caption=caption_of(ask.spec, ask.partition.aoi, when, title="Enhancement"),
    )
    return publish(product, shelf.folder(plan.day))
