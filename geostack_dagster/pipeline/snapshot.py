"""Stage 1: ask the catalogue and freeze its answer."""

from dataclasses import replace
from datetime import UTC
from time import perf_counter

from geostack_dagster.catalog.snapshot import (
    Header,
    Snapshot,
    read_columns,
    read_header,
    take_snapshot,
    write,
)
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import IntegrityError
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.providers.access import search_headers
from geostack_dagster.publish.footprint_map import footprint_map


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Search the partition's place and days; write the snapshot unless it is the one we have.

    An empty answer is a result: it is recorded, and the stages after it empty what they hold.

    Raises:
        ConfigurationError: If the AOI is not registered or the collection is unknown.
        ServiceError: If the catalogue does not answer.
    """
    started = perf_counter()
    pin = workspace.pinned(partition.aoi)
    url = workspace.layout.snapshot(partition)
    snapshot = take_snapshot(
        spec.provider,
        query_of(spec, partition, pin),
        client=spec.search_client,
        headers=search_headers(spec.provider, workspace.settings),
    )
    known = current(spec, partition, workspace)
    if known != snapshot.fingerprint:
        write(snapshot, url)
    return replace(
        report_of(snapshot, url, known),
        pictures={"footprints": _footprints(pin, snapshot)} if snapshot.items else {},
        seconds=perf_counter() - started,
    )


def report_of(taken: Header, url: str, known: str | None) -> StageReport:
    """What a snapshot at `url` says, after one of fingerprint `known`; without its picture."""
    return StageReport(
        outcome=_outcome(taken, known),
        fingerprint=taken.fingerprint,
        note=_note(taken, known),
        facts={
            "items": taken.summary.count,
            "matched": taken.matched,
            "cloud_cover": taken.summary.cloud_mean,
            "snapshot": url,
        },
        tables={
            "superseded": [
                {"item": one.id, "kept": one.kept, "why": one.reason} for one in taken.superseded
            ],
            "rejected": [{"item": one.id, "why": one.reason} for one in taken.rejected],
            "warnings": [{"warning": text} for text in taken.warnings],
        },
        rows=taken.summary.count,
        columns=read_columns(url),
        bytes_read=taken.summary.metadata_bytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the snapshot on record; None if there is none, or one that is damaged.

    Whether the catalogue says something else by now only a search can tell (`reconcile`).
    """
    try:
        return read_header(workspace.layout.snapshot(partition)).fingerprint
    except (FileNotFoundError, IntegrityError):
        return None


def query_of(spec: PipelineSpec, partition: Partition, pin: Pin) -> ItemQuery:
    """The search behind a partition: its solar days at the AOI's longitude, as UTC instants."""
    start, end = partition.window.utc(pin.aoi.centre[0])
    return ItemQuery(
        collections=(spec.collection,),
        aoi=pin.aoi,
        start=start.astimezone(UTC),
        end=end.astimezone(UTC),
        predicates=spec.predicates,
        max_items=spec.max_items,
        page_limit=spec.page_limit,
    )


def _outcome(taken: Header, known: str | None) -> Outcome:
    if not taken.summary.count:
        return Outcome.EMPTY
    return Outcome.UNCHANGED if known == taken.fingerprint else Outcome.WRITTEN


def _note(taken: Header, known: str | None) -> str:
    state = "as before" if known == taken.fingerprint else "changed"
    state = state if known else "not asked for before"
    dropped = f", {len(taken.superseded)} superseded" if taken.superseded else ""
    if not taken.summary.count:
        return f"the catalogue has no item here ({state}{dropped})"
    return f"{counted(taken.summary.count, 'item')} ({state}{dropped})"


def _footprints(pin: Pin, snapshot: Snapshot) -> bytes:
    geometries = [item.get("geometry") for item in snapshot.items]
    return footprint_map(pin.aoi.geometry, geometries, title=pin.aoi.name)
