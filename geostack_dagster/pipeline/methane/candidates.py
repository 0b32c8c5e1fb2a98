"""Plumes of one scene as rows of a table: outline, strength, and rate where it can be given."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from pyproj import Transformer

from geostack_dagster.cube.slots import Slot
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import NoDataError, UncalibratedError
from geostack_dagster.inference.detection import Detected, detect
from geostack_dagster.inference.enhancement import Calibration, Enhancement
from geostack_dagster.inference.plumes import (
    Certainty,
    Plume,
    State,
    clutter_score,
    find_plumes,
    outline,
    scene_state,
)
from geostack_dagster.inference.quantify import (
    EmissionRate,
    QuantificationScheme,
    Spacing,
    quantify,
)
from geostack_dagster.inference.wind import WindSource
from geostack_dagster.pipeline.methane.columns import PLUME_COLUMNS
from geostack_dagster.publish.footprint import outline_on_globe
from geostack_dagster.publish.vectors import Feature
from geostack_dagster.stack.masks import spacing_of

_CLUTTER = 1.5
"""How far above the scene's own clutter a plume must stand to be sure."""
_SPREAD = 1.4826  # of a normal distribution, per median absolute deviation


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Enhancement maps of one day on a grid, and how their plumes are quantified."""

    slot: Slot
    grid: Grid
    result: Enhancement
    method: str
    """How the maps were made."""
    scheme: QuantificationScheme
    winds: WindSource

    @cached_property
    def observed(self) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Pixels with a value."""
        return np.isfinite(self.result.enhancement)

    @cached_property
    def detected(self) -> Detected:
        """Labels of the whole scene."""
        return detect(self.result.enhancement, self.result.uncertainty, self.observed)

    @cached_property
    def plumes(self) -> tuple[Plume, ...]:
        """Candidates, in the order of their labels; sure ones stand out of the scene's clutter.

        None is sure in a scene that was compared with no other day.
        """
        found = find_plumes(self.detected, self.result.enhancement, self.observed, self.certainty)
        if self.is_compared:
            return found
        return tuple(replace(one, state=State.UNCERTAIN) for one in found)

    @property
    def is_compared(self) -> bool:
        """False where Sentinel-2's bands are compared with each other alone (MBSP)."""
        return self.method != "mbsp"

    @cached_property
    def certainty(self) -> Certainty:
        """Where a candidate becomes a plume in this scene."""
        usual = Certainty()
        return replace(usual, peak_score=max(usual.peak_score, _CLUTTER * self.clutter))

    @cached_property
    def clutter(self) -> float:
        """Score that the ground and the instrument reach by themselves."""
        return clutter_score(self.result.enhancement, self.result.uncertainty, self.observed)

    @property
    def state(self) -> State:
        """The strongest statement that the scene allows: compared with no other day, not much."""
        found = scene_state(self.plumes, self.observed)
        return found if self.is_compared or found is not State.NO_PLUME else State.UNCERTAIN

    @property
    def moment(self) -> datetime:
        """First acquisition, or noon where it is not known."""
        noon = datetime.combine(self.slot.day, time(12), tzinfo=UTC)
        return self.slot.acquired or noon

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """One row for each candidate; see `PLUME_COLUMNS`.

        Raises:
            ConfigurationError: If the wind table has nothing for a plume's place and time.
        """
        return tuple(map(self._feature, self.plumes))

    def _feature(self, plume: Plume) -> Feature:
        row, column = plume.peak
        half, cell = self.grid.resolution / 2, self.grid.resolution
        longitude, latitude = self._degrees.transform(
            self.grid.left + column * cell + half, self.grid.top - row * cell - half
        )
        values = dict.fromkeys(PLUME_COLUMNS) | {
            "plume": plume.number,
            "day": self.slot.day.isoformat(),
            "acquired": self.moment.isoformat(),
            "state": plume.state.value,
            "longitude": round(longitude, 6),
            "latitude": round(latitude, 6),
            "peak_ppm_m": plume.peak_ppm_m,
            "peak_score": plume.peak_score,
            "pixels": plume.pixels,
            "masked_fraction": plume.masked_fraction,
            "uncertain_because": "; ".join(self._doubts(plume)) or None,
        }
        try:
            values |= _rate(self._quantified(plume, longitude, latitude))
        except (UncalibratedError, NoDataError) as error:
            values["not_quantified"] = str(error)
        shape = outline(self.detected.labels, plume, self.grid.transform)
        return Feature(outline_on_globe(shape, self.grid.crs), values)

    def _doubts(self, plume: Plume) -> Iterator[str]:
        """Why a candidate is no sure plume; nothing if it is one."""
        certainty = self.certainty
        if not self.is_compared:
            yield "no other day to compare with: ground alone may look like this (MBSP)"
        if plume.peak_score < certainty.peak_score:
            yield (
                f"peak score {plume.peak_score:.1f} is below {certainty.peak_score:.1f}, which "
                "noise and ground may reach"
            )
        if plume.pixels < certainty.pixels:
            yield f"{plume.pixels} pixels are fewer than {certainty.pixels}"
        if plume.masked_fraction > certainty.masked_fraction:
            yield (
                f"{plume.masked_fraction:.0%} in and around it is unobserved: it may go on, or be "
                "the edge of a cloud"
            )

    def _quantified(self, plume: Plume, longitude: float, latitude: float) -> EmissionRate:
        dy_m, dx_m = spacing_of(self.grid)
        return quantify(
            self.result,
            self.detected,
            plume,
            wind=self.winds.at(longitude, latitude, self.moment),
            spacing=Spacing(dy_m=dy_m, dx_m=dx_m),
            scheme=self.scheme,
        )

    @cached_property
    def _degrees(self) -> Transformer:
        return Transformer.from_crs(self.grid.crs, "OGC:CRS84", always_xy=True)


