"""Flags of pixels that could not be read.

Which pixels these are is known when all blocks are stored, for another Item may have filled them.
So the few chunks of flags that are concerned are changed in the transaction, before its commit.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from geostack_dagster.cube.encode import Pixels, compressor, encode
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.unread import Span, Unread
from geostack_dagster.domain.quality import Quality


def flag(keys: Keys, schema: CubeSchema, slot: int, unread: Iterable[Unread]) -> None:
    """Flag the pixels of a slot that are unset because they could not be read.

    They are neither unobserved nor incomplete then. A schema without flags is left alone.
    """
    flags = next((one for one in schema.variables if one.is_flags), None)
    if flags is None:
        return
    marked: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}
    for one in unread:
        covered = one.covered()
        for place, own, part in _cuts(schema, one):
            key = _key(schema, one.variable, slot, place)
            found = _chunk(keys, key, schema.variable(one.variable), schema.chunk)[own]
            unset = _unset(schema.variable(one.variable), found) & covered[part]
            if unset.any():
                marks = marked.setdefault(place, np.zeros(schema.chunk, np.bool_))
                marks[own] |= unset
    for place, marks in marked.items():
        key = _key(schema, flags.name, slot, place)
        chunk = _chunk(keys, key, flags, schema.chunk)
        chunk[marks] = chunk[marks] & Quality.MASKED | Quality.UNREADABLE
        keys.put({key: encode(flags, chunk, schema.chunk)})


def _cuts(
    schema: CubeSchema, one: Unread
) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """Each chunk that a part meets: its place, what of the chunk, and what of the part."""
    height, width = schema.chunk
    for row in range(one.rows[0] // height, -(-one.rows[1] // height)):
        for column in range(one.columns[0] // width, -(-one.columns[1] // width)):
            y, x = _overlap(one.rows, row, height), _overlap(one.columns, column, width)
            yield (row, column), (y[0], x[0]), (y[1], x[1])


def _overlap(span: Span, number: int, size: int) -> tuple[slice, slice]:
    """Where a span and a chunk meet, counted from the beginning of the chunk and of the span."""
    start, stop = max(span[0], number * size), min(span[1], (number + 1) * size)
    return (
        slice(start - number * size, stop - number * size),
        slice(start - span[0], stop - span[0]),
    )


def _key(schema: CubeSchema, variable: str, slot: int, place: tuple[int, int]) -> str:
    return f"{schema.name}/{variable}/c/{slot}/{place[0]}/{place[1]}"


def _chunk(keys: Keys, key: str, variable: Variable, chunk: tuple[int, int]) -> Pixels:
    found = keys.get([key]).get(key)
    if found is None:
        return np.full(chunk, variable.fill, variable.stored)
    values = np.frombuffer(bytes(compressor(variable.stored).decode(found)), variable.stored)
    return values.reshape(chunk).copy()


def _unset(variable: Variable, values: Pixels) -> npt.NDArray[np.bool_]:
    unset: npt.NDArray[np.bool_] = (
        np.isnan(values) if np.isnan(variable.fill) else values == variable.fill
    )
    return unset
