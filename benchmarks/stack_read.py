"""Reading a stack of COGs over http: this reader beside its peers, on the same files in one run.

12 dates x 4 bands of 10980 x 10980 uint16 (deflate, predictor 2, 512 blocks), of which an unaligned
1024 x 1024 AOI is read, natively and reprojected; then 256 x 256 chips: one window through all
Items, and 128 windows anywhere in them, as for training, which share a third of their tiles. Files
are served from loopback by a process of its own that waits before each answer. Every run asks under
a new path, so that no client's cache can help: all begin cold. The floor is a bare fetch of the
tiles that are needed.

On two cores decoding is the limit: all readers inflate the same tiles (0.45 s of CPU for the AOI),
so the ratio to a peer that reads 32 files at a time cannot reach that of latencies.
"""

import asyncio
import itertools
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import _chip_readers as chip_readers
import _stack_readers as stack_readers
import numpy as np
from _cog_scene import Scene, control, files, served
from _report import Case, arguments, report
from odc.geo.geobox import GeoBox

CHIP = (5150, 5000)  # of a chip: 1 x 2 tiles, where 1.5 x 1.5 are the mean
SLOW = ("odc default", "stackstac")  # read one file at a time: once is enough
TARGETS = (
    ("native, 50 ms", "odc default", 8.0),
    ("native, 50 ms", "best peer", 2.5),
    ("native, 0 ms", "best peer", 1.0),
    ("chips, 50 ms", "best odc", 5.0),
)

type Ranges = dict[str, list[tuple[int, int]]]
"""First byte and end of each tile that is needed, by file."""


@dataclass
class Figures:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0

    def text(self) -> str:
        return (
            f"{statistics.median(self.wall):.3f} s, cpu {statistics.median(self.cpu):.2f} s, "
            f"{self.requests} requests, {self.bytes / 1e6:.1f} MB"
        )


class Bench:
    """Variants taking turns at one url, each run under a path of its own."""

    def __init__(self, url: str, repeats: int) -> None:
        self.url, self.repeats = url, repeats
        self.numbers = itertools.count()

    def base(self) -> str:
        return f"{self.url}/run{next(self.numbers)}"

    def stack(self, name: str, scene: Scene, grid: GeoBox, delay_ms: int) -> Case:
        """One grid filled from every file of a scene."""
        control(self.url, f"delay/{delay_ms}")
        known = stack_readers.known_headers(self.base(), scene)
        ours = {
            "ours": stack_readers.ours_batch,
            "ours, known headers": partial(stack_readers.ours_batch, known=known),
            "ours as odc driver": stack_readers.ours_driver,
        }
        tiles = {name: needed_tiles(header, [grid]) for name, header in known.items()}
        return self.case(name, ours, stack_readers.PEERS, (scene, grid), tiles)

    def chips(self, name: str, chips: Sequence[chip_readers.Chip], delay_ms: int) -> Case:
        """Windows of many Items."""
        control(self.url, f"delay/{delay_ms}")
        dates = max(chip.day for chip in chips) + 1
        known = stack_readers.known_headers(self.base(), Scene(dates, 1))
        ours = {
            "ours": chip_readers.ours,
            "ours, known headers": partial(chip_readers.ours, known=known),
        }
        grids: dict[str, list[GeoBox]] = {}
        for chip in chips:
            for file in chip.names:
                grids.setdefault(file, []).append(chip.grid)
        tiles = {file: needed_tiles(known[file], grids[file]) for file in grids}
        return self.case(name, ours, chip_readers.PEERS, (chips,), tiles)

    def case(
        self,
        name: str,
        ours: Mapping[str, Callable],
        peers: Mapping[str, Callable],
        what: tuple[Any, ...],
        tiles: Ranges,
    ) -> Case:
        needed = sum(stop - start for spans in tiles.values() for start, stop in spans)
        figures = self.measured({**ours, **peers}, what, tiles)
        print(f"\n{name}: {sum(map(len, tiles.values()))} tiles, {needed / 1e6:.1f} MB needed")
        for variant, found in figures.items():
            print(f"  {variant:24} {found.text()} = {found.bytes / needed:.3f} of the tiles")
        medians = {variant: statistics.median(found.wall) for variant, found in figures.items()}
        return Case(
            case=name,
            ours=medians["ours"],
            floor=medians["floor"],
            peers={peer: medians[peer] for peer in peers},
            note=f"{figures['ours'].bytes / needed:.3f} of the tiles' bytes",
        )

    def measured(
        self, readers: Mapping[str, Callable], what: tuple[Any, ...], tiles: Ranges
    ) -> dict[str, Figures]:
        """Figures of every reader and of the floor, whose results must not differ."""
        figures = {variant: Figures() for variant in (*readers, "floor")}
        for turn in range(self.repeats):
            for variant, found in figures.items():
                if turn and variant in SLOW:
                    continue
                base = self.base()
                control(self.url, "reset")
                cpu, wall = time.process_time(), time.perf_counter()
                if variant == "floor":
                    bare_fetch(base, tiles)
                else:
                    readers[variant](base, *what)
                found.wall.append(time.perf_counter() - wall)
                found.cpu.append(time.process_time() - cpu)
                seen = control(self.url, "reset")
                found.requests, found.bytes = seen["requests"], seen["bytes"]
        return figures


