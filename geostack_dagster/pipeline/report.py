"""What a stage did for one partition, in plain values that Dagster, the CLI and tests can show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from geostack_dagster.pipeline.artefacts import Artefact


class Outcome(StrEnum):
    """What happened to the partition's artefact."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    PARTIAL = "partial"
    """Written, but some assets could not be read; the ledger says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """Result of one stage on one partition."""

    outcome: Outcome
    fingerprint: str
    """Of the content that the stage stands for: the asset's data version."""
    note: str
    """One sentence for people."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Numbers, texts and URLs worth a look or a plot."""
    tables: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """PNG images by title, each small enough for an event log (< 100 kB)."""
    rows: int | None = None
    """Rows of the artefact, where it is a table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Types of its columns by name, where they differ between partitions."""
    artefact: Artefact | None = None
    seconds: float = 0.0
    bytes_read: int = 0
    """Taken from the archive or the store: metadata as it came, pixels as they are decoded."""