def enhancement_of(
    day: xr.Dataset, calibration: Calibration, target: str, *, is_linear: bool
) -> Enhancement:
    """The maps that a cube holds of one day, corrected for sensitivity.

    Args:
        day: The cube's variables. The first version of EMIT's product has no uncertainty: the
            scatter of the map stands for it.
        calibration: What the maps may be used for.
        target: Digest of the target spectrum.
        is_linear: Whether the retrieval took every pixel's response for that of the background, as
            a matched filter does and MAG1C does not; then the enhancement is divided by the
            sensitivity.
    """
    enhancement = day["enhancement"].to_numpy().astype(np.float64)
    if "uncertainty" in day:
        uncertainty = day["uncertainty"].to_numpy().astype(np.float64)
    else:
        uncertainty = np.full(enhancement.shape, _scatter(enhancement))
    found = Enhancement(
        enhancement=enhancement,
        uncertainty=uncertainty,
        sensitivity=day["sensitivity"].to_numpy().astype(float)
        if "sensitivity" in day
        else np.ones(enhancement.shape),
        calibration=calibration,
        target=target,
    )
    return replace(found, enhancement=found.corrected) if is_linear else found


def _scatter(values: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 1.0
    return float(_SPREAD * np.median(np.abs(finite - np.median(finite)))) or 1.0


def _rate(rate: EmissionRate) -> dict[str, Any]:
    (low_68, high_68), (low_95, high_95) = rate.interval_68_kg_h, rate.interval_95_kg_h
    return {
        "rate_kg_h": rate.rate_kg_h,
        "rate_68_low_kg_h": low_68,
        "rate_68_high_kg_h": high_68,
        "rate_95_low_kg_h": low_95,
        "rate_95_high_kg_h": high_95,
        "mass_kg": rate.mass_kg,
        "mass_sigma_kg": rate.mass_sigma_kg,
        "length_m": rate.length_m,
        "wind_m_s": rate.wind.speed_m_s,
        "wind_sigma_m_s": rate.wind.sigma_m_s,
        "wind_from_deg": rate.wind.from_deg,
        "wind_source": rate.wind.source,
        "scheme": rate.scheme.name,
    }
