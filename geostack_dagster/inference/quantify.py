"""Emission rates of plumes, with intervals that say what they are worth.

Both methods are a weighted sum of enhancements times a wind, so one code measures both, and the
noise of both by putting the same weights on plume-free ground:

- IME: Q = U_eff * IME / L with IME over the mask;
- CSF: Q = U * mean flux through transects across the plume's axis, whole width, between its ends.

Which volume of a mole, which length and which wind law belong together is not a free choice:
`QuantificationScheme` holds the combinations that were published or validated.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.spatial import ConvexHull, QhullError

from geostack_dagster.errors import ConfigurationError, NoDataError, UncalibratedError
from geostack_dagster.inference.detection import Detected
from geostack_dagster.inference.enhancement import Calibration, Enhancement
from geostack_dagster.inference.plumes import Plume
from geostack_dagster.inference.wind import Wind

METHANE_KG_MOL = 0.01604
MOLAR_VOLUME_M3 = 0.022414
"""At 273.15 K and 101325 Pa, as the enhancements."""
KG_M2_PER_PPM_M = 1e-6 * METHANE_KG_MOL / MOLAR_VOLUME_M3
_EARTH_RADIUS_M = 6_371_007.0
_SECONDS = 3600.0
_DRAWS = 20_000
_END = 1 / 6  # of the axis, at either end: no steady flux passes there
_WHOLE = 0.8  # least observed part of a transect that counts
_LEAST_WHOLE = 0.25  # of the transects
_WINGS = 1.25  # of a mask's half width: where the plume is widest, its edges are too faint for it


class Length(StrEnum):
    """What L means."""

    ROOT_AREA = "square root of the mask's area"
    HULL = "largest extent of the mask"
    AXIS = "extent along the axis, of whole transects"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantificationScheme:
    """One consistent way from enhancement and wind to a rate."""

    name: str
    length: Length
    slope: float
    """U_eff = slope * U10 + offset."""
    offset_m_s: float
    spread: float
    """One standard deviation of what the method itself scatters [relative]."""
    source: str

    def effective_wind(self, speed_m_s: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """U_eff [m/s]."""
        return np.asarray(self.slope * speed_m_s + self.offset_m_s)


def _ime(name: str, slope: float, offset: float, source: str) -> QuantificationScheme:
    return QuantificationScheme(
        name=name,
        length=Length.ROOT_AREA,
        slope=slope,
        offset_m_s=offset,
        spread=0.25,
        source=source,
    )


SCHEMES: Mapping[str, QuantificationScheme] = {
    scheme.name: scheme
    for scheme in (
        _ime("ime-sentinel2", 0.33, 0.45, "Varon 2021"),
        _ime("ime-prisma-enmap", 0.34, 0.44, "Guanter 2021, Roger 2024"),
        _ime("ime-emit", 0.36, 0.43, "HyperGas, point sources"),
        _ime("ime-emit-steiner", 0.36, 0.66, "marshsi"),
        QuantificationScheme(
            name="ime-carbon-mapper",
            length=Length.HULL,
            slope=1.0,
            offset_m_s=0.0,
            spread=0.25,
            source="Carbon Mapper product guide",
        ),
        QuantificationScheme(
            name="csf",
            length=Length.AXIS,
            slope=1.0,
            offset_m_s=0.0,
            spread=0.12,
            source="mass balance; the wind given must be that of the plume",
        ),
    )
}
DEFAULT_SCHEME = SCHEMES["csf"]
_REMEDIES: Mapping[Calibration, str] = {
    Calibration.RELATIVE: "retrieve from at-sensor radiance (L1B, L1C)",
    Calibration.SPARSE: "take the rate from the plain matched filter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spacing:
    """Size of the pixels around a plume on the ground.

    Raises:
        ConfigurationError: If either is not a finite number above 0.
    """

    dy_m: float
    dx_m: float

    def __post_init__(self) -> None:
        if not (0 < self.dy_m < np.inf and 0 < self.dx_m < np.inf):
            raise ConfigurationError(
                f"pixels of {self.dy_m:g} x {self.dx_m:g} m cover no ground: no mass adds up over "
                "them; give positive finite sizes, without the sign of an affine transform"
            )

    @classmethod
    def of_degrees(cls, *, latitude_deg: float, dy_deg: float, dx_deg: float) -> "Spacing":
        """Of a geographic grid: true metres on a sphere, never Web Mercator's."""
        metres = np.pi / 180 * _EARTH_RADIUS_M
        return cls(
            dy_m=float(metres * abs(dy_deg)),
            dx_m=float(metres * abs(dx_deg) * np.cos(np.radians(latitude_deg))),
        )

    @property
    def area_m2(self) -> float:
        """Of one pixel."""
        return self.dy_m * self.dx_m


