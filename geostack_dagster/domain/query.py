"""What is asked of a catalogue: collections, place, time and predicates on properties."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.item import number
from geostack_dagster.errors import ConfigurationError

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Predicate:
    """A comparison on one Item property, such as `eo:cloud_cover lte 60`."""

    name: str
    op: str
    value: float | str

    def __post_init__(self) -> None:
        if self.op not in _OPERATORS:
            raise ConfigurationError(
                f"unknown operator {self.op!r} on {self.name!r}; use one of {', '.join(_OPERATORS)}"
            )

    def admits(self, properties: Mapping[str, Any]) -> bool:
        """Whether an Item with these properties satisfies the predicate.

        A property that is absent is not a reason to drop an Item (CMR omits `eo:cloud_cover` on
        whole collections); numbers sent as strings are compared as numbers (DLR sends `"72"`).
        """
        found = properties.get(self.name)
        if found is None:
            return True
        if isinstance(self.value, str):
            return _OPERATORS[self.op](str(found), self.value)
        numeric = number(found)
        return numeric is not None and _OPERATORS[self.op](numeric, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuery:
    """A catalogue search: half-open in time, `start <= datetime < end`, both in UTC."""

    collections: tuple[str, ...]
    aoi: AOI
    start: datetime
    end: datetime
    predicates: tuple[Predicate, ...] = ()
    max_items: int | None = None
    page_limit: int | None = None
    """Items per page; None takes the provider's limit."""
    ids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.collections:
            raise ConfigurationError("a search needs at least one collection")
        for name in ("start", "end"):
            moment: datetime = getattr(self, name)
            if moment.tzinfo is None:
                raise ConfigurationError(f"{name} {moment.isoformat()} needs a time zone")
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.start >= self.end:
            raise ConfigurationError(
                f"date range is backwards: {self.start.isoformat()} is not before "
                f"{self.end.isoformat()}; swap the two"
            )
        if self.max_items is not None and self.max_items < 1:
            raise ConfigurationError(f"max_items must be at least 1, not {self.max_items}")
