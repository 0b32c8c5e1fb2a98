"""What a backfill over granules would read, before it runs."""

import math
from collections.abc import Sequence

from geostack_dagster.domain.item import Item, item_id
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.plan import PartitionPlan
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.stack import ask_of
from geostack_dagster.pipeline.workspace import Pin
from geostack_dagster.stack.swath.ask import make_swath_recipe
from geostack_dagster.stack.swath.locate import Place

_COALESCED_BYTES = 1 << 20
_OPENINGS = 4  # blocks of a file that say where its arrays lie


def plan_granules(
    spec: PipelineSpec, partition: Partition, pin: Pin, items: Sequence[Item]
) -> PartitionPlan | None:
    """The plan of a partition; None if it has no granule.

    Bytes are those of the columns over the AOI, with all their bands, which lie together; files
    whose size the Item does not state count for nothing.
    """
    recipe = make_swath_recipe(spec.provider, items, ask=ask_of(spec, partition, pin))
    if not recipe.items:
        return None
    place = Place.of(pin.aoi, spec.margin_m)
    footprints = {item_id(item): item.get("geometry") for item in items}
    sizes = []
    for item in recipe.items:
        footprint = footprints[item.id]
        share = place.share(footprint) if isinstance(footprint, dict) else 1.0
        sizes += [math.ceil((source.size or 0) * share) for source in item.sources.values()]
    return PartitionPlan(
        date=partition.date,
        aoi=partition.aoi,
        items=len(recipe.items),
        assets=len(sizes),
        requests=sum(_OPENINGS + math.ceil(size / _COALESCED_BYTES) for size in sizes),
        bytes=sum(sizes),
    )
