"""Which Items are the same acquisition, and which of them to keep.

Archives hold several Items of one acquisition (reprocessings, Earth Search's `_0_` and `_1_`).
The newest processing baseline wins, then the newest processing time, then the highest id, so the
choice does not depend on the order in which a catalogue answers.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from geostack_dagster.domain.item import Item, item_id, number, parse_datetime, properties
from geostack_dagster.domain.radiometry import processing_baseline

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})"
    r"(?:_N\d{4})?_R\d{3}_T(?P<tile>\d{2}[A-Z]{3})"
)
_NEVER = datetime.min.replace(tzinfo=UTC)
_DATASTRIP_SENSED = re.compile(r"_S(\d{8}T\d{6})")


@dataclass(frozen=True, slots=True)
class Identity:
    """`key` is equal for Items of one acquisition; the greatest `rank` is kept."""

    key: tuple[str, ...]
    rank: tuple[Any, ...]


type IdentityRule = Callable[[Item], Identity]


@dataclass(frozen=True, slots=True)
class Superseded:
    """An Item that was not taken, and why."""

    id: str
    kept: str
    reason: str


def by_id(item: Item) -> Identity:
    """Every id is an acquisition of its own (within its collection)."""
    return Identity((str(item.get("collection") or ""), item_id(item)), _rank(item))


def sentinel2(item: Item) -> Identity:
    """Platform, level, tile, datatake and datastrip sensing time.

    The product name holds all but the last, in the id (Planetary Computer, CDSE) or in
    `s2:product_uri` (Earth Search). The datastrip tells two complementary halves of a datatake,
    received at two stations, from two processings of the same pixels.
    """
    found = properties(item)
    name = _PRODUCT.match(str(found.get("s2:product_uri"))) or _PRODUCT.match(item_id(item))
    if name is None:
        return by_id(item)
    strip = found.get("s2:datastrip_id") or found.get("eopf:datastrip_id")  # the latter at CDSE
    datastrip = _DATASTRIP_SENSED.search(str(strip))
    sensed = datastrip.group(1) if datastrip else ""
    key = (name["platform"], name["level"], name["tile"], name["sensed"], sensed)
    return Identity(key, _rank(item))


def resolve(items: Iterable[Item], rule: IdentityRule) -> tuple[list[Item], list[Superseded]]:
    """Keep one Item for each acquisition, in the order first seen, and say what was dropped."""
    kept: dict[tuple[str, ...], tuple[Identity, Item]] = {}
    dropped: list[tuple[tuple[str, ...], Identity, Item]] = []
    for item in items:
        identity = rule(item)
        holder = kept.get(identity.key)
        if holder is None:
            kept[identity.key] = (identity, item)
        elif _precedes(identity, item, holder):
            kept[identity.key] = (identity, item)
            dropped.append((identity.key, *holder))
        else:
            dropped.append((identity.key, identity, item))
    superseded = [_explained(loser, rank, *kept[key]) for key, rank, loser in dropped]
    return [item for _, item in kept.values()], superseded


def _precedes(identity: Identity, item: Item, holder: tuple[Identity, Item]) -> bool:
    if identity.rank != holder[0].rank:
        return bool(identity.rank > holder[0].rank)
    # One Item answered twice, perhaps edited in between without saying so: any choice will do
    # that does not depend on which page came first.
    return item != holder[1] and _text(item) > _text(holder[1])


def _text(item: Item) -> str:
    return json.dumps(item, sort_keys=True, default=str)


def _rank(item: Item) -> tuple[Any, ...]:
    return (
        number(processing_baseline(item)) or 0.0,
        _stated(item, "s2:generation_time", "processing:datetime", "created"),
        _stated(item, "updated"),
        item_id(item),
    )


def _stated(item: Item, *names: str) -> datetime:
    """The first instant that is stated: as text, `13:00:00Z` would come after `13:00:00.5Z`."""
    instants = (parse_datetime(properties(item).get(name)) for name in names)
    return next((instant for instant in instants if instant is not None), _NEVER)


_RANK_NAMES = ("processing baseline", "processing time", "update time", "id")


def _explained(loser: Item, lost: Identity, winner: Identity, kept: Item) -> Superseded:
    for name, mine, theirs in zip(_RANK_NAMES, lost.rank, winner.rank, strict=True):
        if mine != theirs:
            reason = f"{name} {_shown(mine)} < {_shown(theirs)}"
            return Superseded(item_id(loser), item_id(kept), reason)
    return Superseded(item_id(loser), item_id(kept), "the same Item was returned twice")


def _shown(rank: object) -> str:
    """A baseline as archives write it: `05.10`, not 5.1; instants in UTC."""
    if isinstance(rank, datetime):
        return "none" if rank == _NEVER else rank.isoformat().replace("+00:00", "Z")
    return f"{rank:05.2f}" if isinstance(rank, float) else str(rank)
