"""A small cube whose every pixel is unique, and what writers in other processes run."""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from geostack_dagster.cube.ledger import LedgerEntry, Status
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.cube.store import Commit, CubeStore, Kind, WriteReport, open_store
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid

START = date(2024, 1, 1)
GRID = Grid(crs="EPSG:32632", resolution=10.0, left=5e5, top=5e6, width=10, height=7)
SCHEMA = CubeSchema(
    name="surface",
    title="Surface reflectance",
    grid=GRID,
    start=START,
    chunk=(4, 4),
    variables=(
        Variable(
            name="B04",
            dtype="uint16",
            fill_value=0,
            scale_factor=1e-4,
            add_offset=-0.1,
            attrs={"long_name": "red"},
        ),
        Variable(name="ndvi", dtype="float32", fill_value=math.nan),
    ),
)


def day(number: int) -> date:
    return START + timedelta(days=number)


def window(first: int, count: int = 1) -> Window:
    return Window(day(first), day(first + count))


def pixels(seed: int, schema: CubeSchema = SCHEMA) -> dict[str, np.ndarray]:
    """Stored values of one day, no two alike within it; the chunk in one corner holds nothing."""
    height, width = schema.grid.shape
    ramp = np.arange(1, height * width + 1).reshape(height, width)
    found = {}
    for variable in schema.variables:
        values = (ramp + 100 * seed).astype(variable.dtype)
        values[: schema.chunk[0], : schema.chunk[1]] = variable.fill
        found[variable.name] = values
    return found


def dataset(seeds: Mapping[int, int], schema: CubeSchema = SCHEMA) -> xr.Dataset:
    """Data of some days, each from its seed."""
    grid = schema.grid
    days = [pixels(seed, schema) for seed in seeds.values()]
    empty = np.empty((0, *grid.shape))
    return xr.Dataset(
        {
            variable.name: (
                ("time", "y", "x"),
                np.stack([found[variable.name] for found in days])
                if days
                else empty.astype(variable.dtype),
            )
            for variable in schema.variables
        },
        coords={
            "time": np.array([day(number) for number in seeds], dtype="datetime64[ns]"),
            "y": grid.top - grid.resolution * (np.arange(grid.height) + 0.5),
            "x": grid.left + grid.resolution * (np.arange(grid.width) + 0.5),
        },
    )


def record(number: int, seed: int, ledger: Callable | None = None) -> SlotRecord:
    return SlotRecord(
        day=day(number),
        item_count=seed + 1,
        acquired=datetime(2024, 1, 1, 10, 30, 5, 123456, tzinfo=UTC) + timedelta(days=number),
        fingerprint=f"slot-{seed}",
        ledger=ledger or (lambda: [entry(number)]),
    )


def entry(number: int, status: Status = Status.READ) -> LedgerEntry:
    return LedgerEntry(item=f"item-{number}", asset="B04", status=status)


def commit(fingerprint: str, partition: str = "alps/2024-01-01") -> Commit:
    return Commit(pipeline="earth_search", partition=partition, fingerprint=fingerprint)


def write(
    store: CubeStore,
    seeds: Mapping[int, int],
    fingerprint: str,
    *,
    span: Window | None = None,
    ledger: Callable | None = None,
    force: bool = False,
) -> WriteReport:
    """Write days from seeds into the window that holds them."""
    span = span or window(min(seeds), max(seeds) - min(seeds) + 1)
    return store.write(
        SCHEMA.name,
        span,
        dataset(seeds),
        [record(number, seed, ledger) for number, seed in seeds.items()],
        commit(fingerprint),
        force=force,
    )


def stored(store: CubeStore, numbers: Iterable[int], snapshot: str | None = None) -> xr.Dataset:
    """What the cube holds on some days, as stored."""
    cube = store.open(SCHEMA.name, decode=False, snapshot=snapshot)
    return cube.isel(time=list(numbers)).load()


def assert_holds(store: CubeStore, seeds: Mapping[int, int | None]) -> None:
    """Each day holds exactly the pixels of its seed, or nothing; days beyond the axis nothing."""
    cube = store.open(SCHEMA.name, decode=False)
    within = {number: seed for number, seed in seeds.items() if number < cube.sizes["time"]}
    assert {seeds[number] for number in seeds.keys() - within.keys()} <= {None}
    found = cube.isel(time=list(within)).load()
    for position, seed in enumerate(within.values()):
        for variable in SCHEMA.variables:
            expected = (
                np.full(GRID.shape, variable.fill) if seed is None else pixels(seed)[variable.name]
            )
            np.testing.assert_array_equal(found[variable.name].values[position], expected)


def spawner(*modules: str) -> ForkServerContext:
    """Processes that start fast: most of the imports happen once, those of `modules` too.

    Not those of icechunk: importing it starts threads, and a process forked then waits for ever.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.cube.scenes", "pyproj", "zarr.storage", *modules])
    return context


def run_all(targets: Sequence[tuple[Callable, tuple]], timeout_s: float = 200) -> list[int | None]:
    """Exit codes of functions run in processes beside each other."""
    context = spawner()
    processes = [context.Process(target=target, args=args) for target, args in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout_s)
    return [process.exitcode for process in processes]


def write_partitions(url: str, numbers: Sequence[int], *, retries: int = 50) -> None:
    """Write one-day partitions, seed = number, as runs do.

    Again when another writer was faster, or the store was busy: Dagster retries both.
    """
    from geostack_dagster.errors import ConflictError, ServiceError

    store = open_store(url)
    for number in numbers:
        for _ in range(retries):
            try:
                store.ensure(SCHEMA)
                write(store, {number: number}, f"made-{number}")
            except (ConflictError, ServiceError):
                continue
            break


def write_and_stall(url: str, kind: Kind, signal: str, number: int, seed: int) -> None:
    """Write a partition up to the commit, say so in a file, and wait to be killed."""

    def stall() -> list[LedgerEntry]:
        Path(signal).touch()
        time.sleep(600)
        return []

    write(open_store(url, kind=kind), {number: seed}, f"made-{seed}", ledger=stall)


def write_slowly(url: str, numbers: Sequence[int], pause_s: float) -> None:
    """Write partitions of dask-backed data whose blocks take time, one after the other."""
    store = open_store(url)
    store.ensure(SCHEMA)
    for number in numbers:
        data = dataset({number: number}).chunk({"y": 4, "x": 4}).map_blocks(_slow, [pause_s])
        store.write(
            SCHEMA.name, window(number), data, [record(number, number)], commit(f"made-{number}")
        )


def _slow(block: xr.Dataset, pause_s: float) -> xr.Dataset:
    time.sleep(pause_s)
    return block


def lazy(data: xr.Dataset, chunk: tuple[int, int], seen: list | None = None) -> xr.Dataset:
    """The dataset as dask arrays of these chunks, noting each block that is computed."""

    def note(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        if seen is not None and block_info:
            seen.append(tuple(block_info[0]["chunk-location"]))
        return block

    return data.assign(
        {
            name: (
                array.dims,
                da.from_array(array.values, chunks=(1, *chunk)).map_blocks(
                    note, dtype=array.dtype, meta=np.empty((0, 0, 0), array.dtype)
                ),
            )
            for name, array in data.data_vars.items()
        }
    )
