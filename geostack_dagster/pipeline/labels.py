"""The store of labels: what people and archives said of plumes, append-only and content-addressed.

Below `<storage>/labels/` every set of labels that was added together is one GeoJSON file under the
digest of its content, and `log.json` lists the sets in the order in which they were added, with
source, reviewer and time. Sets are never changed nor removed; the log is only ever swapped whole,
against the version that was read, so that two writers never lose each other's entry.

What the training set and the retrain sensor may rely on:

- `label_log(workspace)` reads one small file. Its length only grows: the number of entries is a
  high-water mark, and the entries after it are what is new. Every entry has the time it was added.
- `stored_labels(workspace).labels` is the latest statement for each label's id, in the order of
  ids; `.digest` changes if and only if one of these statements does: who confirms a label teaches
  nothing new.
- A label states when its pixels were acquired (`Label.observed`) and on which granules it was
  drawn (`Label.scenes`): Item ids of the pipeline for a review; for CH4PLM names as EMIT's metadata
  writes them, which no catalogue uses. So `labels_during` picks by time and place.
- A plume that its archive withdrew is stated again as UNCERTAIN, so that it teaches nothing.
- A whole scene that somebody looked at is a label over its footprint with state NO_PLUME or
  UNOBSERVABLE; plumes in it are labels of their own, and stronger.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from shapely.geometry.base import BaseGeometry

from geostack_dagster import storage
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConflictError, IntegrityError
from geostack_dagster.learning.labels import Label, read_labels
from geostack_dagster.pipeline.workspace import Workspace

_ATTEMPTS = 20
_PAUSE_S = 0.01
_DIGEST = 20  # hexadecimal digits, as fingerprints have


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEntry:
    """One line of the log: labels that were added together."""

    digest: str
    """Of the set's content, and its file's name."""
    source: str
    """`review`, or the archive that the labels come from, such as `lpcloud`."""
    reviewer: str
    """Who says so; the archive's collection where no person of ours looked."""
    added: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """An entry and its labels."""

    entry: LabelEntry
    labels: tuple[Label, ...]


@dataclass(frozen=True, kw_only=True)
class StoredLabels:
    """Everything that was ever stated, oldest first."""

    sets: tuple[LabelSet, ...]

    @cached_property
    def statements(self) -> Mapping[str, tuple[Label, str]]:
        """The latest label for each id, and who stated it, in the order of ids."""
        latest = {
            label.id: (label, one.entry.reviewer) for one in self.sets for label in one.labels
        }
        return dict(sorted(latest.items()))

    def said_by(self, reviewer: str) -> dict[str, Label]:
        """The latest label that one reviewer or archive stated for each id."""
        sets = [one for one in self.sets if one.entry.reviewer == reviewer]
        return {label.id: label for one in sets for label in one.labels}

    @property
    def labels(self) -> tuple[Label, ...]:
        """The latest statement for each id, in the order of ids."""
        return tuple(label for label, _ in self.statements.values())

    @property
    def digest(self) -> str:
        """Fingerprint of the latest statements."""
        return fingerprint([label.to_feature() for label in self.labels])


def label_log(workspace: Workspace) -> tuple[LabelEntry, ...]:
    """Entries of the log, oldest first; none if nothing was ever added."""
    return _read_log(workspace)[0]


def stored_labels(workspace: Workspace) -> StoredLabels:
    """Everything in the store.

    Raises:
        IntegrityError: If a set is gone or is not what its digest says.
    """
    log = label_log(workspace)
    read = {digest: _read_set(workspace, digest) for digest in {entry.digest for entry in log}}
    return StoredLabels(
        sets=tuple(LabelSet(entry=entry, labels=read[entry.digest]) for entry in log)
    )


def add_labels(
    workspace: Workspace, labels: Sequence[Label], *, source: str, reviewer: str
) -> LabelEntry | None:
    """Append labels; None if the same reviewer's latest statements say just this already.

    Only what is new is appended, so a file that is imported twice, or again with a few more
    labels, does not grow the store by what it holds already.

    Raises:
        ConflictError: If other writers never paused.
    """
    for _ in range(_ATTEMPTS):
        log, raw = _read_log(workspace)
        known = stored_labels(workspace).statements
        new = [one for one in labels if known.get(one.id) != (one, reviewer)]
        if not new:
            return None
        content = _encoded_set(new)
        entry = LabelEntry(
            digest=hashlib.sha256(content).hexdigest()[:_DIGEST],
            source=source,
            reviewer=reviewer,
            added=datetime.now(UTC).replace(microsecond=0),
            count=len(new),
        )
        # The set first, the entry last: what the log names is always whole.
        storage.write_bytes(workspace.layout.label_set(entry.digest), content)
        try:
            storage.swap_bytes(
                workspace.layout.label_log, _encoded_log((*log, entry)), expected=raw
            )
        except ConflictError:
            time.sleep(_PAUSE_S * (1 + random.random()))  # noqa: S311 - spreads writers apart
        else:
            return entry
    raise ConflictError("other writers of the label log never paused; add the labels again")


def labels_during(
    labels: Iterable[Label], start: datetime, end: datetime, place: BaseGeometry | None = None
) -> tuple[Label, ...]:
    """Labels observed from `start` until before `end`, and reaching into a place if one is given.

    Args:
        labels: Any. Those without a time are left out.
        start: First moment.
        end: Moment after the last.
        place: In longitude and latitude.
    """
    return tuple(
        label
        for label in labels
        if label.observed is not None
        and start <= label.observed < end
        and (place is None or label.geometry.intersects(place))
    )


def _read_log(workspace: Workspace) -> tuple[tuple[LabelEntry, ...], bytes | None]:
    url = workspace.layout.label_log
    try:
        raw = storage.read_bytes(url)
    except FileNotFoundError:
        return (), None
    entries = read_back(
        raw,
        url,
        lambda found: tuple(_entry(stated) for stated in found["entries"]),
        remedy="restore it: it names every set of labels",
    )
    return entries, raw


def _entry(stated: Mapping[str, Any]) -> LabelEntry:
    return LabelEntry(**{**stated, "added": datetime.fromisoformat(stated["added"])})


def _encoded_log(entries: Sequence[LabelEntry]) -> bytes:
    rows = [asdict(entry) | {"added": entry.added.isoformat()} for entry in entries]
    return (json.dumps({"entries": rows}, indent=1) + "\n").encode()


def _encoded_set(labels: Sequence[Label]) -> bytes:
    """GeoJSON that any map shows and `read_labels` reads; equal labels give equal bytes."""
    rows = [label.to_feature() for label in sorted(labels, key=lambda label: label.id)]
    document = {"type": "FeatureCollection", "features": rows}
    return (json.dumps(document, sort_keys=True, allow_nan=False) + "\n").encode()


def _read_set(workspace: Workspace, digest: str) -> tuple[Label, ...]:
    url = workspace.layout.label_set(digest)
    try:
        content = storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is in the log of labels, but gone; restore it") from None
    if hashlib.sha256(content).hexdigest()[:_DIGEST] != digest:
        raise IntegrityError(f"{url} was changed after it was added; restore it")
    return read_labels(json.loads(content))