@dataclass(frozen=True, slots=True, kw_only=True)
class EmissionRate:
    """Rate of one plume [kg/h] and everything that it rests on."""

    rate_kg_h: float
    """Median."""
    interval_68_kg_h: tuple[float, float]
    interval_95_kg_h: tuple[float, float]
    mass_kg: float
    """Integrated enhancement over the region that the scheme sums."""
    mass_sigma_kg: float
    """Scatter of the same region put on plume-free ground."""
    length_m: float
    wind: Wind
    scheme: QuantificationScheme
    masked_fraction: float
    """Unobserved part of the mask, or of all transects: those not seen whole are left out."""


def quantify(
    result: Enhancement,
    detected: Detected,
    plume: Plume,
    *,
    wind: Wind,
    spacing: Spacing,
    scheme: QuantificationScheme = DEFAULT_SCHEME,
) -> EmissionRate:
    """Emission rate of a plume, with 68 and 95 % intervals.

    Noise by random placement of the summed region over plume-free ground (its mean there is taken
    off), wind by its sigma, and the scheme's own spread are drawn together.

    Args:
        result: Enhancement maps, absolute.
        detected: Labels of the scene.
        plume: One of them.
        wind: 10 m wind, or for `csf` the wind that carries the plume.
        spacing: Of the pixels.
        scheme: How.

    Raises:
        UncalibratedError: If the enhancement is only relative, or sparse.
        NoDataError: If no plume-free ground is large enough to measure noise on, or if clouds and
            the scene's edge leave less than a quarter of the plume's transects whole.
    """
    if result.calibration is not Calibration.ABSOLUTE:
        raise UncalibratedError(
            f"this enhancement is {result.calibration.value}: it adds up to no mass. Use its "
            f"patterns, or {_REMEDIES[result.calibration]}"
        )
    mine = detected.labels == plume.number
    # another plume is no part of this one: where it lies this one is not seen
    values = np.where(detected.mask & ~mine, np.nan, result.enhancement)
    region, length_m, masked, kept = _region(values, mine, spacing, scheme)
    mass = _mass(values, region, spacing)
    background, sigma = placement_noise(result.enhancement, detected.mask, region, spacing)
    rng = np.random.default_rng(plume.number)
    speed = np.abs(rng.normal(wind.speed_m_s, wind.sigma_m_s, _DRAWS))
    drawn = rng.normal(mass - background, sigma, _DRAWS) / length_m
    # the spread is lognormal around 1, so it leaves the median alone; fewer transects scatter more
    spread = scheme.spread / np.sqrt(kept)
    drawn *= scheme.effective_wind(speed) * np.exp(spread * rng.standard_normal(_DRAWS))
    low, lower, median, upper, high = _SECONDS * np.quantile(
        drawn, [0.025, 0.15865, 0.5, 0.84135, 0.975]
    )
    return EmissionRate(
        rate_kg_h=float(median),
        interval_68_kg_h=(float(lower), float(upper)),
        interval_95_kg_h=(float(low), float(high)),
        mass_kg=mass - background,
        mass_sigma_kg=sigma,
        length_m=length_m,
        wind=wind,
        scheme=scheme,
        masked_fraction=masked,
    )


