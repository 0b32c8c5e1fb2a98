"""Where the artefacts of a partition lie, and those that they are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.partition import Layout, Partition
from geostack_dagster.pipeline.spec import PipelineSpec


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a stage leaves for a partition."""

    url: str
    parents: Mapping[str, str] = field(default_factory=dict)
    """Where the artefacts lie that it is made from, by stage."""


def artefact_of(spec: PipelineSpec, stage: str, partition: Partition, layout: Layout) -> Artefact:
    """The artefact of a stage, and that of the stage it is made from."""
    parent = spec.parent(stage)
    parents = {} if parent is None else {parent: _url(parent, partition, layout)}
    return Artefact(_url(stage, partition, layout), parents)


def _url(stage: str, partition: Partition, layout: Layout) -> str:
    if stage == "snapshot":
        return layout.snapshot(partition)
    if stage == "stack":
        return layout.recipe(partition)
    if stage == "plume_labels":
        return layout.plume_labels(partition)
    if stage == "review":
        return layout.review(partition)
    if stage == "plumes":
        folder = layout.published(partition, stage)
        # Products have folders by day.
        is_day = partition.cadence is Cadence.DAILY
        return folder if is_day else folder.rpartition("/")[0]
    return layout.cube(partition.pipeline, partition.aoi)
