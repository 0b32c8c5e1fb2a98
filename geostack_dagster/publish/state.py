"""What a page about a storage's state shows, in plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """An AOI."""

    name: str
    geometry: Mapping[str, Any]
    """GeoJSON, longitude and latitude."""
    crs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One partition of a pipeline, as the calendar shows it."""

    day: date
    items: int
    coverage: float | None = None
    """Part of the cube's pixels that hold a value; None where there is no slot."""
    failures: int = 0
    """Assets of the day that could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlumeMark:
    """A plume that was published."""

    pipeline: str
    area: str
    day: date
    geometry: Mapping[str, Any]
    is_sure: bool
    rate_kg_h: float | None = None
    interval_kg_h: tuple[float, float] | None = None
    """68 %."""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A quicklook."""

    title: str
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that could not be read, as the ledger has it."""

    pipeline: str
    area: str
    day: date
    item: str
    asset: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """An object of the storage that cannot be read back: nothing else on the page is of it."""

    path: str
    """Below the storage's root."""
    problem: str
    """What is wrong, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """One pipeline."""

    name: str
    title: str
    """Provider and collection."""
    calendar: Mapping[str, Sequence[Cell]]
    """Partitions that were ever asked for, by area, in order of days."""
    sizes: Mapping[str, int]
    """Bytes by kind of artefact."""
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """Something that happened to a model."""

    at: str
    event: str
    model: str
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything at one moment."""

    root: str
    at: datetime
    areas: Sequence[Area]
    pipelines: Sequence[PipelineState]
    plumes: Sequence[PlumeMark] = ()
    failures: Sequence[Failure] = ()
    damages: Sequence[Damage] = ()
    champion: str | None = None
    models: Sequence[ModelEvent] = ()
    """Oldest first."""
    promotions: Sequence[Picture] = ()
    """What the promotion of each champion changed."""
