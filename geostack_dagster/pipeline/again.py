"""Snapshots taken again: one search tells which of many partitions are as they were."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import perf_counter

from geostack_dagster.catalog.snapshot import read_header
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.reconcile import ask_again
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.snapshot import report_of
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace


def unchanged(
    spec: PipelineSpec, partitions: Sequence[Partition], workspace: Workspace
) -> dict[Partition, StageReport]:
    """Reports of the partitions whose snapshot says what the catalogue says now.

    One search for all dates of an AOI instead of one for each. What is not in the answer (changed,
    never taken, or the catalogue did not answer) is left to the stage itself, which says why.
    """
    if len(partitions) < 2 or spec.max_items is not None:  # a limit counts for each partition
        return {}
    found: dict[Partition, StageReport] = {}
    for aoi, dated in _by_aoi(partitions).items():
        window = Window(dated[0].window.start, dated[-1].window.end)
        started = perf_counter()
        try:
            present = ask_again(spec, workspace, aoi, window)
        except GeostackError:
            continue
        share_s = (perf_counter() - started) / len(dated)
        for partition in dated:
            report = _settled(partition, present.get(partition), workspace, share_s)
            if report is not None:
                found[partition] = report
    return found


def _by_aoi(partitions: Iterable[Partition]) -> dict[str, list[Partition]]:
    groups: dict[str, list[Partition]] = defaultdict(list)
    for partition in sorted(partitions, key=lambda one: one.date):
        groups[partition.aoi].append(partition)
    return groups


def _settled(
    partition: Partition, present: str | None, workspace: Workspace, search_s: float
) -> StageReport | None:
    url = workspace.layout.snapshot(partition)
    started = perf_counter()
    try:
        header = read_header(url)
    except (FileNotFoundError, GeostackError):
        return None
    if header.fingerprint != present:
        return None
    report = report_of(header, url, present)
    return replace(report, seconds=search_s + perf_counter() - started)
