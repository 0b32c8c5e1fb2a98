"""Whether what a stage left is whole and of its present inputs: of stages that keep no pixels."""

from collections.abc import Sequence
from typing import Any

from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.checks.results import WORST, Result
from geostack_dagster.pipeline.holds import reason_to_wait
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.pipeline.workspace import Workspace


def current(
    spec: PipelineSpec, stage: str, partitions: Sequence[Partition], workspace: Workspace
) -> Result:
    """Whether each artefact is there, whole, and made from what its inputs are now.

    Of a snapshot only that it is there and whole: what the catalogue says by now a search tells.
    """
    rows: list[dict[str, Any]] = []
    for partition in partitions:
        found = _found(spec, stage, partition, workspace)
        if found is not None:
            held = reason_to_wait(spec, stage, partition, workspace)
            name = f"{partition.aoi} {partition.date}"
            rows.append({"partition": name, "found": found, "held": held or "-"})
    rows.sort(key=lambda row: row["held"] != "-")
    stale = [row for row in rows if row["held"] == "-"]
    said = counted(len(partitions), "partition")
    return Result(
        passed=not stale,
        is_error=True,
        summary=f"{len(stale)} of {said} are missing or were not made from their present inputs",
        numbers={
            "partitions": len(partitions),
            "stale": len(stale),
            "held": len(rows) - len(stale),
        },
        rows=rows[:WORST],
    )


def _found(
    spec: PipelineSpec, stage: str, partition: Partition, workspace: Workspace
) -> str | None:
    """What is wrong; None if nothing is."""
    try:
        mark = module_of(spec, stage).current(spec, partition, workspace)
    except GeostackError as error:
        return str(error)
    return "missing, damaged or of other inputs" if mark is None else None
