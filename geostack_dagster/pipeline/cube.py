"""Stage 3: read the pixels and commit them."""

from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from time import perf_counter

from geostack_dagster import __version__
from geostack_dagster.cube.ledger import LedgerEntry, LedgerRow
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.cube.store import Commit, CubeStore, WriteReport, open_store
from geostack_dagster.cube.unread import whole
from geostack_dagster.domain import quality
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.quality import flag_attrs
from geostack_dagster.engine import Engine
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.account import Account
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.load import band_attrs
from geostack_dagster.stack.quality import quality_of
from geostack_dagster.stack.recipe import Recipe
from geostack_dagster.stack.visit import Visit

_CODING = ("_FillValue", "scale_factor", "add_offset")


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Make the partition's slots hold what the Recipe says; nothing if they do already.

    Within `max_soft_errors` assets may be unreadable: their pixels stay unset and flagged, the
    ledger says why, and the next run tries the days that they are of again.

    Raises:
        AssetError: If an asset cannot be read as what it claims to be; nothing was written.
        OverBudgetError: If more assets than the budget allows cannot be read; nothing was written.
        CredentialError: If the archive refuses the credential.
        ServiceError: If the archive does not answer.
    """
    started = perf_counter()
    group = spec.record.quantity
    recipe = read_recipe(partition, workspace)
    store = cube_store(spec, partition, workspace)
    made_from = made_from_recipe(spec, recipe)
    visit = Visit(
        recipe,
        signer_for(spec.provider, workspace.settings),
        transport=spec.transport,
        index=workspace.layout.tiles(partition),
        engine=engine_of(spec, workspace),
        max_soft_errors=spec.max_soft_errors,
    )
    account = Account(recipe, [])
    if store.is_current(group, partition.window, made_from):
        report = WriteReport(written=False)
        attempt.forget(partition, workspace)
    else:
        store.ensure(schema_of(spec, recipe))
        with attempt.kept(partition, workspace, "cube", partial(_tried, visit)):
            report = _write(
                spec, store, visit, commit=commit_of(spec, "cube", partition, made_from)
            )
        account = Account(recipe, visit.failures())
    days = set(recipe.days)
    slots = [one for one in store.slots(group, recipe.window) if one.day in days]
    covered = [one.coverage for one in slots if one.coverage is not None]
    return StageReport(
        outcome=Outcome.PARTIAL if account.failures else outcome_of(report, empty=not recipe.items),
        fingerprint=report.fingerprint or made_from,
        note=_note(report, account),
        facts={
            "slots": len(slots),
            "coverage": sum(covered) / len(covered) if covered else None,
            "chunks_written": report.chunks,
            "bytes_stored": report.stored_bytes,
            "store": store.url,
            "commit": report.snapshot,
            **account.facts,
            **visit.facts,
        },
        tables={"read_by_rasterio": visit.fallbacks, **account.tables},
        seconds=perf_counter() - started,
        bytes_read=report.raw_bytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the slots if they hold what the Recipe says, or what of it was readable."""
    made_from = recorded(spec, partition, workspace)
    return made_from if whole(made_from) == wanted(spec, partition, workspace) else None