def placement_noise(
    enhancement: Float64[np.ndarray, "y x"],
    plumes: Bool[np.ndarray, "y x"],
    region: Bool[np.ndarray, "y x"],
    spacing: Spacing,
    *,
    draws: int = 200,
) -> tuple[float, float]:
    """Mean and standard deviation [kg] of the mass in the region put elsewhere.

    Neighbouring pixels share noise, so sigma * sqrt(N) would be too small. Places where less than
    four fifths of the region is plume-free and observed are not used.

    Raises:
        NoDataError: If fewer than 20 places are.
    """
    rows, columns = np.nonzero(region)
    rows, columns = rows - rows.min(), columns - columns.min()
    room = (enhancement.shape[0] - rows.max(), enhancement.shape[1] - columns.max())
    rng = np.random.default_rng(0)
    values = np.where(plumes, np.nan, enhancement)
    masses = []
    for _ in range(20 * draws):
        top, left = rng.integers(0, room[0]), rng.integers(0, room[1])
        sample = values[rows + top, columns + left]
        seen = np.isfinite(sample)
        if seen.mean() >= 0.8:
            masses.append(sample[seen].mean() * sample.size)
        if len(masses) == draws:
            break
    if len(masses) < 20:
        raise NoDataError(
            f"only {len(masses)} places of the scene hold a plume's {region.sum()} pixels on "
            "plume-free ground; give a larger scene to measure noise on"
        )
    scale = spacing.area_m2 * KG_M2_PER_PPM_M
    return float(np.mean(masses) * scale), float(np.std(masses, ddof=1) * scale)


def conformal_factor(
    estimated: Float64[np.ndarray, " plume"], true: Float64[np.ndarray, " plume"], *, level: float
) -> float:
    """Factor f such that Q / f ... Q * f holds the truth of new plumes with this probability.

    Split conformal on |ln(estimate / truth)| of plumes that tuned nothing else; exact whatever
    the errors look like, as long as new plumes are like these.

    Raises:
        ConfigurationError: If there are too few plumes for the level.
    """
    count = estimated.size
    rank = int(np.ceil((count + 1) * level))
    if rank > count:
        raise ConfigurationError(
            f"{count} plumes cannot calibrate a {level:.0%} interval; "
            f"{int(np.ceil(level / (1 - level)))} are needed"
        )
    residual = np.sort(np.abs(np.log(estimated / true)))
    return float(np.exp(residual[rank - 1]))


def _region(
    enhancement: Float64[np.ndarray, "y x"],
    mask: Bool[np.ndarray, "y x"],
    spacing: Spacing,
    scheme: QuantificationScheme,
) -> "_Region":
    """What a scheme sums."""
    if scheme.length is Length.AXIS:
        return _transects(enhancement, mask, spacing)
    unseen = float(np.isnan(enhancement[mask]).mean())
    if scheme.length is Length.ROOT_AREA:
        return _Region(mask, float(np.sqrt(mask.sum() * spacing.area_m2)), unseen, 1.0)
    return _Region(mask, _extent(mask, spacing), unseen, 1.0)


class _Region(NamedTuple):
    """Pixels that a scheme sums."""

    mask: Bool[np.ndarray, "y x"]
    length_m: float
    """What the scheme divides by."""
    unseen: float
    kept: float
    """Transects that count, as part of all."""


def _transects(
    enhancement: Float64[np.ndarray, "y x"], mask: Bool[np.ndarray, "y x"], spacing: Spacing
) -> _Region:
    """Whole transects along the plume's axis, short of its ends and wide enough for its wings.

    Each carries the whole flux, so those that a cloud or the scene's edge cuts are left out.

    Raises:
        NoDataError: If less than a quarter of them are whole.
    """
    box = _box(enhancement, mask, spacing)
    rows, columns, transect = box.rows, box.columns, box.transect
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    seen = inside.copy()
    seen[inside] = np.isfinite(enhancement[rows[inside], columns[inside]])
    whole = np.bincount(transect, seen) >= _WHOLE * np.bincount(transect)
    if whole.mean() < _LEAST_WHOLE:
        raise NoDataError(
            f"only {whole.sum()} of {whole.size} transects through the plume are seen whole: "
            "clouds, another plume or the scene's edge cut the others"
        )
    kept = inside & whole[transect]
    region = np.zeros(mask.shape, bool)
    region[rows[kept], columns[kept]] = True
    length_m, unseen = float(whole.sum() * box.step_m), float(1 - seen.mean())
    return _Region(region, length_m, unseen, float(whole.mean()))


