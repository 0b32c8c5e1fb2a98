"""Stage 2 of a swath: which part of which granules, found in their own longitudes and latitudes."""

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import read, read_header
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Opener, SwathChoice
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.misses import Misses
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.swath.ask import SwathAsk, located, make_swath_recipe
from geostack_dagster.stack.swath.recipe import SwathItem, SwathRecipe


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Turn the snapshot's Items into a Recipe; open every granule that may be new.

    Raises:
        ConfigurationError: If the snapshot is missing, or no band lies in the wavelengths.
        AssetError, OverBudgetError: If files are not what they claim to be, and more than
            `max_soft_errors` allows; nothing was written.
        CredentialError: If the archive refuses the credential.
        ServiceError: If the archive does not answer.
    """
    started = perf_counter()
    draft = draft_of(spec, partition, workspace)
    url = workspace.layout.recipe(partition)
    known = _known(url)
    nbytes = 0
    missed = Misses.of(spec, draft)
    if known is not None and known.question == draft.question and not known.unread:
        recipe = replace(known, snapshot=draft.snapshot, choice=draft.choice, made_by=draft.made_by)
    else:
        signer = signer_for(spec.provider, workspace.settings)
        with attempt.kept(partition, workspace, "stack", missed.rows):
            recipe, nbytes = located(draft, signer, missed=missed)
    if recipe != known:
        storage.write_bytes(url, recipe.dumps().encode())
    return StageReport(
        outcome=_outcome(recipe, known),
        fingerprint=recipe.fingerprint,
        note=_note(recipe),
        facts={
            "items": len(recipe.items),
            "days": len(recipe.days),
            "skipped_count": len(recipe.skipped),
            "values_bytes": sum(map(_values_bytes, recipe.items)),
            "opener": recipe.choice.opener,
            "recipe": url,
        },
        tables={
            "granules": [_row(item) for item in recipe.items],
            "skipped": [
                {"item": one.item, "band": one.band or "all", "why": one.reason}
                for one in recipe.skipped
            ],
        },
        seconds=perf_counter() - started,
        bytes_read=nbytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the Recipe if it was made from the present snapshot; None if it was not."""
    try:
        snapshot = read_header(workspace.layout.snapshot(partition)).fingerprint
    except FileNotFoundError:
        return None
    recipe = _known(workspace.layout.recipe(partition))
    if recipe is None:
        return None
    is_current = (recipe.snapshot, recipe.made_by) == (snapshot, spec.code_version("stack"))
    return recipe.fingerprint if is_current else None


def draft_of(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> SwathRecipe:
    """The Recipe of a partition's snapshot as far as metadata tell; nothing is opened.

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
    recipe = make_swath_recipe(
        spec.provider, snapshot.items, ask=replace(ask, snapshot=snapshot.fingerprint)
    )
    return replace(recipe, made_by=spec.code_version("stack"))


def ask_of(spec: PipelineSpec, partition: Partition, pin: Pin) -> SwathAsk:
    """What a pipeline wants of the Items of a partition: whole columns over AOI and margin."""
    opener: Opener = "earthaccess" if spec.loader == "earthaccess" else spec.transport
    return SwathAsk(
        collection=spec.collection,
        aoi=pin.aoi,
        window=partition.window,
        choice=SwathChoice(
            wavelengths_nm=spec.wavelengths_nm, margin_m=spec.margin_m, opener=opener
        ),
    )


def read_recipe(partition: Partition, workspace: Workspace) -> SwathRecipe:
    """The Recipe that the stack asset wrote.

    Raises:
        ConfigurationError: If there is none yet.
    """
    try:
        return SwathRecipe.loads(storage.read_bytes(workspace.layout.recipe(partition)))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{partition} has no recipe; materialize {partition.pipeline}/stack first"
        ) from None


def _known(url: str) -> SwathRecipe | None:
    try:
        return SwathRecipe.loads(storage.read_bytes(url))
    except (FileNotFoundError, IntegrityError):  # of another version: made again
        return None


def _outcome(recipe: SwathRecipe, known: SwathRecipe | None) -> Outcome:
    """What a Recipe is after the one that was there; other notes are no other Recipe."""
    if recipe.unread:
        return Outcome.PARTIAL
    if not recipe.items:
        return Outcome.EMPTY
    is_same = known is not None and known.fingerprint == recipe.fingerprint
    return Outcome.UNCHANGED if is_same else Outcome.WRITTEN


def _note(recipe: SwathRecipe) -> str:
    parts = [item.part for item in recipe.items if item.part is not None]
    if not parts:
        return "nothing to read"
    columns = sum(part.columns[1] - part.columns[0] for part in parts)
    bands = max(len(part.band_indices) for part in parts)
    return f"{counted(len(parts), 'granule')}, {columns} columns, {bands} bands"


def _row(item: SwathItem) -> Mapping[str, Any]:
    part = item.part
    if part is None:
        return {"item": item.id}
    return {
        "item": item.id,
        "lines": f"{part.rows[0]} to {part.rows[1]} of {part.shape[0]}",
        "columns": f"{part.columns[0]} to {part.columns[1]} of {part.shape[1]}",
        "bands": f"{len(part.band_indices)} of {part.shape[2]}",
        "observations": "observation" in item.sources,
    }


def _values_bytes(item: SwathItem) -> int:
    """Of the values that the cube will hold, uncompressed."""
    part = item.part
    if part is None:
        return 0
    spans = (part.rows, part.columns)
    pixels = int(np.prod([stop - start for start, stop in spans]))
    return pixels * len(part.band_indices) * np.dtype(np.float32).itemsize
