"""The job that makes partitions again by the reason for which they could not be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from geostack_dagster.components.boundary import verdict
from geostack_dagster.components.events import Made, event_of, provenance
from geostack_dagster.components.partitions import AOIS, key_of
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, GeostackError
from geostack_dagster.pipeline.artefacts import artefact_of
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.access import keys_of, settings_of


class RerunConfig(dg.Config):
    """Which partitions to make again."""

    reason: str = "*"
    """Reason of the ledger, or a pattern such as `http-5*`."""
    aois: list[str] = Field(default_factory=list)
    """None for all that are registered."""
    start: str | None = None
    """First date, `2024-06-01`."""
    end: str | None = None
    """Date after the last."""


def rerun_job(spec: PipelineSpec) -> dg.JobDefinition:
    """`<pipeline>_rerun`: every stage that is made is an event of its asset's partition."""

    @dg.op(
        name=f"{spec.name}_rerun_by_reason",
        pool=spec.provider.slug,
        required_resource_keys={"storage", "dask", *keys_of(spec.provider)},
    )
    def rerun_by_reason(context: dg.OpExecutionContext, config: RerunConfig) -> None:
        storage, dask = context.resources.storage, context.resources.dask
        settings = settings_of(spec.provider, context.resources)
        again = _Again(spec, storage.workspace(settings, dask.engine()), context)
        again.run(config)

    @dg.job(
        name=f"{spec.name}_rerun",
        description=(
            "Makes partitions again of which something could not be read: partial ones and those "
            "whose last attempt failed, by the reason that their ledger states."
        ),
        tags={"provider": spec.provider.slug},
    )
    def job() -> None:
        rerun_by_reason()

    return job


@dataclass
class _Again:
    """One run of the job."""

    spec: PipelineSpec
    workspace: Workspace
    context: dg.OpExecutionContext
    errors: dict[str, GeostackError] = field(default_factory=dict)

    def run(self, config: RerunConfig) -> None:
        """Make everything again that is asked for.

        Raises:
            Failure, RetryRequested: If some of it failed again.
        """
        from geostack_dagster.pipeline.rerun import Asked, find_reruns, make_again

        asked = Asked(reason=config.reason, start=_day(config.start), end=_day(config.end))
        aois: Sequence[str] = config.aois or self.context.instance.get_dynamic_partitions(
            AOIS.name or ""
        )
        found = list(find_reruns(self.spec, self.workspace, aois, asked))
        done: list[Mapping[str, Any]] = []
        for rerun in found:
            partition = rerun.partition
            outcome = ""
            try:
                for stage, report in make_again(self.spec, self.workspace, rerun):
                    self._log(stage, partition, report)
                    outcome = report.outcome.value if stage == "cube" else outcome
            except GeostackError as error:
                self.errors[str(partition)] = error
                outcome = "failed"
                self.context.log.warning("%s: %s", partition, redact(str(error)))
            done.append(
                {
                    "date": partition.date,
                    "aoi": partition.aoi,
                    "from": rerun.stage,
                    "reasons": ", ".join(sorted(rerun.reasons)),
                    "outcome": outcome,
                }
            )
        self.context.log.info("%d partitions have the reason %r", len(found), config.reason)
        self.context.add_output_metadata({"partitions": len(found), "made_again": done})
        if self.errors:
            raise verdict(self.errors)

    def _log(self, stage: str, partition: Partition, report: StageReport) -> None:
        spec, parent = self.spec, self.spec.parent(stage)
        asset = Made(
            key=dg.AssetKey([spec.name, stage]),
            parents=() if parent is None else (dg.AssetKey([spec.name, parent]),),
            code_version=spec.code_version(stage),
        )
        made = replace(report, artefact=artefact_of(spec, stage, partition, self.workspace.layout))
        key = key_of(partition.date, partition.aoi)
        made_from = provenance(self.context.instance, asset.parents, [key])[key]
        self.context.log_event(event_of(asset, key, made, made_from))


def _day(text: str | None) -> date | None:
    try:
        return None if not text else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a date like 2024-06-01") from error
