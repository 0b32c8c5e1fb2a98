"""The state of a storage, read from what lies in it and from nothing else."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from geostack_dagster import storage
from geostack_dagster.catalog.snapshot import Header, read_header
from geostack_dagster.cube.ledger import LedgerRow
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.partition import ATTEMPT, Layout, Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.plumes import State as Certainty
from geostack_dagster.pipeline import attempt
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.swath.cube import swath_store
from geostack_dagster.pipeline.workspace import Pin, Workspace
from geostack_dagster.publish.state import (
    Area,
    Cell,
    Damage,
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

    An object that cannot be read back is named among the damages, and left out of the rest.

    Raises:
        CredentialError: If the object store's credential is missing or refused.
        ServiceError: If the object store does not answer.
    """
    sizes = storage.listing(workspace.root)
    folders = {path.partition("/")[0] for path in sizes}
    damages = _Damages(workspace.layout.root)
    pins = list(_pins(workspace, sizes, damages))
    lenses = [
        _Lens(spec, workspace, _below(sizes, spec.name), pins, damages)
        for spec in specs
        if spec.name in folders
    ]
    champion, events, promotions = _models(workspace, sizes, damages)
    return State(
        root=workspace.root,
        at=datetime.now(UTC),
        areas=[Area(name=pin.aoi.name, geometry=pin.aoi.geometry, crs=pin.crs) for pin in pins],
        pipelines=[lens.state() for lens in lenses],
        plumes=[mark for lens in lenses for mark in lens.plumes()],
        failures=[failure for lens in lenses for failure in lens.failures],
        damages=damages.found(),  # the last: all else has been read by now
        champion=champion,
        models=events,
        promotions=promotions,
    )


@dataclass
class _Damages:
    """What could not be read back so far; of each object once, whoever reads it."""

    root: str
    problems: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def noted(self, url: str) -> Iterator[None]:
        """Go on after the block if the object at `url` is damaged, or was removed meanwhile."""
        try:
            yield
        except FileNotFoundError:
            return
        except IntegrityError as error:
            self.problems.setdefault(url.removeprefix(f"{self.root}/"), str(error))

    def found(self) -> list[Damage]:
        """By path."""
        return [Damage(path=path, problem=what) for path, what in sorted(self.problems.items())]


@dataclass(frozen=True)
class _Lens:
    """What lies below the folder of one pipeline."""

    spec: PipelineSpec
    workspace: Workspace
    sizes: Mapping[str, int]
    """By path below the pipeline's folder."""
    pins: Sequence[Pin]
    damages: _Damages

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
                    yield from self._outlined(area, self._url(path))

    def _outlined(self, area: str, url: str) -> Iterator[PlumeMark]:
        with self.damages.noted(url):
            yield from read_back(
                storage.read_bytes(url),
                url,
                lambda found: [self._plume(area, one) for one in found["features"]],
                remedy=f"delete its folder and materialize {self.spec.name}/plumes again",
            )

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
        return {
            area: dated for area, names in found.items() if (dated := [*filter(_is_date, names)])
        }

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
            headers = list(pool.map(self._header, urls))
        return [
            Cell(
                day=one.window.start,
                items=header.summary.count,
                coverage=_mean([coverage[day] for day in one.window.days if day in coverage]),
                failures=sum(failed[day] for day in one.window.days),
            )
            for one, header in zip(partitions, headers, strict=True)
            if header is not None
        ]

    def _header(self, url: str) -> Header | None:
        with self.damages.noted(url):
            return read_header(url)
        return None

    def _coverage(self, area: str) -> dict[date, float]:
        """Fraction of pixels that hold a value, by day with scenes."""
        if not self._has_cube(area):
            return {}
        anywhere = Partition(self.spec.name, area, self.spec.start.isoformat())
        with self.damages.noted(self.workspace.layout.cube(self.spec.name, area)):
            if self.spec.record.geometry is Geometry.SWATH:
                granules = swath_store(self.spec, anywhere, self.workspace).granules()
                return {one.day: one.coverage for one in granules}
            slots = cube_store(self.spec, anywhere, self.workspace).slots(self.spec.record.quantity)
            return {
                one.day: one.coverage
                for one in slots
                if one.item_count and one.coverage is not None
            }
        return {}

    def _ledger(self, area: str) -> list[LedgerRow]:
        if not self._has_cube(area):
            return []
        anywhere = Partition(self.spec.name, area, self.spec.start.isoformat())
        with self.damages.noted(self.workspace.layout.cube(self.spec.name, area)):
            if self.spec.record.geometry is Geometry.SWATH:
                return swath_store(self.spec, anywhere, self.workspace).ledger()
            return cube_store(self.spec, anywhere, self.workspace).ledger(self.spec.record.quantity)
        return []

    def _attempts(self, area: str) -> Iterator[LedgerRow]:
        for day in self._failed.get(area, ()):
            partition = Partition(self.spec.name, area, day, self.spec.cadence)
            with self.damages.noted(self.workspace.layout.attempt(partition)):
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
            with self.damages.noted(self._url(path)):
                yield Picture(title=title, png=storage.read_bytes(self._url(path)))

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

    def _url(self, path: str) -> str:
        return f"{self.workspace.layout.root}/{self.spec.name}/{path}"


