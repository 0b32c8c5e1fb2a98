"""The review queue of a partition: uncertain plumes, and scenes drawn by lot, for people to label.

A scene is drawn by the hash of its name and whatever was found in it: what people say of those
scenes tells how often the pipeline misses plumes, which no list of its own finds can tell. All
candidates of such a scene are in the queue, sure ones too.

`queue.geojson` is written last and names the plumes that the queue was made from.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster import storage
from geostack_dagster.cube.slots import Slot
from geostack_dagster.cube.store import CubeStore
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.documents import read_back, read_mapping
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.plumes import State
from geostack_dagster.pipeline import plumes
from geostack_dagster.pipeline.enhancement import GROUP, methane_of
from geostack_dagster.pipeline.methane.columns import REVIEW_COLUMNS
from geostack_dagster.pipeline.methane.picture import annotation_of, caption_of, style_of
from geostack_dagster.pipeline.products import Shelf
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.quicklook import index_map
from geostack_dagster.publish.vectors import Feature, geojson, geoparquet

QUEUE = "queue.geojson"
FINGERPRINT = "geostack:fingerprint"
_TABLE = "queue.parquet"
_SHOWN_SIZES, _LEAST_SHOWN_PX = 4.0, 96
"""Side of a picture: so many times the candidate's, and never less than so many pixels."""
_SHOWN = 3
"""Pictures in the asset's event; all lie beside the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to label, and what a person needs to see of it."""

    feature: Feature
    picture: bytes

    @property
    def id(self) -> str:
        """Of the candidate or scene."""
        return str(self.feature.properties["id"])


