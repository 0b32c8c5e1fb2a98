"""Pixels of a dataset into chunks of a store, in bounded memory.

A dask-backed dataset is rechunked to the cube's chunks and computed as one graph, so nothing is
read twice and what variables share (a mask, say) is computed once; a block is stored and forgotten
as soon as it is there. What is in memory is cut straight into chunks.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import is_dask_collection

from geostack_dagster.cube import encode
from geostack_dagster.cube.backend import Chunks
from geostack_dagster.cube.encode import Pixels
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.engine import Engine

type Write = Callable[[Variable, int, tuple[int, int], Pixels], Any]
"""Does something with a block of a slot that begins at a corner, and says what."""

_STRIP = 4  # chunks of one task: a hand-over to the store costs as much as encoding a chunk


@dataclass(frozen=True, slots=True)
class Tally:
    """What was stored of some pixels."""

    chunks: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    valid: int = 0
    """Pixels that hold a value."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.chunks + other.chunks,
            self.raw_bytes + other.raw_bytes,
            self.stored_bytes + other.stored_bytes,
            self.valid + other.valid,
        )


@dataclass(frozen=True, slots=True)
class Sink:
    """What the blocks of a slot become."""

    schema: CubeSchema
    slot: int
    erase: bool = True
    """Delete chunks that hold nothing; needless in a slot that was empty."""

    def encode(
        self, variable: Variable, corner: tuple[int, int], block: Pixels
    ) -> tuple[Chunks, Tally]:
        """Chunks of a block that begins at pixel `corner`; it is made of whole chunks."""
        stored = encode.pack(variable, block)
        (rows, columns), (top, left) = self.schema.chunk, corner
        chunks: dict[str, bytes | None] = {}
        for y in range(0, stored.shape[0], rows):
            for x in range(0, stored.shape[1], columns):
                place = (top + y) // rows, (left + x) // columns
                part = stored[y : y + rows, x : x + columns]
                value = encode.encode(variable, part, self.schema.chunk)
                if value is not None or self.erase:
                    chunks[chunk_key(self.schema, variable.name, self.slot, *place)] = value
        sizes = [len(value) for value in chunks.values() if value is not None]
        tally = Tally(chunks=len(sizes), stored_bytes=sum(sizes))
        if variable.is_flags:
            return chunks, tally
        return chunks, replace(tally, raw_bytes=stored.nbytes, valid=encode.valid(variable, stored))


def chunk_key(schema: CubeSchema, variable: str, slot: int, row: int, column: int) -> str:
    """Key of one chunk in the store."""
    return f"{schema.name}/{variable}/c/{slot}/{row}/{column}"


def stream(
    sinks: Mapping[int, Sink],
    data: xr.Dataset,
    *,
    order: Sequence[int],
    put: Callable[[Chunks], None],
    engine: Engine,
) -> dict[int, Tally]:
    """Store the slots that have a sink, from this process; how much of each holds values.

    Args:
        sinks: What becomes of each slot.
        data: The dataset; checked already.
        order: Slot of each step of its time axis.
        put: Stores chunks; called from several threads.
        engine: How many blocks are computed and encoded at a time.
    """
    tallies = {slot: Tally() for slot in order if slot in sinks}
    if not tallies:
        return tallies

    def write(variable: Variable, slot: int, corner: tuple[int, int], block: Pixels) -> Tally:
        chunks, tally = sinks[slot].encode(variable, corner, block)
        put(chunks)
        return tally

    cut = computed if is_dask_collection(data) else _cut
    for slot, tally in cut(sinks, data, order=order, write=write, engine=engine):
        tallies[slot] += tally
    return tallies


def computed(
    sinks: Mapping[int, Sink],
    data: xr.Dataset,
    *,
    order: Sequence[int],
    write: Write,
    engine: Engine,
) -> Iterator[tuple[int, Any]]:
    """What `write` says of every block of the slots that have a sink, computed as one graph."""
    steps = _steps(sinks, order)
    schema = next(iter(sinks.values())).schema
    slots = [slot for _, slot in steps]
    tasks = []
    for variable in schema.variables:
        values = data[variable.name].isel(time=[step for step, _ in steps])
        blocks = _of_whole_chunks(values, schema)
        tasks.append(
            da.map_blocks(
                partial(_on_block, write, variable, slots, blocks.chunksize),
                blocks,
                # Named, because dask would otherwise hash the store and every pixel in memory.
                name=f"cube-write-{uuid4().hex}",
                chunks=(1, 1, 1),
                meta=np.empty((0, 0, 0), dtype=object),
            )
        )
    for result in engine.compute(tasks):
        for slot, found in zip(slots, result, strict=True):
            yield from ((slot, one) for one in found.flat)


def _steps(sinks: Mapping[int, Sink], order: Sequence[int]) -> list[tuple[int, int]]:
    return [(step, slot) for step, slot in enumerate(order) if slot in sinks]


def _of_whole_chunks(values: xr.DataArray, schema: CubeSchema) -> da.Array:
    """Blocks of one slot that lie in rows and columns of equal size, made of whole chunks."""
    array: da.Array = values.data
    if not is_dask_collection(array):
        array = da.from_array(array, name=False)
    size = array.chunksize
    whole = size[0] == 1 and all(
        one % chunk == 0 or one == length
        for one, chunk, length in zip(size[1:], schema.chunk, schema.grid.shape, strict=True)
    )
    regular = da.core.normalize_chunks(size, array.shape) == array.chunks
    return array if whole and regular else array.rechunk((1, *schema.chunk))


def _on_block(
    write: Write,
    variable: Variable,
    slots: Sequence[int],
    size: Sequence[float],
    block: Pixels,
    block_id: tuple[int, int, int],
) -> Pixels:
    corner = block_id[1] * int(size[1]), block_id[2] * int(size[2])
    result = np.empty((1, 1, 1), dtype=object)
    result[0, 0, 0] = write(variable, slots[block_id[0]], corner, np.asarray(block[0]))
    return result


def _cut(
    sinks: Mapping[int, Sink],
    data: xr.Dataset,
    *,
    order: Sequence[int],
    write: Write,
    engine: Engine,
) -> Iterator[tuple[int, Tally]]:
    workers = 2 * (os.cpu_count() or 1)  # while some encode, others wait for the store
    workers = min(engine.threads or workers, workers)
    with ThreadPoolExecutor(workers) as pool:
        yield from _ahead(pool, _blocks(data, _steps(sinks, order), sinks, write), 2 * workers)


def _blocks(
    data: xr.Dataset, steps: list[tuple[int, int]], sinks: Mapping[int, Sink], write: Write
) -> Iterator[tuple[int, Callable[[], Tally]]]:
    for step, slot in steps:
        schema = sinks[slot].schema
        rows, columns = schema.chunk[0], schema.chunk[1] * _STRIP
        height, width = schema.grid.shape
        for variable in schema.variables:
            slab = data[variable.name].isel(time=step).values
            for top, left in product(range(0, height, rows), range(0, width, columns)):
                block = slab[top : top + rows, left : left + columns]
                yield slot, partial(write, variable, slot, (top, left), block)


def _ahead[Label, Result](
    pool: Executor, tasks: Iterator[tuple[Label, Callable[[], Result]]], count: int
) -> Iterator[tuple[Label, Result]]:
    """Results in order, with up to `count` tasks started before their results are asked for."""
    started = deque((label, pool.submit(task)) for label, task in islice(tasks, count))
    while started:
        label, future = started.popleft()
        yield label, future.result()
        started.extend((label, pool.submit(task)) for label, task in islice(tasks, 1))
