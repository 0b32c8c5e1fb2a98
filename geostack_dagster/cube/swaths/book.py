"""What a solar day says about its granules: the bookkeeping of swaths, one Zarr group for each day.

Days are written when a commit is settled and by nothing else, so partitions never conflict.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Self

from geostack_dagster.cube import ledger
from geostack_dagster.cube.damage import RESTORE
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.ledger import LedgerEntry
from geostack_dagster.domain.documents import read_back

DAYS = "days"
"""Name below a quantity's group that no granule may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGranule:
    """A granule as it is stored."""

    id: str
    path: str
    """Group of its arrays."""
    day: date
    acquired: datetime
    fingerprint: str
    """Of what it was made from."""
    coverage: float
    """Fraction of values that are known."""
    shape: tuple[int, int, int]
    """Lines, columns and bands."""
    ledger: tuple[LedgerEntry, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "id": self.id,
            "path": self.path,
            "acquired": self.acquired.isoformat(),
            "fingerprint": self.fingerprint,
            "coverage": self.coverage,
            "shape": list(self.shape),
            "ledger": json.loads(ledger.dumps(self.ledger)),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], day: date) -> Self:
        """Granule written by `to_json`."""
        lines, columns, bands = document["shape"]
        return cls(
            id=document["id"],
            path=document["path"],
            day=day,
            acquired=datetime.fromisoformat(document["acquired"]),
            fingerprint=document["fingerprint"],
            coverage=document["coverage"],
            shape=(lines, columns, bands),
            ledger=tuple(ledger.entries_of(document["ledger"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRecord:
    """One solar day; equal for a day that nobody wrote and one that says nothing."""

    made_from: str = ""
    """Fingerprint of the inputs of the partition that last wrote or cleared the day."""
    granules: tuple[StoredGranule, ...] = field(default=())
    unread: tuple[LedgerEntry, ...] = field(default=())
    """Files of granules that are not here because they could not be read."""


type Book = Mapping[date, DayRecord]


def read_days(keys: Keys, quantity: str, days: Iterable[date]) -> dict[date, DayRecord]:
    """What some days say."""
    places = {_key(quantity, day): day for day in days}
    found = keys.get(places)
    return {
        day: _record(found[key], day, keys.where) if key in found else DayRecord()
        for key, day in places.items()
    }


def written_days(keys: Keys, quantity: str) -> list[date]:
    """Days that were ever written or cleared, in order."""
    names = keys.listed(f"{quantity}/{DAYS}")
    return sorted(date.fromisoformat(name) for name in names if name[:1].isdigit())


def documents(quantity: str, book: Book) -> dict[str, bytes]:
    """Keys and bytes of days."""
    return {_key(quantity, day): _document(record) for day, record in book.items()}


def made_from(book: Book) -> str | None:
    """Fingerprint of a partition's inputs; None unless all its days have the same."""
    found = {record.made_from for record in book.values()}
    return found.pop() or None if len(found) == 1 else None


def _key(quantity: str, day: date) -> str:
    return f"{quantity}/{DAYS}/{day.isoformat()}/zarr.json"


def _document(record: DayRecord) -> bytes:
    attributes: dict[str, Any] = {
        "made_from": record.made_from,
        "granules": [granule.to_json() for granule in record.granules],
    }
    if record.unread:
        attributes["unread"] = json.loads(ledger.dumps(record.unread))
    return group_document(attributes)


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """A Zarr group with attributes and nothing else."""
    found = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    return json.dumps(found).encode()


def _record(document: bytes, day: date, where: str) -> DayRecord:
    def build(found: Mapping[str, Any]) -> DayRecord:
        attributes = found["attributes"]
        return DayRecord(
            made_from=attributes["made_from"],
            granules=tuple(StoredGranule.from_json(one, day) for one in attributes["granules"]),
            unread=tuple(ledger.entries_of(attributes.get("unread", []))),
        )

    return read_back(document, f"{where} (its record of {day})", build, remedy=RESTORE)
