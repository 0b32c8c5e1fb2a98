"""The evidence of a partition, read once for each state of its pixels and kept as a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from geostack_dagster import storage
from geostack_dagster.cube.store import CubeStore
from geostack_dagster.cube.unread import whole
from geostack_dagster.domain.dark_pixels import DarkPixels, ItemVerdict, judge
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import IntegrityError
from geostack_dagster.pipeline.checks.limits import limits_of
from geostack_dagster.pipeline.checks.pixels import DarkGround, Tally, look
from geostack_dagster.pipeline.cube import cube_store, made_from_recipe
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.stack.recipe import Recipe

_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the pixels of one stage of a partition say."""

    made_from: str
    """Fingerprint that the cube records for the partition: the pixels that were looked at."""
    tallies: Mapping[str, Mapping[str, Any]]
    """Counts and extremes by variable; see `pixels.Tally`."""
    dark: tuple[DarkPixels, ...] = ()

    def dumps(self) -> bytes:
        """JSON text; `of_json` takes it parsed."""
        document = {
            "format": _FORMAT,
            "made_from": self.made_from,
            "tallies": self.tallies,
            "dark": [one.to_json() for one in self.dark],
        }
        return json.dumps(document, allow_nan=False).encode()

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Self | None:
        """Evidence written by `dumps`; None if another version wrote it."""
        if document.get("format") != _FORMAT:
            return None
        return cls(
            made_from=document["made_from"],
            tallies=document["tallies"],
            dark=tuple(DarkPixels.from_json(one) for one in document["dark"]),
        )


def group_of(spec: PipelineSpec, stage: str) -> str:
    """Group of the repository that holds what a stage wrote."""
    return spec.record.quantity if stage == "cube" else stage


def evidence_of(
    spec: PipelineSpec,
    stage: str,
    partition: Partition,
    workspace: Workspace,
    made_from: str | None,
) -> Evidence | None:
    """What the pixels of `made_from` say: as it was kept, else read now; None without pixels.

    Args:
        spec: The pipeline.
        stage: One that keeps pixels on the AOI's grid.
        partition: Whose pixels.
        workspace: Where they are.
        made_from: Fingerprint that the cube records for the partition.
    """
    if made_from is None:
        return None
    url = workspace.layout.evidence(partition, stage)
    known = kept_evidence(stage, partition, workspace)
    if known is not None and known.made_from == made_from:
        return known
    store = cube_store(spec, partition, workspace)
    recipe = read_recipe(partition, workspace) if stage == "cube" else None
    if recipe is not None and made_from_recipe(spec, recipe) != whole(made_from):
        recipe = None  # pixels of another Recipe, rolled back to: nobody knows their Items
    found = _looked(spec, stage, store, partition, recipe)
    evidence = Evidence(
        made_from=made_from,
        tallies={name: tally.to_json() for name, tally in found[0].items()},
        dark=tuple(found[1]),
    )
    if store.fingerprint_of(group_of(spec, stage), partition.window) == made_from:
        storage.write_bytes(url, evidence.dumps())  # nobody wrote meanwhile
    return evidence


def kept_evidence(stage: str, partition: Partition, workspace: Workspace) -> Evidence | None:
    """The evidence as it was kept, of whatever state of the pixels; None if there is none."""
    url = workspace.layout.evidence(partition, stage)
    try:
        return read_back(storage.read_bytes(url), url, Evidence.of_json, remedy="delete it")
    except (FileNotFoundError, IntegrityError):  # what is damaged is found out again
        return None


def verdicts_of(evidence: Evidence, recipe: Recipe) -> tuple[ItemVerdict, ...]:
    """What the dark ground of a cube says of each Item's calibration."""
    witnesses = {one.band for one in evidence.dark}
    decided = {
        item.id: source.radiometry
        for item in recipe.items
        for band, source in item.sources.items()
        if band in witnesses
    }
    return judge(evidence.dark, decided)


def _looked(
    spec: PipelineSpec,
    stage: str,
    store: CubeStore,
    partition: Partition,
    recipe: Recipe | None,
) -> tuple[dict[str, Tally], list[DarkPixels]]:
    group = group_of(spec, stage)
    days = [slot.day for slot in store.slots(group, partition.window) if slot.item_count]
    if not days:
        return {}, []
    schema = store.schema(group)
    names = [variable.name for variable in schema.variables if not variable.is_flags]
    return look(
        store.open(group, decode=False),
        days,
        schema.grid,
        limits={name: limits_of(spec, name) for name in names},
        ground=None if recipe is None else _ground(spec, recipe, names),
    )


def _ground(spec: PipelineSpec, recipe: Recipe, names: Sequence[str]) -> DarkGround | None:
    """Where the pipeline's bands should be dark; None if its archive has no offset to check."""
    record = spec.record
    bands = record.bands.select(spec.band_names, where=spec.name)
    class_band = record.clear.band if record.clear and record.clear.band in names else None
    classes = {
        band.name: record.dark[band.common_name]
        for band in bands
        if band.common_name is not None and band.common_name in record.dark and band.name in names
    }
    return DarkGround(classes=classes, class_band=class_band, recipe=recipe) if classes else None
