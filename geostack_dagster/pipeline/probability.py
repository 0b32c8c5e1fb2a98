"""Learned plume detection of a partition's days: the champion's probability, and its plumes.

The digest of the champion's weights is part of the fingerprint: another champion makes exactly
these outputs stale. Without a champion the partition is empty, and says so. Where there is nothing
to look at no model matters, and no promotion makes that stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detector import probability, segment
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.learning.registry import Model, Registry
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.enhancement import GROUP as MAPS
from geostack_dagster.pipeline.enhancement import methane_of
from geostack_dagster.pipeline.methane.candidates import enhancement_of
from geostack_dagster.pipeline.products import Shelf
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.product import Product, PublishReport, publish

GROUP = "probability"
_TEXTS = {
    "probability": "probability that a pixel is part of a methane plume",
    "plume": "number of the plume, 0 for none",
}


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Run the champion over every day with an enhancement; nothing if that is current.

    Raises:
        ConfigurationError: If the enhancement has not been materialized.
        IntegrityError: If the champion's weights are not those that were registered.
    """
    started = perf_counter()
    work = _opened(spec, partition, workspace)
    if work is None:
        raise ConfigurationError(
            f"{partition} has no enhancement; materialize the asset above {spec.name}/{GROUP} first"
        )
    facts: dict[str, Any] = {}
    is_current = _is_current(work)
    if is_current:
        written = WriteReport(written=False)
    else:
        written, facts = _make(work)
    return StageReport(
        outcome=Outcome.EMPTY
        if work.champion is None
        else cube.outcome_of(written, empty=not work.filled),
        fingerprint=work.shelf.fingerprint,
        note=_note(work, written),
        facts={"days": len(work.filled), "model": work.champion, **facts},
        pictures=work.shelf.pictures(GROUP, [slot.day for slot in work.filled]),
        seconds=perf_counter() - started,
        bytes_read=written.raw_bytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the maps if they are the champion's, of the present enhancement."""
    work = _opened(spec, partition, workspace)
    return work.shelf.fingerprint if work is not None and _is_current(work) else None


def maker(spec: PipelineSpec, workspace: Workspace) -> tuple[str | None, str]:
    """The champion and the digest of its weights, `none` without one."""
    registry = registry_of(spec, workspace)
    champion = registry.aliases.champion
    return champion, "none" if champion is None else registry.digest_of(champion)


def made_by(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Digest of the model that made the outputs of a partition; None if there are none.

    `none` where there was no champion to look at what there is. What it was made from may have
    changed since.
    """
    store = cube.cube_store(spec, partition, workspace)
    for slot in store.slots(GROUP, partition.window):
        if slot.fingerprint:
            return slot.fingerprint.partition("/")[2]
    was_asked = store.fingerprint_of(GROUP, partition.window) is not None
    return "none" if was_asked and _filled(store, partition) else None


def registry_of(spec: PipelineSpec, workspace: Workspace) -> Registry:
    """Models of the pipeline's detector.

    Raises:
        ConfigurationError: If it has none.
    """
    name = methane_of(spec).detector
    if name is None:
        raise ConfigurationError(f"{spec.name} has no `detector` in its `methane`")
    return Registry(workspace.layout.models(name), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One partition, and who is to look at it."""

    spec: PipelineSpec
    store: CubeStore
    shelf: Shelf
    champion: str | None
    digest: str
    filled: tuple[Slot, ...]
    """Days with an enhancement; none without a champion."""


def _opened(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> _Work | None:
    """What is to be done; None without an enhancement."""
    store = cube.cube_store(spec, partition, workspace)
    source = store.fingerprint_of(MAPS, partition.window)
    if source is None:
        return None
    champion, digest = maker(spec, workspace)
    filled = _filled(store, partition)
    made_from = fingerprint([source, spec.code_version(GROUP), *([digest] if filled else [])])
    return _Work(
        spec=spec,
        store=store,
        shelf=Shelf(workspace=workspace, partition=partition, product=GROUP, fingerprint=made_from),
        champion=champion,
        digest=digest,
        filled=() if champion is None else filled,
    )


def _filled(store: CubeStore, partition: Partition) -> tuple[Slot, ...]:
    """Days of the partition with an enhancement."""
    return tuple(slot for slot in store.slots(MAPS, partition.window) if slot.item_count)


def _is_current(work: _Work) -> bool:
    window = work.shelf.partition.window
    is_written = work.store.is_current(GROUP, window, work.shelf.fingerprint)
    return is_written and work.shelf.holds(slot.day for slot in work.filled)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    """What the model sees on one day."""

    slot: Slot
    probability: NDArray[np.float32]
    labels: NDArray[np.float32]
    """NaN where unobserved."""
    plumes: int


def _make(work: _Work) -> tuple[WriteReport, dict[str, Any]]:
    source = work.store.schema(MAPS)
    work.store.ensure(_schema(work.spec, source))
    partition = work.shelf.partition
    commit = cube.commit_of(work.spec, GROUP, partition, work.shelf.fingerprint)
    work.shelf.clear(set(partition.window.days) - {slot.day for slot in work.filled})
    if not work.filled or work.champion is None:
        return work.store.clear(GROUP, partition.window, commit), {}
    model = registry_of(work.spec, work.shelf.workspace).load(work.champion)
    days = [_seen(work, model, slot) for slot in work.filled]
    records = [
        SlotRecord(
            day=one.slot.day,
            item_count=one.slot.item_count,
            acquired=one.slot.acquired,
            fingerprint=_of_day(work, one.slot),
        )
        for one in days
    ]
    data = _dataset(source.grid, days)
    written = work.store.write(GROUP, partition.window, data, records, commit)
    for one in days:
        _publish(work, model, one, source.grid)
    return written, _facts(work, days)


def _of_day(work: _Work, slot: Slot) -> str:
    """Fingerprint of a day's output; ends with the model's digest."""
    code = work.spec.code_version(GROUP)
    return f"{fingerprint([slot.fingerprint, code, work.digest])}/{work.digest}"


def _seen(work: _Work, model: Model, slot: Slot) -> _Day:
    day = work.store.open(MAPS).sel(time=np.datetime64(slot.day)).load()
    found = enhancement_of(day, Calibration.ABSOLUTE, "", is_linear=False)
    maps = np.stack(
        [
            layer.astype(np.float32)
            for layer in (found.enhancement, found.uncertainty, found.sensitivity)
        ]
    )
    logit = model.detector.logit(maps)
    detected = segment(logit, model.detector.threshold)
    return _Day(
        slot=slot,
        probability=probability(logit).astype(np.float32),
        labels=np.where(np.isfinite(logit), detected.labels, np.nan).astype(np.float32),
        plumes=int(detected.labels.max(initial=0)),
    )


def _schema(spec: PipelineSpec, source: CubeSchema) -> CubeSchema:
    return CubeSchema(
        name=GROUP,
        grid=source.grid,
        start=source.start,
        variables=(
            Variable(
                name=GROUP,
                dtype="float32",
                fill_value=np.nan,
                attrs={"long_name": _TEXTS[GROUP], "units": "1"},
            ),
        ),
        chunk=source.chunk,
        title=f"Methane plume probability, {spec.provider.title}, {spec.collection}",
        attrs={"provider": spec.provider.slug, "collection": spec.collection},
    )


def _dataset(grid: Grid, days: Sequence[_Day]) -> xr.Dataset:
    half = grid.resolution / 2
    return xr.Dataset(
        {GROUP: (("time", "y", "x"), np.stack([one.probability for one in days]))},
        coords={
            "time": np.array([one.slot.day for one in days], "datetime64[ns]"),
            "y": grid.top - half - grid.resolution * np.arange(grid.height),
            "x": grid.left + half + grid.resolution * np.arange(grid.width),
        },
    )


def _facts(work: _Work, days: Sequence[_Day]) -> dict[str, Any]:
    seen = np.concatenate([one.probability[np.isfinite(one.probability)] for one in days])
    found: dict[str, Any] = {
        "plumes": sum(one.plumes for one in days),
        "published": work.shelf.folder(days[-1].slot.day),
    }
    if seen.size:
        found |= {
            "probability_max": float(seen.max()),
            "probability_mean": float(seen.mean(dtype=np.float64)),
        }
    return found


def _publish(work: _Work, model: Model, one: _Day, grid: Grid) -> PublishReport:
    lineage = (
        f"Probability of methane plumes by the detector {model.id} on "
        f"{work.spec.provider.title} {work.spec.collection}; plumes start at "
        f"{model.detector.threshold:.2f}"
    )
    facts = {
        "model": model.id,
        "model_digest": model.digest,
        "threshold": model.detector.threshold,
        "plumes": one.plumes,
    }
    product = Product(
        origin=work.shelf.origin(one.slot.day, lineage, facts),
        grid=grid,
        bands={"probability": one.probability, "plume": one.labels},
        texts={name: BandText(long_name=words) for name, words in _TEXTS.items()},
        shown="probability",
    )
    return publish(product, work.shelf.folder(one.slot.day))


def _note(work: _Work, written: WriteReport) -> str:
    if work.champion is None:
        return (
            f"no champion of {methane_of(work.spec).detector} yet: nothing is looked for; train "
            "and promote a model first"
        )
    return f"{cube.note_of(written, empty=not work.filled)}; by {work.champion}"
