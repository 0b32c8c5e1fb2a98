"""The state of a storage, read from what lies in it and from nothing else."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import read_header
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.domain.partition import ATTEMPT, Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.inference.plumes import State as Certainty
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.cube import swath_store
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.publish.state import (
    Area,
    Cell,
    Failure,
    ModelEvent,
    Picture,
    PipelineState,
    PlumeMark,
    State,
)

_YEAR = timedelta(days=371)
"""What a calendar shows; older snapshots are not opened."""
_READERS = 16
"""Snapshots that are opened at once."""
_REASONS = 3
"""Of a decision, the weightiest; the gate's asset has them all."""
_COLLECTION, _HISTORY, _ALIASES = "collection.json", "geostack:history", "geostack:aliases"


def read_state(specs: Sequence[PipelineSpec], workspace: Workspace) -> State:
    """What is there of these pipelines; those of which there is nothing are left out.

    Raises:
        CredentialError: If the object store's credential is missing or refused.
        ServiceError: If the object store does not answer.
    """
    sizes = storage.listing(workspace.root)
    folders = {path.partition("/")[0] for path in sizes}
    pins = [workspace.pinned(PurePosixPath(path).stem) for path in sorted(sizes) if _is_pin(path)]
    lenses = [
        _Lens(spec, workspace, _below(sizes, spec.name), pins)
        for spec in specs
        if spec.name in folders
    ]
    champion, events, promotions = _models(workspace, sizes)
    return State(
        root=workspace.root,
        at=datetime.now(UTC),
        areas=[Area(name=pin.aoi.name, geometry=pin.aoi.geometry, crs=pin.crs) for pin in pins],
        pipelines=[lens.state() for lens in lenses],
        plumes=[mark for lens in lenses for mark in lens.plumes()],
        failures=[failure for lens in lenses for failure in lens.failures],
        champion=champion,
        models=events,
        promotions=promotions,
    )


@dataclass(frozen=True)
class _Lens:
    """What lies below the folder of one pipeline."""

    spec: PipelineSpec
    workspace: Workspace
    sizes: Mapping[str, int]
    """By path below the pipeline's folder."""
    pins: Sequence[Pin]

    def state(self) -> PipelineState:
        """The pipeline as the page shows it."""
        return PipelineState(
            name=self.spec.name,
            title=f"{self.spec.provider.title}, {self.spec.collection}",
            calendar={area: self._cells(area) for area in self._areas},
            sizes=self._kinds(),
            pictures=list(self._pictures()),
        )

    @cached_property
    def failures(self) -> list[Failure]:
        """What the ledgers of the cubes, and of attempts that failed, say was not read."""
        return [
            self._failure(area, row)
            for area in self._areas
            for row in [*self._ledger(area), *self._attempts(area)]
            if attempt.is_soft(row.entry)
        ]

    def plumes(self) -> Iterator[PlumeMark]:
        """Every plume that is published."""
        for path in sorted(self.sizes):
            match path.split("/"):
                case ["published", "plumes", area, _, name] if name.endswith(".geojson"):
                    document = json.loads(self._read(path))
                    for feature in document["features"]:
                        yield self._plume(area, feature)

    @cached_property
    def _areas(self) -> list[str]:
        """AOIs that were asked for, of those that are registered."""
        known = {pin.aoi.name for pin in self.pins}
        return sorted(known & self._snapshots.keys())

    @cached_property
    def _snapshots(self) -> Mapping[str, list[str]]:
        """Dates of the snapshots by AOI, in order."""
        return self._files("snapshots", ".parquet")

    @cached_property
    def _failed(self) -> Mapping[str, list[str]]:
        """Dates of the attempts that failed by AOI, in order."""
        return self._files("recipes", ATTEMPT)

    @cached_property
    def _with_cubes(self) -> set[str]:
        return {path.split("/")[1] for path in self.sizes if path.startswith("cubes/")}

    def _files(self, folder: str, suffix: str) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.sizes):
            match path.split("/"):
                case [first, area, name] if first == folder and name.endswith(suffix):
                    found[area].append(name.removesuffix(suffix))
        return found

    def _partitions(self, area: str) -> list[Partition]:
        """Partitions of the newest year."""
        found = [
            Partition(self.spec.name, area, key, self.spec.cadence) for key in self._snapshots[area]
        ]
        last = found[-1].window.start
        return [one for one in found if one.window.start > last - _YEAR]

    def _cells(self, area: str) -> list[Cell]:
        coverage = self._coverage(area)
        failed = Counter(failure.day for failure in self.failures if failure.area == area)
        partitions = self._partitions(area)
        urls = [self.workspace.layout.snapshot(one) for one in partitions]
        with ThreadPoolExecutor(_READERS) as pool:  # a bucket answers in its own time
            headers = list(pool.map(read_header, urls))
        return [
            Cell(
                day=one.window.start,
                items=header.summary.count,
                coverage=_mean([coverage[day] for day in one.window.days if day in coverage]),
                failures=sum(failed[day] for day in one.window.days),
            )
            for one, header in zip(partitions, headers, strict=True)
        ]

    def _coverage(self, area: str) -> dict[date, float]:
        """Fraction of pixels that hold a value, by day with scenes."""
        anywhere = Partition(self.spec.name, area, self.spec.start.isoformat())
        if not self._has_cube(area):
            return {}
        if self.spec.record.geometry is Geometry.SWATH:
            granules = swath_store(self.spec, anywhere, self.workspace).granules()
            return {one.day: one.coverage for one in granules}
        slots = cube_store(self.spec, anywhere, self.workspace).slots(self.spec.record.quantity)
        return {
            one.day: one.coverage for one in slots if one.item_count and one.coverage is not None
        }

    def _ledger(self, area: str) -> list[LedgerRow]:
        anywhere = Partition(self.spec.name, area, self.spec.start.isoformat())
        if not self._has_cube(area):
            return []
        if self.spec.record.geometry is Geometry.SWATH:
            return swath_store(self.spec, anywhere, self.workspace).ledger()
        return cube_store(self.spec, anywhere, self.workspace).ledger(self.spec.record.quantity)

    def _attempts(self, area: str) -> Iterator[LedgerRow]:
        for day in self._failed.get(area, ()):
            partition = Partition(self.spec.name, area, day, self.spec.cadence)
            found = attempt.read(partition, self.workspace)
            yield from () if found is None else found.rows

    def _has_cube(self, area: str) -> bool:
        return area in self._with_cubes

    def _pictures(self) -> Iterator[Picture]:
        """The newest quicklook of each product over each AOI."""
        newest: dict[tuple[str, str], str] = {}
        for path in sorted(self.sizes):
            match path.split("/"):
                case ["published", product, area, _, name] if name.endswith(".png"):
                    newest[product, area] = path
        for (product, area), path in newest.items():
            day = path.split("/")[3]
            title = f"{self.spec.name}, {product} of {area}, {day}"
            yield Picture(title=title, png=self._read(path))

    def _plume(self, area: str, feature: Mapping[str, Any]) -> PlumeMark:
        found = feature["properties"]
        low, high = found.get("rate_68_low_kg_h"), found.get("rate_68_high_kg_h")
        return PlumeMark(
            pipeline=self.spec.name,
            area=area,
            day=date.fromisoformat(found["day"]),
            geometry=feature["geometry"],
            is_sure=found["state"] == Certainty.PLUME,
            rate_kg_h=found.get("rate_kg_h"),
            interval_kg_h=None if low is None or high is None else (low, high),
            score=found.get("peak_score"),
        )

    def _failure(self, area: str, row: LedgerRow) -> Failure:
        return Failure(
            pipeline=self.spec.name,
            area=area,
            day=row.day,
            item=row.entry.item,
            asset=row.entry.asset,
            status=row.entry.status.value,
            reason=row.entry.detail or row.entry.reason or "",
        )

    def _kinds(self) -> dict[str, int]:
        kinds: dict[str, int] = defaultdict(int)
        for path, size in self.sizes.items():
            kinds[path.partition("/")[0]] += size
        return dict(kinds)

    def _read(self, path: str) -> bytes:
        return storage.read_bytes(f"{self.workspace.layout.root}/{self.spec.name}/{path}")


