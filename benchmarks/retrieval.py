"""Methane retrievals against SPy, plain numpy and MAG1C, beside the machine's own limits.

    python benchmarks/retrieval.py [--quick] [--json FILE] [--device cpu|gpu] [--fraction F]

All on one cube of EMIT's shape, 1280 x 1242 x 285 float32, or the stated fraction of its columns;
the window 2137 to 2493 nm has 48 bands. The floor of a filter is the time for the flops of its
covariances at the measured float64 matrix-product rate plus one reading of the window at the
measured copy rate. Results are checked against the peers before they are timed.
"""

import argparse
import resource
import sys
import time

import jax
import numpy as np
import spectral
from _report import Case, arguments, measure, report

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


def options() -> argparse.Namespace:
    """Options of this script alone; what is left goes to those all benchmarks share."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--fraction", type=float, default=None, help="of the columns, 0 to 1")
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

    def __init__(self, columns: int, walk: Walk | None) -> None:
        self.cube, wavelength = make_cube(columns)
        target = methane_target(methane_surrogate(), wavelength, np.full(BANDS, 8.6))
        bands = target.bands(NARROW_NM)[-48:]
        self.window = slice(int(bands[0]), int(bands[-1]) + 1)
        self.unit = target.unit_absorption[bands]
        self.signature = Signature(bands=bands, unit_absorption=self.unit)
        self.usable = np.ones(self.cube.shape[:2], bool)
        self.walk = walk

    def ours(self, operator: ColumnOperator) -> np.ndarray:
        """Enhancement by this package."""
        maps = walk_columns(self.cube, operator, self.signature, usable=self.usable, walk=self.walk)
        return maps.enhancement

    def spy(self, dtype: type = np.float32) -> np.ndarray:
        """Enhancement by SPy, column by column; it takes its statistics in the input's dtype."""
        result = np.empty(self.cube.shape[:2])
        for column in range(self.cube.shape[1]):
            x = self.cube[:, column : column + 1, self.window].astype(dtype)
            stats = spectral.calc_stats(x)
            target = stats.mean * (1 + self.unit)
            result[:, column] = np.ravel(spectral.matched_filter(x, target, stats))
        return result

    def numpy(self, dtype: type) -> np.ndarray:
        """Enhancement by numpy and its BLAS, column by column."""
        result = np.empty(self.cube.shape[:2], dtype)
        for column in range(self.cube.shape[1]):
            x = self.cube[:, column, self.window].astype(dtype)
            mean = x.mean(axis=0)
            x -= mean
            covariance = x.T @ x / dtype(LINES - 1)
            target = (self.unit * mean).astype(dtype)
            weights = np.linalg.solve(covariance, target)
            result[:, column] = x @ (weights / (target @ weights))
        return result

    def leave_one_out(self) -> np.ndarray:
        """Leave-one-out shrinkage with an inverse per candidate, in numpy."""
        grid = 10.0 ** np.linspace(-10, 0, 201)
        chosen = np.empty(self.cube.shape[1])
        for column in range(self.cube.shape[1]):
            x = self.cube[:, column, self.window].astype(np.float64)
            x -= x.mean(axis=0)
            sample = x.T @ x / (LINES - 1)
            costs = [_cost(x, sample, strength) for strength in grid]
            chosen[column] = grid[int(np.argmin(costs))]
        return chosen

    def mag1c_formulas(self) -> np.ndarray:
        """MAG1C from its formulas in numpy float64: the covariance anew in each iteration."""
        result = np.empty(self.cube.shape[:2])
        for column in range(self.cube.shape[1]):
            result[:, column] = _mag1c(self.cube[:, column, self.window], self.unit)
        return result


def _cost(x: np.ndarray, sample: np.ndarray, strength: float) -> float:
    lines = len(x)
    beta = (1 - strength) / (lines - 1)
    matrix = lines * beta * sample + strength * np.diag(np.diag(sample))
    distance = np.einsum("nb,nb->n", x @ np.linalg.inv(matrix), x)
    left = 1 - beta * distance
    spread = np.sum(np.log(left) + distance / left) / (2 * lines)
    return float(0.5 * np.linalg.slogdet(matrix)[1] + spread)


