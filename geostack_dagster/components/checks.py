"""Asset checks of a pipeline: what is on record and what the pixels say, held against each other.

`radiometry` is blocking and of each partition: indices and enhancements of a partition whose pixels
contradict their metadata are not made. The others warn or fail without stopping anything, and each
run of any number of partitions gives one result, with the worst partitions in a table: a result
for each partition and check would cost a no-op backfill more than all the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import dagster as dg

from geostack_dagster.components.events import table_of, value_of
from geostack_dagster.components.partitions import partition_of, partitions_of
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.event_log import log_together

if TYPE_CHECKING:
    from geostack_dagster.pipeline.checks.results import Result
    from geostack_dagster.pipeline.checks.states import State

_PIXELS = ("cube", "indices", "enhancement")
"""Stages that keep pixels."""
_NEWEST = 32
"""Partitions of an AOI that are looked at when a check is run without any."""
_CUBE_CHECKS = {
    "coverage": "How much of its grid each partition fills, on days that have Items.",
    "nodata": "How much of each band is missing, and whether one lacks what the others have.",
    "ledger": "Whether more assets could not be read than the budget allows.",
    "schema": "Whether the stored cube has the structure that the pipeline would give it now.",
    "fingerprint": "Whether each cube was made from what its inputs are now, as reconcile asks.",
    "freshness": "How old each AOI's newest day with data is.",
}
_CURRENT = {
    "snapshot": "Whether each snapshot is there and whole; a run asks the catalogue.",
    "stack": "Whether each Recipe was made from its present snapshot, by the present settings.",
    "plumes": "Whether the plumes of each present enhancement are published.",
    "review": "Whether each queue is of its present plumes.",
    "plume_labels": "Whether the archive's list was read, by the present code.",
    "probability": "Whether each map is the present champion's, of the present enhancement.",
}
"""Of stages that keep no pixels, or only those of another."""
_FEW = 4
"""Partitions of a run that these look at: one took up to 11 ms where all the rest took 40."""
_VALUES = "How many values lie beyond what is physically possible."
_GRID_ONLY = ("nodata", "schema")
_CONTRACT = (
    "Whether dark ground (water, shadow, vegetation) bears out the offset that each Item's "
    "metadata lead to; the darkest 0.1 % of its pixels are shown beside the metadata."
)


def pipeline_checks(spec: PipelineSpec) -> list[dg.AssetChecksDefinition]:
    """The asset checks of a pipeline."""
    found = [_others(spec), _current(spec)]
    if _has_contract(spec):
        found.append(_radiometry(spec))
    return found


def _has_contract(spec: PipelineSpec) -> bool:
    bands = spec.record.bands.select(spec.band_names, where=spec.name)
    return any(band.common_name in spec.record.dark for band in bands)


def _radiometry(spec: PipelineSpec) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([spec.name, "cube"])
    check = dg.AssetCheckSpec(
        "radiometry",
        asset=key,
        description=_CONTRACT,
        blocking=spec.checks.radiometry == "block",
        partitions_def=partitions_of(spec),
    )

    @dg.multi_asset_check(
        name=f"{spec.name}_radiometry", specs=[check], required_resource_keys={"storage"}
    )
    def radiometry(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        from geostack_dagster.pipeline.checks.results import radiometry

        blocks = spec.checks.radiometry == "block"
        workspace: Workspace = context.resources.storage.workspace()
        found: dict[str, Result] = {}
        for partitions in _by_aoi(spec, context.partition_keys):
            for name, verdicts in _verdicts(spec, partitions, workspace):
                found[name] = radiometry(verdicts, blocks=blocks)
        if len(found) == 1:
            (result,) = found.values()
            yield dg.AssetCheckResult(
                passed=result.passed,
                severity=_severity(result),
                description=result.summary,
                metadata=_metadata(result),
            )
            return
        # What is good of a run goes on: the stages after the cube refuse the others by name.
        everyone = blocks and not any(result.passed for result in found.values())
        targets = _materializations(context.instance, key, found)
        evaluations = [
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name="radiometry",
                passed=result.passed,
                severity=_severity(result),
                description=result.summary,
                metadata=_metadata(result),
                blocking=everyone,
                partition=name,
                target_materialization_data=targets.get(name),
            )
            for name, result in found.items()
        ]
        log_together(context.op_execution_context, evaluations)
        yield dg.Output(None, output_name=check.get_python_identifier())

    return radiometry


def _verdicts(
    spec: PipelineSpec, partitions: Mapping[str, Partition], workspace: Workspace
) -> Iterator[tuple[str, Sequence[Any]]]:
    from geostack_dagster.pipeline.checks.evidence import verdicts_of
    from geostack_dagster.pipeline.checks.states import read_states
    from geostack_dagster.pipeline.stack import read_recipe

    states = read_states(spec, "cube", list(partitions.values()), workspace)
    for name, state in zip(partitions, states, strict=True):
        evidence = state.evidence
        if evidence is None or not evidence.tallies:
            yield name, ()
        else:
            yield name, verdicts_of(evidence, read_recipe(state.partition, workspace))


def _others(spec: PipelineSpec) -> dg.AssetChecksDefinition:
    swath = spec.record.geometry is Geometry.SWATH
    specs = [
        dg.AssetCheckSpec(name, asset=[spec.name, "cube"], description=text)
        for name, text in _CUBE_CHECKS.items()
        if not (swath and name in _GRID_ONLY)
    ]
    specs += [
        dg.AssetCheckSpec("values", asset=[spec.name, noun], description=_VALUES)
        for noun in spec.stages
        if noun in _PIXELS and not (swath and noun == "cube")
    ]

    @dg.multi_asset_check(
        name=f"{spec.name}_checks",
        specs=specs,
        can_subset=True,
        required_resource_keys={"storage"},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        workspace: Workspace = context.resources.storage.workspace()
        keys = _asked(context, spec, "cube")
        look = _Look(spec, workspace, [list(one.values()) for one in _by_aoi(spec, keys)])
        for chosen in sorted(context.selected_asset_check_keys, key=str):
            result = look.at(chosen.asset_key.path[1], chosen.name)
            yield _told(chosen, result, partitions=len(keys))

    return checks


def _current(spec: PipelineSpec) -> dg.AssetChecksDefinition:
    """A step of its own: a failing stage does not keep the cube's checks from being made."""
    looked = f"Looks at the {_FEW} newest partitions of a run; reconcile looks at all of them."

    @dg.multi_asset_check(
        name=f"{spec.name}_current",
        specs=[
            dg.AssetCheckSpec(
                "fingerprint", asset=[spec.name, noun], description=f"{_CURRENT[noun]} {looked}"
            )
            for noun in spec.stages
            if noun in _CURRENT
        ],
        can_subset=True,
        required_resource_keys={"storage"},
    )
    def is_current(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from geostack_dagster.pipeline.checks.current import current

        workspace: Workspace = context.resources.storage.workspace()
        in_run = context.has_partition_key or context.has_partition_key_range
        for chosen in sorted(context.selected_asset_check_keys, key=str):
            noun = chosen.asset_key.path[1]
            asked = [partition_of(spec, key) for key in _asked(context, spec, noun)]
            asked.sort(key=lambda one: (one.date, one.aoi))
            result = current(spec, noun, asked[-_FEW:] if in_run else asked, workspace)
            yield _told(chosen, result)

    return is_current


class _Look:
    """The states of a run's partitions, each stage read once."""

    def __init__(
        self, spec: PipelineSpec, workspace: Workspace, by_aoi: Sequence[Sequence[Partition]]
    ) -> None:
        self._spec, self._workspace, self._by_aoi = spec, workspace, by_aoi
        self._states: dict[str, list[State]] = {}

    def at(self, stage: str, check: str) -> "Result":
        """Result of one check of one stage."""
        from geostack_dagster.pipeline.checks import results

        if check in ("schema", "freshness"):
            return self._schema() if check == "schema" else self._freshness()
        asked, states = self._spec.checks, self._read(stage)
        if check == "fingerprint":
            return results.fingerprints(states, self._wanted, self._held)
        if check == "ledger":
            return results.ledger(states, self._spec.max_soft_errors)
        found: Result = getattr(results, check)(states, asked)
        return found

    def _read(self, stage: str) -> "list[State]":
        from geostack_dagster.pipeline.checks.states import read_states

        if stage not in self._states:
            self._states[stage] = [
                state
                for partitions in self._by_aoi
                for state in read_states(self._spec, stage, partitions, self._workspace)
            ]
        return self._states[stage]

    def _wanted(self, state: "State") -> str | None:
        from geostack_dagster.pipeline.checks.states import wanted_of

        return wanted_of(self._spec, state.partition, self._workspace)

    def _held(self, state: "State") -> str | None:
        from geostack_dagster.pipeline.holds import reason_to_wait

        return reason_to_wait(self._spec, "cube", state.partition, self._workspace)

    def _schema(self) -> "Result":
        from geostack_dagster.pipeline.checks.cubes import schema_result
        from geostack_dagster.pipeline.checks.results import worst

        return worst(
            schema_result(self._spec, partitions, self._workspace) for partitions in self._by_aoi
        )

    def _freshness(self) -> "Result":
        from geostack_dagster.pipeline.checks.cubes import newest_day
        from geostack_dagster.pipeline.checks.results import freshness

        today = datetime.now(UTC).date()
        end = self._spec.end
        until = today if end is None else min(today, end - timedelta(days=1))
        newest: dict[str, date | None] = {
            one[0].aoi: newest_day(self._spec, one[0], self._workspace) for one in self._by_aoi
        }
        return freshness(newest, self._spec.checks, self._spec.cadence, until=until)


def _asked(context: dg.AssetCheckExecutionContext, spec: PipelineSpec, noun: str) -> Sequence[str]:
    """Partitions of the run; the newest of each AOI when a check is run by itself without any."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    known = context.instance.get_materialized_partitions(dg.AssetKey([spec.name, noun]))
    found = sorted(known, key=lambda key: (partition_of(spec, key).aoi, key), reverse=True)
    groups = groupby(found, lambda key: partition_of(spec, key).aoi)
    return [key for _, keys in groups for key in sorted(keys, reverse=True)[:_NEWEST]]


def _by_aoi(spec: PipelineSpec, keys: Iterable[str]) -> list[dict[str, Partition]]:
    found: dict[str, dict[str, Partition]] = {}
    for key in keys:
        partition = partition_of(spec, key)
        found.setdefault(partition.aoi, {})[key] = partition
    return list(found.values())


def _materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Iterable[str]
) -> dict[str, Any]:
    """The materialization of each partition that a result is about."""
    # Dagster makes it for results of one partition and exports it to nobody.
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    asked = list(keys)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=asked), limit=4 * len(asked)
    ).records
    found: dict[str, Any] = {}
    for record in records:  # newest first
        target = AssetCheckEvaluationTargetMaterializationData(
            run_id=record.run_id, storage_id=record.storage_id, timestamp=record.timestamp
        )
        found.setdefault(str(record.partition_key), target)
    return found


def _told(chosen: dg.AssetCheckKey, result: "Result", **numbers: int) -> dg.AssetCheckResult:
    """A result as Dagster takes it, with numbers beside its own."""
    return dg.AssetCheckResult(
        asset_key=chosen.asset_key,
        check_name=chosen.name,
        passed=result.passed,
        severity=_severity(result),
        description=result.summary,
        metadata=_metadata(result) | {name: value_of(value) for name, value in numbers.items()},
    )


def _severity(result: "Result") -> dg.AssetCheckSeverity:
    error = result.is_error and not result.passed
    return dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN


def _metadata(result: "Result") -> dict[str, dg.MetadataValue]:
    numbers = {name: value_of(value) for name, value in result.numbers.items()}
    return numbers | ({"evidence": table_of(result.rows)} if result.rows else {})
