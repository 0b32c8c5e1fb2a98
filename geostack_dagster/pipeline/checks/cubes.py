"""Checks of a whole cube: one answer for each AOI."""

from collections.abc import Sequence
from datetime import date

from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import NoDataError
from geostack_dagster.pipeline.checks.results import Result, schema
from geostack_dagster.pipeline.cube import cube_store, schema_of
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import recipe_of
from geostack_dagster.pipeline.swath.cube import swath_store
from geostack_dagster.pipeline.workspace import Workspace


def newest_day(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> date | None:
    """Newest solar day with data over the AOI of a partition."""
    if spec.record.geometry is Geometry.SWATH:
        days = [one.day for one in swath_store(spec, partition, workspace).granules()]
    else:
        store = cube_store(spec, partition, workspace)
        days = [slot.day for slot in store.slots(spec.record.quantity) if slot.item_count]
    return max(days, default=None)


def schema_result(
    spec: PipelineSpec, partitions: Sequence[Partition], workspace: Workspace
) -> Result:
    """Whether the cube over one AOI has the structure that its newest Recipe would give it."""
    partition = max(partitions, key=lambda one: one.date)
    try:
        stored = cube_store(spec, partition, workspace).schema(spec.record.quantity)
    except NoDataError:
        return Result(passed=True, summary=f"{partition.aoi}: no cube yet")
    recipe = recipe_of(spec, partition, workspace)
    return schema(partition.aoi, stored, schema_of(spec, recipe))
