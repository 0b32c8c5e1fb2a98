"""From a request to a `Search`: item-search parameters and the query and filter extensions."""

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.catalogue import (
    BadRequestError,
    Properties,
    Search,
    area_of_bbox,
    area_of_geometry,
    interval,
)

type Parameters = dict[str, Any]

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
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


def of_get(query: Mapping[str, str]) -> Parameters:
    """Parameters of a GET search in the form that a POST body has."""
    parameters: Parameters = dict(query)
    for name in ("collections", "ids"):
        if name in query:
            parameters[name] = [part for part in query[name].split(",") if part]
    if "bbox" in query:
        parameters["bbox"] = query["bbox"].split(",")
    if "sortby" in query:
        parameters["sortby"] = [_sort_term(term) for term in query["sortby"].split(",")]
    if "fields" in query:
        parts = [part for part in query["fields"].split(",") if part]
        parameters["fields"] = {
            "include": [part.lstrip("+ ") for part in parts if not part.startswith("-")],
            "exclude": [part[1:] for part in parts if part.startswith("-")],
        }
    for name in ("query", "intersects"):
        if name in query:
            parameters[name] = _json(query[name], name)
    return parameters


def search_of(parameters: Parameters, *, heeds_filter: bool) -> Search:
    """The search that the parameters ask for.

    Raises:
        BadRequestError: If they cannot be understood.
    """
    if parameters.get("bbox") and parameters.get("intersects"):
        raise BadRequestError("Expected bbox OR intersects, not both")
    start, end = interval(parameters["datetime"]) if parameters.get("datetime") else (None, None)
    predicates = list(_query_predicates(parameters.get("query") or {}))
    if heeds_filter and parameters.get("filter"):
        predicates.append(_cql2(parameters["filter"]))
    bounds = {} if start is None or end is None else {"start": start, "end": end}
    return Search(
        collections=tuple(parameters.get("collections") or ()),
        ids=tuple(parameters.get("ids") or ()),
        area=_area(parameters),
        predicates=tuple(predicates),
        sortby=_sort_terms(parameters.get("sortby") or []),
        **bounds,
    )


def limit_of(parameters: Parameters, default: int, greatest: int) -> int:
    """Items in a page.

    Raises:
        BadRequestError: If it is not a positive number.
    """
    try:
        limit = int(parameters.get("limit", default))
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"limit {parameters['limit']!r} is not a number") from error
    if limit < 1:
        raise BadRequestError(f"limit must be at least 1, not {limit}")
    return min(limit, greatest)


def selected(item: Item, fields: object) -> Item:
    """The Item with the fields extension applied: top-level names and `properties.name`."""
    if not isinstance(fields, Mapping):
        return item
    include, exclude = set(fields.get("include") or ()), set(fields.get("exclude") or ())
    if not include and not exclude:
        return item
    always = {"type", "stac_version", "id", "collection", "bbox", "properties"}
    default = set(item) if not include else always | {name.partition(".")[0] for name in include}
    kept = {name: item[name] for name in item if name in default and name not in exclude}
    wanted = {name.partition(".")[2] for name in include if name.startswith("properties.")}
    unwanted = {name.partition(".")[2] for name in exclude if name.startswith("properties.")}
    if isinstance(kept.get("properties"), Mapping) and (wanted or unwanted):
        kept["properties"] = {
            name: value
            for name, value in kept["properties"].items()
            if (not wanted or name in wanted) and name not in unwanted
        }
    return kept


def _area(parameters: Parameters) -> Any:
    if parameters.get("bbox"):
        return area_of_bbox(parameters["bbox"])
    if parameters.get("intersects"):
        return area_of_geometry(parameters["intersects"])
    return None


def _query_predicates(query: Mapping[str, Any]) -> list[Callable[[Item], bool]]:
    predicates = []
    for name, terms in query.items():
        comparisons = terms if isinstance(terms, Mapping) else {"eq": terms}
        for op, wanted in comparisons.items():
            if op not in _COMPARISONS:
                raise BadRequestError(f"unknown operator {op!r} in query of {name!r}")
            predicates.append(_comparison(name, op, wanted))
    return predicates


def _comparison(name: str, op: str, wanted: object) -> Callable[[Item], bool]:
    compare = _COMPARISONS[op]

    def admits(item: Item) -> bool:
        found = Properties(item)[name]
        try:
            return found is not None and compare(found, wanted)
        except TypeError:  # "72" against 72: the archives find nothing either
            return False

    return admits


def _cql2(expression: object) -> Callable[[Item], bool]:
    import cql2

    try:
        if isinstance(expression, str):
            parsed = cql2.parse_text(expression)
        else:
            parsed = cql2.parse_json(json.dumps(expression))
        parsed.validate()
    except (cql2.ParseError, cql2.ValidationError) as error:
        raise BadRequestError(f"filter is not CQL2: {error}") from error

    def admits(item: Item) -> bool:
        try:  # an expression over a property that is absent stays unreduced: null, as in SQL
            reduced: object = parsed.reduce(dict(item)).to_json()
        except TypeError:  # an Item whose id is a number, and the like
            return False
        return reduced is True

    return admits


def _sort_terms(terms: list[Any]) -> tuple[tuple[str, bool], ...]:
    parsed = [_sort_term(term) if isinstance(term, str) else term for term in terms]
    return tuple((term["field"], term.get("direction", "asc") == "desc") for term in parsed)


def _sort_term(term: str) -> dict[str, str]:
    direction = "desc" if term.startswith("-") else "asc"
    return {"field": term.lstrip("+- "), "direction": direction}


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is not JSON: {error}") from error