class _Box(NamedTuple):
    """Pixels of a box along a plume's axis, beyond the scene's edge too."""

    rows: Int[np.ndarray, " pixel"]
    columns: Int[np.ndarray, " pixel"]
    transect: Int[np.ndarray, " pixel"]
    """Number of the transect that a pixel lies in."""
    step_m: float
    """From one transect to the next."""


def _box(
    enhancement: Float64[np.ndarray, "y x"], mask: Bool[np.ndarray, "y x"], spacing: Spacing
) -> _Box:
    """A box along the plume's axis, short of both ends, where no steady flux passes.

    Smoothing carries the mask upwind of the source, and at the head of a release less gas has come
    by than the source gives: with it, strong plumes of a quarter of an hour were 10 to 15 % low.

    The axis is the principal one of the enhancement in the mask: it follows the plume even where
    the wind's direction is wrong.
    """
    rows, columns = np.nonzero(mask)
    points = np.stack([columns * spacing.dx_m, rows * spacing.dy_m], axis=1)
    weight = np.maximum(np.nan_to_num(enhancement[mask]), 0.0) + 1e-12
    centre = weight @ points / weight.sum()
    spread = (points - centre).T @ ((points - centre) * weight[:, None])
    axis = np.linalg.eigh(spread)[1][:, -1]
    normal = np.array([-axis[1], axis[0]])
    pixel = np.sqrt(spacing.area_m2)
    along, across = (points - centre) @ axis, np.abs((points - centre) @ normal)
    first, last = along.min() - pixel / 2, along.max() + pixel / 2
    margin = _END * (last - first)
    low, high = first + margin, last - margin
    half_width = _WINGS * across.max() + 2 * pixel
    corners = [
        centre + end * axis + side * normal
        for end in (low, high)
        for side in (-half_width, half_width)
    ]
    left, top = np.floor(np.min(corners, axis=0) / (spacing.dx_m, spacing.dy_m)).astype(int)
    right, bottom = np.ceil(np.max(corners, axis=0) / (spacing.dx_m, spacing.dy_m)).astype(int)
    rows, columns = (part.ravel() for part in np.mgrid[top : bottom + 1, left : right + 1])
    points = np.stack([columns * spacing.dx_m, rows * spacing.dy_m], axis=1) - centre
    along, across = points @ axis, np.abs(points @ normal)
    box = (along >= low) & (along < high) & (across <= half_width)
    count = max(int((high - low) / pixel), 1)
    step = (high - low) / count
    transect = np.minimum(((along[box] - low) / step).astype(int), count - 1)
    return _Box(rows[box], columns[box], transect, float(step))


def _mass(
    enhancement: Float64[np.ndarray, "y x"], region: Bool[np.ndarray, "y x"], spacing: Spacing
) -> float:
    """Mass over a region [kg]; its unobserved part is taken to be like the observed one."""
    values = enhancement[region]
    seen = np.isfinite(values)
    if not seen.any():
        return 0.0
    return float(values[seen].mean() * values.size * spacing.area_m2 * KG_M2_PER_PPM_M)


def _extent(mask: Bool[np.ndarray, "y x"], spacing: Spacing) -> float:
    """Largest distance between two pixels of a mask [m], one pixel at the least."""
    rows, columns = np.nonzero(mask)
    points = np.stack([columns * spacing.dx_m, rows * spacing.dy_m], axis=1)
    with contextlib.suppress(QhullError):  # a line of pixels has no hull
        points = points[ConvexHull(points).vertices]
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    return float(apart.max() + np.sqrt(spacing.area_m2))
