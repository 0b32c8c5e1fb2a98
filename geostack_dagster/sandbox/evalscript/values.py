"""Values of a running script: numbers, strings, lists, dicts, functions, and arrays of pixels.

A band's value is an array over pixels. Arithmetic works on all of them at once; a decision on which
pixels differ raises `SplitError`, and whoever runs the script runs it again for each side.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.evalscript.tokens import ScriptError

type Value = Any
"""float, str, bool, None (undefined and null), list, dict, callable, or an array."""

_LONGEST_RUN = 5_000_000  # steps; an endless loop must not stop the sandbox


class SplitError(Exception):
    """Pixels disagree on a condition."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        super().__init__()
        self.mask = mask


class Budget:
    """Steps that a run may still take."""

    def __init__(self) -> None:
        self._left = _LONGEST_RUN

    def spend(self) -> None:
        """Take one step.

        Raises:
            ScriptError: If none is left.
        """
        self._left -= 1
        if self._left < 0:
            raise ScriptError("Script timed out")


class Scope:
    """Names in reach of a piece of script."""

    def __init__(self, parent: "Scope | None" = None, budget: Budget | None = None) -> None:
        self.names: dict[str, Value] = {}
        self.parent = parent
        self.budget: Budget = budget or (parent.budget if parent else Budget())

    def holder(self, name: str) -> "Scope":
        """The scope that has a name.

        Raises:
            ScriptError: If none has.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope
            scope = scope.parent
        raise ScriptError(f"ReferenceError: {name} is not defined")

    def assign(self, name: str, value: Value) -> None:
        """Set a name where it is defined; an undeclared one becomes global."""
        scope = self
        while name not in scope.names and scope.parent is not None:
            scope = scope.parent
        scope.names[name] = value


def truth(value: Value) -> bool:
    """Whether a value counts as true.

    Raises:
        SplitError: If it does for some pixels only.
    """
    if isinstance(value, np.ndarray):
        mask = (value != 0) & ~np.isnan(value)
        if mask.all():
            return True
        if mask.any():
            raise SplitError(mask)
        return False
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    return value not in ("", False, None)


def numeric(value: Value) -> Value:
    """A value as a number or an array of them.

    Raises:
        ScriptError: If it is neither.
    """
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, float):
        return value
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype == np.bool_ else value
    if value is None:
        return float("nan")
    raise ScriptError(f"TypeError: {_shown(value)} is not a number")


def called(function: Value, arguments: Sequence[Value]) -> Value:
    """What a function returns.

    Raises:
        ScriptError: If it is none.
    """
    if not callable(function):
        raise ScriptError(f"TypeError: {_shown(function)} is not a function")
    return function(*arguments)


def same(one: Value, other: Value) -> Value:
    """Strict equality; pixel by pixel for arrays."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return numeric(one) == numeric(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | dict):
        return one is other
    return bool(one == other)


def _divided(one: Value, other: Value) -> Value:
    with np.errstate(all="ignore"):
        found = np.true_divide(one, other)
    return found if isinstance(found, np.ndarray) and found.ndim else float(found)


def _remainder(one: Value, other: Value) -> Value:
    with np.errstate(all="ignore"):
        found = np.fmod(one, other)
    return found if isinstance(found, np.ndarray) and found.ndim else float(found)


def _added(one: Value, other: Value) -> Value:
    if isinstance(one, str) or isinstance(other, str):
        return _shown(one) + _shown(other)
    return numeric(one) + numeric(other)


def _compared(compare: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def compared(one: Value, other: Value) -> Value:
        if isinstance(one, str) and isinstance(other, str):
            return compare(one, other)
        return compare(numeric(one), numeric(other))

    return compared


BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": _added,
    "-": lambda one, other: numeric(one) - numeric(other),
    "*": lambda one, other: numeric(one) * numeric(other),
    "/": lambda one, other: _divided(numeric(one), numeric(other)),
    "%": lambda one, other: _remainder(numeric(one), numeric(other)),
    "**": lambda one, other: numeric(one) ** numeric(other),
    "<": _compared(lambda one, other: one < other),
    ">": _compared(lambda one, other: one > other),
    "<=": _compared(lambda one, other: one <= other),
    ">=": _compared(lambda one, other: one >= other),
    "==": same,
    "===": same,
    "!=": lambda one, other: negated(same(one, other)),
    "!==": lambda one, other: negated(same(one, other)),
}
"""Operators of two values that are both evaluated."""


def negated(value: Value) -> Value:
    """Logical not; pixel by pixel for arrays."""
    if isinstance(value, np.ndarray):
        return ~(value.astype(bool))
    return not truth(value)


def _shown(value: Value) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value if isinstance(value, str) else "[object]"
