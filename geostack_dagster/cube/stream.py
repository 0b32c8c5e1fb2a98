"""Pixels of a dataset into chunks of a store, in bounded memory.

A dask-backed dataset is rechunked to the cube's chunks and computed as one graph, so nothing is
read twice and what variables share (a mask, say) is computed once; a block is stored and forgotten
as soon as it is there. What is in memory is cut straight into chunks.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import batched, islice, product
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import compute, is_dask_collection

from geostack_dagster.cube import encode
from geostack_dagster.cube.encode import Pixels
from geostack_dagster.cube.schema import CubeSchema, Variable

type Chunks = Mapping[str, bytes | None]
"""Bytes by key; None deletes."""

_STRIP = 4  # chunks encoded by one task
_BATCH = 8  # strips handed to the store at a time: a hand-over costs as much as encoding a chunk


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
    """Where the blocks of a slot go."""

    schema: CubeSchema
    slot: int
    put: Callable[[Chunks], None]
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
        return chunks, Tally(
            chunks=len(sizes),
            raw_bytes=stored.nbytes,
            stored_bytes=sum(sizes),
            valid=encode.valid(variable, stored),
        )

    def write(self, variable: Variable, corner: tuple[int, int], block: Pixels) -> Tally:
        """Store a block."""
        chunks, tally = self.encode(variable, corner, block)
        self.put(chunks)
        return tally


def chunk_key(schema: CubeSchema, variable: str, slot: int, row: int, column: int) -> str:
    """Key of one chunk in the store."""
    return f"{schema.name}/{variable}/c/{slot}/{row}/{column}"


def stream(
    sinks: Mapping[int, Sink], data: xr.Dataset, order: Sequence[int], *, threads: int
) -> dict[int, Tally]:
    """Store the slots that have a sink; how much of each holds values.

    Args:
        sinks: Where each slot goes.
        data: The dataset; checked already.
        order: Slot of each step of its time axis.
        threads: How many blocks are computed and encoded at a time.
    """
    steps = [step for step, slot in enumerate(order) if slot in sinks]
    tallies: dict[int, Tally] = {order[step]: Tally() for step in steps}
    if not steps:
        return tallies
    produced = _computed if is_dask_collection(data) else _cut
    for slot, tally in produced(sinks, data, [(step, order[step]) for step in steps], threads):
        tallies[slot] += tally
    return tallies


def _computed(
    sinks: Mapping[int, Sink], data: xr.Dataset, steps: list[tuple[int, int]], threads: int
) -> Iterator[tuple[int, Tally]]:
    schema = next(iter(sinks.values())).schema
    slots = [slot for _, slot in steps]
    tasks = []
    for variable in schema.variables:
        array = data[variable.name].isel(time=[step for step, _ in steps]).data
        if not is_dask_collection(array):
            array = da.from_array(array, name=False)
        tasks.append(
            da.map_blocks(
                partial(_write_block, variable, slots, sinks),
                array.rechunk((1, *schema.chunk)),
                # Named, because dask would otherwise hash the store and every pixel in memory.
                name=f"cube-write-{uuid4().hex}",
                chunks=(1, 1, 1),
                meta=np.empty((0, 0, 0), dtype=object),
            )
        )
    for result in compute(*tasks, scheduler="threads", num_workers=threads):
        for slot, found in zip(slots, result, strict=True):
            yield slot, sum(found.flat, Tally())


def _write_block(
    variable: Variable,
    slots: list[int],
    sinks: Mapping[int, Sink],
    block: Pixels,
    block_id: tuple[int, int, int],
) -> Pixels:
    slot = slots[block_id[0]]
    schema = sinks[slot].schema
    corner = block_id[1] * schema.chunk[0], block_id[2] * schema.chunk[1]
    result = np.empty((1, 1, 1), dtype=object)
    result[0, 0, 0] = sinks[slot].write(variable, corner, np.asarray(block[0]))
    return result


def _cut(
    sinks: Mapping[int, Sink], data: xr.Dataset, steps: list[tuple[int, int]], threads: int
) -> Iterator[tuple[int, Tally]]:
    put = next(iter(sinks.values())).put
    workers = min(threads, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        encoded = _ahead(pool, _blocks(sinks, data, steps), 2 * _BATCH)
        for batch in batched(encoded, _BATCH):
            put({key: value for _, (chunks, _) in batch for key, value in chunks.items()})
            yield from ((slot, tally) for slot, (_, tally) in batch)


def _blocks(
    sinks: Mapping[int, Sink], data: xr.Dataset, steps: list[tuple[int, int]]
) -> Iterator[tuple[int, Callable[[], tuple[Chunks, Tally]]]]:
    for step, slot in steps:
        schema = sinks[slot].schema
        rows, columns = schema.chunk[0], schema.chunk[1] * _STRIP
        height, width = schema.grid.shape
        for variable in schema.variables:
            slab = data[variable.name].isel(time=step).values
            for top, left in product(range(0, height, rows), range(0, width, columns)):
                block = slab[top : top + rows, left : left + columns]
                yield slot, partial(sinks[slot].encode, variable, (top, left), block)


def _ahead[Label, Result](
    pool: Executor, tasks: Iterator[tuple[Label, Callable[[], Result]]], count: int
) -> Iterator[tuple[Label, Result]]:
    """Results in order, with up to `count` tasks started before their results are asked for."""
    started = deque((label, pool.submit(task)) for label, task in islice(tasks, count))
    while started:
        label, future = started.popleft()
        yield label, future.result()
        started.extend((label, pool.submit(task)) for label, task in islice(tasks, 1))
