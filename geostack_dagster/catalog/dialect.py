"""Predicates on properties in the languages that catalogues take."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geostack_dagster.domain.item import is_finite
from geostack_dagster.domain.query import Predicate
from geostack_dagster.providers.provider import FilterDialect

_CLOUD = "eo:cloud_cover"
_CMR_RANGES: Mapping[str, Callable[[float], tuple[float, float]]] = {
    "eq": lambda value: (value, value),
    "lt": lambda value: (0.0, value),
    "lte": lambda value: (0.0, value),
    "gt": lambda value: (value, 100.0),
    "gte": lambda value: (value, 100.0),
}
_CQL2 = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def predicate_parameters(predicates: Sequence[Predicate], dialect: FilterDialect) -> dict[str, Any]:
    """Search parameters that ask for `predicates`; empty if there are none, or no dialect."""
    asked = [one for one in predicates if can_ask(one, dialect)]
    return _DIALECTS[dialect](asked) if asked else {}


def can_ask(predicate: Predicate, dialect: FilterDialect) -> bool:
    """Whether a catalogue of this dialect can be asked for the predicate at all."""
    if dialect is FilterDialect.CMR:
        return (
            predicate.name == _CLOUD and predicate.op in _CMR_RANGES and is_finite(predicate.value)
        )
    return dialect is not FilterDialect.NONE


def _query(predicates: Sequence[Predicate]) -> dict[str, Any]:
    # Two predicates of one name and operator would overwrite each other; that only widens the
    # answer, and every Item is checked again.
    conditions: dict[str, dict[str, float | str]] = {}
    for predicate in predicates:
        conditions.setdefault(predicate.name, {})[predicate.op] = predicate.value
    return {"query": conditions}


def _cql2_json(predicates: Sequence[Predicate]) -> dict[str, Any]:
    comparisons = [{"op": _CQL2[p.op], "args": [{"property": p.name}, p.value]} for p in predicates]
    joined = comparisons[0] if len(comparisons) == 1 else {"op": "and", "args": comparisons}
    return {"filter": joined, "filter_lang": "cql2-json"}


def _cql2_text(predicates: Sequence[Predicate]) -> dict[str, Any]:
    # The colon of `eo:cloud_cover` makes the quotes necessary.
    comparisons = [f'"{p.name}" {_CQL2[p.op]} {_literal(p.value)}' for p in predicates]
    return {"filter": " AND ".join(comparisons), "filter_lang": "cql2-text"}


def _cmr(predicates: Sequence[Predicate]) -> dict[str, Any]:
    # CMR has one closed range of cloud cover; what is at its ends is looked at afterwards.
    ranges = [_CMR_RANGES[p.op](float(p.value)) for p in predicates]
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    return {"cloud_cover": (f"{min(low, high):g}", f"{high:g}")}


def _literal(value: float | str) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


_DIALECTS: Mapping[FilterDialect, Callable[[Sequence[Predicate]], dict[str, Any]]] = {
    FilterDialect.QUERY: _query,
    FilterDialect.CQL2_JSON: _cql2_json,
    FilterDialect.CQL2_TEXT: _cql2_text,
    FilterDialect.CMR: _cmr,
    FilterDialect.NONE: lambda predicates: {},
}
