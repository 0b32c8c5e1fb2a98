"""The assets of a pipeline, built from its spec: no asset code is written twice."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from geostack_dagster.components.boundary import verdict
from geostack_dagster.components.columns import column_schema
from geostack_dagster.components.events import materializations, record
from geostack_dagster.components.partitions import partition_of, partitions_of
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.partition import Layout, Partition
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.artefacts import artefact_of
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.access import keys_of, settings_of
from geostack_dagster.resources.storage import Storage


@dataclass(frozen=True, slots=True)
class Stage:
    """What people see of one asset of the chain."""

    kinds: frozenset[str]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Who looks after a pipeline's assets, in how large runs, and how old they may become."""

    owners: Sequence[str]
    max_partitions_per_run: int
    freshness: dg.FreshnessPolicy


STAGES: Mapping[str, Stage] = {
    "snapshot": Stage(
        frozenset({"stac", "parquet"}),
        "Items of the archive's catalogue, frozen: what exists for this place and time. "
        "stac-geoparquet with canonical hrefs; its content fingerprint is the data version.",
    ),
    "stack": Stage(
        frozenset({"stac", "json"}),
        "A Recipe: which assets will be read, on which grid, with which calibration and why, and "
        "the proof that the credential opens them.",
    ),
    "cube": Stage(
        frozenset({"zarr", "icechunk"}),
        "The pixels, in a transactional Zarr cube with a regular time axis: one commit for each "
        "partition, all or nothing.",
    ),
    "indices": Stage(
        frozenset({"jax", "zarr", "cog"}),
        "Spectral indices over clear pixels, computed with JAX; in the cube's repository and "
        "published as COG with a STAC Item and a quicklook.",
    ),
    "enhancement": Stage(
        frozenset({"jax", "zarr", "cog"}),
        "Methane enhancement [ppm m] with uncertainty and sensitivity, signed, retrieved with JAX "
        "and put on the AOI's grid; the hash of the target spectrum is recorded.",
    ),
    "plumes": Stage(
        frozenset({"jax", "cog", "geojson"}),
        "Plumes: outlines, emission rates with intervals where the enhancement is calibrated, and "
        "a state for the scene; published as COG, GeoParquet, GeoJSON and STAC Item.",
    ),
    "review": Stage(
        frozenset({"geojson", "parquet"}),
        "The review queue: uncertain plumes with their reasons, scores, rates and pictures, and "
        "scenes drawn by lot whatever was found in them. Label them with `geostack review export` "
        "and `import`; labels train the next detector.",
    ),
    "plume_labels": Stage(
        frozenset({"stac", "geojson"}),
        "Plumes that the archive's analysts outlined, read from its list into the store of labels "
        "below `labels/`. Lists grow late: materialize again, nothing is added twice.",
    ),
    "probability": Stage(
        frozenset({"jax", "zarr", "cog"}),
        "Probability that a pixel is part of a plume, by the champion of the plume detector; the "
        "digest of its weights is part of the fingerprint. Empty as long as there is no champion.",
    ),
}
"""What people see of each stage."""


FOLLOW = (
    dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    )
    # What a run makes together with its parent is not made again. `executed_with_root_target` would
    # say so, but looks at no partition of a run except the last.
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.newly_updated()
).with_label("a parent holds something else")
"""Follows content, not events: the whole rest of the chain in one run, for latency.

A change that is missed (under way at the wrong moment, or the run died) is found by the reconcile
sensor.
"""


def _following(models: Sequence[dg.AssetKey]) -> dg.AutomationCondition[Any]:
    """`FOLLOW`, but deaf to models: each would ask for every partition there could ever be."""
    return FOLLOW.ignore(dg.AssetSelection.assets(*models)) if models else FOLLOW


_FRESHNESS = (
    "Freshness tells when any partition was last looked at, for Dagster knows no freshness of "
    "single partitions; those are compared with the archive by `{0}_reconcile`."
)


def pipeline_assets(spec: PipelineSpec, upkeep: Upkeep) -> list[dg.AssetsDefinition]:
    """The assets `[pipeline, snapshot]`, `[pipeline, stack]`, ... of `spec.stages`."""
    return [_asset(spec, noun, upkeep) for noun in spec.stages]