def run(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> StageReport:
    """Write the queue of the partition's plumes; nothing if it is current.

    Raises:
        ConfigurationError: If the plumes are not current; materialize them first.
    """
    started = perf_counter()
    made_from = plumes.current(spec, partition, workspace)
    if made_from is None:
        raise ConfigurationError(
            f"{partition} has no current plumes; materialize {spec.name}/plumes first"
        )
    mark = _mark(spec, made_from)
    folder = workspace.layout.review(partition)
    is_current = _recorded(folder) == mark
    entries = [] if is_current else list(_entries(spec, partition, workspace))
    if not is_current:
        _write(folder, entries, mark)
    queued = read_queue(f"{folder}/{QUEUE}")
    audited = sum(row["kind"] == "scene" for row in queued)
    written = Outcome.WRITTEN if queued else Outcome.EMPTY
    return StageReport(
        outcome=Outcome.UNCHANGED if is_current and queued else written,
        fingerprint=mark,
        note=f"{counted(len(queued) - audited, 'candidate')} and "
        f"{counted(audited, 'scene')} to look at",
        facts={
            "candidates": len(queued) - audited,
            "audited_scenes": audited,
            "queue_file": f"{folder}/{QUEUE}",
        },
        tables={"queue": [_told(row) for row in queued]},
        pictures={entry.id: entry.picture for entry in entries[:_SHOWN]},
        seconds=perf_counter() - started,
    )


def current(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> str | None:
    """Fingerprint of the queue if it is of the present plumes; else None."""
    made_from = plumes.current(spec, partition, workspace)
    if made_from is None:
        return None
    mark = _mark(spec, made_from)
    return mark if _recorded(workspace.layout.review(partition)) == mark else None


def read_queue(url: str) -> list[dict[str, Any]]:
    """Properties of a queue's features.

    Raises:
        FileNotFoundError: If there is no queue.
        DamagedError: If it is none.
    """
    return [feature["properties"] for feature in queued(url)]


def queued(url: str) -> list[dict[str, Any]]:
    """Features of a queue; raises as `read_queue`."""
    content = storage.read_bytes(url)
    return read_back(content, url, _features_of, remedy="materialize the review queue again")


def _features_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features of a queue, each with what is read of it."""
    for feature in document["features"]:
        itemgetter("id", "kind", "picture")(feature["properties"])
    return list(document["features"])


def is_drawn(pipeline: str, aoi: str, day: str, share: float) -> bool:
    """Whether a scene is in the random audit: always the same answer, for this share of scenes."""
    lot = int(fingerprint(["audit", pipeline, aoi, day])[:12], 16)
    return lot < share * 16**12


def _mark(spec: PipelineSpec, made_from: str) -> str:
    return fingerprint([made_from, spec.code_version("review")])


def _recorded(folder: str) -> str | None:
    """Mark of the queue that is there; None if there is none."""
    url = f"{folder}/{QUEUE}"
    try:
        return read_back(storage.read_bytes(url), url, _mark_of, remedy="")
    except (FileNotFoundError, IntegrityError):  # one that is damaged is written again
        return None


def _mark_of(document: Mapping[str, Any]) -> str:
    _features_of(document)
    return str(document[FINGERPRINT])


def _write(folder: str, entries: Sequence[Entry], mark: str) -> None:
    try:
        before = read_queue(f"{folder}/{QUEUE}")
    except (FileNotFoundError, IntegrityError):
        before = []
    features = [entry.feature for entry in entries]
    for entry in entries:
        storage.write_bytes(f"{folder}/{entry.feature.properties['picture']}", entry.picture)
    columns = {name: column.dtype for name, column in REVIEW_COLUMNS.items()}
    flat = [Feature(one.geometry, _flat(one.properties)) for one in features]
    storage.write_bytes(f"{folder}/{_TABLE}", geoparquet(flat, columns))
    document = {FINGERPRINT: mark, **json.loads(geojson(features))}
    storage.write_bytes(f"{folder}/{QUEUE}", (json.dumps(document, indent=1) + "\n").encode())
    kept = {one.properties["picture"] for one in features}
    for row in before:
        if row["picture"] not in kept:
            storage.delete(f"{folder}/{row['picture']}")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without lists: GeoParquet tables are read by tools that know none."""
    return {**row, "scenes": " ".join(row["scenes"])}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "why", "found", "peak_score", "rate_kg_h", "reasons")
    return {name: row[name] for name in names}


def _entries(spec: PipelineSpec, partition: Partition, workspace: Workspace) -> Iterator[Entry]:
    store, _, shelf = plumes.opened(spec, partition, workspace)
    if shelf is None:
        return
    for slot in store.slots(GROUP, partition.window):
        item = shelf.item(slot.day) if slot.item_count else None
        if item is None:
            continue
        day = slot.day.isoformat()
        drawn = is_drawn(spec.name, partition.aoi, day, methane_of(spec).audit)
        scene = _Scene(spec=spec, shelf=shelf, store=store, slot=slot, item=item)
        found = scene.candidates
        wanted = [one for one in found if drawn or one.properties["state"] != State.PLUME]
        yield from (scene.entry(one, found) for one in wanted)
        if drawn:
            yield scene.whole()


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One published day, and how it is put up for review."""

    spec: PipelineSpec
    shelf: Shelf
    store: CubeStore
    slot: Slot
    item: Mapping[str, Any]

    @property
    def candidates(self) -> list[Feature]:
        """All that was found, as it was published."""
        found = read_mapping(
            self._asset("outlines"),
            f"{self.shelf.folder(self.slot.day)}/{self.item['assets']['outlines']['href']}",
            remedy=f"delete its folder and materialize {self.spec.name}/plumes again",
        )
        features = found["features"]
        return [Feature(one["geometry"], one["properties"]) for one in features]

    def entry(self, one: Feature, others: Sequence[Feature]) -> Entry:
        """A candidate, with a picture of its surroundings."""
        row = one.properties
        name = fingerprint(one.geometry)[:8]
        doubts = row["uncertain_because"]
        asked = self._asked("plume", name, found=row["state"], reasons=doubts)
        shared = {key: row[key] for key in REVIEW_COLUMNS if key in row and key not in asked}
        return Entry(
            feature=Feature(one.geometry, {key: (shared | asked)[key] for key in REVIEW_COLUMNS}),
            picture=self._crop(one, others),
        )

    def whole(self) -> Entry:
        """The scene itself, with its published picture."""
        found = str(self.item["properties"]["geostack:state"])
        asked = self._asked("scene", "scene", found=found, reasons=None)
        properties = {key: asked.get(key) for key in REVIEW_COLUMNS}
        return Entry(
            feature=Feature(self.item["geometry"], properties), picture=self._asset("quicklook")
        )

    def _asked(self, kind: str, name: str, *, found: str, reasons: str | None) -> dict[str, Any]:
        partition, day = self.shelf.partition, self.slot.day.isoformat()
        return {
            "id": f"{partition.pipeline}/{partition.aoi}/{day}/{name}",
            "state": None,
            "found": found,
            "kind": kind,
            "why": "uncertain" if kind == "plume" and found != State.PLUME else "audit",
            "reasons": reasons,
            "pipeline": partition.pipeline,
            "aoi": partition.aoi,
            "day": day,
            "observed": self.item["properties"]["geostack:acquired"],
            "scenes": list(self.item["properties"]["geostack:sources"]),
            "picture": f"{day}-{name}.png",
        }

    def _crop(self, one: Feature, others: Sequence[Feature]) -> bytes:
        grid = self.store.schema(GROUP).grid
        rows, columns = _window(one, grid)
        day = self.store.open(GROUP)["enhancement"].sel(time=np.datetime64(self.slot.day))
        values = day[rows, columns].to_numpy().astype(np.float64)
        annotation = annotation_of([one], State(one.properties["state"]), 1.0)
        moment = datetime.fromisoformat(self.item["properties"]["geostack:acquired"])
        doubts = str(one.properties["uncertain_because"] or "drawn by lot")
        return index_map(
            values,
            _part(grid, rows, columns),
            caption=caption_of(self.spec, self.shelf.partition.aoi, moment, title="To review"),
            style=style_of(values, [one]),
            annotation=replace(annotation, notes=[*_score(one), *doubts.split("; ")]),
        )

    def _asset(self, key: str) -> bytes:
        href = str(self.item["assets"][key]["href"])
        return storage.read_bytes(f"{self.shelf.folder(self.slot.day)}/{href.removeprefix('./')}")


def _score(one: Feature) -> list[str]:
    row = one.properties
    return [
        f"peak {row['peak_ppm_m']:.0f} ppm m, score {row['peak_score']:.1f}, {row['pixels']} pixels"
    ]


def _window(one: Feature, grid: Grid) -> tuple[slice, slice]:
    """Rows and columns around a candidate."""
    from pyproj import Transformer

    to_grid = Transformer.from_crs("OGC:CRS84", grid.crs, always_xy=True)
    positions: NDArray[np.float64] = np.array(
        [vertex for polygon in one.geometry["coordinates"] for ring in polygon for vertex in ring]
    )
    x, y = to_grid.transform(positions[:, 0], positions[:, 1])
    columns = (np.asarray(x) - grid.left) / grid.resolution
    rows = (grid.top - np.asarray(y)) / grid.resolution
    side = max(_LEAST_SHOWN_PX, round(_SHOWN_SIZES * max(np.ptp(rows), np.ptp(columns))))
    return _slice(rows, side, grid.height), _slice(columns, side, grid.width)


def _slice(places: NDArray[np.float64], side: int, length: int) -> slice:
    """So many rows or columns around places, moved where the map ends."""
    middle = (places.min() + places.max()) / 2
    start = min(max(round(middle - side / 2), 0), max(length - side, 0))
    return slice(start, min(start + side, length))


def _part(grid: Grid, rows: slice, columns: slice) -> Grid:
    return replace(
        grid,
        left=grid.left + columns.start * grid.resolution,
        top=grid.top - rows.start * grid.resolution,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )
