"""Plumes of a partition's days: found, outlined, quantified where that is allowed, published."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from time import perf_counter
from typing import Any

import numpy as np

from geostack_dagster.cube.slots import Slot
from geostack_dagster.cube.store import CubeStore
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detection import compilations
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.inference.plumes import State
from geostack_dagster.inference.quantify import SCHEMES, QuantificationScheme
from geostack_dagster.inference.wind import WindSource
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.enhancement import GROUP, TEXTS, methane_of
from geostack_dagster.pipeline.methane.candidates import Scene, enhancement_of
from geostack_dagster.pipeline.methane.columns import PLUME_COLUMNS
from geostack_dagster.pipeline.methane.picture import annotation_of, caption_of, style_of
from geostack_dagster.pipeline.methane.quality import class_map
from geostack_dagster.pipeline.methane.wind import table_text, wind_source
from geostack_dagster.pipeline.products import Shelf
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.product import Attachment, Product, PublishReport, publish
from geostack_dagster.publish.vectors import GEOJSON, GEOPARQUET, geojson, geoparquet

PRODUCT = "plumes"


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Find and publish the plumes of every day with an enhancement; nothing if they are current.

    Raises:
        ConfigurationError: If the enhancement has not been materialized, or a plume has no wind.
    """
    started = perf_counter()
    methane = methane_of(spec)
    store, source, shelf = opened(spec, partition, workspace)
    if shelf is None:
        parent = "cube" if methane.method is MethaneMethod.ARCHIVE else GROUP
        raise ConfigurationError(
            f"{partition} has no enhancement; materialize {spec.name}/{parent} first"
        )
    filled = [slot for slot in store.slots(GROUP, partition.window) if slot.item_count]
    upstream = replace(shelf, product=GROUP, fingerprint=source)
    days = [slot.day for slot in filled]
    is_current = shelf.holds(days)
    if not is_current:
        inputs = _Inputs(wind_source(methane.wind, workspace), upstream)
        for slot in filled:
            _publish(spec, shelf, _scene(spec, store, slot, inputs))
    shelf.clear(set(partition.window.days) - set(days))
    states = _facts(shelf, days)
    return StageReport(
        outcome=_outcome(days, is_current=is_current),
        fingerprint=shelf.fingerprint,
        note=_note(states, days, is_current=is_current),
        facts={"days": len(days), **states, "compilations": compilations()},
        rows=states["plumes"] + states["uncertain"],
        pictures=shelf.pictures(PRODUCT, days),
        seconds=perf_counter() - started,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the plumes if those of the present enhancement are published; else None."""
    store, _, shelf = opened(spec, partition, workspace)
    if shelf is None:
        return None
    slots = store.slots(GROUP, partition.window)
    return shelf.fingerprint if shelf.holds(s.day for s in slots if s.item_count) else None


def opened(
    spec: PipelineSpec, partition: Partition, workspace: Workspace
) -> tuple[CubeStore, str, Shelf | None]:
    """The store, the enhancement's fingerprint, and the shelf; no shelf without enhancement."""
    store = cube.cube_store(spec, partition, workspace)
    source = store.fingerprint_of(GROUP, partition.window)
    if source is None:
        return store, "", None
    wind = table_text(methane_of(spec).wind, workspace)
    return (
        store,
        source,
        Shelf(
            workspace=workspace,
            partition=partition,
            product=PRODUCT,
            fingerprint=fingerprint([source, spec.code_version("plumes"), wind]),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a scene needs besides its maps."""

    winds: WindSource
    enhancements: Shelf

    def made_by(self, spec: PipelineSpec, day: date) -> tuple[Calibration, str, str]:
        """Calibration, digest of the target spectrum and method that the enhancement states.

        The archive's own product tells of no target.
        """
        method = methane_of(spec).method
        if method is MethaneMethod.ARCHIVE:
            source = f"{spec.provider.slug}/{spec.collection}"
            return Calibration.ABSOLUTE, source, method.value
        item = self.enhancements.item(day)
        if item is None:
            raise ConfigurationError(
                f"the enhancement of {day} is not published; materialize {spec.name}/{GROUP} again"
            )
        facts = item["properties"]
        return (
            Calibration(facts["geostack:calibration"]),
            str(facts["geostack:target"]),
            str(facts.get("geostack:method", method.value)),
        )


def _scene(spec: PipelineSpec, store: CubeStore, slot: Slot, ask: _Inputs) -> Scene:
    day = store.open(GROUP).sel(time=np.datetime64(slot.day)).load()
    calibration, target, method = ask.made_by(spec, slot.day)
    return Scene(
        slot=slot,
        grid=store.schema(GROUP).grid,
        result=enhancement_of(
            day,
            calibration,
            target,
            is_linear=methane_of(spec).method not in (MethaneMethod.MBMP, MethaneMethod.MAG1C),
        ),
        method=method,
        scheme=_scheme(spec),
        winds=ask.winds,
    )


def _scheme(spec: PipelineSpec) -> QuantificationScheme:
    name = methane_of(spec).scheme
    if name not in SCHEMES:
        raise ConfigurationError(
            f"{spec.name}: unknown scheme {name!r}; known: {', '.join(SCHEMES)}"
        )
    return SCHEMES[name]


def _publish(spec: PipelineSpec, shelf: Shelf, scene: Scene) -> PublishReport:
    day, result = scene.slot.day, scene.result
    lineage = (
        f"Methane by {scene.method} from {spec.provider.title} {spec.collection} "
        f"({result.calibration.value}); plumes by hysteresis on enhancement over uncertainty"
    )
    labels = np.where(scene.observed, scene.detected.labels, np.nan)
    # The archive's own maps are published here, for no stage before has.
    is_given = methane_of(spec).method is MethaneMethod.ARCHIVE
    names = tuple(TEXTS) if is_given else ("enhancement",)
    maps = {name: getattr(result, name) for name in names} | {"plume": labels}
    texts = {
        name: BandText(long_name=long_name, unit=unit) for name, (long_name, unit) in TEXTS.items()
    } | {"plume": BandText(long_name="number of the plume, 0 for none")}
    words = "Methane patterns" if result.calibration is Calibration.RELATIVE else "Methane plumes"
    product = Product(
        origin=shelf.origin(day, lineage, _summary(scene)),
        grid=scene.grid,
        bands={name: values.astype(np.float32) for name, values in maps.items()},
        texts=texts,
        mask=class_map(result.enhancement, result.sensitivity) if is_given else None,
        shown="enhancement",
        style=style_of(result.enhancement, scene.features),
        caption=caption_of(spec, shelf.partition.aoi, scene.moment, title=words),
        annotation=annotation_of(scene.features, scene.state, float(scene.observed.mean())),
        attachments={
            "outlines": Attachment(
                ".geojson", geojson(scene.features), GEOJSON, "Outlines and rates of plumes"
            ),
            "table": Attachment(
                ".parquet",
                geoparquet(
                    scene.features, {name: one.dtype for name, one in PLUME_COLUMNS.items()}
                ),
                GEOPARQUET,
                "The same as GeoParquet",
            ),
        },
    )
    return publish(product, shelf.folder(day))


def _summary(scene: Scene) -> dict[str, Any]:
    """What the Item says of the scene, and what the asset shows."""
    states = Counter(plume.state for plume in scene.plumes)
    found = [one.properties for one in scene.features if one.properties["state"] == State.PLUME]
    known = [one["rate_kg_h"] for one in found if one["rate_kg_h"] is not None]
    return {
        "acquired": scene.moment.isoformat(),
        "state": scene.state.value,
        "plumes": states[State.PLUME],
        "uncertain": states[State.UNCERTAIN],
        "rate_kg_h": sum(known) if known else None,
        "calibration": scene.result.calibration.value,
        "target": scene.result.target,
        "method": scene.method,
        "observed_fraction": float(scene.observed.mean()),
        "clutter_score": scene.clutter,
    }


def _facts(shelf: Shelf, days: Sequence[date]) -> dict[str, Any]:
    found = [item["properties"] for day in days if (item := shelf.item(day)) is not None]
    rates = [one["geostack:rate_kg_h"] for one in found if one["geostack:rate_kg_h"] is not None]
    return {
        "plumes": sum(one["geostack:plumes"] for one in found),
        "uncertain": sum(one["geostack:uncertain"] for one in found),
        "rate_kg_h": sum(rates) if rates else None,
        "states": ", ".join(one["geostack:state"] for one in found) or None,
        "published": shelf.folder(days[-1]) if days else None,
    }


def _outcome(days: Sequence[date], *, is_current: bool) -> Outcome:
    if not days:
        return Outcome.EMPTY
    return Outcome.UNCHANGED if is_current else Outcome.WRITTEN


def _note(facts: Mapping[str, Any], days: Sequence[date], *, is_current: bool) -> str:
    if not days:
        return "no enhancement: nothing to search"
    found = (
        f"{counted(facts['plumes'], 'plume')}, {facts['uncertain']} uncertain ({facts['states']})"
    )
    return f"up to date: {found}" if is_current else found
