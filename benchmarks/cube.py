"""Writing cubes: throughput beside peers with the same codec, and what one more partition costs.

Pixels are smooth fields with noise in the last bits, as reflectance is: they compress 1.6 times.
Peers and limits write the same slots with a commit (or a synchronised region) for each slot.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import icechunk
import icechunk.xarray
import numpy as np
import tensorstore
import xarray as xr
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


def main() -> None:
    quick = arguments().quick
    report("Write a cube", [*throughput(quick=quick), *insertion(quick=quick), no_op(quick=quick)])


def throughput(*, quick: bool) -> list[Case]:
    size, slots = (1024, 4) if quick else (2048, 12)
    cases = []
    for dtype in ("uint16", "float32"):
        data = dataset(size, slots, dtype)
        megabytes = data["B04"].nbytes / 1e6
        case = measure(
            f"write {slots} slots of {size} x {size} {dtype} ({megabytes:.0f} MB)",
            lambda data=data: ours(data),
            peers={
                "xarray.to_zarr region": lambda data=data: zarr_region(data),
                "icechunk to_icechunk": lambda data=data: plain_icechunk(data),
                "tensorstore": lambda data=data: by_tensorstore(data),
            },
            floor=lambda data=data: raw_file(data),
            repeats=1 if quick else 3,
        )
        cases.append(with_note(case, f"ours {megabytes / case.ours:.0f} MB/s; floor: a raw file"))
    return cases


def insertion(*, quick: bool) -> list[Case]:
    cases = []
    with folder() as root:
        store = open_store(str(root / "cube"))
        store.ensure(schema(1024, "uint16"))
        data, filled = dataset(1024, 1, "uint16"), 0
        for target in (10, 100, 1_000) if quick else (10, 100, 1_000, 5_000):
            while filled < target:
                filled = fill(store, data, filled, target)
            probes = [timed(lambda k=k: insert(store, data, filled + k)) for k in range(15)]
            filled += len(probes)
            cases.append(
                Case(
                    case=f"insert 1 partition (4 chunks) into {target} slots",
                    ours=float(np.median(probes)),
                    note=f"{disk_megabytes(root):.0f} MB on disk",
                )
            )
    first = cases[0].ours
    return [with_note(case, f"{case.ours / first:.2f} x the first; {case.note}") for case in cases]


def fill(store: CubeStore, data: xr.Dataset, filled: int, target: int) -> int:
    while filled < target:
        insert(store, data, filled)
        filled += 1
    return filled


def no_op(*, quick: bool) -> Case:
    partitions = 100 if quick else 1_000
    with folder() as root:
        store = open_store(str(root / "cube"))
        store.ensure(schema(256, "uint16"))
        data = dataset(256, 1, "uint16")
        for slot in range(partitions):
            insert(store, data, slot)

        def again() -> None:
            for slot in range(partitions):
                insert(store, data, slot, written=False)

        seconds = timed(again)
    note = f"{seconds / partitions * 1e3:.1f} ms each"
    return Case(case=f"no-op backfill of {partitions} partitions", ours=seconds, note=note)


def insert(store: CubeStore, data: xr.Dataset, slot: int, *, written: bool = True) -> None:
    day = START + timedelta(days=slot)
    report = store.write(
        NAME,
        Window(day, day + timedelta(days=1)),
        data.isel(time=[0]).assign_coords(time=np.array([day], "datetime64[ns]")),
        [SlotRecord(day=day, item_count=1)],
        Commit(pipeline="bench", partition=day.isoformat(), fingerprint=f"{slot:020d}"),
    )
    if report.written is not written:
        raise AssertionError(report)


def ours(data: xr.Dataset) -> None:
    with folder() as root:
        store = open_store(str(root / "cube"))
        store.ensure(schema(data.sizes["x"], str(data["B04"].dtype)))
        for slot in range(data.sizes["time"]):
            insert(store, data.isel(time=[slot]), slot)


def zarr_region(data: xr.Dataset) -> None:
    with folder() as root:
        path = str(root / "cube.zarr")
        template(data).to_zarr(path, compute=False, encoding=encoding(data), consolidated=False)
        for slot in range(data.sizes["time"]):
            part = data.isel(time=[slot]).drop_vars(["y", "x"]).chunk({"y": CHUNK, "x": CHUNK})
            part.to_zarr(path, region={"time": slice(slot, slot + 1)}, consolidated=False)


def plain_icechunk(data: xr.Dataset) -> None:
    with folder() as root:
        repository = icechunk.Repository.create(
            icechunk.local_filesystem_storage(str(root / "cube"))
        )
        session = repository.writable_session("main")
        template(data).to_zarr(
            session.store, compute=False, encoding=encoding(data), consolidated=False
        )
        session.commit("template")
        for slot in range(data.sizes["time"]):
            session = repository.writable_session("main")
            part = data.isel(time=[slot]).drop_vars(["y", "x"])
            icechunk.xarray.to_icechunk(part, session, region={"time": slice(slot, slot + 1)})
            session.commit(f"slot {slot}")


def by_tensorstore(data: xr.Dataset) -> None:
    values = data["B04"]
    with folder() as root:
        store = tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": str(root / "cube")},
                "metadata": {
                    "shape": list(values.shape),
                    "data_type": str(values.dtype),
                    "chunk_grid": {
                        "name": "regular",
                        "configuration": {"chunk_shape": [1, CHUNK, CHUNK]},
                    },
                    "codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}},
                        {"name": "blosc", "configuration": codec(values.dtype)},
                    ],
                    "fill_value": 0,
                },
            },
            create=True,
        ).result()
        for slot in range(values.sizes["time"]):
            store[slot].write(values.values[slot]).result()


def raw_file(data: xr.Dataset) -> None:
    with folder() as root:
        for slot in range(data.sizes["time"]):
            (root / f"{slot}.raw").write_bytes(data["B04"].values[slot].data)


def schema(size: int, dtype: str) -> CubeSchema:
    return CubeSchema(
        name=NAME,
        grid=Grid(
            crs="EPSG:32632", resolution=10.0, left=5e5, top=5e6, width=size, height=size
        ),
        start=START,
        chunk=(CHUNK, CHUNK),
        variables=(Variable(name="B04", dtype=dtype, fill_value=0),),
    )


def dataset(size: int, slots: int, dtype: str) -> xr.Dataset:
    rng = np.random.default_rng(1)
    axis = np.linspace(0, 9, size)
    smooth = 3000 + 2000 * np.sin(axis)[:, None] * np.cos(axis)[None, :]
    noise = rng.normal(0, 40, (slots, size, size))
    values = (smooth + noise).astype(dtype)
    return xr.Dataset(
        {"B04": (("time", "y", "x"), values)},
        coords={
            "time": np.datetime64(START, "ns") + np.arange(slots) * np.timedelta64(1, "D"),
            "y": 5e6 - 5 - 10.0 * np.arange(size),
            "x": 5e5 + 5 + 10.0 * np.arange(size),
        },
    )


def template(data: xr.Dataset) -> xr.Dataset:
    return xr.zeros_like(data.chunk({"time": 1, "y": CHUNK, "x": CHUNK}))


def encoding(data: xr.Dataset) -> dict[str, dict[str, object]]:
    compressor = BloscCodec(**codec(data["B04"].dtype))
    return {"B04": {"compressors": (compressor,), "chunks": (1, CHUNK, CHUNK)}}


def codec(dtype: np.dtype) -> dict[str, object]:
    return {
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "bitshuffle",
        "typesize": dtype.itemsize,
        "blocksize": 0,
    }


def with_note(case: Case, note: str) -> Case:
    return Case(case=case.case, ours=case.ours, peers=case.peers, floor=case.floor, note=note)


def disk_megabytes(root: Path) -> float:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="geostack-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