def needed_tiles(header: Any, grids: Sequence[GeoBox]) -> list[tuple[int, int]]:
    from odc.loader.types import RasterLoadParams

    from geostack_dagster.stack.reader.placement import Geometry, place
    from geostack_dagster.stack.reader.window import parts

    cfg = RasterLoadParams("uint16")
    windows = [place(Geometry.of(header, grid, cfg)).window for grid in grids]
    numbers = {part.tile for window in windows for part in parts(header.main, window, 0)}
    starts = {number: int(header.main.offsets[number]) for number in sorted(numbers)}
    return [(start, start + int(header.main.counts[n])) for n, start in starts.items()]


def bare_fetch(base: str, tiles: dict[str, list[Any]]) -> None:
    """The same tiles by obstore, neighbours joined, all at once, nothing decoded."""
    import obstore
    from obstore.store import HTTPStore

    from geostack_dagster.stack.reader.ranges import Coalescing, coalesce

    store = HTTPStore(base, client_options={"allow_http": True})

    async def fetch() -> None:
        asks = []
        for name, spans in tiles.items():
            joined = coalesce([s for s, _ in spans], [e for _, e in spans], Coalescing())
            asks += [
                obstore.get_range_async(store, name, start=span.start, end=span.stop)
                for span in joined
            ]
        await asyncio.gather(*asks)

    asyncio.run(fetch())


def check(url: str) -> None:
    """All readers must give the same native pixels, or their times mean nothing."""
    scene, chips = Scene(1, 300), chip_readers.random_chips(3, 1)
    stacks = {"driver": stack_readers.ours_driver, **stack_readers.PEERS}
    asks = [
        (stack_readers.ours_batch, stacks, (scene, scene.grid)),
        (chip_readers.ours, chip_readers.PEERS, (chips,)),
    ]
    for number, (ours, readers, what) in enumerate(asks):
        truth = ours(f"{url}/check-{number}", *what)
        for name, read in readers.items():
            found = read(f"{url}/check-{number}-{name.replace(' ', '-')}", *what)
            if not np.array_equal(found, truth):
                raise SystemExit(f"{name} differs from ours in {(found != truth).mean():.2%}")


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    quick = arguments().quick
    scene = Scene(3, 1024) if quick else Scene(12, 1024)
    chip = Scene(scene.dates, 256, CHIP)
    with served(files(scene.dates)) as url:
        check(url)
        bench = Bench(url, 3)
        cases = [bench.stack(f"native, {ms} ms", scene, scene.grid, ms) for ms in (0, 50, 100)]
        cases += [
            bench.stack(f"reprojected, {ms} ms", scene, scene.reprojected, ms) for ms in (0, 50)
        ]
        cases.append(bench.stack("chip of all items, 50 ms", chip, chip.grid, 50))
        chips = chip_readers.random_chips(32 if quick else 128, scene.dates)
        cases.append(bench.chips("chips, 50 ms", chips, 50))
    report(f"Stack of {scene.dates} dates x 4 bands over http", cases)
    judge({case.case: case for case in cases})


def judge(cases: dict[str, Case]) -> None:
    """Print which of the wanted ratios are met."""
    for name, against, wanted in TARGETS:
        case = cases[name]
        odc = [seconds for peer, seconds in case.peers.items() if peer.startswith("odc")]
        best = {"best peer": min(case.peers.values()), "best odc": min(odc)}
        chosen = best[against] if against in best else case.peers[against]
        ratio = chosen / case.ours
        print(
            f"{name}: {against} / ours = {ratio:.2f}, wanted {wanted} "
            f"({'met' if ratio >= wanted else 'missed'})"
        )
    case = cases["native, 50 ms"]
    print(
        f"native, 50 ms: ours / bare fetch = {case.ours / (case.floor or 1):.2f}, wanted 3 "
        f"({'met' if case.ours <= 3 * (case.floor or 0) else 'missed'})"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
