"""Schedules: each pipeline looks again at its newest dates once a day."""

from datetime import timedelta

import dagster as dg

from geostack_dagster.components.partitions import AOIS, partitions_of, range_tags
from geostack_dagster.components.reconcile import IN_PROGRESS
from geostack_dagster.pipeline.spec import PipelineSpec

_BY = "dagster/schedule_name"


def snapshot_schedule(spec: PipelineSpec, *, cron: str, window_days: int) -> dg.ScheduleDefinition:
    """Materialize the whole chain for the dates of the last `window_days` days over every AOI.

    What did not change is recognised by its fingerprint and costs a catalogue search.
    """
    name = f"{spec.name}_daily"
    target = dg.AssetSelection.groups(spec.name)
    windows = partitions_of(spec).time_window_partitions_def

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        target=target,
        description=(
            f"Looks again at the last {window_days} days over every AOI, for archives publish "
            "late; what did not change costs a search of the catalogue."
        ),
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Newest dates over every AOI."""
        now = context.scheduled_execution_time
        since = now - timedelta(days=window_days)
        dates = [
            key
            for key in windows.get_partition_keys(current_time=now)
            if windows.time_window_for_partition_key(key).end > since
        ]
        aois = context.instance.get_dynamic_partitions(AOIS.name or "")
        if not aois:
            return dg.SkipReason("no AOI is registered: drop a GeoJSON file in the AOI folder")
        looking = dg.RunsFilter(tags={_BY: name}, statuses=IN_PROGRESS)
        if context.instance.get_runs(looking, limit=1):
            return dg.SkipReason("the last look is still under way, and the next one sees more")
        if not dates:
            return dg.SkipReason(f"no date of {spec.name} ended in the last {window_days} days")
        return dg.RunRequest(run_key=now.isoformat(), tags=range_tags(dates, aois))

    return daily
