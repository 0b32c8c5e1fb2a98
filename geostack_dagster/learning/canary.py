"""Canaries: plumes of known rate in scenes without one. Who no longer finds them has gone blind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import binomtest

from geostack_dagster.errors import NoDataError
from geostack_dagster.learning.finders import Finder
from geostack_dagster.learning.injection import Emission, add_column, plume_column
from geostack_dagster.learning.objects import match
from geostack_dagster.learning.scenes import Maps, PixelState, Scene, SceneSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPlan:
    """Which plumes are put where."""

    rates_t_h: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    trials: int = 50
    """Of each rate."""
    size: int = 128
    """Rows and columns of the windows [pixels]."""
    per_scene: int = 4
    """Windows of one scene, at most: memory stays small and no scene rules."""
    free_fraction: float = 0.8
    """Least part of a window that must be known to be free of plumes."""
    winds_m_s: tuple[float, float] = (2.0, 5.0)
    pixel_m: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canaries:
    """Which plumes one finder found."""

    finder: str
    rates_t_h: Float64[np.ndarray, " n"]
    found: Bool[np.ndarray, " n"]

    @property
    def by_rate(self) -> dict[float, float]:
        """Part found, by rate."""
        return {
            float(rate): float(self.found[self.rates_t_h == rate].mean())
            for rate in np.unique(self.rates_t_h)
        }


def release(
    finders: Sequence[Finder],
    scenes: Sequence[Scene],
    source: SceneSource,
    plan: CanaryPlan | None = None,
) -> tuple[Canaries, ...]:
    """Which canaries each finder finds; all see the same plumes in the same windows.

    Args:
        finders: To be tried.
        scenes: With ground known to be free of plumes; those of the gate.
        source: Of their pixels and labels.
        plan: `CanaryPlan()` if None.

    Raises:
        NoDataError: If no window is large enough, observed and free of plumes.
    """
    plan = plan or CanaryPlan()
    windows = _free_windows(scenes, source, plan)
    rates = np.repeat(np.asarray(plan.rates_t_h, np.float64), plan.trials)
    found = np.zeros((len(finders), rates.size), bool)
    for trial, rate in enumerate(rates):
        rng = np.random.default_rng([plan.seed, trial])
        maps = _with_plume(windows[int(rng.integers(len(windows)))], float(rate), plan, rng)
        for number, finder in enumerate(finders):
            labels = finder.find(maps).labels
            truths = match(labels, maps.states, maps.enhancement).truths
            found[number, trial] = any(truth.found for truth in truths)
    return tuple(
        Canaries(finder=finder.name, rates_t_h=rates, found=found[number])
        for number, finder in enumerate(finders)
    )


def blinder(challenger: Canaries, other: Canaries) -> dict[float, float]:
    """Chance, for each rate, that a challenger as good as the other misses so many more."""
    chances = {}
    for rate in np.unique(challenger.rates_t_h):
        same = challenger.rates_t_h == rate
        chances[float(rate)] = fewer(challenger.found[same], other.found[same])
    return chances


def fewer(ours: Bool[np.ndarray, " n"], theirs: Bool[np.ndarray, " n"]) -> float:
    """Chance that a finder as good as the other finds so many fewer of the same plumes.

    An exact test on those that only one of the two found (McNemar).
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(binomtest(only_ours, only_ours + only_theirs, alternative="less").pvalue)


def _free_windows(scenes: Sequence[Scene], source: SceneSource, plan: CanaryPlan) -> list[Maps]:
    found: list[Maps] = []
    for scene in scenes:
        taken = 0
        for row in range(0, scene.shape[0] - plan.size + 1, plan.size):
            for column in range(0, scene.shape[1] - plan.size + 1, plan.size):
                if taken == plan.per_scene:
                    break
                rows, columns = slice(row, row + plan.size), slice(column, column + plan.size)
                maps = source.read(scene.id, rows, columns)
                if _is_free(maps, plan):
                    found.append(maps)
                    taken += 1
    if not found:
        raise NoDataError(
            f"no window of {plan.size} x {plan.size} pixels is known to be free of plumes in "
            f"{len(scenes)} scenes; canaries need one"
        )
    return found


def _is_free(maps: Maps, plan: CanaryPlan) -> bool:
    free = float((maps.states == PixelState.NO_PLUME).mean())
    return free >= plan.free_fraction and not (maps.states == PixelState.PLUME).any()


def _with_plume(maps: Maps, rate_t_h: float, plan: CanaryPlan, rng: np.random.Generator) -> Maps:
    emission = Emission(
        rate_t_h=rate_t_h,
        wind_m_s=float(rng.uniform(*plan.winds_m_s)),
        direction_deg=float(rng.uniform(0, 360)),
        stability=str(rng.choice(list("BCD"))),
    )
    source = (float(rng.uniform(0.3, 0.7) * plan.size), float(rng.uniform(0.3, 0.7) * plan.size))
    column = plume_column(
        (plan.size, plan.size), source, emission, pixel_m=plan.pixel_m, rng=rng, oversampling=3
    )
    return add_column(maps, column)
