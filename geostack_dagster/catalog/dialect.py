"""Predicates on properties in the languages that catalogues take."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geostack_dagster.domain.query import Predicate
from geostack_dagster.providers.provider import FilterDialect

_CQL2 = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def predicate_parameters(predicates: Sequence[Predicate], dialect: FilterDialect) -> dict[str, Any]:
    """Search parameters that ask for `predicates`; empty if there are none, or no dialect."""
    return _DIALECTS[dialect](predicates) if predicates else {}


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


def _literal(value: float | str) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


_DIALECTS: Mapping[FilterDialect, Callable[[Sequence[Predicate]], dict[str, Any]]] = {
    FilterDialect.QUERY: _query,
    FilterDialect.CQL2_JSON: _cql2_json,
    FilterDialect.CQL2_TEXT: _cql2_text,
    FilterDialect.NONE: lambda predicates: {},
}