def _mag1c(column: np.ndarray, unit: np.ndarray, iterations: int = 30) -> np.ndarray:
    x, k = column.astype(np.float64), 1e5 * unit

    def background(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean = z.mean(axis=0)
        centred = z - mean
        sample = centred.T @ centred / len(z)
        regular = (1 - 1e-4) * sample + 1e-4 * np.diag(np.diag(sample))
        return mean, k * mean, np.linalg.solve(regular, k * mean)

    mean, target, weights = background(x)
    albedo = x @ mean / (mean @ mean)
    alpha = np.maximum(0, (x - mean) @ weights / (albedo * (target @ weights)))
    for _ in range(iterations):
        penalty = 1 / (albedo * (alpha + 1e-9))
        mean, target, weights = background(x - (albedo * alpha)[:, None] * target)
        power = max(target @ weights, 1)
        alpha = np.maximum(0, ((x - mean) @ weights - penalty) / (albedo * power))
    return 1e5 * alpha


def best(run: object, repeats: int = 5) -> float:
    """Shortest wall time [s]."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


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


def floor_s(work: Work, machine: dict[str, float]) -> float:
    """Covariance flops at the float64 rate plus one reading of the window [s]."""
    pixels, depth = work.usable.size, work.unit.size
    return 2 * pixels * depth**2 / machine["float64 product"] + 4 * pixels * depth / machine["copy"]


def check(work: Work) -> None:
    """Stop unless all variants agree on the first columns."""
    part = Work.__new__(Work)
    part.__dict__.update(work.__dict__)
    part.cube, part.usable = work.cube[:, :16], work.usable[:, :16]
    spy, ours = part.spy(np.float64), part.ours(MatchedFilter())
    assert np.abs(ours - spy).max() < 1e-2, "SPy disagrees"
    assert np.abs(part.ours(Mag1c()) - part.mag1c_formulas()).max() < 1e-4, "MAG1C disagrees"
    assert np.abs(part.ours(MatchedFilter(exact=False)) - ours).max() < 10, "float32 is off"


def main() -> None:
    """Measure and report."""
    own = options()
    quick = arguments().quick
    fraction = own.fraction or (0.05 if quick else 1.0)
    repeats = 1 if quick else 3
    columns = max(32, round(COLUMNS * fraction))
    gpu = own.device == "gpu"
    device = jax.devices(own.device)[0]
    jax.config.update("jax_default_device", device)  # for all threads, unlike the context
    work = Work(columns, Walk(group=256) if gpu else None)
    check(work)
    operators = {
        "matched filter, float64": MatchedFilter(),
        "matched filter, float32": MatchedFilter(exact=False),
        "leave-one-out shrinkage": MatchedFilter(regulariser=LeaveOneOut()),
        "MAG1C, 30 iterations, float64": Mag1c(),
        "MAG1C, 30 iterations, float32": Mag1c(exact=False),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for operator in operators.values():
        work.ours(operator)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    machine = device_limits(device) if gpu else limits()
    few = {"SPy": work.spy, "numpy f64": lambda: work.numpy(np.float64)}
    peers = {
        "matched filter, float64": few,
        "matched filter, float32": {"numpy f32": lambda: work.numpy(np.float32)},
    }
    if quick or fraction <= 0.1:
        peers["leave-one-out shrinkage"] = {"numpy, 201 inverses": work.leave_one_out}
        peers["MAG1C, 30 iterations, float64"] = {"formulas, numpy f64": work.mag1c_formulas}
    cases = [
        measure(
            f"{name} ({columns} of {COLUMNS} columns)",
            lambda operator=operator: work.ours(operator),
            peers=peers.get(name),
            repeats=repeats,
            note=f"{column_kernel(operator).compilations} compilations",
        )
        for name, operator in operators.items()
    ]
    lowest = floor_s(work, machine)
    plain = cases[0].ours
    cases = [
        Case(
            case=case.case,
            ours=case.ours,
            peers=case.peers,
            floor=None if "MAG1C" in case.case else lowest,
            note=f"{case.note}; {case.ours / plain:.2f} x plain",
        )
        for case in cases
    ]
    rates = ", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in machine.items())
    report(f"Retrievals on {device.platform} {device.device_kind}: {rates}", cases)
    print(
        f"peak memory: {peak * 1024 / work.cube.nbytes:.2f} x the cube "
        f"({before * 1024 / work.cube.nbytes:.2f} x before the retrievals); "
        f"throughput {work.usable.size / plain / 1e6:.2f} Mpixel/s"
    )


if __name__ == "__main__":
    main()
