"""What a write does to the slots of one partition, and the bookkeeping that goes with it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from geostack_dagster.cube import ledger, slots
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.schema import CubeSchema
from geostack_dagster.cube.slots import Slot, SlotRecord
from geostack_dagster.cube.store import Commit
from geostack_dagster.cube.stream import Tally, chunk_key
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import ConfigurationError, ConflictError

MARKS = ("fingerprint", "made_from")
"""The bookkeeping that says whether a slot is current."""

type Marks = Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to each slot of a partition."""

    schema: CubeSchema
    commit: Commit
    before: Marks
    """What each slot of the partition was when the write began."""
    records: Mapping[int, SlotRecord]
    """Of the slots that are rewritten."""
    kept: frozenset[int] = frozenset()
    cleared: frozenset[int] = frozenset()

    @property
    def slots(self) -> range:
        """Slots of the partition."""
        return range(min(self.before), max(self.before) + 1)

    @property
    def touched(self) -> list[int]:
        """Slots whose pixels change."""
        return sorted({*self.records, *self.cleared})

    def days(self, chosen: Iterable[int]) -> tuple[date, ...]:
        """Solar days of some slots, in order."""
        return tuple(self.schema.day(slot) for slot in sorted(chosen))


def accepted(
    schema: CubeSchema,
    window: Window,
    days: Sequence[date],
    records: Sequence[SlotRecord],
    commit: Commit,
) -> dict[int, SlotRecord]:
    """Records by slot, each with a fingerprint.

    Raises:
        ConfigurationError: If a day of the data has no record, or a record is not of the window.
    """
    span = schema.slots(window)
    found = {
        schema.slot(record.day): replace(
            record, fingerprint=record.fingerprint or commit.fingerprint
        )
        for record in records
    }
    missing = [day for day in days if schema.slot(day) not in found]
    strange = [schema.day(slot) for slot in found if slot not in span]
    if missing or strange or len(found) < len(records):
        raise ConfigurationError(
            f"a write needs one SlotRecord for each day: without one {_listed(missing)}; not in "
            f"{window.start} to {window.end} {_listed(strange)}; {len(records)} records for "
            f"{len(found)} days"
        )
    return found


def read_marks(keys: Keys, schema: CubeSchema, span: range) -> dict[int, dict[str, str]]:
    """Fingerprints of some slots; empty text where there are none."""
    places = {f"{schema.name}/{name}/c/{slot}": (slot, name) for slot in span for name in MARKS}
    found = keys.get(places)
    marks: dict[int, dict[str, str]] = {slot: {} for slot in span}
    for key, (slot, name) in places.items():
        marks[slot][name] = slots.text(found.get(key))
    return marks


def made_from(marks: Marks) -> str | None:
    """Fingerprint of the inputs of a partition; None unless all its slots have the same."""
    found = {slot["made_from"] for slot in marks.values()}
    return found.pop() or None if len(found) == 1 else None


def planned(
    schema: CubeSchema,
    commit: Commit,
    marks: Marks,
    records: Mapping[int, SlotRecord],
    *,
    force: bool,
) -> Change:
    """What has to be done so that the slots with marks hold what the records say."""
    kept = {
        slot
        for slot, record in records.items()
        if not force and marks[slot]["fingerprint"] == record.fingerprint
    }
    return Change(
        schema=schema,
        commit=commit,
        before=marks,
        records={slot: record for slot, record in records.items() if slot not in kept},
        kept=frozenset(kept),
        cleared=frozenset(
            slot for slot in marks if slot not in records and marks[slot]["fingerprint"]
        ),
    )


def require_unchanged(schema: CubeSchema, before: Marks, newest: Marks) -> None:
    """Refuse to overwrite what another writer committed meanwhile.

    Raises:
        ConflictError: If a slot is no longer what it was when the write began.
    """
    changed = [schema.day(slot) for slot in before if before[slot] != newest[slot]]
    if changed:
        raise ConflictError(
            f"another writer changed {_listed(changed)} of cube {schema.name!r} meanwhile; "
            "nothing was written: retry from the newest inputs"
        )


def pixel_keys(schema: CubeSchema, slot: int) -> list[str]:
    """Keys of every chunk of a slot."""
    rows, columns = schema.chunks
    return [
        chunk_key(schema, variable.name, slot, row, column)
        for variable in schema.variables
        for row in range(rows)
        for column in range(columns)
    ]


def ledger_texts(change: Change) -> dict[int, str]:
    """Ledger of each rewritten slot, as it is stored."""
    return {
        slot: ledger.dumps(record.ledger())
        for slot, record in change.records.items()
        if record.ledger is not None
    }


def bookkeeping(
    change: Change, tallies: Mapping[int, Tally], texts: Mapping[int, str]
) -> dict[str, bytes | None]:
    """Every bookkeeping key of the partition and its new bytes."""
    pixels = len(change.schema.measured) * change.schema.grid.height * change.schema.grid.width
    rows: dict[str, bytes | None] = {}
    for index in change.slots:
        slot = Slot(
            day=change.schema.day(index),
            fingerprint=None,
            made_from=change.commit.fingerprint,
            item_count=0,
            coverage=None,
            acquired=None,
        )
        record = change.records.get(index)
        if record is not None:
            measured = tallies.get(index, Tally()).valid / pixels
            slot = replace(
                slot,
                fingerprint=record.fingerprint,
                item_count=record.item_count,
                coverage=measured if record.coverage is None else record.coverage,
                acquired=record.acquired,
            )
        found = slots.encoded(slot, texts.get(index, ""))
        if index not in change.records and index not in change.cleared:
            found = {"made_from": found["made_from"]}
        rows |= {f"{change.schema.name}/{name}/c/{index}": value for name, value in found.items()}
    return rows


def note_text(action: str, commit: Commit | None = None) -> str:
    """Note of a commit: one line of JSON that people can read."""
    return json.dumps({"action": action, **(asdict(commit) if commit else {})})


def parsed_note(text: str) -> dict[str, Any]:
    """`action` and `commit` of a note; other people's notes are their own action."""
    try:
        note = json.loads(text)
        action = note.pop("action")
        return {"action": action, "commit": Commit(**note) if note else None}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"action": text, "commit": None}


def _listed(days: Sequence[date]) -> str:
    return ", ".join(day.isoformat() for day in days) or "none"
