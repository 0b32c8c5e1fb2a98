"""Plumes that the archive's own analysts outlined (EMIT CH4PLM), read into the store of labels.

The list is searched over the ground of the partition's cube and for its days, its Items are frozen
as any others, and the outlines are read with the archive's own credential. A plume that is gone
from the list is stated again as UNCERTAIN: it teaches nothing any more, and stays on record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from time import perf_counter
from typing import Any

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import Snapshot, take_snapshot, write
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.documents import read_mapping
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import Href, basename, locate
from geostack_dagster.domain.item import Item, assets, item_id, moment
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label, outlined_by_raster, read_labels
from geostack_dagster.pipeline.labels import add_labels, stored_labels
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.snapshot import query_of
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers.access import asset_href, search_headers, signer_for
from geostack_dagster.publish.footprint import footprint
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource

_METADATA = "*CH4PLMMETA_*.*json"
_RASTER = "*CH4PLM_*.tif"
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Read:
    """What the list holds."""

    labels: tuple[Label, ...]
    unreadable: Mapping[str, str]
    """Why, by Item."""


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Search the archive's list of plumes and add what is new in it to the labels.

    Raises:
        ConfigurationError: If the collection has no such list, or the AOI is not registered.
        CredentialError: If the archive does not open the outlines.
        ServiceError: If the archive does not answer.
    """
    started = perf_counter()
    listed_in = _list_of(spec)
    snapshot = _searched(spec, partition, workspace)
    mark = fingerprint([snapshot.fingerprint, spec.code_version("plume_labels")])
    before = _recorded(partition, workspace)
    is_current = before.get("fingerprint") == mark
    added, gone, unreadable = 0, 0, before.get("unreadable", {})
    if not is_current:
        read = _read(spec, snapshot, workspace)
        withdrawn = set(before.get("labels", [])) - {label.id for label in read.labels}
        stated = _new(read.labels, withdrawn, listed_in, workspace)
        if stated:
            add_labels(workspace, stated, source=spec.provider.slug, reviewer=listed_in)
        added, gone, unreadable = len(stated), len(withdrawn), dict(read.unreadable)
        write(snapshot, workspace.layout.plume_labels(partition))
        _record(
            _record_url(partition, workspace),
            {
                "fingerprint": mark,
                "code": spec.code_version("plume_labels"),
                "labels": [label.id for label in read.labels],
                "unreadable": dict(read.unreadable),
            },
        )
    count = len(snapshot.items)
    return StageReport(
        outcome=_outcome(count, is_current=is_current),
        fingerprint=mark,
        note=f"{counted(count, 'plume')} listed, {counted(added, 'label')} added or changed"
        + (f", {gone} of them withdrawn" if gone else "")
        + (f", {len(unreadable)} unreadable" if unreadable else ""),
        facts={
            "listed_plumes": count,
            "labels_changed": added,
            "withdrawn": gone,
            "labels": workspace.layout.label_log,
        },
        tables={"unreadable": [{"item": name, "why": why} for name, why in unreadable.items()]},
        seconds=perf_counter() - started,
        bytes_read=snapshot.summary.metadata_bytes,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the list as it was read last, by the present code; None if it was not.

    Whether the list says something else by now only a search can tell.
    """
    found = _recorded(partition, workspace)
    is_ours = found.get("code") == spec.code_version("plume_labels")
    return str(found["fingerprint"]) if is_ours else None


def _list_of(spec: PipelineSpec) -> str:
    listed_in = spec.record.plumes
    if listed_in is None:
        raise ConfigurationError(f"{spec.provider.slug} lists no plumes of {spec.collection}")
    return listed_in


def _searched(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Snapshot:
    """The list over all the ground that the cube holds, its margin too."""
    pin = workspace.pinned(partition.aoi)
    grid = pin.grid(spec.resolution, spec.crs, margin_m=spec.margin_m)
    geometry, _ = footprint(grid)
    query = replace(
        query_of(spec, partition, pin),
        collections=(_list_of(spec),),
        aoi=AOI(partition.aoi, geometry),
        predicates=(),
        max_items=None,
    )
    return take_snapshot(
        spec.provider,
        query,
        client=spec.search_client,
        headers=search_headers(spec.provider, workspace.settings),
    )


def _read(spec: PipelineSpec, snapshot: Snapshot, workspace: Workspace) -> _Read:
    source = ByteSource(signer_for(spec.provider, workspace.settings), transport=spec.transport)
    labels: dict[str, Label] = {}
    unreadable: dict[str, str] = {}
    for item in snapshot.items:
        try:
            found = _outlined(item, source)
        except IntegrityError as error:  # the others are labels all the same
            unreadable[item_id(item)] = str(error)
        else:
            labels |= {label.id: label for label in found}
    return _Read(tuple(labels[name] for name in sorted(labels)), unreadable)


def _outlined(item: Item, source: ByteSource) -> Sequence[Label]:
    """Labels of one entry of the list, with the Item's id as their source.

    Entries without metadata have their raster still: what it holds lies inside the outline.

    Raises:
        IntegrityError: If the Item names neither, or they are not what labels are read from.
    """
    href = _href_of(item, _METADATA)
    if href is None:
        raster = _href_of(item, _RASTER)
        if raster is None:
            raise IntegrityError(
                f"{item_id(item)} has no asset {_METADATA} with its outlines, and no {_RASTER}"
            )
        content = bytes(wait(source.opening(raster, _MOST_BYTES)).data)
        return [outlined_by_raster(content, item_id(item), observed=moment(item))]
    opening = wait(source.opening(href, _MOST_BYTES))
    try:
        document = json.loads(bytes(opening.data))
    except ValueError as error:
        raise IntegrityError(f"the outlines of {item_id(item)} are no JSON: {error}") from error
    return [replace(label, source=item_id(item)) for label in read_labels(document)]


def _href_of(item: Item, pattern: str) -> Href | None:
    """The asset of that name, over https if it is there: S3 opens from one region only."""
    hrefs = [asset_href(asset) for asset in assets(item).values()]
    named = sorted(
        (href for href in hrefs if fnmatch(basename(href), pattern)),
        key=lambda href: locate(href).scheme != "https",
    )
    return named[0] if named else None


def _new(
    labels: Sequence[Label], withdrawn: set[str], listed_in: str, workspace: Workspace
) -> list[Label]:
    """What the archive says now and did not say before; what people said of it stays as it is."""
    said = stored_labels(workspace).said_by(listed_in)
    new = [label for label in labels if said.get(label.id) != label]
    gone = (said[name] for name in sorted(withdrawn & said.keys()))
    return [*new, *(replace(label, state=State.UNCERTAIN) for label in gone)]


def _record_url(partition: Partition, workspace: Workspace) -> str:
    return f"{workspace.layout.plume_labels(partition).removesuffix('.parquet')}.labels.json"


def _recorded(partition: Partition, workspace: Workspace) -> dict[str, Any]:
    """What was made of the list last; empty if nothing was."""
    url = _record_url(partition, workspace)
    if not storage.exists(url):
        return {}
    remedy = f"delete it and materialize {partition.pipeline}/plume_labels again"
    return read_mapping(storage.read_bytes(url), url, remedy=remedy)


def _record(url: str, document: Mapping[str, Any]) -> None:
    storage.write_bytes(url, (json.dumps(document, indent=1) + "\n").encode())


def _outcome(count: int, *, is_current: bool) -> Outcome:
    if not count:
        return Outcome.EMPTY
    return Outcome.UNCHANGED if is_current else Outcome.WRITTEN
