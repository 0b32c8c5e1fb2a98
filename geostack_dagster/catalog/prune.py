"""Dropping the nulls that a table adds to documents which lack a member.

Only members that are null somewhere are looked at, so a table without gaps costs nothing.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

type Prune = Callable[[Any], None]


def pruner(array: pa.Array) -> Prune | None:
    """A function that removes null members from a value of `array`; None if there are none."""
    if pa.types.is_struct(array.type):
        return _struct_pruner(array)
    if isinstance(array, pa.ListArray | pa.LargeListArray):
        element = pruner(array.flatten())
        return None if element is None else _list_pruner(element)
    return None


def _struct_pruner(array: pa.StructArray) -> Prune | None:
    gaps: list[str] = []
    inner: list[tuple[str, Prune]] = []
    for field, child in zip(array.type, array.flatten(), strict=True):
        if child.null_count > array.null_count:
            gaps.append(field.name)
        prune = pruner(child)
        if prune is not None:
            inner.append((field.name, prune))
    if not gaps and not inner:
        return None

    def prune_members(document: dict[str, Any]) -> None:
        for name in gaps:
            if document[name] is None:
                del document[name]
        for name, prune in inner:
            value = document.get(name)
            if value is not None:
                prune(value)

    return prune_members


def _list_pruner(prune: Prune) -> Prune:
    def prune_elements(values: list[Any]) -> None:
        for value in values:
            if value is not None:
                prune(value)

    return prune_elements
