"""A pipeline over a small AOI inside the sandbox."""

from dataclasses import dataclass
from datetime import date

import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline import cube, indices, snapshot, stack
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers import provider_named

STAGES = {"snapshot": snapshot, "stack": stack, "cube": cube, "indices": indices}
FIELD = AOI.from_bbox("field", (7.80, 46.99, 7.806, 46.994))


@dataclass
class Chain:
    """The four stages of one pipeline."""

    spec: PipelineSpec
    workspace: Workspace

    def partition(self, day: str) -> Partition:
        return Partition(self.spec.name, FIELD.name, day, self.spec.cadence)

    def run(self, day: str, *stages: str) -> dict[str, StageReport]:
        return {
            noun: STAGES[noun].run(self.spec, self.partition(day), self.workspace)
            for noun in stages or STAGES
        }

    def outcomes(self, day: str) -> dict[str, str]:
        return {noun: report.outcome.value for noun, report in self.run(day).items()}


def spec_of(provider: str, **changes: object) -> PipelineSpec:
    return PipelineSpec(
        **{
            "name": f"{provider}_test",
            "provider": provider_named(provider),
            "collection": "sentinel-2-l2a",
            "bands": ("B02", "B04", "B08", "SCL"),
            "indices": ("NDVI", "EVI"),
            "start": date(2024, 6, 1),
            "chunk": 32,
            **changes,
        }
    )


@pytest.fixture
def workspace(root: str) -> Workspace:
    found = Workspace(root)
    found.pin(FIELD)
    return found


@pytest.fixture(params=["planetary_computer", "earth_search"])
def chain(request, in_sandbox, workspace) -> Chain:
    return Chain(spec_of(request.param), workspace)
