"""Partitions of every pipeline: a time window crossed with an AOI."""

from collections.abc import Iterable
from datetime import datetime, time

import dagster as dg

from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.spec import PipelineSpec

DATE, AOI = "date", "aoi"
AOIS = dg.DynamicPartitionsDefinition(name="aoi")
"""AOIs are shared by all pipelines; the AOI sensor and `geostack aoi add` register them."""

_TIME_WINDOWS = {
    Cadence.DAILY: dg.DailyPartitionsDefinition,
    Cadence.WEEKLY: dg.WeeklyPartitionsDefinition,
    Cadence.MONTHLY: dg.MonthlyPartitionsDefinition,
}


def partitions_of(spec: PipelineSpec) -> dg.MultiPartitionsDefinition:
    """Date x AOI partitions of a pipeline."""
    windows = _TIME_WINDOWS[spec.cadence](
        start_date=datetime.combine(spec.start, time()),
        end_date=None if spec.end is None else datetime.combine(spec.end, time()),
    )
    return dg.MultiPartitionsDefinition({DATE: windows, AOI: AOIS})


def partition_of(spec: PipelineSpec, key: str) -> Partition:
    """The partition behind a Dagster key."""
    if not isinstance(key, dg.MultiPartitionKey):
        key = partitions_of(spec).get_partition_key_from_str(key)
    dimensions = key.keys_by_dimension
    return Partition(spec.name, dimensions[AOI], dimensions[DATE], spec.cadence)


def key_of(date: str, aoi: str) -> dg.MultiPartitionKey:
    """The Dagster key of a date and an AOI."""
    return dg.MultiPartitionKey({DATE: date, AOI: aoi})


def range_tags(dates: Iterable[str], aois: Iterable[str]) -> dict[str, str]:
    """Run tags that ask for every date x AOI between the first and the last of each, in one run."""
    dates, aois = list(dates), list(aois)
    return {
        "dagster/asset_partition_range_start": key_of(dates[0], aois[0]),
        "dagster/asset_partition_range_end": key_of(dates[-1], aois[-1]),
    }
