"""The assets of a pipeline, built from its spec: no asset code is written twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from geostack_dagster.components.boundary import verdict
from geostack_dagster.components.events import materializations, record
from geostack_dagster.components.partitions import partition_of, partitions_of
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.resources.access import keys_of, settings_of
from geostack_dagster.resources.storage import Storage


@dataclass(frozen=True, slots=True)
class Stage:
    """One asset of the chain: what it is made from, and what people see of it."""

    upstream: str | None
    kinds: frozenset[str]
    description: str


STAGES: Mapping[str, Stage] = {
    "snapshot": Stage(
        None,
        frozenset({"stac", "parquet"}),
        "Items of the archive's catalogue, frozen: what exists for this place and time. "
        "stac-geoparquet with canonical hrefs; its content fingerprint is the data version.",
    ),
    "stack": Stage(
        "snapshot",
        frozenset({"stac", "json"}),
        "A Recipe: which assets will be read, on which grid, with which calibration and why, and "
        "the proof that the credential opens them.",
    ),
    "cube": Stage(
        "stack",
        frozenset({"zarr", "icechunk"}),
        "The pixels, in a transactional Zarr cube with a regular time axis: one commit for each "
        "partition, all or nothing.",
    ),
    "indices": Stage(
        "cube",
        frozenset({"jax", "zarr", "cog"}),
        "Spectral indices over clear pixels, computed with JAX; in the cube's repository and "
        "published as COG with a STAC Item and a quicklook.",
    ),
    "enhancement": Stage(
        "cube",
        frozenset({"jax", "zarr", "cog"}),
        "Methane enhancement [ppm m] with uncertainty and sensitivity, signed, retrieved with JAX "
        "and put on the AOI's grid; the hash of the target spectrum is recorded.",
    ),
    "plumes": Stage(
        "enhancement",
        frozenset({"jax", "cog", "geojson"}),
        "Plumes: outlines, emission rates with intervals where the enhancement is calibrated, and "
        "a state for the scene; published as COG, GeoParquet, GeoJSON and STAC Item.",
    ),
}
"""What people see of each stage."""


def pipeline_assets(
    spec: PipelineSpec, *, max_partitions_per_run: int, owners: Sequence[str]
) -> list[dg.AssetsDefinition]:
    """The assets `[pipeline, snapshot]`, `[pipeline, stack]`, ... of `spec.stages`."""
    backfill_policy = dg.BackfillPolicy.multi_run(max_partitions_per_run)
    return [_asset(spec, noun, backfill_policy, owners) for noun in spec.stages]


def _asset(
    spec: PipelineSpec, noun: str, backfill_policy: dg.BackfillPolicy, owners: Sequence[str]
) -> dg.AssetsDefinition:
    stage = STAGES[noun]
    # Where the archive gives the enhancement itself the cube holds it.
    parent = stage.upstream if stage.upstream in (None, *spec.stages) else "cube"

    @dg.asset(
        key=[spec.name, noun],
        deps=[] if parent is None else [dg.AssetKey([spec.name, parent])],
        partitions_def=partitions_of(spec),
        backfill_policy=backfill_policy,
        group_name=spec.name,
        kinds=set(stage.kinds),
        owners=owners,
        tags={"provider": spec.provider.slug, "collection": spec.collection},
        pool=spec.provider.slug,
        code_version=spec.code_version(noun),
        description=f"{stage.description}\n\n{spec.provider.description}",
        required_resource_keys={"storage", "dask", *keys_of(spec.provider)},
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        run = module_of(spec, noun).run
        storage: Storage = context.resources.storage
        workspace = storage.workspace(
            settings_of(spec.provider, context.resources), context.resources.dask.engine()
        )
        reports: dict[str, StageReport] = {}
        errors: dict[str, GeostackError] = {}
        for key in context.partition_keys:
            partition = partition_of(spec, key)
            try:
                reports[key] = run(spec, partition, workspace)
            except GeostackError as error:  # the others go on; what is finished stays finished
                errors[str(partition)] = error
                context.log.warning("%s %s: %s", noun, partition, redact(str(error)))
            else:
                context.log.info("%s %s: %s", noun, partition, reports[key].note)
        if errors:
            record(context, reports)
            raise verdict(errors)
        yield from materializations(context, reports)

    return materialize
