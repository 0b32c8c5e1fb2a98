"""The learned detector against the classical one, from radiance to scores, with training times.

    python benchmarks/detector.py [--quick] [--json FILE] [--seeds N] [--worlds N]

EMIT-like radiance with plumes of known place (mixtures, gases, a gain for every detector column,
noise) goes through the matched filter; the maps and their truth are the data. Sites are split, not
chips. Everything is scored on full scenes of other sites, by the code that guards promotions.

One training in one world may have been lucky: `--seeds` trains several times on the same scenes,
`--worlds` draws other scenes. Each training is held against the classical detector that is best in
its world, chosen on the scenes that judge: the hardest baseline.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
from _report import Case, arguments, report
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from geostack_dagster.inference.absorption import methane_surrogate
from geostack_dagster.inference.detection import Detection
from geostack_dagster.inference.enhancement import Retrieval, retrieve_enhancement
from geostack_dagster.inference.matched_filter import Noise
from geostack_dagster.inference.target import methane_target
from geostack_dagster.learning.calibrate import calibrated
from geostack_dagster.learning.chips import Chip, Cutting, index_scene
from geostack_dagster.learning.evaluate import Difference, Evaluation, compare, evaluate
from geostack_dagster.learning.finders import Classical, Learned
from geostack_dagster.learning.injection import Emission, plume_column
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.scenes import Maps, PixelState, Scene
from geostack_dagster.learning.train import Training, fit

SHAPE = (256, 192)
PIXEL_M = 60.0
WAVELENGTH = np.arange(381.0, 2493.5, 7.43)
WAVELENGTH = WAVELENGTH[WAVELENGTH >= 2137.0]
FWHM = np.full(WAVELENGTH.size, 8.6)
CLASSICAL = tuple(
    Classical(
        name=f"classical{' of the corrected map' if corrected else ''}, sigma {sigma}",
        settings=Detection(sigma_px=sigma),
        corrected=corrected,
    )
    for corrected in (False, True)
    for sigma in (0.3, 1.0, 1.5, 2.0)
)
_SCENES = 1000  # numbers set aside for each world

type Named = tuple[str, Difference]


def field(rng: np.random.Generator, scale_px: float) -> np.ndarray:
    """Smooth field of mean 0 and standard deviation 1."""
    found = gaussian_filter(rng.standard_normal(SHAPE), scale_px, mode="wrap")
    return (found - found.mean()) / found.std()


def sunlight() -> np.ndarray:
    """Radiance of the sun above the atmosphere at each band [uW cm-2 sr-1 nm-1 times pi]."""
    metres = WAVELENGTH * 1e-9
    planck = 1.1910e-16 / metres**5 / (np.exp(0.0143878 / (metres * 5778.0)) - 1)
    return planck * 6.794e-5 * 1e-9 * 100.0


def radiance(column: np.ndarray, seed: int) -> np.ndarray:
    """EMIT-like radiance (y, x, band) over mixed ground, with this column of methane [ppm m]."""
    rng = np.random.default_rng(seed)
    soil = 0.32 - 4e-5 * (WAVELENGTH - 2200) - 0.05 * np.exp(-(((WAVELENGTH - 2205) / 18) ** 2))
    carbonate = 0.40 - 0.09 * np.exp(-(((WAVELENGTH - 2335) / 28) ** 2))
    share = 1 / (1 + np.exp(-3 * field(rng, 10.0)))[..., None]
    ground = np.exp(0.25 * field(rng, 6.0))[..., None] * (share * soil + (1 - share) * carbonate)
    for mode in range(1, 4):
        wave = np.cos(np.pi * mode * np.linspace(0, 1, WAVELENGTH.size))
        ground *= 1 + 0.004 * field(rng, 5.0)[..., None] * wave
    water = 1 + 0.03 * field(rng, 12.0)[..., None]
    depth = 0.9 * np.exp(-0.5 * ((WAVELENGTH - 2600) / 90) ** 2) * water
    depth = depth + 0.35 * np.exp(-0.5 * ((WAVELENGTH - 2060) / 25) ** 2)
    light = ground * sunlight() * math.cos(math.radians(35)) / math.pi * np.exp(-2.2 * depth)
    light *= np.exp(-methane_surrogate().optical_depth(WAVELENGTH, column))
    light *= 1 + 2e-3 * rng.standard_normal((1, SHAPE[1], WAVELENGTH.size))
    light += 1.74e-3 * np.sqrt(0.267 + light) * rng.standard_normal(light.shape)
    return light.astype(np.float32)


def make_maps(seed: int) -> Maps:
    """What the matched filter makes of a scene with no plume, one or two, and the truth."""
    rng = np.random.default_rng([seed, 1])
    column = np.zeros(SHAPE)
    for _ in range(int(rng.integers(0, 3))):
        emission = Emission(
            rate_t_h=float(np.exp(rng.uniform(np.log(2.0), np.log(20.0)))),
            wind_m_s=float(rng.uniform(1.5, 7.0)),
            direction_deg=float(rng.uniform(0, 360)),
            stability=str(rng.choice(list("BCD"))),
            meander_m=float(rng.uniform(0, 300)),
        )
        source = (float(rng.uniform(20, SHAPE[0] - 20)), float(rng.uniform(20, SHAPE[1] - 20)))
        column += plume_column(SHAPE, source, emission, pixel_m=PIXEL_M, rng=rng)
    target = methane_target(methane_surrogate(), WAVELENGTH, FWHM)
    noise = Noise(*(np.full(WAVELENGTH.size, value) for value in (1.74e-3, 0.267, 0.0)))
    found = retrieve_enhancement(
        radiance(column, seed), target, Retrieval(windows_nm=((2137.0, 2493.0),)), noise=noise
    )
    kinds = (PixelState.NO_PLUME, PixelState.UNCERTAIN, PixelState.PLUME)
    states = np.array(kinds, np.uint8)[np.digitize(column, (50.0, 250.0))]
    maps = (found.enhancement, found.uncertainty, found.sensitivity)
    enhancement, uncertainty, sensitivity = (one.astype(np.float32) for one in maps)
    return Maps(
        enhancement=enhancement, uncertainty=uncertainty, sensitivity=sensitivity, states=states
    )


class World:
    """Scenes, each at a site of its own; worlds of another number share none."""

    def __init__(self, count: int, number: int = 0) -> None:
        start = datetime(2024, 6, 1, tzinfo=UTC)
        self.scenes = [
            Scene(
                id=f"scene-{number:03d}",
                acquired=start + timedelta(days=number),
                orbit=str(number),
                crs="EPSG:32633",
                transform=(
                    PIXEL_M,
                    0.0,
                    200_000.0 + 60_000.0 * (number % 10),
                    0.0,
                    -PIXEL_M,
                    4_000_000.0 - 60_000.0 * (number // 10),
                ),
                shape=SHAPE,
                tags={},
            )
            for number in range(count)
        ]
        first = number * _SCENES
        self.maps = {scene.id: make_maps(first + n) for n, scene in enumerate(self.scenes)}

    def read(self, scene: str, rows: slice, columns: slice) -> Maps:
        """Maps of a window."""
        return self.maps[scene].window(rows, columns)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=1)
    own, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    tried = [trials(number, own.seeds, quick=arguments().quick) for number in range(own.worlds)]
    cases, gains = ([one for part in parts for one in part] for parts in zip(*tried, strict=True))
    for name, gain in gains:
        print(name, gain)
    values = [gain.value for _, gain in gains if gain.metric == "average_precision"]
    print(f"average precision gained: {min(values):+.3f} to {max(values):+.3f} in {len(values)}")
    report("Training of the detector", cases)


def trials(number: int, seeds: int, *, quick: bool) -> tuple[list[Case], list[Named]]:
    """Training times, and what each training gains over the best classical detector of a world."""
    counts = (12, 4, 8) if quick else (90, 20, 40)
    began = time.perf_counter()
    world = World(sum(counts), number)
    print(f"world {number}: {sum(counts)} scenes in {time.perf_counter() - began:.0f} s")
    train, validation, test = np.split(np.array(world.scenes, object), np.cumsum(counts)[:-1])
    samples, checks = (assemble(chips_of(part, world), world) for part in (train, validation))
    print(
        f"{len(samples.ids)} chips, {samples.positive.mean():.0%} with plumes; "
        f"plume pixels {samples.plume.mean():.2%}"
    )
    learned, cases = [], []
    for seed in range(seeds):
        used = time.process_time()
        trained = fit(samples, Training(steps=60 if quick else 500, seed=seed))
        used = time.process_time() - used
        detector = calibrated(trained.detector, checks)
        learned.append(Learned(detector=detector, name=f"U-Net, world {number}, seed {seed}"))
        name = f"{trained.training.steps} steps, world {number}, seed {seed}"
        note = f"{used:.0f} s of processor time"
        cases.append(Case(case=name, ours=trained.seconds, note=note))
        print(
            f"loss {trained.losses[:10].mean():.3f} -> {trained.losses[-10:].mean():.3f}; "
            f"threshold {detector.threshold:.2f}, {detector.platt}"
        )
    evaluations = evaluate([*CLASSICAL, *learned], test, world)
    table(evaluations)
    best = max(evaluations[: len(CLASSICAL)], key=lambda one: one.summary["average_precision"])
    gains = [
        (f"{ours.finder} over {best.finder}:", compare(ours, best, metric))
        for ours in evaluations[len(CLASSICAL) :]
        for metric in ("average_precision", "object_f1")
    ]
    return cases, gains


def chips_of(scenes: Iterable[Scene], world: World) -> list[Chip]:
    """Chips of scenes, overlapping by half."""
    cutting = Cutting(stride=32)
    return [
        chip
        for scene in scenes
        for chip in index_scene(scene, world.maps[scene.id], cutting=cutting)
    ]


def table(evaluations: tuple[Evaluation, ...]) -> None:
    """Scores side by side."""
    shown = Table(title="Scores on full scenes of unseen sites")
    names = list(evaluations[-1].summary)
    for name in ("finder", *names):
        shown.add_column(name.replace("_", " "))
    for one in evaluations:
        summary = one.summary
        shown.add_row(one.finder, *(f"{summary.get(name, math.nan):.3g}" for name in names))
    Console(width=200).print(shown)


if __name__ == "__main__":
    main()
