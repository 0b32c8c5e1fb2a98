"""Stage 4: spectral indices over clear pixels, into the cube's repository and out as products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import Slot, SlotRecord
from geostack_dagster.cube.store import CubeStore, WriteReport
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.indices import INDICES
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.indices import (
    Encoding,
    bands_needed,
    index_kernel,
    index_maps,
)
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.products import Shelf
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.map_page import Masks
from geostack_dagster.publish.product import Product, PublishReport, publish
from geostack_dagster.stack.masks import clear_mask, spacing_of
from geostack_dagster.stack.recipe import MaskPolicy

GROUP = "indices"


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Compute the indices of every day of the partition, commit them, publish them.

    Raises:
        ConfigurationError: If the cube has not been materialized, or lacks a band.
    """
    started = perf_counter()
    store, shelf = _opened(spec, partition, workspace)
    if shelf is None:
        raise ConfigurationError(f"{partition} has no cube; materialize {spec.name}/cube first")
    made_from = shelf.fingerprint
    filled = _filled(spec, store, partition)
    if _is_current(store, shelf, filled):
        written, done = WriteReport(written=False), _Done()
    else:
        written, done = _make(spec, store, shelf, filled)
    return StageReport(
        outcome=cube.outcome_of(written, empty=not filled),
        fingerprint=made_from,
        note=cube.note_of(written, empty=not filled),
        facts={
            "days": len(filled),
            "bytes_stored": written.stored_bytes,
            "commit": written.snapshot,
            **done.facts,
        },
        pictures=shelf.pictures(spec.indices[0], [slot.day for slot in filled]),
        seconds=perf_counter() - started,
        bytes_read=done.bytes_read,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the maps if they are of the cube as it is, and published; else None."""
    store, shelf = _opened(spec, partition, workspace)
    if shelf is None or not _is_current(store, shelf, _filled(spec, store, partition)):
        return None
    return shelf.fingerprint


def _opened(
    spec: PipelineSpec, partition: Partition, workspace: Workspace
) -> tuple[CubeStore, Shelf | None]:
    """The store, and the shelf of what the present cube gives; no shelf without a cube."""
    store = cube.cube_store(spec, partition, workspace)
    source = store.fingerprint_of(spec.record.quantity, partition.window)
    if source is None:
        return store, None
    return store, Shelf(
        workspace=workspace,
        partition=partition,
        product=GROUP,
        fingerprint=fingerprint([source, spec.code_version("indices")]),
    )


def _filled(spec: PipelineSpec, store: CubeStore, partition: Partition) -> list[Slot]:
    slots = store.slots(spec.record.quantity, partition.window)
    return [slot for slot in slots if slot.item_count]


def _is_current(store: CubeStore, shelf: Shelf, filled: Sequence[Slot]) -> bool:
    is_written = store.is_current(GROUP, shelf.partition.window, shelf.fingerprint)
    return is_written and shelf.holds(slot.day for slot in filled)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMaps:
    """Index maps of one solar day."""

    day: date
    acquired: datetime | None
    maps: Mapping[str, NDArray[np.float32]]
    """`y x` each, NaN where not clear or undefined."""
    clear: NDArray[np.bool_]
    observed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What came out of computing and publishing."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    bytes_read: int = 0


def _make(
    spec: PipelineSpec, store: CubeStore, shelf: Shelf, filled: Sequence[Slot]
) -> tuple[WriteReport, _Done]:
    partition = shelf.partition
    source = store.schema(spec.record.quantity)
    schema = _schema(spec, source)
    store.ensure(schema)
    commit = cube.commit_of(spec, "indices", partition, shelf.fingerprint)
    if not filled:
        shelf.clear(partition.window.days)
        return store.clear(GROUP, partition.window, commit), _Done()
    stack = store.open(spec.record.quantity, decode=False, chunks={"time": 1, **_chunks(source)})
    days = [_day_maps(spec, stack, slot, source.grid) for slot in filled]
    data = _dataset(schema, days)
    written = store.write(GROUP, partition.window, data, [_record(slot) for slot in filled], commit)
    for found in days:
        _publish(spec, shelf, found, source.grid)
    shelf.clear(set(partition.window.days) - {found.day for found in days})
    facts = {
        "clear_fraction": float(np.mean([found.clear.mean() for found in days])),
        **_means(days),
        "compilations": index_kernel(spec.indices, _roles(spec)).compilations,
        "published": shelf.folder(days[-1].day),
    }
    layers = len(_roles(spec)) * 2 + 1
    pixels = source.grid.width * source.grid.height
    return written, _Done(facts=facts, bytes_read=layers * pixels * len(days))


def _publish(spec: PipelineSpec, shelf: Shelf, found: DayMaps, grid: Grid) -> PublishReport:
    """COG, quicklook and Item of a day."""
    lineage = (
        f"Spectral indices of {spec.provider.title} {spec.collection} surface reflectance "
        f"over clear pixels (scene classes, {spec.mask_buffer_m:g} m from cloud and shadow)"
    )
    product = Product(
        origin=shelf.origin(found.day, lineage),
        grid=grid,
        bands=found.maps,
        texts={name: BandText(long_name=INDICES[name].long_name) for name in found.maps},
        shown=spec.indices[0],
        masks=Masks(clear=found.clear, observed=found.observed),
    )
    return publish(product, shelf.folder(found.day))


def _day_maps(spec: PipelineSpec, stack: xr.Dataset, slot: Slot, grid: Grid) -> DayMaps:
    """Index maps of one day, block by block."""
    day = stack.sel(time=np.datetime64(slot.day))
    bands = _band_names(spec)
    layers = day[[bands[role] for role in _roles(spec)]].to_array("band")
    first = day[bands[_roles(spec)[0]]]
    encoding = Encoding(
        bands=_roles(spec),
        scale=first.attrs["scale_factor"],
        offset=first.attrs["add_offset"],
        fill=int(first.attrs["_FillValue"]),
    )
    observed = first.to_numpy() != encoding.fill
    clear = observed & _clear(spec, day, grid)
    return DayMaps(
        day=slot.day,
        acquired=slot.acquired,
        maps=index_maps(spec.indices, layers, clear, encoding=encoding),
        clear=clear,
        observed=observed,
    )


def _clear(spec: PipelineSpec, day: xr.Dataset, grid: Grid) -> NDArray[np.bool_]:
    classes = spec.provider.collection(spec.collection).clear
    if classes is None or classes.band not in day:
        return np.ones(grid.shape, np.bool_)
    policy = MaskPolicy(classes=classes, buffer_m=spec.mask_buffer_m)
    return clear_mask(day[classes.band].to_numpy(), policy, spacing_m=spacing_of(grid))


def _roles(spec: PipelineSpec) -> tuple[str, ...]:
    return bands_needed(spec.indices)


def _band_names(spec: PipelineSpec) -> dict[str, str]:
    """Our band for each role, from the bands that the pipeline reads.

    Raises:
        ConfigurationError: If no band of the pipeline plays a role that an index needs.
    """
    chosen = spec.record.bands.select(spec.band_names, where=spec.name)
    found = {band.common_name: band.name for band in chosen if band.common_name}
    if "nir" not in found and "nir08" in found:
        found["nir"] = found["nir08"]
    missing = [role for role in _roles(spec) if role not in found]
    if missing:
        raise ConfigurationError(
            f"{spec.name}: the indices {', '.join(spec.indices)} need {', '.join(missing)}; add "
            "such a band to `bands`"
        )
    return {role: found[role] for role in _roles(spec)}


def _schema(spec: PipelineSpec, source: CubeSchema) -> CubeSchema:
    return CubeSchema(
        name=GROUP,
        grid=source.grid,
        start=source.start,
        variables=tuple(
            Variable(
                name=name,
                dtype="float32",
                fill_value=np.nan,
                attrs={"long_name": INDICES[name].long_name, "units": "1"},
            )
            for name in spec.indices
        ),
        chunk=source.chunk,
        title=f"Spectral indices, {source.title}",
        attrs=source.attrs,
    )


def _dataset(schema: CubeSchema, days: Sequence[DayMaps]) -> xr.Dataset:
    grid = schema.grid
    half = grid.resolution / 2
    return xr.Dataset(
        {
            variable.name: (
                ("time", "y", "x"),
                np.stack([found.maps[variable.name] for found in days]),
            )
            for variable in schema.variables
        },
        coords={
            "time": np.array([found.day for found in days], "datetime64[ns]"),
            "y": grid.top - half - grid.resolution * np.arange(grid.height),
            "x": grid.left + half + grid.resolution * np.arange(grid.width),
        },
    )


def _record(slot: Slot) -> SlotRecord:
    return SlotRecord(day=slot.day, item_count=slot.item_count, acquired=slot.acquired)


def _means(days: Sequence[DayMaps]) -> dict[str, float]:
    """Mean of every index over its clear pixels: numbers that plot over partitions."""
    means = {}
    for name in days[0].maps:
        values = np.concatenate([found.maps[name][np.isfinite(found.maps[name])] for found in days])
        if values.size:
            means[f"{name}_mean"] = float(values.mean(dtype=np.float64))
    return means


def _chunks(source: CubeSchema) -> dict[str, int]:
    return {"y": source.chunk[0], "x": source.chunk[1]}
