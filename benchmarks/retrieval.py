"""Methane retrievals against SPy, plain numpy and mag1c, beside the machine's own limits.

    python benchmarks/retrieval.py [--quick] [--json FILE] [--device cpu|gpu] [--fraction F]
                                   [--mag1c PYTHON]

All on one cube of EMIT's shape, 1280 x 1242 x 285 float32, or the stated fraction of its columns;
the window 2137 to 2493 nm has 48 bands. Results are checked against the peers before anything is
timed. Variants take turns; times are medians, as wall and as CPU time of the process: on a machine
that others load, the second is the steadier one.

SPy takes its statistics in its input's dtype, which is float32 here: the filter in float32 does
the same work, so does SPy's in float64 beside the filter in float64. All filters make one pass over
statistics; ours give sensitivity and uncertainty too, the peers the enhancement alone.

The floor of a filter is the time for the flops of its covariances at the measured float64
matrix-product rate plus one reading of the window at the measured copy rate. `--mag1c` names an
interpreter that has mag1c (and torch); without it the formulas in numpy stand in. On a GPU
(`--device gpu`) the floor is that of the device, and the same checks hold.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import jax
import numpy as np
from _report import Case, arguments, report
from _retrieval_peers import (
    Mag1cItself,
    alone,
    in_numpy,
    leave_one_out,
    mag1c_formulas,
    spy,
)

from geostack_dagster.inference.absorption import methane_surrogate
from geostack_dagster.inference.background import LeaveOneOut
from geostack_dagster.inference.columns import (
    ColumnOperator,
    Signature,
    Walk,
    column_kernel,
    walk_columns,
)
from geostack_dagster.inference.mag1c import Mag1c
from geostack_dagster.inference.matched_filter import MatchedFilter
from geostack_dagster.inference.target import NARROW_NM, methane_target

LINES, COLUMNS, BANDS = 1280, 1242, 285
OPERATORS: Mapping[str, ColumnOperator] = {
    "filter f64": MatchedFilter(),
    "filter f32": MatchedFilter(exact=False),
    "leave-one-out": MatchedFilter(regulariser=LeaveOneOut()),
    "MAG1C f64": Mag1c(),
    "MAG1C f32": Mag1c(exact=False),
}

type Seconds = tuple[float, float]
"""Wall and CPU time."""


def options() -> argparse.Namespace:
    """Options of this script alone; what is left goes to those all benchmarks share."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--fraction", type=float, default=None, help="of the columns, 0 to 1")
    parser.add_argument("--mag1c", metavar="PYTHON", default=None, help="interpreter with mag1c")
    parser.add_argument("--memory-of", choices=list(OPERATORS), default=None)
    parsed, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    return parsed


