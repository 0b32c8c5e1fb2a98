"""Stage 4: spectral indices over clear pixels, into the cube's repository and out as products."""

from dataclasses import dataclass
from datetime import date, datetime
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.cube.store import WriteReport
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.products import is_published, publish_day, unpublish_day
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace

GROUP = "indices"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMaps:
    """Index maps of one solar day."""

    day: date
    acquired: datetime | None
    maps: dict[str, NDArray[np.float32]]
    """`y x` each, NaN where not clear."""
    clear_fraction: float


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Compute the indices of every day of the partition, commit them, publish them.

    Raises:
        ConfigurationError: If the cube has not been materialized, or lacks a band.
    """
    started = perf_counter()
    recipe = read_recipe(partition, workspace)
    store = cube.cube_store(spec, partition, workspace)
    source = store.fingerprint_of(cube.GROUP, partition.window)
    if source is None:
        raise ConfigurationError(f"{partition} has no cube; materialize {spec.name}/cube first")
    made_from = fingerprint([source, spec.code_version("indices")])
    published = [is_published(workspace, partition, day, made_from) for day in recipe.days]
    if store.is_current(GROUP, partition.window, made_from) and all(published):
        return _report(recipe, made_from, WriteReport(written=False), [], started)
    store.ensure(_schema(spec, recipe))
    days = [_maps(spec, recipe, store, slot) for slot in _filled(store, recipe)]
    written = _write(store, recipe, days, cube.commit_of(partition, made_from))
    for day in partition.window.days:
        unpublish_day(workspace, partition, day)
    pictures = {}
    for found in days:
        pictures |= publish_day(workspace, spec, partition, recipe, found, made_from)
    return _report(recipe, made_from, written, days, started, pictures)