def wanted(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str:
    """Fingerprint of the slots that the Recipe asks for."""
    return made_from_recipe(spec, read_recipe(partition, workspace))


def recorded(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the slots as they are; None if they were never written as a whole."""
    store = cube_store(spec, partition, workspace)
    return store.fingerprint_of(spec.record.quantity, partition.window)


def made_from_recipe(spec: PipelineSpec, recipe: Recipe) -> str:
    """What slots are recorded to be made from."""
    return fingerprint([recipe.fingerprint, spec.code_version("cube")])


def cube_store(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> CubeStore:
    """The store that holds every product of a pipeline over an AOI."""
    url = workspace.layout.cube(partition.pipeline, partition.aoi)
    return open_store(
        url,
        kind="zarr" if spec.store == "zarr" else "icechunk",
        engine=engine_of(spec, workspace),
    )


def engine_of(spec: PipelineSpec, workspace: Workspace) -> Engine:
    """Where pixels are read and encoded; threads mostly wait, one for each request allowed."""
    return workspace.engine.limited(spec.provider.limits.concurrent_reads)


def schema_of(spec: PipelineSpec, recipe: Recipe) -> CubeSchema:
    """Template of the reflectance cube: the Recipe's bands in their encodings."""
    variables = []
    for band in recipe.bands:
        attrs = {name: value for name, value in band_attrs(band).items() if name not in _CODING}
        coded = not (band.encoding.is_float or band.encoding.categorical)
        variables.append(
            Variable(
                name=band.name,
                dtype=band.encoding.dtype,
                fill_value=band.encoding.fill,
                scale_factor=band.encoding.scale if coded else None,
                add_offset=band.encoding.offset if coded else None,
                attrs=attrs,
            )
        )
    variables.append(
        Variable(name=quality.NAME, dtype="uint8", fill_value=quality.FILL, attrs=flag_attrs())
    )
    return CubeSchema(
        name=spec.record.quantity,
        grid=recipe.grid,
        start=spec.start,
        variables=tuple(variables),
        chunk=(spec.chunk, spec.chunk),
        title=f"{spec.provider.title}, {spec.collection}",
        attrs={"provider": spec.provider.slug, "collection": spec.collection},
    )


def outcome_of(report: WriteReport, *, empty: bool) -> Outcome:
    """What a write means for the partition."""
    if empty:
        return Outcome.EMPTY
    return Outcome.WRITTEN if report.written else Outcome.UNCHANGED


def _note(report: WriteReport, account: Account) -> str:
    said = note_of(report, empty=not account.recipe.items)
    return f"{said}; {account.note}" if account.failures else said


def note_of(report: WriteReport, *, empty: bool) -> str:
    """One sentence about a write."""
    if not report.written:
        return "no data: the slots are empty" if empty else "up to date: nothing was done"
    done = {"wrote": report.rewritten, "kept": report.kept, "emptied": report.cleared}
    parts = [f"{verb} {counted(len(days), 'day')}" for verb, days in done.items() if days]
    if not parts:
        return "no data: recorded as empty"
    return f"{', '.join(parts)}, {counted(report.chunks, 'chunk')} in one commit"


def commit_of(spec: PipelineSpec, stage: str, partition: Partition, made_from: str) -> Commit:
    """The note of a commit."""
    return Commit(
        pipeline=partition.pipeline,
        partition=str(partition),
        fingerprint=made_from,
        code_version=f"{__version__} {stage} {spec.code_version(stage)}",
    )


def _write(spec: PipelineSpec, store: CubeStore, visit: Visit, *, commit: Commit) -> WriteReport:
    group, recipe = spec.record.quantity, visit.recipe
    if not recipe.items:
        return store.clear(group, recipe.window, commit)
    chunk = store.schema(group).chunk
    # Several chunks of the cube in one read: fewer, larger requests; a multiple keeps them whole.
    sizes = {"time": 1, "y": chunk[0] * 2, "x": chunk[1] * 2}
    records = [_record(spec, visit, day) for day in recipe.days]
    with visit:
        stack = visit.open(chunks=sizes)
        stack = stack.assign({quality.NAME: quality_of(stack, recipe)})
        return store.write(group, recipe.window, stack, records, commit)


def _tried(visit: Visit) -> list[LedgerRow]:
    """What became of the assets of an attempt; nothing if none of them is to blame."""
    failures = visit.failures()
    return Account(visit.recipe, failures).unreadable if failures else []


def _record(spec: PipelineSpec, visit: Visit, day: date) -> SlotRecord:
    recipe = visit.recipe

    def ledger() -> list[LedgerEntry]:
        failures = visit.failures()
        visit.budget.check(failures)
        return Account(recipe, failures).entries(day)

    items = tuple(item for item in recipe.items if item.day == day)
    of_day = replace(recipe, items=items, window=Window(day, day + timedelta(days=1)))
    return SlotRecord(
        day=day,
        item_count=len(items),
        acquired=min(item.acquired for item in items),
        fingerprint=fingerprint([of_day.fingerprint, spec.code_version("cube")]),
        ledger=ledger,
        unread=lambda: Account(recipe, visit.failures()).unread(day),
    )