def _models(spec: PipelineSpec, noun: str) -> list[dg.AssetKey]:
    """What a stage is made with besides its parent: the champion of the detector."""
    if noun != "probability" or spec.methane is None or spec.methane.detector is None:
        return []
    return [dg.AssetKey([spec.methane.detector, "champion"])]


def _asset(spec: PipelineSpec, noun: str, upkeep: Upkeep) -> dg.AssetsDefinition:
    stage, parent = STAGES[noun], spec.parent(noun)
    models = _models(spec, noun)

    @dg.asset(
        key=[spec.name, noun],
        deps=[*models, *([] if parent is None else [dg.AssetKey([spec.name, parent])])],
        partitions_def=partitions_of(spec),
        backfill_policy=dg.BackfillPolicy.multi_run(upkeep.max_partitions_per_run),
        group_name=spec.name,
        kinds=set(stage.kinds),
        owners=upkeep.owners,
        tags=_tags(spec),
        metadata=_metadata(spec, noun),
        pool=spec.provider.slug,
        code_version=spec.code_version(noun),
        description="\n\n".join(
            [stage.description, spec.provider.description, _FRESHNESS.format(spec.name)]
        ),
        freshness_policy=upkeep.freshness,
        automation_condition=None if parent is None else _following(models),
        required_resource_keys={"storage", "dask", *keys_of(spec.provider)},
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from geostack_dagster.pipeline.holds import run_stage

        storage: Storage = context.resources.storage
        workspace = storage.workspace(
            settings_of(spec.provider, context.resources), context.resources.dask.engine()
        )
        reports: dict[str, StageReport] = {}
        errors: dict[str, GeostackError] = {}
        asked = {key: partition_of(spec, key) for key in context.partition_keys}
        settled = _settled(spec, noun, list(asked.values()), workspace)
        for key, partition in asked.items():
            try:
                report = settled.get(partition) or run_stage(spec, noun, partition, workspace)
            except GeostackError as error:  # the others go on; what is finished stays finished
                errors[str(partition)] = error
                context.log.warning("%s %s: %s", noun, partition, redact(str(error)))
            else:
                artefact = artefact_of(spec, noun, partition, workspace.layout)
                reports[key] = replace(report, artefact=artefact)
                if report.outcome is Outcome.WRITTEN or len(asked) == 1:
                    context.log.info("%s %s: %s", noun, partition, report.note)
        if len(asked) > 1:  # a line costs as much as a partition to which nothing happens
            context.log.info("%s", _counted(noun, reports.values()))
        if errors:
            record(context, reports)
            raise verdict(errors)
        yield from materializations(context, reports)

    return materialize


def _settled(
    spec: PipelineSpec, noun: str, partitions: Sequence[Partition], workspace: Workspace
) -> Mapping[Partition, StageReport]:
    """Reports of partitions that the stage need not be run for."""
    if noun != spec.stages[0]:
        return {}
    from geostack_dagster.pipeline.again import unchanged

    return unchanged(spec, partitions, workspace)


def _counted(noun: str, reports: Iterable[StageReport]) -> str:
    found = Counter(report.outcome.value for report in reports)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items()))
    return f"{noun}: {counts or 'none done'}"


def _tags(spec: PipelineSpec) -> dict[str, str]:
    tags = {
        "provider": spec.provider.slug,
        "collection": spec.collection,
        "cadence": spec.cadence.value,
    }
    return tags if spec.methane is None else tags | {"methane": spec.methane.method.value}


def _metadata(spec: PipelineSpec, noun: str) -> dict[str, Any]:
    """What is known before anything is made; `<aoi>` and `<date>` stand for the partition's."""
    anywhere = Partition(spec.name, "<aoi>", "<date>", spec.cadence)
    artefact = artefact_of(spec, noun, anywhere, Layout("<storage>"))
    return {
        "artefact": dg.MetadataValue.text(artefact.url),
        "catalogue": dg.MetadataValue.url(spec.provider.stac_url),
        "dagster/column_schema": column_schema(spec, noun),
    }