def _models(
    workspace: Workspace, sizes: Mapping[str, int]
) -> tuple[str | None, list[ModelEvent], list[Picture]]:
    """The champion, all that happened to models, and what the promotion of it changed."""
    champion: str | None = None
    events: list[ModelEvent] = []
    pictures: list[Picture] = []
    for path in sorted(sizes):
        if not path.endswith(f"/{_COLLECTION}"):
            continue
        document = json.loads(storage.read_bytes(f"{workspace.layout.root}/{path}"))
        if _HISTORY in document:
            champion = document[_ALIASES]["champion"] or champion
            events += [_event(one) for one in document[_HISTORY]]
            pictures += _promotion(workspace, sizes, document)
    return champion, sorted(events, key=lambda one: one.at), pictures


def _promotion(
    workspace: Workspace, sizes: Mapping[str, int], document: Mapping[str, Any]
) -> Iterator[Picture]:
    """The champion beside the one before it, if that was drawn."""
    layout, champion = workspace.layout, document[_ALIASES]["champion"]
    events = [
        one for one in document[_HISTORY] if one["event"] == "promoted" and one["model"] == champion
    ]
    for one in events[-1:]:
        url = layout.before_after(document["id"], champion, one["previous"])
        if url.removeprefix(f"{layout.root}/") in sizes:
            yield Picture(title=f"{champion}, promoted {one['at']}", png=storage.read_bytes(url))


def _event(entry: Mapping[str, Any]) -> ModelEvent:
    decision = entry.get("decision") or {}
    reasons = decision.get("reasons") or [entry.get("reason") or ""]
    return ModelEvent(
        at=entry["at"],
        event=entry["event"],
        model=entry["model"],
        by=entry["by"],
        why="; ".join(map(str, reasons[:_REASONS])),
    )


def _is_pin(path: str) -> bool:
    return path.startswith("aois/") and path.endswith(".json")


def _below(sizes: Mapping[str, int], folder: str) -> dict[str, int]:
    return {
        path.removeprefix(f"{folder}/"): size
        for path, size in sizes.items()
        if path.startswith(f"{folder}/")
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
