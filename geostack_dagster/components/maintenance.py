"""The maintenance job: what every cube repository may forget, once a week."""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from geostack_dagster.components.events import table_of
from geostack_dagster.domain.hrefs import redact

if TYPE_CHECKING:
    from geostack_dagster.pipeline.upkeep import Maintained

WEEKLY = "0 3 * * 0"


class Forgetting(dg.Config):
    """What is forgotten."""

    keep_days: float = 30.0
    """Snapshots younger than this stay, and whatever a reader may hold with them."""
    pipelines: list[str] = Field(default_factory=list)
    """Names; none for every pipeline that has cubes."""


@dg.op(
    required_resource_keys={"storage"},
    description="Expires old snapshots of every cube repository and collects their garbage.",
    tags={"kind": "icechunk"},
)
def forget_old_snapshots(context: dg.OpExecutionContext, config: Forgetting) -> None:
    """Expire and collect; the bytes freed show on the run and on each pipeline's cube."""
    from geostack_dagster.pipeline.upkeep import maintain

    done: dict[str, list[Maintained]] = {}
    workspace = context.resources.storage.workspace()
    keep = timedelta(days=config.keep_days)
    for found in maintain(workspace, pipelines=config.pipelines, keep=keep):
        done.setdefault(found.pipeline, []).append(found)
        context.log.info(
            "%s %s: %d snapshots, %d bytes", found.pipeline, found.aoi, found.snapshots, found.bytes
        )
    for pipeline, repositories in done.items():
        context.log_event(dg.AssetObservation([pipeline, "cube"], metadata=_metadata(repositories)))
    everything = [one for repositories in done.values() for one in repositories]
    context.add_output_metadata(_metadata(everything))
    failures = [one for one in everything if one.failure is not None]
    if failures:
        raise dg.Failure(
            "; ".join(f"{one.pipeline} {one.aoi}: {redact(one.failure or '')}" for one in failures)
        )


def _metadata(repositories: "list[Maintained]") -> dict[str, dg.MetadataValue]:
    rows = [
        {
            "pipeline": one.pipeline,
            "aoi": one.aoi,
            "snapshots_expired": one.snapshots,
            "bytes_freed": one.bytes,
            "seconds": one.seconds,
        }
        for one in repositories
    ]
    return {
        "bytes_freed": dg.MetadataValue.int(sum(one.bytes for one in repositories)),
        "snapshots_expired": dg.MetadataValue.int(sum(one.snapshots for one in repositories)),
        "repositories": table_of(rows),
    }


@dg.job(description="Expires old snapshots of all cubes; never touches what readers may hold.")
def maintenance() -> None:
    """One step for all repositories: on a file system they are locked one after the other."""
    forget_old_snapshots()


maintenance_weekly = dg.ScheduleDefinition(
    name="maintenance_weekly",
    job=maintenance,
    cron_schedule=WEEKLY,
    description="Runs `maintenance` every Sunday at 03:00 UTC, once it is turned on.",
)
