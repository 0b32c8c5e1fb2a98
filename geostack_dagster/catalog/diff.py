"""What changed between two snapshots of one question."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from geostack_dagster.catalog.content import item_fingerprint
from geostack_dagster.catalog.patches import difference
from geostack_dagster.catalog.snapshot import Snapshot
from geostack_dagster.domain.days import solar_day
from geostack_dagster.domain.item import Item, item_id, moment

_WHOLE = ("geometry", "bbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One Item that came, went, or is not what it was."""

    id: str
    collection: str
    day: date
    """Solar day of the Item; of the new version, where there are two."""
    members: tuple[str, ...] = ()
    """Members that differ, such as `properties.updated` or `assets.B04.href`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Changes from one snapshot to the next, each list in order of day, then id."""

    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both snapshots have the same content."""
        return not (self.added or self.removed or self.changed)

    def by_day(self) -> dict[date, "Diff"]:
        """The changes of each solar day that has any, in order."""
        days: dict[date, dict[str, list[Change]]] = defaultdict(lambda: defaultdict(list))
        for name in ("added", "removed", "changed"):
            for change in getattr(self, name):
                days[change.day][name].append(change)
        return {
            day: Diff(**{name: tuple(changes) for name, changes in days[day].items()})
            for day in sorted(days)
        }


def diff(old: Snapshot | None, new: Snapshot) -> Diff:
    """What is in `new` and was not in `old`, the reverse, and what changed; None is an empty one.

    An Item has changed when its content has (`catalog.content`), not when a link or preview has.
    """
    longitude, _ = new.aoi.centre
    before = _by_key(old.items if old is not None else [])
    after = _by_key(new.items)
    common = before.keys() & after.keys()
    return Diff(
        added=_changes((after[key] for key in after.keys() - common), longitude),
        removed=_changes((before[key] for key in before.keys() - common), longitude),
        changed=_ordered(
            _change(after[key], longitude, members=_members(before[key], after[key]))
            for key in common
            if item_fingerprint(before[key]) != item_fingerprint(after[key])
        ),
    )


def _by_key(items: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(str(item.get("collection") or ""), item_id(item)): item for item in items}


def _changes(items: Iterable[Item], longitude: float) -> tuple[Change, ...]:
    return _ordered(_change(item, longitude) for item in items)


def _change(item: Item, longitude: float, members: tuple[str, ...] = ()) -> Change:
    return Change(
        id=item_id(item),
        collection=str(item.get("collection") or ""),
        day=solar_day(moment(item), longitude),
        members=members,
    )


def _ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda change: (change.day, change.id, change.collection)))


def _members(old: Item, new: Item) -> tuple[str, ...]:
    paths = (path for path, *_ in difference(new, old))
    return tuple(sorted({_member(path) for path in paths if path[0] != "links"}))


def _member(path: list[str | int]) -> str:
    """A path down to the member that holds it: positions in lists say nothing to a reader."""
    if path[0] in _WHOLE:
        return str(path[0])
    names = []
    for step in path:
        if isinstance(step, int):
            break
        names.append(step)
    return ".".join(names)
