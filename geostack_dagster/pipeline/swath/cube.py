"""Stage 3 of a swath: read the granules' parts and commit them, in sensor geometry."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import xarray as xr

from geostack_dagster.auth.signer import Signer
from geostack_dagster.cube.ledger import LedgerEntry, Status
from geostack_dagster.cube.store import Commit
from geostack_dagster.cube.swaths.reading import Granule
from geostack_dagster.cube.swaths.store import SwathStore, open_swaths
from geostack_dagster.cube.swaths.writing import GranuleRecord, SwathReport
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.swath.granule import open_granule
from geostack_dagster.stack.swath.recipe import SwathItem, SwathRecipe

# Raise it when granules would be stored otherwise for the same Recipe. The grid of a pipeline is no
# part of it: results are put on it, radiance is not.
_CODE = 1


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Make the partition's days hold the granules that the Recipe says; nothing if they do already.

    Raises:
        AssetError: If a file is not what it claims to be; nothing was written.
        CredentialError: If the archive refuses the credential.
        ServiceError: If the archive does not answer.
    """
    started = perf_counter()
    recipe = read_recipe(partition, workspace)
    store = swath_store(spec, partition, workspace)
    reads = _Reads(recipe, signer_for(spec.provider, workspace.settings))
    commit = Commit(
        pipeline=partition.pipeline, partition=str(partition), fingerprint=_made_from(recipe)
    )
    report = store.write(partition.window, [reads.record(item) for item in recipe.items], commit)
    stored = store.granules(partition.window)
    return StageReport(
        outcome=_outcome(recipe, report),
        fingerprint=commit.fingerprint,
        note=_note(recipe, report),
        facts={
            "granules": len(stored),
            "coverage": sum(one.coverage for one in stored) / len(stored) if stored else None,
            "chunks_written": report.chunks,
            "bytes_stored": report.stored_bytes,
            "store": store.url,
            "commit": report.snapshot,
        },
        tables={"read_otherwise": [{"item": item, "note": note} for item, note in reads.notes]},
        seconds=perf_counter() - started,
        bytes_read=reads.bytes_read,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the days if they hold what the Recipe says; None if they do not."""
    made_from = wanted(spec, partition, workspace)
    return made_from if recorded(spec, partition, workspace) == made_from else None


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

    def __init__(self, recipe: SwathRecipe, signer: Signer) -> None:
        self._recipe, self._signer = recipe, signer
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
        return read + [
            LedgerEntry(
                item=item.id, asset=one.band or "", status=Status.MISSING, detail=one.reason
            )
            for one in self._recipe.skipped
            if one.item == item.id
        ]


def _made_from(recipe: SwathRecipe) -> str:
    return fingerprint([recipe.fingerprint, "swath", _CODE])


def _outcome(recipe: SwathRecipe, report: SwathReport) -> Outcome:
    if not recipe.items:
        return Outcome.EMPTY
    return Outcome.WRITTEN if report.written else Outcome.UNCHANGED


def _note(recipe: SwathRecipe, report: SwathReport) -> str:
    if not report.written:
        return "up to date: nothing was done" if recipe.items else "no data: there is no granule"
    done = {"wrote": report.rewritten, "kept": report.kept, "removed": report.cleared}
    parts = [f"{verb} {len(ids)} granules" for verb, ids in done.items() if ids]
    return f"{', '.join(parts) or 'nothing to write'}, {report.chunks} chunks in one commit"
