"""What an archive has or will have: an Item, its objects, and what becomes of it."""

from collections.abc import Mapping
from typing import Protocol, Self

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.objects import Make
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.world import World


class Offer(Protocol):
    """An Item of the synthetic catalogue."""

    @property
    def archive(self) -> str:
        """Our name of the provider."""
        ...

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        ...

    @property
    def is_replaced(self) -> bool:
        """Whether the archive takes the old Item away when it is processed anew."""
        ...

    def item(self, world: World) -> Item:
        """The Item in the archive's dialect."""
        ...

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """Objects behind its assets, by key; the others are rendered from what the Item states."""
        ...

    def reprocessed(self, baseline: str | None = None) -> Self:
        """The same acquisition processed anew."""
        ...
