"""What scripts find ready-made: members of strings and arrays, `Math`, and a few functions."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from geostack_dagster.sandbox.evalscript.tokens import ScriptError
from geostack_dagster.sandbox.evalscript.values import Value, called, numeric, same, truth


def member(holder: Value, name: Value) -> Value:
    """A property of a value; undefined where an object has none.

    Raises:
        ScriptError: If the value can have no properties, or none of that name is supported.
    """
    if isinstance(holder, dict):
        return holder.get(_key(name))
    if isinstance(holder, list | str):
        if isinstance(name, float):
            at = int(name)
            return holder[at] if 0 <= at < len(holder) else None
        if name == "length":
            return float(len(holder))
        members: Mapping[str, Callable[..., Value]] = (
            _OF_LISTS if isinstance(holder, list) else _OF_STRINGS
        )
        if name in members:
            method = members[name]
            return lambda *arguments: method(holder, *arguments)
    if holder is None:
        raise ScriptError(f"TypeError: Cannot read property '{name}' of undefined")
    raise ScriptError(f"TypeError: this sandbox knows no member {name!r} of such a value")


def set_member(holder: Value, name: Value, value: Value) -> None:
    """Set a property.

    Raises:
        ScriptError: If the value is neither an object nor an array.
    """
    if isinstance(holder, dict):
        holder[_key(name)] = value
    elif isinstance(holder, list) and isinstance(name, float):
        at = int(name)
        holder.extend([None] * (at + 1 - len(holder)))
        holder[at] = value
    else:
        raise ScriptError(f"TypeError: cannot set property {name!r}")


def _key(name: Value) -> str:
    return f"{name:g}" if isinstance(name, float) else str(name)


def _push(items: list[Value], *more: Value) -> float:
    items.extend(more)
    return float(len(items))


def _reduce(items: list[Value], function: Value, *start: Value) -> Value:
    total, rest = (start[0], items) if start else (items[0], items[1:])
    for item in rest:
        total = called(function, [total, item])
    return total


def _includes(items: list[Value], wanted: Value) -> bool:
    return any(truth(same(item, wanted)) for item in items)


def _index(items: list[Value], wanted: Value) -> float:
    return next((float(at) for at, one in enumerate(items) if truth(same(one, wanted))), -1.0)


def _part(start: float = 0.0, stop: float | None = None) -> slice:
    return slice(int(start), None if stop is None else int(stop))


def _each(items: list[Value], function: Value) -> list[Value]:
    return [called(function, [item, float(at)]) for at, item in enumerate(items)]


_OF_LISTS: dict[str, Callable[..., Value]] = {
    "map": _each,
    "forEach": lambda items, function: _each(items, function) and None,
    "filter": lambda items, function: [
        item for item in list(items) if truth(called(function, [item]))
    ],
    "some": lambda items, function: any(truth(called(function, [item])) for item in items),
    "every": lambda items, function: all(truth(called(function, [item])) for item in items),
    "find": lambda items, function: next(
        (item for item in items if truth(called(function, [item]))), None
    ),
    "reduce": _reduce,
    "push": _push,
    "concat": lambda items, more: [*items, *(more if isinstance(more, list) else [more])],
    "slice": lambda items, *bounds: items[_part(*bounds)],
    "includes": _includes,
    "indexOf": _index,
    "join": lambda items, between=",": between.join(str(item) for item in items),
}
_OF_STRINGS: dict[str, Callable[..., Value]] = {
    "split": lambda text, mark: text.split(mark),
    "endsWith": lambda text, end: text.endswith(end),
    "startsWith": lambda text, start: text.startswith(start),
    "includes": lambda text, part: part in text,
    "indexOf": lambda text, part: float(text.find(part)),
    "slice": lambda text, *bounds: text[_part(*bounds)],
    "substring": lambda text, start, stop=None: text[_part(start, stop)],
    "replace": lambda text, old, new: text.replace(old, new, 1),
    "toLowerCase": lambda text: text.lower(),
    "toUpperCase": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
}


def _numeric(function: Callable[..., Any]) -> Callable[..., Value]:
    def computed(*arguments: Value) -> Value:
        with np.errstate(all="ignore"):
            found = function(*map(numeric, arguments))
        return found if isinstance(found, np.ndarray) and found.ndim else float(found)

    return computed


def _folded(function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    return _numeric(lambda first, *rest: _fold(function, first, rest))


def _fold(function: Callable[[Any, Any], Any], first: Value, rest: tuple[Value, ...]) -> Value:
    for value in rest:
        first = function(first, value)
    return first


def globals_of_script() -> dict[str, Value]:
    """Names that every script starts with."""
    return {
        "undefined": None,
        "NaN": math.nan,
        "Infinity": math.inf,
        "isNaN": _numeric(np.isnan),
        "isFinite": _numeric(np.isfinite),
        "Math": {
            **{name: _numeric(getattr(np, name)) for name in _OF_MATH},
            "pow": _numeric(np.power),
            "round": _numeric(lambda value: np.floor(value + 0.5)),
            "min": _folded(np.minimum),
            "max": _folded(np.maximum),
            "PI": math.pi,
            "E": math.e,
        },
        "Mosaicking": {name: name for name in ("SIMPLE", "ORBIT", "TILE")},
        "SampleType": {name: name for name in SAMPLE_TYPES},
        "Units": {name: name for name in ("DN", "REFLECTANCE")},
    }


_OF_MATH = ("abs", "sqrt", "exp", "log", "log10", "log2", "sin", "cos", "tan", "floor", "ceil")
SAMPLE_TYPES = {
    "AUTO": "uint8",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "FLOAT32": "float32",
}
"""dtype of the image by sample type."""
