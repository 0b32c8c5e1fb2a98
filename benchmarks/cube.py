"""Writing cubes: throughput beside peers with the same codec, and what one more partition costs.

A slot is one day of several bands, committed (or, where there are no commits, written) on its
own. Pixels are smooth fields with noise in the last bits, as reflectance is: they compress 1.7
times. Stores are created before the clock starts; the floor writes the raw pixels to files.

Throughput is measured in memory, which shows what the code costs, and on the disk, where all share
the cost of making files. On the disk nothing is deleted before the last measurement: ext4 looks for
recently deleted inodes each time it makes a file, and would charge one variant for another's.
Besides medians the note gives least times, which a busy machine spoils less, and processor time.
"""

import os
import resource
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import icechunk
import icechunk.xarray
import numpy as np
import tensorstore
import xarray as xr
from _backfill import no_op_backfill
from _report import Case, arguments, measure, report, timed
from zarr.codecs import BloscCodec

from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.cube.store import Commit, CubeStore, open_store
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid

START = date(2020, 1, 1)
CHUNK = 512
NAME = "reflectance"

MEMORY = Path("/dev/shm")

type Prepared = Callable[[], None]
type Spent = dict[str, list[tuple[float, float]]]
"""By variant, wall and processor seconds of each run."""


def main() -> None:
    quick = arguments().quick
    cases = [*throughput(quick=quick), *insertion(quick=quick), no_op(quick=quick)]
    report("Write a cube", [*cases, no_op_backfill(quick=quick)])


def throughput(*, quick: bool) -> list[Case]:
    size, bands, slots, repeats = (1024, 2, 3, 1) if quick else (2048, 4, 4, 7)
    places = {"memory": MEMORY, "disk": None} if os.access(MEMORY, os.W_OK) else {"disk": None}
    cases = []
    for place, parent in places.items():
        for dtype in ("uint16", "float32"):
            days = [dataset(size, bands, dtype, slot) for slot in range(slots)]
            megabytes, spent = sum(day.nbytes for day in days) / 1e6, defaultdict(list)
            with folder(parent) as root:

                def ready(
                    prepare: Callable[[Path, list[xr.Dataset]], Prepared],
                    root: Path = root,
                    days: list[xr.Dataset] = days,
                    spent: Spent = spent,
                    keep: bool = parent is None,
                ) -> Prepared:
                    return each(prepare, root, days, repeats, spent, keep=keep)

                case = measure(
                    f"{slots} slots of {bands} x {size} x {size} {dtype}, {place}",
                    ready(ours),
                    peers={
                        "xarray.to_zarr": ready(zarr_region),
                        "to_icechunk": ready(plain_icechunk),
                        "tensorstore": ready(by_tensorstore),
                    },
                    floor=ready(raw_files),
                    repeats=repeats,
                )
            cases.append(with_note(case, noted(megabytes, spent)))
    return cases


def noted(megabytes: float, spent: Spent) -> str:
    least = {
        name: (min(w for w, _ in runs), min(c for _, c in runs)) for name, runs in spent.items()
    }
    wall, cpu = least["ours"]
    against = [
        f"{name} {found[0] / wall:.2f} x, CPU {found[1] / cpu:.2f} x"
        for name, found in least.items()
        if name in ("zarr_region", "plain_icechunk", "by_tensorstore")
    ]
    load = os.getloadavg()[0]
    return f"ours {megabytes / wall:.0f} MB/s at best; least: {'; '.join(against)}; load {load:.1f}"


def each(
    prepare: Callable[[Path, list[xr.Dataset]], Prepared],
    root: Path,
    days: list[xr.Dataset],
    repeats: int,
    spent: Spent,
    *,
    keep: bool,
) -> Prepared:
    """A fresh store for every repetition, made beforehand."""
    folders = [root / f"{prepare.__name__}-{number}" for number in range(repeats)]
    prepared = [prepare(path, days) for path in folders]

    def run() -> None:
        write, path = prepared.pop(), folders.pop()
        started, before = time.perf_counter(), processor_s()
        write()
        taken = time.perf_counter() - started, processor_s() - before
        spent[prepare.__name__].append(taken)
        if not keep:
            shutil.rmtree(path)

    return run


