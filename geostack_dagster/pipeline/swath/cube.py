"""Stage 3 of a swath: read the granules' parts and commit them, in sensor geometry."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time
from time import perf_counter

import xarray as xr

from geostack_dagster.auth.signer import Signer
from geostack_dagster.cube.ledger import LedgerEntry, Status
from geostack_dagster.cube.swaths.reading import Granule
from geostack_dagster.cube.swaths.store import SwathStore, open_swaths
from geostack_dagster.cube.swaths.writing import GranuleRecord, SwathReport
from geostack_dagster.cube.unread import whole
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import AssetError
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.account import absent, row_of
from geostack_dagster.pipeline.cube import commit_of
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.misses import Misses
from geostack_dagster.pipeline.swath.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.recipe import Skipped
from geostack_dagster.stack.swath.granule import open_granule
from geostack_dagster.stack.swath.recipe import SwathItem, SwathRecipe

# Raise it when granules would be stored otherwise for the same Recipe. The grid of a pipeline is no
# part of it: results are put on it, radiance is not.
_CODE = 1


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Make the partition's days hold the granules that the Recipe says; nothing if they do already.

    Raises:
        AssetError, OverBudgetError: If files are not what they claim to be, and more than
            `max_soft_errors` allows; nothing was written.
        CredentialError: If the archive refuses the credential.
        ServiceError: If the archive does not answer.
    """
    started = perf_counter()
    recipe = read_recipe(partition, workspace)
    store = swath_store(spec, partition, workspace)
    misses = Misses.of(spec, recipe)
    reads = _Reads(recipe, signer_for(spec.provider, workspace.settings), misses)
    commit = commit_of(spec, "cube", partition, _made_from(recipe))
    with attempt.kept(partition, workspace, "cube", misses.rows):
        records = [
            *(reads.record(item) for item in recipe.items),
            *(reads.unread(one, day) for one in recipe.unread if (day := one.day) is not None),
        ]
        report = store.write(partition.window, records, commit)
    stored = store.granules(partition.window)
    return StageReport(
        outcome=_outcome(recipe, report, misses),
        fingerprint=report.fingerprint or commit.fingerprint,
        note=_note(recipe, report) + (f"; {misses.note}" if misses.found else ""),
        facts={
            "granules": len(stored),
            "coverage": sum(one.coverage for one in stored) / len(stored) if stored else None,
            "chunks_written": report.chunks,
            "bytes_stored": report.stored_bytes,
            "store": store.url,
            "commit": report.snapshot,
            **misses.facts,
        },
        tables={
            "read_otherwise": [{"item": item, "note": note} for item, note in reads.notes],
            "unreadable": [row_of(row) for row in misses.found],
        },
        seconds=perf_counter() - started,
        bytes_read=reads.bytes_read,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the days if they hold what the Recipe says, or what of it was readable."""
    found = recorded(spec, partition, workspace)
    return found if whole(found) == wanted(spec, partition, workspace) else None


def wanted(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str:
    """Fingerprint of the days that the Recipe asks for."""
    return _made_from(read_recipe(partition, workspace))


def recorded(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the days as they are; None if they were never written as a whole."""
    return swath_store(spec, partition, workspace).fingerprint_of(partition.window)


def swath_store(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> SwathStore:
    """The granules of a pipeline over an AOI, in the repository that its cubes are in."""
    url = workspace.layout.cube(partition.pipeline, partition.aoi)
    return open_swaths(
        url, spec.record.quantity, kind="zarr" if spec.store == "zarr" else "icechunk"
    )


def granules(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Iterator[Granule]:
    """The granules of a partition for a retrieval, in order of acquisition, one at a time."""
    store = swath_store(spec, partition, workspace)
    return (store.granule(stored) for stored in store.granules(partition.window))


class _Reads:
    """The granules of a Recipe as they are read, and what reading them took."""

    def __init__(self, recipe: SwathRecipe, signer: Signer, misses: Misses) -> None:
        self._recipe, self._signer, self._misses = recipe, signer, misses
        self.bytes_read = 0
        self.notes: list[tuple[str, str]] = []

    def record(self, item: SwathItem) -> GranuleRecord:
        """What the store needs to know of a granule."""
        return GranuleRecord(
            id=item.id,
            day=item.day,
            acquired=item.acquired,
            fingerprint=fingerprint([item.content, _CODE]),
            open=lambda: self._opened(item),
            ledger=lambda: self._ledger(item),
            missed=lambda error: self._misses(item, error),
        )

    def unread(self, one: Skipped, day: date) -> GranuleRecord:
        """A granule that could not even be opened when the Recipe was made."""

        def closed() -> AbstractContextManager[xr.Dataset]:
            status = one.code.removeprefix("http-")
            raise AssetError(
                one.reason, reason=one.code, status=int(status) if status.isdigit() else None
            )

        return GranuleRecord(
            id=one.item,
            day=day,
            acquired=datetime.combine(day, time(), UTC),
            fingerprint=one.item,
            open=closed,
            missed=lambda error: self._misses(one, error),
        )

    @contextmanager
    def _opened(self, item: SwathItem) -> Iterator[xr.Dataset]:
        with open_granule(self._recipe, item, signer=self._signer) as granule:
            yield granule.dataset()
            self.bytes_read += granule.bytes_read
            self.notes += [(item.id, note) for note in dict.fromkeys(granule.notes)]

    def _ledger(self, item: SwathItem) -> list[LedgerEntry]:
        read = [
            LedgerEntry(item=item.id, asset=source.key, status=Status.READ)
            for source in item.sources.values()
        ]
        return read + [absent(one) for one in self._recipe.skipped if one.item == item.id]


def _made_from(recipe: SwathRecipe) -> str:
    return fingerprint([recipe.fingerprint, "swath", _CODE])


def _outcome(recipe: SwathRecipe, report: SwathReport, misses: Misses) -> Outcome:
    if misses.found:
        return Outcome.PARTIAL
    if not recipe.items:
        return Outcome.EMPTY
    return Outcome.WRITTEN if report.written else Outcome.UNCHANGED


def _note(recipe: SwathRecipe, report: SwathReport) -> str:
    if not report.written:
        return "up to date: nothing was done" if recipe.items else "no data: there is no granule"
    done = {"wrote": report.rewritten, "kept": report.kept, "removed": report.cleared}
    parts = [f"{verb} {counted(len(ids), 'granule')}" for verb, ids in done.items() if ids]
    if not parts:
        return "no data: recorded as empty"
    return f"{', '.join(parts)}, {counted(report.chunks, 'chunk')} in one commit"
