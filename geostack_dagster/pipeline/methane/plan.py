"""What a method is given, and what it gives: one retrieval for each solar day."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from geostack_dagster.cube.store import CubeStore
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.inference.enhancement import Enhancement
from geostack_dagster.pipeline.spec import MethaneSpec, PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One partition of a pipeline that retrieves methane."""

    spec: PipelineSpec
    methane: MethaneSpec
    partition: Partition
    workspace: Workspace
    store: CubeStore

    @property
    def grid(self) -> Grid:
        """Where results are wanted."""
        pin = self.workspace.pinned(self.partition.aoi)
        return pin.grid(self.spec.resolution, self.spec.crs, margin_m=self.spec.margin_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPlan:
    """The retrieval of one solar day."""

    day: date
    acquired: datetime | None
    item_count: int
    fingerprint: str
    """Of every input: the same one gives the same maps."""
    retrieve: Callable[[], Enhancement]
    """Maps on the ask's grid."""
