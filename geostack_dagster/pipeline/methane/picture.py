"""How plumes are shown: outlines with their rates, the wind, and what was found in words."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.inference.plumes import State
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.publish.annotation import Annotation, Breeze, Outline
from geostack_dagster.publish.colours import STYLES, Style, round_step
from geostack_dagster.publish.map_page import Caption
from geostack_dagster.publish.vectors import Feature

_SIGMAS, _PEAK_SHARE, _LEAST_PPM_M = 5.0, 0.25, 500.0
"""The last colour: above the noise, and below the peak, which is a pixel or two at the source."""
_BELOW_ZERO = 1 / 3
_SPREAD = 1.4826  # of a normal distribution, per median absolute deviation
_LINES = 3
_NOTHING: Mapping[State, str] = {
    State.NO_PLUME: "no plume found; {:.0%} of the area was observed",
    State.UNCERTAIN: "nothing stands out, but no other day shows the ground without a plume",
    State.UNOBSERVABLE: "too little was observed ({:.0%} of the area) to say anything",
}


def caption_of(spec: PipelineSpec, aoi: str, moment: datetime, *, title: str) -> Caption:
    """Words around a map of methane."""
    return Caption(
        title=title,
        subtitle="enhancement above the background",
        aoi=aoi,
        date=f"{moment:%Y-%m-%d %H:%M} UTC",
        sensor=spec.record.title or spec.collection,
    )


def style_of(enhancement: NDArray[np.floating[Any]], features: Sequence[Feature]) -> Style:
    """Colours in which noise is pale and the strongest plume is not: zero lies a quarter up."""
    finite = enhancement[np.isfinite(enhancement)]
    centre = np.median(finite) if finite.size else 0.0
    sigma = _SPREAD * float(np.median(np.abs(finite - centre))) if finite.size else 0.0
    peak = max((one.properties["peak_ppm_m"] for one in features), default=0.0)
    high = round_step(max(_LEAST_PPM_M, _SIGMAS * sigma, _PEAK_SHARE * peak))
    return Style(ramp=STYLES["enhancement"].ramp, low=-_BELOW_ZERO * high, high=high, unit="ppm m")


def annotation_of(
    features: Sequence[Feature], state: State, observed_fraction: float
) -> Annotation:
    """Plumes drawn through with their rates, candidates dashed; strongest first in the words."""
    rows = [one.properties for one in features]
    wind = next((breeze for row in rows if (breeze := _breeze(row)) is not None), None)
    return Annotation(
        outlines=tuple(
            Outline(
                geometry=one.geometry,
                label=_label(one.properties),
                is_sure=one.properties["state"] == State.PLUME,
            )
            for one in features
        ),
        wind=wind,
        notes=tuple(_notes(rows, state, observed_fraction)),
    )


def rate_text(kg_h: float) -> str:
    """A rate in the unit that reads best."""
    return f"{_short(kg_h / 1000)} t/h" if kg_h >= 1000 else f"{_short(kg_h)} kg/h"


def _short(number: float) -> str:
    """In two digits: no interval is narrower than that."""
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"


def _label(row: Mapping[str, Any]) -> str:
    if row["state"] != State.PLUME or row["rate_kg_h"] is None:
        return ""
    return rate_text(row["rate_kg_h"])


def _notes(rows: Sequence[Mapping[str, Any]], state: State, observed: float) -> list[str]:
    sure = [row for row in rows if row["state"] == State.PLUME]
    sure.sort(key=lambda row: -(row["rate_kg_h"] or row["peak_ppm_m"]))
    notes = [_result(row) for row in sure[:_LINES]]
    if len(sure) > _LINES:
        notes.append(f"and {len(sure) - _LINES} more")
    uncertain = len(rows) - len(sure)
    if uncertain:
        notes.append(f"{uncertain} uncertain candidate{'s' if uncertain > 1 else ''} (dashed)")
    if not rows and state in _NOTHING:
        notes.append(_NOTHING[state].format(observed))
    return notes


def _result(row: Mapping[str, Any]) -> str:
    if row["rate_kg_h"] is None:
        reason, _, _ = str(row["not_quantified"]).partition(": ")
        return f"peak {row['peak_ppm_m']:.0f} ppm m   no rate: {reason}"
    return (
        f"Q = {rate_text(row['rate_kg_h'])}  (68 %: {_interval(row, 68)},  "
        f"95 %: {_interval(row, 95)})   wind {row['wind_m_s']:.1f} \u00b1 "
        f"{row['wind_sigma_m_s']:.1f} m/s"
    )


def _interval(row: Mapping[str, Any], percent: int) -> str:
    low, high = (row[f"rate_{percent}_{end}_kg_h"] for end in ("low", "high"))
    if high >= 1000:
        return f"{_short(low / 1000)} to {_short(high / 1000)} t/h"
    return f"{_short(low)} to {_short(high)} kg/h"


def _breeze(row: Mapping[str, Any]) -> Breeze | None:
    if row["wind_m_s"] is None:
        return None
    return Breeze(speed_m_s=row["wind_m_s"], from_deg=row["wind_from_deg"])
