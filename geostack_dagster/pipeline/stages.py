"""Which module makes which stage of a pipeline."""

from importlib import import_module
from typing import Protocol, cast

from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

_SWATH = ("stack", "cube")
"""Stages that work in sensor geometry where the collection does."""


class StageModule(Protocol):
    """One stage: makes an artefact of a partition, and says whether it is up to date."""

    def run(self, spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
        """Make the artefact; nothing is done if it is up to date."""
        ...

    def current(self, spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
        """Fingerprint of the artefact if it is up to date with its inputs; else None."""
        ...


class CubeModule(StageModule, Protocol):
    """A stage that records what its pixels were made from."""

    def wanted(self, spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str:
        """Fingerprint of what the inputs ask for."""
        ...

    def recorded(
        self, spec: PipelineSpec, partition: Partition, workspace: Workspace
    ) -> str | None:
        """Fingerprint of what is there; None if there is nothing, or not the whole of it."""
        ...


def cube_module(spec: PipelineSpec) -> CubeModule:
    """The module that makes the cube."""
    return cast("CubeModule", module_of(spec, "cube"))


def module_of(spec: PipelineSpec, stage: str) -> StageModule:
    """The module of a stage, which has its name.

    Imported when it is asked for: it brings xarray, odc, icechunk or jax, which the code location
    does without.
    """
    in_sensor = spec.record.geometry is Geometry.SWATH and stage in _SWATH
    package = "pipeline.swath" if in_sensor else "pipeline"
    return cast("StageModule", import_module(f"geostack_dagster.{package}.{stage}"))
