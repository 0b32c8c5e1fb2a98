"""What a partition shows to the world: one published product for each solar day with data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from geostack_dagster.catalog.snapshot import read
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.documents import read_mapping
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.product import published, withdraw
from geostack_dagster.publish.stac_item import Origin
from geostack_dagster.storage import read_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The published products of a partition, made from inputs of one fingerprint."""

    workspace: Workspace
    partition: Partition
    product: str
    """Short name, part of ids and file names: `indices`."""
    fingerprint: str

    def folder(self, day: date) -> str:
        """Where the product of a day lies."""
        return self.workspace.layout.published(self._of(day), self.product)

    def item(self, day: date) -> dict[str, Any] | None:
        """The Item of a day, if it was made from this fingerprint."""
        found = published(self._of(day), self.product, self.folder(day))
        if found is None or found["properties"]["geostack:fingerprint"] != self.fingerprint:
            return None
        return found

    def holds(self, days: Iterable[date]) -> bool:
        """Whether the product of every day is there and was made from this fingerprint."""
        return all(self.item(day) is not None for day in days)

    def pictures(self, title: str, days: Iterable[date]) -> dict[str, bytes]:
        """Quicklooks as they are published, by title and day: the same whoever made them, and when.

        So an asset page shows them after a run that found everything up to date.
        """
        found = ((day, self.item(day)) for day in days)
        return {
            f"{title} {day}": read_bytes(
                f"{self.folder(day)}/{item['assets']['quicklook']['href'].removeprefix('./')}"
            )
            for day, item in found
            if item is not None
        }

    def clear(self, days: Iterable[date]) -> None:
        """Take back the products of days that have no data any more."""
        for day in days:
            withdraw(self._of(day), self.product, self.folder(day))

    def origin(self, day: date, lineage: str, facts: Mapping[str, Any] | None = None) -> Origin:
        """Where the product of a day comes from: the Items whose pixels the cube holds."""
        url = self.workspace.layout.recipe(self.partition)
        recipe = read_mapping(read_bytes(url), url, remedy="materialize the stack again")
        used = {item["id"] for item in recipe["items"] if item["day"] == day.isoformat()}
        snapshot = read(self.workspace.layout.snapshot(self.partition))
        return Origin(
            partition=self._of(day),
            aoi=self.workspace.pinned(self.partition.aoi).aoi,
            product=self.product,
            fingerprint=self.fingerprint,
            sources=tuple(item for item in snapshot.items if item["id"] in used),
            lineage=lineage,
            facts=facts or {},
        )

    def _of(self, day: date) -> Partition:
        return replace(self.partition, date=day.isoformat(), cadence=Cadence.DAILY)
