"""Pixels stream: few blocks are held at a time, and what variables share is computed once."""

import dataclasses
import threading
from collections.abc import Mapping

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from geostack_dagster.cube.stream import Sink, Tally, stream
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ServiceError
from tests.cube import scenes

GRID = dataclasses.replace(scenes.GRID, width=40, height=40)
SCHEMA = dataclasses.replace(scenes.SCHEMA, grid=GRID)
BLOCKS = 100  # of 4 x 4 pixels, in each of two variables


class Meter:
    """Counts blocks that were computed and not yet stored."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.computed = self.held = self.most = 0
        self.stored: dict[str, bytes | None] = {}

    def compute(self, block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        with self.lock:
            self.computed += 1
            self.held += 1
            self.most = max(self.most, self.held)
        return block + block_id[1] + block_id[2]

    def put(self, chunks: Mapping[str, bytes | None]) -> None:
        with self.lock:
            self.held -= len(chunks)
            self.stored |= chunks


def store(
    meter: Meter, data: xr.Dataset, slot: int, *, before: tuple[int, ...] = (), threads: int = 2
) -> dict[int, Tally]:
    return stream(
        {slot: Sink(SCHEMA, slot)},
        data,
        order=[*before, slot],
        put=meter.put,
        engine=Engine(threads=threads),
    )


def lazy(meter: Meter, variables: int = 2) -> xr.Dataset:
    names = [variable.name for variable in SCHEMA.variables][:variables]
    arrays = {
        name: da.ones((1, 40, 40), dtype=scenes.SCHEMA.variable(name).dtype, chunks=(1, 4, 4))
        for name in names
    }
    return xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                array.map_blocks(meter.compute, dtype=array.dtype, meta=array._meta),
            )
            for name, array in arrays.items()
        }
    )


@pytest.mark.parametrize("threads", [1, 4])
def test_few_blocks_are_in_memory_at_a_time(threads: int):
    meter = Meter()
    tallies = store(meter, lazy(meter), 5, threads=threads)
    assert meter.computed == len(meter.stored) == 2 * BLOCKS
    assert meter.most <= 2 * threads
    assert (tallies[5].chunks, tallies[5].valid) == (2 * BLOCKS, 2 * 1600)
    assert "surface/ndvi/c/5/9/9" in meter.stored


def test_what_variables_share_is_computed_once():
    meter = Meter()
    mask = lazy(meter, 1).B04
    data = xr.Dataset({"B04": mask, "ndvi": (mask.dims, mask.data.astype("float32"))})
    store(meter, data, 0)
    assert meter.computed == BLOCKS
    assert len(meter.stored) == 2 * BLOCKS


def test_days_without_a_sink_are_not_computed():
    meter = Meter()
    data = xr.concat([lazy(meter), lazy(meter)], "time")
    tallies = store(meter, data, 1, before=(0,))
    assert list(tallies) == [1]
    assert meter.computed == 2 * BLOCKS
    assert all("/c/1/" in key for key in meter.stored)


def test_what_reading_raises_is_raised():
    def fail(block: np.ndarray) -> np.ndarray:
        raise ServiceError("503")

    data = lazy(Meter())
    data["B04"] = data.B04.dims, data.B04.data.map_blocks(fail, dtype="uint16", meta=np.empty(0))
    with pytest.raises(ServiceError, match="503"):
        store(Meter(), data, 0)


def test_in_memory_and_lazy_data_give_the_same_bytes():
    lazily, at_once = Meter(), Meter()
    data = lazy(lazily)
    store(lazily, data, 0, threads=3)
    store(at_once, data.compute(), 0, threads=3)
    assert lazily.stored == at_once.stored
