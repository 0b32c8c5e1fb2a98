"""Evaluation on full granules, and comparisons that respect how few sites there are.

Chips flatter: most false alarms lie where nobody cut one. So finders see whole scenes, and two of
them are compared on the same scenes by drawing sites, not pixels, with replacement.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.learning.finders import Finder
from geostack_dagster.learning.metrics import (
    Counts,
    Metric,
    ReliabilityBin,
    average_precision,
    calibration_error,
    detection_rate,
    false_alarm_ratio,
    false_per_1000_km2,
    object_f1,
    pixel_f1,
    reliability,
    resampled,
    score_histogram,
    total,
)
from geostack_dagster.learning.objects import Matching, Truth, match
from geostack_dagster.learning.scenes import WHOLE, Maps, PixelState, Scene, SceneSource

METRICS: Mapping[str, Metric] = {
    "average_precision": average_precision,
    "pixel_f1": pixel_f1,
    "object_f1": object_f1,
    "detection_rate": detection_rate,
    "false_alarm_ratio": false_alarm_ratio,
    "false_per_1000_km2": false_per_1000_km2,
}
STRENGTHS_PPM_M = (1000.0, 3000.0)
"""Peaks that separate weak, middling and strong plumes."""
_STRENGTHS = ("weak", "middling", "strong")
_DRAWS_AT_ONCE = 250  # 250 x 2048 bins x 2 float64 are 8 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneScore:
    """What one finder made of one scene, as sums."""

    scene: str
    site: str
    tags: Mapping[str, str]
    counts: Counts
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """One finder over many scenes."""

    finder: str
    probabilistic: bool
    scenes: tuple[SceneScore, ...]

    @property
    def counts(self) -> Counts:
        """Sums over all scenes.

        Raises:
            NoDataError: If there is no scene.
        """
        if not self.scenes:
            raise NoDataError(f"{self.finder} was evaluated on no scene")
        return total(scene.counts for scene in self.scenes)

    @property
    def summary(self) -> dict[str, float]:
        """Every metric by name, and sizes; calibration error only of a finder with logits."""
        counts = self.counts
        found = {name: float(metric(counts)) for name, metric in METRICS.items()}
        if self.probabilistic:
            found["calibration_error"] = calibration_error(counts)
        sizes = {"scenes": len(self.scenes), "sites": len({one.site for one in self.scenes})}
        return found | sizes | {"plumes": float(counts.truths), "area_km2": float(counts.area_km2)}

    @property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Confidence against frequency.

        Raises:
            ConfigurationError: If the finder has no probabilities.
        """
        if not self.probabilistic:
            raise ConfigurationError(f"{self.finder} has scores, not probabilities")
        return reliability(self.counts)

    @property
    def found_by_strength(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """Whether each true plume was found, by how strong they are; all finders have the same."""
        truths = [truth for scene in self.scenes for truth in scene.truths]
        group = np.digitize([truth.peak_ppm_m for truth in truths], STRENGTHS_PPM_M)
        found = np.array([truth.found for truth in truths], bool)
        return {name: found[group == number] for number, name in enumerate(_STRENGTHS)}

    @property
    def recall_by_strength(self) -> dict[str, tuple[int, int]]:
        """Plumes found and plumes there, by how strong they are."""
        return {name: (int(x.sum()), x.size) for name, x in self.found_by_strength.items()}

    def slices(self) -> dict[str, "Evaluation"]:
        """The same finder over the scenes of each tag, by `tag=value`."""
        names = {f"{tag}={value}" for scene in self.scenes for tag, value in scene.tags.items()}
        return {
            name: Evaluation(
                finder=self.finder,
                probabilistic=self.probabilistic,
                scenes=tuple(
                    scene
                    for scene in self.scenes
                    if name in {f"{tag}={value}" for tag, value in scene.tags.items()}
                ),
            )
            for name in sorted(names)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better one finder is than another, over resampled sites."""

    metric: str
    value: float
    """On the scenes as they are."""
    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How sites are drawn."""

    draws: int = 2000
    seed: int = 0


def evaluate(
    finders: Sequence[Finder],
    scenes: Iterable[Scene],
    source: SceneSource,
    *,
    matching: Matching | None = None,
) -> tuple[Evaluation, ...]:
    """One evaluation for each finder; every scene is read once, whole.

    Args:
        finders: To be scored side by side.
        scenes: Of the gate or test split.
        source: Of their pixels and labels.
        matching: When a finding is a plume; `Matching()` if None.
    """
    matching = matching or Matching()
    scores: list[list[SceneScore]] = [[] for _ in finders]
    for scene in scenes:
        maps = source.read(scene.id, WHOLE, WHOLE)
        for number, finder in enumerate(finders):
            scores[number].append(_score(finder, scene, maps, matching))
    return tuple(
        Evaluation(
            finder=finder.name, probabilistic=finder.probabilistic, scenes=tuple(scores[number])
        )
        for number, finder in enumerate(finders)
    )


def compare(
    challenger: Evaluation, other: Evaluation, metric: str, bootstrap: Bootstrap | None = None
) -> Difference:
    """Challenger minus other, with the spread that other sites would have given.

    Both see the same draws of sites: what makes a site hard cancels out. NaN without any plume.

    Raises:
        ConfigurationError: If the two were not evaluated on the same scenes.
    """
    bootstrap = bootstrap or Bootstrap()
    if [one.scene for one in challenger.scenes] != [one.scene for one in other.scenes]:
        raise ConfigurationError(
            f"{challenger.finder} and {other.finder} were evaluated on different scenes; evaluate "
            "them together"
        )
    sites = sorted({scene.site for scene in challenger.scenes})
    ours, theirs = (_by_site(evaluation, sites) for evaluation in (challenger, other))
    drawn = [
        METRICS[metric](resampled(ours, weights)) - METRICS[metric](resampled(theirs, weights))
        for weights in _weights(len(sites), bootstrap)
    ]
    gains = np.concatenate(drawn)
    gains = gains[np.isfinite(gains)]  # of draws without a plume
    low, median, high = np.percentile(gains, [5, 50, 95]) if gains.size else [math.nan] * 3
    value = METRICS[metric](challenger.counts) - METRICS[metric](other.counts)
    return Difference(
        metric=metric,
        value=float(value),
        low=float(low),
        median=float(median),
        high=float(high),
        sites=len(sites),
    )


def _score(finder: Finder, scene: Scene, maps: Maps, matching: Matching) -> SceneScore:
    found = finder.find(maps)
    can_say = np.isfinite(found.score)
    plume = (maps.states == PixelState.PLUME) & can_say
    free = (maps.states == PixelState.NO_PLUME) & can_say
    findings = found.labels > 0
    matched = match(found.labels, maps.states, maps.enhancement, matching)
    counts = Counts(
        plume=score_histogram(found.score, plume),
        free=score_histogram(found.score, free),
        hits=(findings & plume).sum(),
        findings=(findings & (plume | free)).sum(),
        truths=np.asarray(len(matched.truths)),
        found=np.asarray(sum(truth.found for truth in matched.truths)),
        right=np.asarray(matched.right),
        wrong=np.asarray(matched.wrong),
        area_km2=(plume | free).sum() * scene.pixel_km2,
    )
    return SceneScore(
        scene=scene.id, site=scene.site, tags=scene.tags, counts=counts, truths=matched.truths
    )


def _by_site(evaluation: Evaluation, sites: Sequence[str]) -> list[Counts]:
    return [
        total(scene.counts for scene in evaluation.scenes if scene.site == site) for site in sites
    ]


def _weights(sites: int, bootstrap: Bootstrap) -> Iterator[Float64[np.ndarray, "draw site"]]:
    """How often each draw takes each site."""
    rng = np.random.default_rng(bootstrap.seed)
    for start in range(0, bootstrap.draws, _DRAWS_AT_ONCE):
        draws = min(_DRAWS_AT_ONCE, bootstrap.draws - start)
        yield rng.multinomial(sites, np.full(sites, 1 / sites), size=draws).astype(np.float64)
