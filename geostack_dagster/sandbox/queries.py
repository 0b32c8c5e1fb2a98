"""From a request to a `Search`: item-search parameters and the query and filter extensions."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from geostack_dagster.domain.item import Item, number
from geostack_dagster.sandbox import nested
from geostack_dagster.sandbox.catalogue import (
    BadRequestError,
    Properties,
    Search,
    area_of_bbox,
    interval,
)
from geostack_dagster.sandbox.grammar import ANY, Grammar

type Parameters = dict[str, Any]
type Predicate = Callable[[Item], bool]

_LISTS = ("collections", "ids", "bbox")
_JSON = ("query", "intersects")


def of_get(query: Mapping[str, str]) -> Parameters:
    """Parameters of a GET search in the form that a POST body has."""
    parameters = nested.read(query)
    for name, value in parameters.items():
        if not isinstance(value, str):
            continue
        if name in _LISTS:
            parameters[name] = [part for part in value.split(",") if part]
        elif name in _JSON or (name == "filter" and value.lstrip().startswith("{")):
            parameters[name] = _json(value, name)
        elif name == "sortby":
            parameters[name] = [_sort_term(term) for term in value.split(",")]
        elif name == "fields":
            parts = [part for part in value.split(",") if part]
            parameters[name] = {
                "include": [part.lstrip("+ ") for part in parts if not part.startswith("-")],
                "exclude": [part[1:] for part in parts if part.startswith("-")],
            }
    return parameters


def demand(parameters: Parameters, grammar: Grammar) -> None:
    """Raise BadRequestError if a search lacks what the catalogue cannot do without."""
    for name in grammar.required:
        if not parameters.get(name):
            raise BadRequestError(f"Missing required parameter {name}")


def search_of(parameters: Parameters, grammar: Grammar) -> Search:
    """The search that the parameters ask for.

    Raises:
        BadRequestError: If they cannot be understood.
    """
    for name in grammar.refused:
        if parameters.get(name):
            raise BadRequestError(f"Unsupported parameter {name}")
    if parameters.get("bbox") and parameters.get("intersects"):
        raise BadRequestError("Expected bbox OR intersects, not both")
    start, end = interval(parameters["datetime"]) if parameters.get("datetime") else (None, None)
    bounds = {} if start is None or end is None else {"start": start, "end": end}
    collections = parameters.get("collections") or ()
    return Search(
        collections=tuple(known for name in collections for known in grammar.ids_of(name)),
        ids=tuple(parameters.get("ids") or ()),
        area=_area(parameters, grammar),
        predicates=(*_query(parameters, grammar), *_filter(parameters, grammar)),
        sortby=_sort_terms(parameters.get("sortby") or [], grammar),
        **bounds,
    )


def limit_of(parameters: Parameters, grammar: Grammar) -> int:
    """Items in a page.

    Raises:
        BadRequestError: If it is not a positive number, or too large for an archive that minds.
    """
    try:
        limit = int(parameters.get("limit") or grammar.page)
        if "limit" in parameters:
            limit = int(parameters["limit"])
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"limit {parameters['limit']!r} is not a number") from error
    if limit < 1:
        raise BadRequestError(f"limit must be at least 1, not {limit}")
    if grammar.refused_page is not None and limit > grammar.refused_page[0]:
        _, status, text = grammar.refused_page
        raise BadRequestError(text, status)
    return min(limit, grammar.largest_page)


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


def _area(parameters: Parameters, grammar: Grammar) -> Any:
    if parameters.get("bbox"):
        return area_of_bbox(parameters["bbox"])
    if parameters.get("intersects"):
        return grammar.area(parameters["intersects"])
    return None


def _query(parameters: Parameters, grammar: Grammar) -> Iterator[Predicate]:
    for name, terms in (parameters.get("query") or {}).items():
        if name not in grammar.query:
            continue
        comparisons = terms if isinstance(terms, Mapping) else {"eq": terms}
        for op, wanted in comparisons.items():
            if op in grammar.comparisons:
                yield _comparison(name, grammar.comparisons[op], wanted)
            elif not grammar.ignores_operators:
                raise BadRequestError(f"unknown operator {op!r} in query of {name!r}")


def _comparison(name: str, compare: Callable[[Any, Any], bool], wanted: object) -> Predicate:
    def admits(item: Item) -> bool:
        found = Properties(item)[name]
        try:
            return found is not None and compare(found, wanted)
        except TypeError:  # "72" against 72: the archives find nothing either
            return False

    return admits


def _filter(parameters: Parameters, grammar: Grammar) -> Iterator[Predicate]:
    expression = parameters.get("filter")
    if not expression or not grammar.langs:
        return
    by_kind = "cql2-text" if isinstance(expression, str) else "cql2-json"
    lang = parameters.get("filter-lang") or by_kind
    if lang not in grammar.langs:
        raise BadRequestError(
            f"filter-lang {lang!r} is not supported, only {', '.join(grammar.langs)}"
        )
    yield _cql2(expression, grammar)


def _cql2(expression: object, grammar: Grammar) -> Predicate:
    import cql2

    try:
        if isinstance(expression, str):
            parsed = cql2.parse_text(expression)
        else:
            parsed = cql2.parse_json(json.dumps(expression))
        parsed.validate()
    except (cql2.ParseError, cql2.ValidationError) as error:
        raise BadRequestError(f"filter is not CQL2: {error}") from error
    tree = parsed.to_json()
    for op, name in _used(tree):
        if op not in grammar.operators:
            raise BadRequestError(f"Unsupported filter operator '{op}'")
        if name is not None and name not in grammar.filter:
            raise BadRequestError(f"Querying on property '{name}' is not supported")
    numeric = _compared_with_numbers(tree) if grammar.reads_numbers else frozenset()

    def admits(item: Item) -> bool:
        try:  # an expression over a property that is absent stays unreduced: null, as in SQL
            reduced: object = parsed.reduce(_with_numbers(item, numeric)).to_json()
        except TypeError:  # an Item whose id is a number, and the like
            return False
        return reduced is True

    return admits


def _used(tree: Any) -> Iterator[tuple[str, str | None]]:
    """Operators of an expression with the properties they are applied to."""
    if not isinstance(tree, Mapping) or "op" not in tree:
        return
    arguments = tree.get("args") or []
    names = [one["property"] for one in arguments if isinstance(one, Mapping) and "property" in one]
    yield from ((str(tree["op"]), name) for name in (names or [None]))
    for argument in arguments:
        yield from _used(argument)


def _compared_with_numbers(tree: Any) -> frozenset[str]:
    if not isinstance(tree, Mapping):
        return frozenset()
    arguments = tree.get("args") or []
    has_number = any(isinstance(one, int | float) for one in arguments)
    names = {
        one["property"]
        for one in arguments
        if has_number and isinstance(one, Mapping) and "property" in one
    }
    return frozenset(names).union(*map(_compared_with_numbers, arguments))


def _with_numbers(item: Item, names: frozenset[str]) -> dict[str, Any]:
    """The Item with some of its properties read as numbers."""
    stated = item.get("properties")
    if not names or not isinstance(stated, Mapping):
        return dict(item)
    numbers = {name: number(stated[name]) for name in names if isinstance(stated.get(name), str)}
    return {**item, "properties": {**stated, **numbers}}


def _sort_terms(terms: list[Any], grammar: Grammar) -> tuple[tuple[str, bool], ...]:
    parsed = [_sort_term(term) if isinstance(term, str) else term for term in terms]
    found = [(str(term["field"]), term.get("direction", "asc") == "desc") for term in parsed]
    for name, _ in found:
        if grammar.sort is not ANY and name.removeprefix("properties.") not in grammar.sort:
            raise BadRequestError(f"Invalid sort field(s): {name}")
    return tuple(found)


def _sort_term(term: str) -> dict[str, str]:
    direction = "desc" if term.startswith("-") else "asc"
    return {"field": term.lstrip("+- "), "direction": direction}


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is not JSON: {error}") from error
