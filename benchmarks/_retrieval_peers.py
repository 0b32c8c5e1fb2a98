"""What methane retrievals are measured against: SPy, numpy, formulas, and mag1c itself.

All take `(lines, columns, bands)` of the window and a unit absorption per band, and treat one
column after the other. BLAS runs on one thread for them: with more, its threads spin over matrices
this small and the peers take up to five times as long.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import spectral
from threadpoolctl import threadpool_limits

type Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def alone(run: Filter) -> Filter:
    """The same with BLAS on one thread."""

    def limited(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
        with threadpool_limits(1):
            return run(x, unit)

    return limited


def spy(dtype: type) -> Filter:
    """SPy, column by column; it takes its statistics in its input's dtype, so in this one."""

    def run(cube: np.ndarray, unit: np.ndarray) -> np.ndarray:
        result = np.empty(cube.shape[:2])
        for column in range(cube.shape[1]):
            x = np.ascontiguousarray(cube[:, column : column + 1], dtype)
            stats = spectral.calc_stats(x)
            result[:, column] = np.ravel(spectral.matched_filter(x, stats.mean * (1 + unit), stats))
        return result

    return run


def in_numpy(dtype: type) -> Filter:
    """The textbook filter by numpy and its BLAS in this precision: enhancement alone."""

    def run(cube: np.ndarray, unit: np.ndarray) -> np.ndarray:
        lines = cube.shape[0]
        result = np.empty(cube.shape[:2], dtype)
        for column in range(cube.shape[1]):
            x = cube[:, column].astype(dtype)
            mean = x.mean(axis=0)
            x -= mean
            target = (unit * mean).astype(dtype)
            weights = np.linalg.solve(x.T @ x / dtype(lines - 1), target)
            result[:, column] = x @ (weights / (target @ weights))
        return result

    return run


def leave_one_out(cube: np.ndarray, _unit: np.ndarray) -> np.ndarray:
    """Shrinkage of each column by leave-one-out likelihood, with an inverse per candidate."""
    grid = 10.0 ** np.linspace(-10, 0, 201)
    chosen = np.empty(cube.shape[1])
    for column in range(cube.shape[1]):
        x = cube[:, column].astype(np.float64)
        x -= x.mean(axis=0)
        sample = x.T @ x / (len(x) - 1)
        costs = [_cost(x, sample, strength) for strength in grid]
        chosen[column] = grid[int(np.argmin(costs))]
    return chosen


def _cost(x: np.ndarray, sample: np.ndarray, strength: float) -> float:
    lines = len(x)
    beta = (1 - strength) / (lines - 1)
    matrix = lines * beta * sample + strength * np.diag(np.diag(sample))
    distance = np.einsum("nb,nb->n", x @ np.linalg.inv(matrix), x)
    left = 1 - beta * distance
    spread = np.sum(np.log(left) + distance / left) / (2 * lines)
    return float(0.5 * np.linalg.slogdet(matrix)[1] + spread)


def mag1c_formulas(cube: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """MAG1C from its formulas in numpy float64: the covariance anew in each iteration.

    Stands in for mag1c where that is not installed; it is faster than mag1c.
    """
    columns = [_mag1c(cube[:, column], unit) for column in range(cube.shape[1])]
    return np.stack(columns, axis=1)


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


_WORKER = """
import json, sys, time
import numpy as np
import torch
# removed from torch, and the last mag1c is of 2020
torch.cholesky = lambda matrix, upper=False: torch.linalg.cholesky(matrix)
from mag1c.mag1c import acrwl1mf

folder = sys.argv[1]
unit = np.load(folder + "/unit.npy")
cube = np.load(folder + "/cube.npy").transpose(1, 0, 2).copy()
print("ready", flush=True)
for line in sys.stdin:
    name, threads = line.split()
    torch.set_num_threads(int(threads))
    dtype = getattr(torch, name)
    template = torch.as_tensor(1e5 * unit).to(dtype)
    everything = torch.ones((1, cube.shape[1]), dtype=torch.bool)
    wall, cpu = time.perf_counter(), time.process_time()
    found = []
    for column in cube:
        x = torch.as_tensor(column[None]).to(dtype)
        found.append(acrwl1mf(x, template, 30, False, False, False, 1.0, 1e-4, everything)[0])
    seconds = [time.perf_counter() - wall, time.process_time() - cpu]
    np.save(folder + "/found.npy", torch.cat(found)[:, :, 0].T.double().numpy())
    print(json.dumps(seconds), flush=True)
"""


@dataclass(slots=True)
class Mag1cItself:
    """mag1c in an interpreter of its own: it needs torch, several gigabytes that nobody else does.

    The process lives on between runs, so no import is timed.
    """

    python: str
    cube: np.ndarray
    unit: np.ndarray
    threads: int = 1
    """Of torch; more made it slower here, on one column at a time."""
    _folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        np.save(folder / "cube.npy", self.cube)
        np.save(folder / "unit.npy", self.unit)
        self._process = subprocess.Popen(
            [self.python, "-c", _WORKER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        self._folder.cleanup()

    def seconds(self, dtype: str) -> tuple[float, float]:
        """Wall and CPU time of all columns [s]."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{dtype} {self.threads}\n")
        self._process.stdin.flush()
        wall, cpu = json.loads(self._answer())
        return wall, cpu

    @property
    def found(self) -> np.ndarray:
        """Enhancement of the last run [ppm m]."""
        return np.load(Path(self._folder.name) / "found.npy")

    def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.python} cannot run mag1c; see its message above")
        return line