def make_cube(columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Radiance-like values of full rank, and wavelengths [nm]."""
    wavelength = np.linspace(381.0, 2493.0, BANDS)
    cube = np.empty((LINES, columns, BANDS), np.float32)
    rng = np.random.default_rng(0)
    shape = np.exp(-(((wavelength - 900) / 900) ** 2)).astype(np.float32) + 0.2
    modes = np.cos(np.outer(np.arange(1, 9), np.pi * (wavelength - 381) / 2112)).astype(np.float32)
    for column in range(columns):
        albedo = np.exp(0.2 * rng.standard_normal((LINES, 1), dtype=np.float32))
        ground = 1 + 0.02 * rng.standard_normal((LINES, 8), dtype=np.float32) @ modes
        cube[:, column] = albedo * ground * shape
        cube[:, column] += 2e-3 * rng.standard_normal((LINES, BANDS), dtype=np.float32)
    return cube, wavelength


class Work:
    """One cube with what all variants need."""

    def __init__(self, columns: int, walk: Walk | None = None) -> None:
        self.cube, wavelength = make_cube(columns)
        target = methane_target(methane_surrogate(), wavelength, np.full(BANDS, 8.6))
        bands = target.bands(NARROW_NM)[-48:]
        self.unit = target.unit_absorption[bands]
        self.signature = Signature(bands=bands, unit_absorption=self.unit)
        self.window = self.cube[:, :, int(bands[0]) : int(bands[-1]) + 1]
        self.usable = np.ones(self.cube.shape[:2], bool)
        self.walk = walk

    def ours(self, operator: ColumnOperator) -> np.ndarray:
        """Enhancement by this package."""
        maps = walk_columns(self.cube, operator, self.signature, usable=self.usable, walk=self.walk)
        return maps.enhancement

    def theirs(self, run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Result of a peer."""
        return alone(run)(self.window, self.unit)


def timed(run: Callable[[], object]) -> Seconds:
    """Wall and CPU time of one call [s]."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(variants: Mapping[str, Callable[[], Seconds]], repeats: int) -> dict[str, Seconds]:
    """Medians of each variant, all taking turns so that a busy machine slows all alike."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            seconds[name].append(run())
    return {
        name: (statistics.median(w for w, _ in found), statistics.median(c for _, c in found))
        for name, found in seconds.items()
    }


def best(run: Callable[[], object], repeats: int = 5) -> float:
    """Shortest wall time [s]."""
    return min(timed(run)[0] for _ in range(repeats))


def limits() -> dict[str, float]:
    """What this machine does at best: matrix products [flop/s], memory copy [byte/s]."""
    a = np.random.default_rng(0).standard_normal((2048, 2048))
    single = a.astype(np.float32)
    source = np.ones(100_000_000, np.float32)
    copy = np.empty_like(source)
    return {
        "float64 product": 2 * 2048**3 / best(lambda: a @ a),
        "float32 product": 2 * 2048**3 / best(lambda: single @ single),
        "copy": 2 * source.nbytes / best(lambda: np.copyto(copy, source)),
    }


def device_limits(device: jax.Device) -> dict[str, float]:
    """The same of an accelerator."""
    side = 8192
    a = jax.device_put(np.random.default_rng(0).standard_normal((side, side)), device)
    single = a.astype(np.float32)
    vector = jax.device_put(np.ones(500_000_000, np.float32), device)
    product, double = jax.jit(lambda m: m @ m), jax.jit(lambda v: 2 * v)
    for run in (lambda: product(a), lambda: product(single), lambda: double(vector)):
        jax.block_until_ready(run())
    return {
        "float64 product": 2 * side**3 / best(lambda: product(a).block_until_ready()),
        "float32 product": 2 * side**3 / best(lambda: product(single).block_until_ready()),
        "copy": 2 * vector.nbytes / best(lambda: double(vector).block_until_ready()),
    }


def floor_s(work: Work, machine: Mapping[str, float]) -> float:
    """Covariance flops at the float64 rate plus one reading of the window [s]."""
    pixels, depth = work.usable.size, work.unit.size
    return 2 * pixels * depth**2 / machine["float64 product"] + 4 * pixels * depth / machine["copy"]


def check(work: Work) -> None:
    """Stop unless all variants agree on the first columns: the tolerances of the tests."""
    part = Work.__new__(Work)
    part.__dict__.update(work.__dict__)
    part.cube, part.window, part.usable = (
        whole[:, :16] for whole in (work.cube, work.window, work.usable)
    )
    ours, single = part.ours(MatchedFilter()), part.ours(MatchedFilter(exact=False))
    assert np.abs(ours - part.theirs(spy(np.float64))).max() < 1e-2, "SPy disagrees"
    assert np.abs(ours - part.theirs(in_numpy(np.float64))).max() < 1e-3, "numpy disagrees"
    assert np.abs(single - ours).max() < 10, "float32 is off"
    assert np.sqrt(np.mean((single - ours) ** 2)) < 2, "float32 is off"
    assert np.abs(part.ours(Mag1c()) - part.theirs(mag1c_formulas)).max() < 1e-4, "MAG1C disagrees"


def peak_share(name: str, columns: int) -> float:
    """Peak memory of one operator over the cube's size, in a process that does nothing else.

    The cube is in it; what Python and JAX need before there is one is not.
    """
    command = [sys.executable, __file__, "--memory-of", name, "--fraction", str(columns / COLUMNS)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    return float(subprocess.check_output(command, text=True, env=environment))


def print_peak(name: str, columns: int) -> None:
    """The child of `peak_share`."""
    Work(32).ours(OPERATORS[name])  # compiled, and all libraries loaded
    before = _peak_bytes()
    work = Work(columns)
    work.ours(OPERATORS[name])
    print((_peak_bytes() - before) / work.cube.nbytes)


def _peak_bytes() -> int:
    """Most memory that this process held; `ru_maxrss` would be inherited from the parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def peers_of(work: Work, mag1c: Mag1cItself | None, *, slow: bool) -> dict[str, dict]:
    """Peers by operator and name; the slow ones only where the cube is small."""

    def of(run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[], Seconds]:
        return lambda: timed(lambda: work.theirs(run))

    peers: dict[str, dict] = {name: {} for name in OPERATORS}
    single = of(spy(np.float32))
    peers["filter f64"] = {
        "SPy": single,
        "SPy f64": of(spy(np.float64)),
        "numpy": of(in_numpy(np.float64)),
    }
    peers["filter f32"] = {"SPy": single, "numpy": of(in_numpy(np.float32))}
    if slow:
        peers["leave-one-out"] = {"numpy": of(leave_one_out)}
    if mag1c is not None:
        peers["MAG1C f64"] = {"mag1c": lambda: mag1c.seconds("float64")}
        peers["MAG1C f32"] = {"mag1c": lambda: mag1c.seconds("float32")}
    if slow:
        peers["MAG1C f64"]["formulas"] = of(mag1c_formulas)
    return peers


def main() -> None:
    """Measure and report."""
    own = options()
    quick = arguments().quick
    fraction = own.fraction or (0.05 if quick else 1.0)
    columns = max(32, round(COLUMNS * fraction))
    if own.memory_of is not None:
        print_peak(own.memory_of, columns)
        return
    gpu = own.device == "gpu"
    device = jax.devices(own.device)[0]
    jax.config.update("jax_default_device", device)  # for all threads, unlike the context
    work = Work(columns, Walk(group=256) if gpu else None)
    check(work)
    for operator in OPERATORS.values():
        work.ours(operator)
    machine = device_limits(device) if gpu else limits()
    with ExitStack() as stack:
        mag1c = None
        if own.mag1c is not None:
            mag1c = stack.enter_context(Mag1cItself(own.mag1c, work.window, work.unit))
            mag1c.seconds("float64")
            worst = np.abs(mag1c.found - work.ours(Mag1c())).max()
            assert worst < 1e-4, f"mag1c disagrees by {worst} ppm m"
        peers = peers_of(work, mag1c, slow=quick or fraction <= 0.1)
        variants = {
            (name, "ours"): (lambda operator=operator: timed(lambda: work.ours(operator)))
            for name, operator in OPERATORS.items()
        } | {(name, peer): run for name, found in peers.items() for peer, run in found.items()}
        seconds = in_turns(variants, repeats=1 if quick else 5)
    show(work, machine, seconds, device)
    for name in ("filter f64",) if quick else OPERATORS:
        if not gpu:
            print(f"peak memory, {name}: {peak_share(name, columns):.2f} x the cube")


def show(
    work: Work,
    machine: Mapping[str, float],
    seconds: Mapping[tuple[str, str], Seconds],
    device: jax.Device,
) -> None:
    """The table of wall times, and ratios of wall and CPU time below it."""
    lowest, plain = floor_s(work, machine), seconds["filter f64", "ours"]
    flops = 2 * work.usable.size * work.unit.size**2
    cases, lines = [], []
    for name, operator in OPERATORS.items():
        ours = seconds[name, "ours"]
        peers = {peer: found for (case, peer), found in seconds.items() if case == name}
        del peers["ours"]
        cases.append(
            Case(
                case=name,
                ours=ours[0],
                peers={peer: found[0] for peer, found in peers.items()},
                floor=None if "MAG1C" in name else lowest,
                note=f"{column_kernel(operator).compilations} compiled",
            )
        )
        ratios = [
            f"{peer} {found[0] / ours[0]:.1f} x wall, {found[1] / ours[1]:.1f} x CPU"
            for peer, found in peers.items()
        ]
        ratios.append(f"{ours[0] / plain[0]:.2f} x wall, {ours[1] / plain[1]:.2f} x CPU of plain")
        if "MAG1C" not in name:
            rate = machine["float64 product"]
            ratios.append(f"{ours[0] / lowest:.2f} x floor, {flops / ours[0] / rate:.0%} of flops")
        lines.append(f"{name}: {ours[0]:.3f} s wall, {ours[1]:.3f} s CPU; " + "; ".join(ratios))
    rates = ", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in machine.items())
    share = f"{work.cube.shape[1]} of {COLUMNS} columns"
    report(f"Retrievals, {share}, {device.platform} {device.device_kind}: {rates}", cases)
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
