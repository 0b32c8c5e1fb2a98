"""What a catalogue understands of a search, as data, and what it does about the rest."""

import operator
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, override

from shapely.geometry.base import BaseGeometry

from geostack_dagster.sandbox.catalogue import area_of_geometry


class _Everything(Container[str]):
    """Holds every name."""

    @override
    def __contains__(self, name: object) -> bool:
        return True


ANY: Container[str] = _Everything()
NONE: Container[str] = frozenset()
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "startsWith": lambda found, wanted: str(found).startswith(str(wanted)),
    "endsWith": lambda found, wanted: str(found).endswith(str(wanted)),
    "contains": lambda found, wanted: str(wanted) in str(found),
    "in": lambda found, wanted: found in wanted,
}
"""Operators of the query extension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What one catalogue understands; what it does not is ignored unless said otherwise."""

    query: Container[str] = ANY
    """Properties that the query extension compares."""
    comparisons: Mapping[str, Callable[[Any, Any], bool]] = field(
        default_factory=lambda: COMPARISONS
    )
    ignores_operators: bool = False
    """Whether an operator of the query extension that it does not know is no bad request."""
    langs: tuple[str, ...] = ("cql2-json", "cql2-text")
    """Languages of `filter`, another is a bad request; none if filters are ignored."""
    filter: Container[str] = ANY
    """Properties that a filter may name; others are a bad request."""
    operators: Container[str] = ANY
    """CQL2 operators that a filter may hold; others are a bad request."""
    reads_numbers: bool = False
    """Whether a filter that compares text with a number takes the text for a number."""
    sort: Container[str] = ANY
    """Properties to sort by; others are a bad request."""
    refused: tuple[str, ...] = ()
    """Parameters that are a bad request."""
    required: tuple[str, ...] = ()
    """Parameters without which a search is a bad request."""
    area: Callable[[object], BaseGeometry] = area_of_geometry
    """What `intersects` means."""
    ids_of: Callable[[str], tuple[str, ...]] = lambda name: (name,)
    """Collection ids that a name stands for."""
    page: int = 10
    """Items in a page when the client does not say."""
    largest_page: int = 10_000
    """Items in the largest page; who asks for more gets as many."""
    refused_page: tuple[int, int, str] | None = None
    """Limit above which a search is refused, with status and words."""
