"""Drift: whether scenes look otherwise than those a model learned from, at a stated error rate.

One test decides: maximum mean discrepancy with a permutation null, which is right at any sample
size. PSI and Kolmogorov-Smirnov then say which feature it was; they explain, they never decide: a
fixed PSI threshold of 0.25 sounds the alarm in a third of all samples of 60 without any drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial.distance import cdist
from scipy.stats import chi2, ks_2samp

from geostack_dagster.errors import ConfigurationError

_YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observations:
    """Features of scenes or chips, one row each: never of pixels, which are not independent."""

    features: Float64[np.ndarray, "n f"]
    names: tuple[str, ...]
    acquired: tuple[datetime, ...]
    groups: tuple[str, ...]
    """What varies together, orbits or sites: chance deals them out whole."""

    def __post_init__(self) -> None:
        rows, columns = self.features.shape
        if len(self.names) != columns or {len(self.acquired), len(self.groups)} != {rows}:
            raise ConfigurationError(
                f"{rows} x {columns} features with {len(self.names)} names, "
                f"{len(self.acquired)} times and {len(self.groups)} groups"
            )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.groups)

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "Observations":
        """The chosen rows."""
        rows = np.flatnonzero(chosen)
        return Observations(
            features=self.features[rows],
            names=self.names,
            acquired=tuple(self.acquired[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """How the test is made."""

    false_alarm_rate: float = 0.01
    """Chance of an alarm where nothing changed."""
    permutations: int = 499
    season_days: float = 45.0
    """A reference row counts if its day of year is this near to one of the current rows."""
    least_groups: int = 8
    """Groups on both sides below which nothing is decided."""
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.permutations + 1) * self.false_alarm_rate < 1:
            raise ConfigurationError(
                f"{self.permutations} permutations cannot show a chance of "
                f"{self.false_alarm_rate}; take at least {math.ceil(1 / self.false_alarm_rate) - 1}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureShift:
    """How far one feature moved."""

    name: str
    psi: float
    """Population stability index over ten bins of the reference."""
    psi_critical: float
    """What chance alone exceeds at the false-alarm rate, shared out over the features."""
    ks: float
    """Largest distance of the distribution functions."""
    ks_chance: float
    """Chance of such a distance, times the number of features."""
    shift: float
    """Change of the median, in robust standard deviations of the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What the test says."""

    drifted: bool | None
    """None where there is too little to say anything."""
    chance: float
    """Chance of as large a discrepancy without drift; NaN if undecided."""
    discrepancy: float
    """Squared maximum mean discrepancy, unbiased."""
    reference: int
    """Rows of the season-matched reference."""
    current: int
    reason: str
    features: tuple[FeatureShift, ...]
    """The one that moved most first."""


def detect_drift(
    reference: Observations, current: Observations, rule: DriftRule | None = None
) -> Drift:
    """Whether current scenes come from the same distribution as those of the same season before.

    Args:
        reference: What the model learned from, or was accepted on.
        current: What arrives now.
        rule: `DriftRule()` if None.

    Raises:
        ConfigurationError: If the two have different features.
    """
    rule = rule or DriftRule()
    if reference.names != current.names:
        raise ConfigurationError(f"features differ: {reference.names} and {current.names}")
    reference, current = _finite(reference), _finite(current)
    matched = season_matched(reference, current, days=rule.season_days)
    groups = min(len(set(matched.groups)), len(set(current.groups)))
    if groups < rule.least_groups:
        return Drift(
            drifted=None,
            chance=math.nan,
            discrepancy=math.nan,
            reference=len(matched),
            current=len(current),
            reason=f"{groups} independent groups in the smaller of season-matched reference and "
            f"current scenes; {rule.least_groups} are needed to say anything",
            features=(),
        )
    discrepancy, chance = mmd_test(matched, current, rule)
    features = _explained(matched, current, rule)
    drifted = chance <= rule.false_alarm_rate
    return Drift(
        drifted=drifted,
        chance=chance,
        discrepancy=discrepancy,
        reference=len(matched),
        current=len(current),
        reason=_reason(chance, rule, features, drifted=drifted),
        features=features,
    )


def season_matched(reference: Observations, current: Observations, *, days: float) -> Observations:
    """Reference rows whose day of year is near to that of a current row, across the new year."""
    then, now = (_days_of_year(one.acquired) for one in (reference, current))
    apart = np.abs(then[:, None] - now[None])
    apart = np.minimum(apart, _YEAR_DAYS - apart)
    return reference.take((apart <= days).any(axis=1))


def mmd_test(
    reference: Observations, current: Observations, rule: DriftRule
) -> tuple[float, float]:
    """Discrepancy and its chance under exchange of whole groups.

    Gaussian kernel of the median distance, on features in robust standard deviations of both
    samples together, so that nothing depends on which is which. With b of P permutations at least
    as extreme, the chance is (b + 1) / (P + 1): never too small, at any sample size (Gretton 2012,
    Phipson and Smyth 2010).
    """
    pooled = np.concatenate([reference.features, current.features])
    kernel = _kernel(_standardised(pooled, pooled))
    # A group that is on both sides is two blocks: exchange keeps rows of a block together.
    blocks = [f"r/{name}" for name in reference.groups] + [f"c/{name}" for name in current.groups]
    names, block = np.unique(blocks, return_inverse=True)
    is_current = np.array([name.startswith("c/") for name in names])
    rng = np.random.default_rng(rule.seed)
    orders = [np.arange(names.size)]
    orders += [rng.permutation(names.size) for _ in range(rule.permutations)]
    sides = np.stack([is_current[order][block] for order in orders])
    found = _discrepancies(kernel, sides)
    extreme = int((found[1:] >= found[0] - 1e-12).sum())
    return float(found[0]), (extreme + 1) / (rule.permutations + 1)


def psi(
    reference: Float64[np.ndarray, " n"], current: Float64[np.ndarray, " m"], *, bins: int = 10
) -> float:
    r"""Population stability index: $\sum (q_i - p_i) \ln(q_i / p_i)$ over reference quantiles.

    Empty bins count as half a row.
    """
    edges = np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1])
    shares = []
    for values in (reference, current):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=bins)
        shares.append(np.maximum(counts, 0.5) / values.size)
    p, q = shares
    return float(((q - p) * np.log(q / p)).sum())


def psi_critical(reference: int, current: int, *, chance: float, bins: int = 10) -> float:
    """PSI that chance alone exceeds this often: chi-squared of bins - 1, over the sample sizes."""
    return float(chi2.ppf(1 - chance, bins - 1) * (1 / reference + 1 / current))


def _explained(
    reference: Observations, current: Observations, rule: DriftRule
) -> tuple[FeatureShift, ...]:
    groups = [len(set(one.groups)) for one in (reference, current)]
    count = len(reference.names)
    critical = psi_critical(*groups, chance=rule.false_alarm_rate / count)
    found = []
    for name, then, now in zip(
        reference.names, reference.features.T, current.features.T, strict=True
    ):
        test = ks_2samp(then, now)
        spread = _spread(then[:, None])[0]
        found.append(
            FeatureShift(
                name=name,
                psi=psi(then, now),
                psi_critical=critical,
                ks=float(test.statistic),
                ks_chance=min(1.0, float(test.pvalue) * count),
                shift=float((np.median(now) - np.median(then)) / spread),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.ks))


def _reason(
    chance: float, rule: DriftRule, features: Sequence[FeatureShift], *, drifted: bool
) -> str:
    asked = f"chance {chance:.3g} without drift, alarm at {rule.false_alarm_rate:g}"
    if not drifted:
        return f"no drift: {asked}"
    most = features[0]
    return f"drift: {asked}; most in {most.name} ({most.shift:+.1f} robust sd, PSI {most.psi:.2f})"


def _discrepancies(
    kernel: Float64[np.ndarray, "n n"], sides: Bool[np.ndarray, "p n"]
) -> Float64[np.ndarray, " p"]:
    """Unbiased squared MMD of each division; the kernel's diagonal is 0."""
    now = sides.astype(np.float64)
    with_now = now @ kernel
    inside_now = (with_now * now).sum(axis=1)
    across = (with_now * (1 - now)).sum(axis=1)
    inside_then = kernel.sum() - inside_now - 2 * across
    m, n = now.sum(axis=1), (1 - now).sum(axis=1)
    return np.asarray(
        inside_now / (m * (m - 1)) + inside_then / (n * (n - 1)) - 2 * across / (m * n)
    )


def _kernel(features: Float64[np.ndarray, "n f"]) -> Float64[np.ndarray, "n n"]:
    distance = cdist(features, features, "sqeuclidean")
    width = np.median(distance[np.triu_indices_from(distance, 1)])
    kernel = np.exp(-distance / (width if width > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)
    return np.asarray(kernel)


def _standardised(
    features: Float64[np.ndarray, "n f"], like: Float64[np.ndarray, "m f"]
) -> Float64[np.ndarray, "n f"]:
    return np.asarray((features - np.median(like, axis=0)) / _spread(like))


def _spread(features: Float64[np.ndarray, "n f"]) -> Float64[np.ndarray, " f"]:
    mad = 1.4826 * np.median(np.abs(features - np.median(features, axis=0)), axis=0)
    return np.asarray(np.where(mad > 0, mad, np.maximum(features.std(axis=0), 1e-12)))


def _finite(observations: Observations) -> Observations:
    return observations.take(np.isfinite(observations.features).all(axis=1))


def _days_of_year(moments: Sequence[datetime]) -> Float64[np.ndarray, " n"]:
    return np.array([moment.timetuple().tm_yday for moment in moments], np.float64)