def processor_s() -> float:
    """Processor time of this process with all its threads [s]."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def insertion(*, quick: bool) -> list[Case]:
    """Median cost of one more partition in cubes of several lengths, which take turns."""
    day = dataset(1024, 1, "uint16").copy(data={"B1": np.full((1, 1024, 1024), 7, "uint16")})
    with folder() as root:
        cubes: dict[int, CubeStore] = {}
        for length in (10, 100, 1_000) if quick else (10, 100, 1_000, 5_000):
            cubes[length] = open_store(str(root / str(length)))
            cubes[length].ensure(schema(1024, ["B1"], "uint16"))
            for slot in range(length):
                insert(cubes[length], moved(day, slot), slot)
        seconds: dict[int, list[float]] = {length: [] for length in cubes}
        for turn in range(40):
            for length, store in cubes.items():
                new = moved(day, length + turn)
                slot = length + turn
                seconds[length].append(
                    timed(lambda store=store, new=new, slot=slot: insert(store, new, slot))
                )
    medians = {length: float(np.median(found)) for length, found in seconds.items()}
    return [
        Case(
            case=f"insert 1 partition of 4 chunks into {length} slots",
            ours=median,
            note=f"{median / medians[10]:.2f} x the first",
        )
        for length, median in medians.items()
    ]


def no_op(*, quick: bool) -> Case:
    """A backfill of partitions that are all current."""
    partitions = 100 if quick else 1_000
    day = dataset(256, 1, "uint16")
    days = [moved(day, slot) for slot in range(partitions)]
    with folder() as root:
        store = open_store(str(root / "cube"))
        store.ensure(schema(256, ["B1"], "uint16"))
        for slot, day in enumerate(days):
            insert(store, day, slot)

        def again() -> None:
            for slot, day in enumerate(days):
                insert(store, day, slot, written=False)

        seconds = timed(again)
    note = f"{seconds / partitions * 1e3:.1f} ms each"
    return Case(case=f"no-op backfill of {partitions} partitions", ours=seconds, note=note)


def insert(store: CubeStore, data: xr.Dataset, slot: int, *, written: bool = True) -> None:
    day = START + timedelta(days=slot)
    report = store.write(
        NAME,
        Window(day, day + timedelta(days=1)),
        data,
        [SlotRecord(day=day, item_count=1)],
        Commit(pipeline="bench", partition=day.isoformat(), fingerprint=f"{slot:020d}"),
    )
    if report.written is not written:
        raise AssertionError(report)


def moved(data: xr.Dataset, slot: int) -> xr.Dataset:
    return data.assign_coords(time=[np.datetime64(START + timedelta(days=slot), "ns")])


def ours(path: Path, days: list[xr.Dataset]) -> Prepared:
    store = open_store(str(path))
    store.ensure(schema(days[0].sizes["x"], list(days[0]), str(days[0]["B1"].dtype)))

    def run() -> None:
        for slot, day in enumerate(days):
            insert(store, day, slot)

    return run


def zarr_region(path: Path, days: list[xr.Dataset]) -> Prepared:
    template(days).to_zarr(path, compute=False, encoding=encoding(days), consolidated=False)
    parts = [day.drop_vars(["y", "x"]).chunk({"y": CHUNK, "x": CHUNK}) for day in days]

    def run() -> None:
        for slot, part in enumerate(parts):
            part.to_zarr(path, region={"time": slice(slot, slot + 1)}, consolidated=False)

    return run


def plain_icechunk(path: Path, days: list[xr.Dataset]) -> Prepared:
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    template(days).to_zarr(
        session.store, compute=False, encoding=encoding(days), consolidated=False
    )
    session.commit("template")
    parts = [day.drop_vars(["y", "x"]) for day in days]

    def run() -> None:
        for slot, part in enumerate(parts):
            session = repository.writable_session("main")
            icechunk.xarray.to_icechunk(part, session, region={"time": slice(slot, slot + 1)})
            session.commit(f"slot {slot}")

    return run


def by_tensorstore(path: Path, days: list[xr.Dataset]) -> Prepared:
    size, dtype = days[0].sizes["x"], days[0]["B1"].dtype
    metadata = {
        "shape": [len(days), size, size],
        "data_type": str(dtype),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, CHUNK, CHUNK]}},
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": codec(dtype)},
        ],
        "fill_value": 0,
    }
    stores = {
        band: tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{path}/{band}"},
                "metadata": metadata,
            },
            create=True,
        ).result()
        for band in days[0]
    }

    def run() -> None:
        for slot, day in enumerate(days):
            writes = [store[slot].write(day[band].values[0]) for band, store in stores.items()]
            for write in writes:
                write.result()

    return run


def raw_files(path: Path, days: list[xr.Dataset]) -> Prepared:
    path.mkdir()

    def run() -> None:
        for slot, day in enumerate(days):
            for band, values in day.items():
                (path / f"{slot}-{band}.raw").write_bytes(values.values.data)

    return run


def schema(size: int, bands: list[str], dtype: str) -> CubeSchema:
    return CubeSchema(
        name=NAME,
        grid=Grid(crs="EPSG:32632", resolution=10.0, left=5e5, top=5e6, width=size, height=size),
        start=START,
        chunk=(CHUNK, CHUNK),
        variables=tuple(
            Variable(name=band, dtype=dtype, fill_value=np.nan if dtype == "float32" else 0)
            for band in bands
        ),
    )


def dataset(size: int, bands: int, dtype: str, slot: int = 0) -> xr.Dataset:
    """One day; every band and every day has noise of its own."""
    rng = np.random.default_rng(slot)
    axis = np.linspace(0, 9, size)
    smooth = 3000 + 2000 * np.sin(axis)[:, None] * np.cos(axis)[None, :]
    return xr.Dataset(
        {
            f"B{band + 1}": (
                ("time", "y", "x"),
                (smooth + rng.normal(0, 40, (1, size, size))).astype(dtype),
            )
            for band in range(bands)
        },
        coords={
            "time": [np.datetime64(START + timedelta(days=slot), "ns")],
            "y": 5e6 - 5 - 10.0 * np.arange(size),
            "x": 5e5 + 5 + 10.0 * np.arange(size),
        },
    )


def template(days: list[xr.Dataset]) -> xr.Dataset:
    whole = xr.concat(days, "time", data_vars="all")
    return xr.zeros_like(whole.chunk({"time": 1, "y": CHUNK, "x": CHUNK}))


def encoding(days: list[xr.Dataset]) -> dict[str, dict[str, object]]:
    compressor = BloscCodec(**codec(days[0]["B1"].dtype))
    return {
        str(band): {"compressors": (compressor,), "chunks": (1, CHUNK, CHUNK)} for band in days[0]
    }


def codec(dtype: np.dtype) -> dict[str, object]:
    return {
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "bitshuffle",
        "typesize": dtype.itemsize,
        "blocksize": 256 * 1024,
    }


def with_note(case: Case, note: str) -> Case:
    return Case(case=case.case, ours=case.ours, peers=case.peers, floor=case.floor, note=note)


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="geostack-bench-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
