"""What a partition shows to the world: one published product for each solar day with data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.catalog.snapshot import read
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.inference.indices import INDICES
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.map_page import Masks
from geostack_dagster.publish.product import Product, PublishReport, publish, published, withdraw
from geostack_dagster.publish.stac_item import Origin

PRODUCT = "indices"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMaps:
    """Index maps of one solar day."""

    day: date
    acquired: datetime | None
    maps: Mapping[str, NDArray[np.float32]]
    """`y x` each, NaN where not clear or undefined."""
    clear: NDArray[np.bool_]
    observed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The published products of a partition, made from inputs of one fingerprint."""

    workspace: Workspace
    partition: Partition
    fingerprint: str

    def folder(self, day: date) -> str:
        """Where the product of a day lies."""
        return self.workspace.layout.published(self._of(day), PRODUCT)

    def holds(self, days: Iterable[date]) -> bool:
        """Whether the product of every day is there and was made from this fingerprint."""
        items = (published(self._of(day), PRODUCT, self.folder(day)) for day in days)
        return all(
            item is not None and item["properties"]["geostack:fingerprint"] == self.fingerprint
            for item in items
        )

    def publish(self, spec: PipelineSpec, found: DayMaps, grid: Grid) -> PublishReport:
        """Write COG, quicklook and Item of a day."""
        product = Product(
            origin=self._origin(spec, found.day),
            grid=grid,
            bands=found.maps,
            texts={name: BandText(long_name=INDICES[name].long_name) for name in found.maps},
            shown=spec.indices[0],
            masks=Masks(clear=found.clear, observed=found.observed),
        )
        return publish(product, self.folder(found.day))

    def clear(self, days: Iterable[date]) -> None:
        """Take back the products of days that have no data any more."""
        for day in days:
            withdraw(self._of(day), PRODUCT, self.folder(day))

    def _of(self, day: date) -> Partition:
        return replace(self.partition, date=day.isoformat(), cadence=Cadence.DAILY)

    def _origin(self, spec: PipelineSpec, day: date) -> Origin:
        recipe = read_recipe(self.partition, self.workspace)
        used = {item.id for item in recipe.items if item.day == day}
        snapshot = read(self.workspace.layout.snapshot(self.partition))
        return Origin(
            partition=self._of(day),
            aoi=self.workspace.pinned(self.partition.aoi).aoi,
            product=PRODUCT,
            fingerprint=self.fingerprint,
            sources=tuple(item for item in snapshot.items if item["id"] in used),
            lineage=(
                f"Spectral indices of {spec.provider.title} {spec.collection} surface reflectance "
                f"over clear pixels (scene classes, {spec.mask_buffer_m:g} m from cloud and shadow)"
            ),
        )