def _pins(workspace: Workspace, sizes: Mapping[str, int], damages: _Damages) -> Iterator[Pin]:
    for path in sorted(sizes):
        if path.startswith("aois/") and path.endswith(".json"):
            with damages.noted(f"{workspace.layout.root}/{path}"):
                yield workspace.pinned(PurePosixPath(path).stem)


def _models(
    workspace: Workspace, sizes: Mapping[str, int], damages: _Damages
) -> tuple[str | None, list[ModelEvent], list[Picture]]:
    """The champion, all that happened to models, and what the promotion of it changed."""
    champion: str | None = None
    events: list[ModelEvent] = []
    pictures: list[Picture] = []
    for path in sorted(sizes):
        if not path.endswith(f"/{_COLLECTION}"):
            continue
        url = f"{workspace.layout.root}/{path}"
        with damages.noted(url):
            told = read_back(
                storage.read_bytes(url),
                url,
                lambda found: _told(found, workspace.layout),
                remedy="restore it: it names every model",
            )
            if told is None:  # somebody else's Collection
                continue
            champion = told.champion or champion
            events += told.events
            pictures += told.pictures(sizes, workspace.layout)
    return champion, sorted(events, key=lambda one: one.at), pictures


@dataclass(frozen=True)
class _Registry:
    """What one registry says."""

    champion: str | None
    events: list[ModelEvent]
    promoted: tuple[str, str] | None
    """When the champion was promoted, and where its picture would lie."""

    def pictures(self, sizes: Mapping[str, int], layout: Layout) -> Iterator[Picture]:
        """The champion beside the one before it, if that was drawn."""
        if self.promoted is not None:
            at, url = self.promoted
            if url.removeprefix(f"{layout.root}/") in sizes:
                title = f"{self.champion}, promoted {at}"
                yield Picture(title=title, png=storage.read_bytes(url))


def _told(document: Mapping[str, Any], layout: Layout) -> _Registry | None:
    if _HISTORY not in document:
        return None
    history, champion = document[_HISTORY], document[_ALIASES]["champion"]
    promoted = None
    for one in history:
        if one["event"] == "promoted" and one["model"] == champion:
            url = layout.before_after(document["id"], champion, one["previous"])
            promoted = (one["at"], url)
    return _Registry(champion, [_event(one) for one in history], promoted)


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


def _is_date(name: str) -> bool:
    """Whether a file is a partition's, and not a copy that somebody put beside it."""
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


def _below(sizes: Mapping[str, int], folder: str) -> dict[str, int]:
    return {
        path.removeprefix(f"{folder}/"): size
        for path, size in sizes.items()
        if path.startswith(f"{folder}/")
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
