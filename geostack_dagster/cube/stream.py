"""Pixels of a dataset into chunks of a store, in bounded memory.

A dask-backed dataset is rechunked to the cube's chunks and computed as one graph, so nothing is
read twice and what variables share (a mask, say) is computed once; a block is stored and forgotten
as soon as it is there. What is in memory is cut straight into chunks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import compute, is_dask_collection

from geostack_dagster.cube import encode
from geostack_dagster.cube.encode import Pixels
from geostack_dagster.cube.schema import CubeSchema, Variable

type Put = Callable[[Mapping[str, bytes | None]], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was stored of some pixels."""

    chunks: int = 0
    filled: int = 0
    """Chunks that held nothing and were not stored."""
    raw_bytes: int = 0
    stored_bytes: int = 0
    valid: int = 0
    """Pixels that hold a value."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.chunks + other.chunks,
            self.filled + other.filled,
            self.raw_bytes + other.raw_bytes,
            self.stored_bytes + other.stored_bytes,
            self.valid + other.valid,
        )


@dataclass(frozen=True, slots=True)
class Sink:
    """Where blocks go: a cube's chunks, through `put`."""

    schema: CubeSchema
    put: Put
    erase: bool = True
    """Delete chunks that hold nothing; needless in a slot that was empty."""

    def write(self, variable: Variable, slot: int, corner: tuple[int, int], block: Any) -> Tally:
        """Store a block that begins at pixel `corner` of a slot; made of whole chunks."""
        stored = encode.pack(variable, np.asarray(block))
        (rows, columns), (top, left) = self.schema.chunk, corner
        values: dict[str, bytes | None] = {}
        for y in range(0, stored.shape[0], rows):
            for x in range(0, stored.shape[1], columns):
                key = chunk_key(
                    self.schema, variable.name, slot, (top + y) // rows, (left + x) // columns
                )
                part = stored[y : y + rows, x : x + columns]
                values[key] = encode.encode(variable, part, self.schema.chunk)
        filled = sum(value is None for value in values.values())
        if not self.erase:
            values = {key: value for key, value in values.items() if value is not None}
        self.put(values)
        return Tally(
            chunks=sum(value is not None for value in values.values()),
            filled=filled,
            raw_bytes=stored.nbytes,
            stored_bytes=sum(len(value) for value in values.values() if value is not None),
            valid=encode.valid(variable, stored),
        )


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
    blocks = _computed if is_dask_collection(data) else _cut
    for slot, tally in blocks(sinks, data, [(step, order[step]) for step in steps], threads):
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
    result[0, 0, 0] = sinks[slot].write(variable, slot, corner, block[0])
    return result


def _cut(
    sinks: Mapping[int, Sink], data: xr.Dataset, steps: list[tuple[int, int]], threads: int
) -> Iterator[tuple[int, Tally]]:
    schema = next(iter(sinks.values())).schema
    with ThreadPoolExecutor(threads) as pool:
        running: dict[Future[Tally], int] = {}
        for step, slot in steps:
            for variable in schema.variables:
                slab = data[variable.name].isel(time=step).values
                for corner, block in _blocks(slab, schema.chunk):
                    running[pool.submit(sinks[slot].write, variable, slot, corner, block)] = slot
                    if len(running) > 2 * threads:
                        yield from _finished(running)
        while running:
            yield from _finished(running)


def _finished(running: dict[Future[Tally], int]) -> list[tuple[int, Tally]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    return [(running.pop(future), future.result()) for future in done]


def _blocks(slab: Pixels, chunk: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Pixels]]:
    for top in range(0, slab.shape[0], chunk[0]):
        for left in range(0, slab.shape[1], chunk[1]):
            yield (top, left), slab[top : top + chunk[0], left : left + chunk[1]]
