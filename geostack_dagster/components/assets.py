"""The assets of a pipeline, built from its spec: no asset code is written twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import dagster as dg

from geostack_dagster.components.boundary import verdict
from geostack_dagster.components.events import materializations, record
from geostack_dagster.components.partitions import partition_of, partitions_of
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.access import keys_of, settings_of
from geostack_dagster.resources.storage import Storage

type StageFunction = Callable[[PipelineSpec, Partition, Workspace], StageReport]


@dataclass(frozen=True, slots=True)
class Stage:
    """One asset of the chain: its noun, what made it, and what people see of it."""

    noun: str
    upstream: str | None
    kinds: frozenset[str]
    description: str

    def load(self) -> StageFunction:
        """The function `run` of `geostack_dagster.pipeline.<noun>`.

        Imported when a step runs: it brings xarray, odc, icechunk or jax, which the code location
        does without.
        """
        function: StageFunction = import_module(f"geostack_dagster.pipeline.{self.noun}").run
        return function


_COMMON = (
    Stage(
        "snapshot",
        None,
        frozenset({"stac", "parquet"}),
        "Items of the archive's catalogue, frozen: what exists for this place and time. "
        "stac-geoparquet with canonical hrefs; its content fingerprint is the data version.",
    ),
    Stage(
        "stack",
        "snapshot",
        frozenset({"stac", "json"}),
        "A Recipe: which assets will be read, on which grid, with which calibration and why, and "
        "the proof that the credential opens them.",
    ),
    Stage(
        "cube",
        "stack",
        frozenset({"zarr", "icechunk"}),
        "The pixels, in a transactional Zarr cube with a regular time axis: one commit for each "
        "partition, all or nothing.",
    ),
)
_INDICES = Stage(
    "indices",
    "cube",
    frozenset({"jax", "zarr", "cog"}),
    "Spectral indices over clear pixels, computed with JAX; in the cube's repository and "
    "published as COG with a STAC Item and a quicklook.",
)
_ENHANCEMENT = Stage(
    "enhancement",
    "cube",
    frozenset({"jax", "zarr"}),
    "Methane enhancement [ppm m] with uncertainty and sensitivity, signed, retrieved with JAX and "
    "put on the AOI's grid; the hash of the target spectrum is recorded.",
)
_PLUMES = Stage(
    "plumes",
    "enhancement",
    frozenset({"jax", "cog", "geojson"}),
    "Plumes: outlines, emission rates with intervals where the enhancement is calibrated, and a "
    "state for the scene; published with the maps as COG, GeoParquet, GeoJSON and STAC Item.",
)


def stages_of(spec: PipelineSpec) -> tuple[Stage, ...]:
    """The assets of a pipeline, parents first."""
    stages = list(_COMMON)
    if spec.indices:
        stages.append(_INDICES)
    if spec.methane is not None:
        given = spec.methane.method is MethaneMethod.ARCHIVE
        stages += [replace(_PLUMES, upstream="cube")] if given else [_ENHANCEMENT, _PLUMES]
    return tuple(stages)


def pipeline_assets(
    spec: PipelineSpec, *, max_partitions_per_run: int, owners: Sequence[str]
) -> list[dg.AssetsDefinition]:
    """The assets `[pipeline, snapshot]`, `[pipeline, stack]`, ... of `stages_of`."""
    backfill_policy = dg.BackfillPolicy.multi_run(max_partitions_per_run)
    return [_asset(spec, stage, backfill_policy, owners) for stage in stages_of(spec)]


def _asset(
    spec: PipelineSpec, stage: Stage, backfill_policy: dg.BackfillPolicy, owners: Sequence[str]
) -> dg.AssetsDefinition:
    @dg.asset(
        key=[spec.name, stage.noun],
        deps=[] if stage.upstream is None else [dg.AssetKey([spec.name, stage.upstream])],
        partitions_def=partitions_of(spec),
        backfill_policy=backfill_policy,
        group_name=spec.name,
        kinds=set(stage.kinds),
        owners=owners,
        tags={"provider": spec.provider.slug, "collection": spec.collection},
        pool=spec.provider.slug,
        code_version=spec.code_version(stage.noun),
        description=f"{stage.description}\n\n{spec.provider.description}",
        required_resource_keys={"storage", *keys_of(spec.provider)},
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        run = stage.load()
        storage: Storage = context.resources.storage
        workspace = storage.workspace(settings_of(spec.provider, context.resources))
        reports: dict[str, StageReport] = {}
        errors: dict[str, GeostackError] = {}
        for key in context.partition_keys:
            partition = partition_of(spec, key)
            try:
                reports[key] = run(spec, partition, workspace)
            except GeostackError as error:  # the others go on; what is finished stays finished
                errors[str(partition)] = error
                context.log.warning("%s %s: %s", stage.noun, partition, redact(str(error)))
            else:
                context.log.info("%s %s: %s", stage.noun, partition, reports[key].note)
        if errors:
            record(context, reports)
            raise verdict(errors)
        yield from materializations(context, reports)

    return materialize
