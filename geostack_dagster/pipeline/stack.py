"""Stage 2: decide what will be read and prove that the credential opens it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import read, read_header
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.identity import Superseded
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, IntegrityError, Reason
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.ask import StackAsk, make_recipe
from geostack_dagster.stack.probe import ProbeReport, probe
from geostack_dagster.stack.recipe import MaskPolicy, Recipe, Skipped


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Turn the snapshot's Items into a Recipe; open the first asset of every container.

    A snapshot in which only other properties changed gives the Recipe that is there already: it is
    recorded to be of the new snapshot, and the partition is unchanged.

    Raises:
        ConfigurationError: If the snapshot is missing or a band is unknown.
        CredentialError: If an archive refuses the credential.
        IntegrityError: If a file's header contradicts the Item.
    """
    started = perf_counter()
    url = workspace.layout.recipe(partition)
    known = _known(url)
    recipe = _if_current(known, spec, partition, workspace)
    probes: list[ProbeReport] = []
    if recipe is None:
        recipe = recipe_of(spec, partition, workspace)
        # Before it is written: a Recipe on disk is one that was proven to open.
        if recipe.items:
            signer, tolerant = (
                signer_for(spec.provider, workspace.settings),
                spec.max_soft_errors > 0,
            )
            with attempt.kept(partition, workspace, "stack"):
                probes = probe(recipe, signer, tolerant=tolerant, transport=spec.transport)
        storage.write_bytes(url, recipe.dumps().encode())
    return StageReport(
        outcome=_outcome(recipe, known),
        fingerprint=recipe.fingerprint,
        note=f"{counted(len(recipe.items), 'item')} on "
        f"{recipe.grid.width} x {recipe.grid.height} pixels"
        if recipe.items
        else "nothing to read",
        facts={
            "items": len(recipe.items),
            "days": len(recipe.days),
            "skipped_count": len(recipe.skipped),
            "pixels": recipe.grid.width * recipe.grid.height,
            "crs": recipe.grid.crs,
            "recipe": url,
        },
        tables={
            "radiometry": _radiometry(recipe),
            "probes": [report.to_json() for report in probes],
            "skipped": [
                {"item": one.item, "band": one.band or "all", "why": one.reason}
                for one in recipe.skipped
            ],
        },
        seconds=perf_counter() - started,
        bytes_read=sum(report.bytes_read for report in probes),
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the Recipe if it was made from the present snapshot; None if it was not."""
    known = _known(workspace.layout.recipe(partition))
    recipe = _if_current(known, spec, partition, workspace)
    return None if recipe is None else recipe.fingerprint


def _known(url: str) -> Recipe | None:
    try:
        return Recipe.loads(storage.read_bytes(url))
    except (FileNotFoundError, IntegrityError):  # one that is damaged is made again
        return None


def _if_current(
    recipe: Recipe | None, spec: PipelineSpec, partition: Partition, workspace: Workspace
) -> Recipe | None:
    """The Recipe if it was made from the present snapshot, by the present code."""
    if recipe is None:
        return None
    try:
        snapshot = read_header(workspace.layout.snapshot(partition)).fingerprint
    except (FileNotFoundError, IntegrityError):
        return None
    is_current = (recipe.snapshot, recipe.made_by) == (snapshot, spec.code_version("stack"))
    return recipe if is_current else None


def recipe_of(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Recipe:
    """The Recipe of a partition's snapshot; nothing is opened.

    Raises:
        ConfigurationError: If the snapshot has not been materialized, or the ask is wrong.
    """
    try:
        snapshot = read(workspace.layout.snapshot(partition))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{partition} has no snapshot; materialize {spec.name}/snapshot first"
        ) from None
    ask = ask_of(spec, partition, workspace.pinned(partition.aoi))
    recipe = make_recipe(
        spec.provider, snapshot.items, ask=replace(ask, snapshot=snapshot.fingerprint)
    )
    return replace(
        recipe,
        made_by=spec.code_version("stack"),
        skipped=(*recipe.skipped, *_superseded(recipe, snapshot.superseded)),
    )


def _superseded(recipe: Recipe, dropped: Iterable[Superseded]) -> list[Skipped]:
    """Items in whose place another one of the same acquisition is read."""
    days = {item.id: item.day for item in recipe.items}
    return [
        Skipped(
            item=one.id,
            band=None,
            reason=f"superseded by {one.kept}: {one.reason}",
            code=Reason.SUPERSEDED,
            day=days.get(one.kept),
        )
        for one in dropped
        if one.id != one.kept
    ]


def ask_of(spec: PipelineSpec, partition: Partition, pin: Pin) -> StackAsk:
    """What a pipeline wants of the Items of a partition."""
    classes = spec.provider.collection(spec.collection).clear
    return StackAsk(
        collections=(spec.collection,),
        bands=spec.band_names,
        grid=pin.grid(spec.resolution, spec.crs, margin_m=spec.margin_m),
        window=partition.window,
        longitude=pin.aoi.centre[0],
        mask=None if classes is None else MaskPolicy(classes=classes, buffer_m=spec.mask_buffer_m),
        resampling=spec.resampling,
        loader=spec.loader,
    )


def read_recipe(partition: Partition, workspace: Workspace) -> Recipe:
    """The Recipe that the stack asset wrote.

    Raises:
        ConfigurationError: If there is none yet.
    """
    try:
        return Recipe.loads(storage.read_bytes(workspace.layout.recipe(partition)))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{partition} has no recipe; materialize {partition.pipeline}/stack first"
        ) from None


def _outcome(recipe: Recipe, known: Recipe | None) -> Outcome:
    """What a Recipe is after the one that was there."""
    if not recipe.items:
        return Outcome.EMPTY
    is_same = known is not None and known.fingerprint == recipe.fingerprint
    return Outcome.UNCHANGED if is_same else Outcome.WRITTEN


def _radiometry(recipe: Recipe) -> list[Mapping[str, Any]]:
    """One row for each Item and calibration: most bands of an Item share theirs."""
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for item in recipe.items:
        for name, source in item.sources.items():
            found = source.radiometry
            row = rows.setdefault(
                (item.id, found.scale, found.offset, found.reason),
                {
                    "item": item.id,
                    "scale": found.scale,
                    "offset": found.offset,
                    "why": found.reason,
                    "bands": "",
                    "warnings": "; ".join(found.warnings),
                },
            )
            row["bands"] = f"{row['bands']} {name}".strip()
    return list(rows.values())
