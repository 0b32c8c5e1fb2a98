"""Columns of the plume table and the review queue.

Light: the code location shows them without the retrievals.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table; null where a row has no value."""

    dtype: str
    """As pandas says it."""
    text: str
    """What it holds, with its unit."""


PLUME_COLUMNS: Mapping[str, Column] = {
    "plume": Column("int64", "number of the plume in its scene"),
    "day": Column("string", "solar day at the AOI"),
    "acquired": Column("string", "first acquisition of the day, UTC"),
    "state": Column("string", "PLUME, or UNCERTAIN: for a person to look at"),
    "longitude": Column("float64", "of the strongest pixel [degree]"),
    "latitude": Column("float64", "of the strongest pixel [degree]"),
    "peak_ppm_m": Column("float64", "enhancement of the strongest pixel [ppm m]"),
    "peak_score": Column("float64", "that enhancement over its uncertainty [1]"),
    "pixels": Column("int64", "pixels inside the outline"),
    "masked_fraction": Column("float64", "part of its surroundings without a value [1]"),
    "rate_kg_h": Column("float64", "emission rate [kg/h]"),
    "rate_68_low_kg_h": Column("float64", "lower end of the rate's 68 % interval [kg/h]"),
    "rate_68_high_kg_h": Column("float64", "upper end of the rate's 68 % interval [kg/h]"),
    "rate_95_low_kg_h": Column("float64", "lower end of the rate's 95 % interval [kg/h]"),
    "rate_95_high_kg_h": Column("float64", "upper end of the rate's 95 % interval [kg/h]"),
    "mass_kg": Column("float64", "methane in the plume above the background [kg]"),
    "mass_sigma_kg": Column("float64", "one standard deviation of the mass [kg]"),
    "length_m": Column("float64", "length scale of the plume [m]"),
    "wind_m_s": Column("float64", "wind speed [m/s]"),
    "wind_sigma_m_s": Column("float64", "one standard deviation of the wind speed [m/s]"),
    "wind_from_deg": Column("float64", "where the wind comes from, clockwise from north [degree]"),
    "wind_source": Column("string", "where the wind is known from"),
    "scheme": Column("string", "how mass and wind became a rate"),
    "not_quantified": Column("string", "why there is no rate"),
    "uncertain_because": Column("string", "why an UNCERTAIN candidate is no sure plume"),
}

_OF_PLUME = (
    "longitude", "latitude", "peak_ppm_m", "peak_score", "pixels", "masked_fraction", "rate_kg_h",
    "rate_68_low_kg_h", "rate_68_high_kg_h", "rate_95_low_kg_h", "rate_95_high_kg_h",
    "not_quantified",
)  # fmt: skip

REVIEW_COLUMNS: Mapping[str, Column] = {
    "id": Column("string", "pipeline/aoi/day/what; another outline has another id"),
    "state": Column("string", "for the reviewer: PLUME, NO_PLUME, UNCERTAIN or UNOBSERVABLE"),
    "found": Column("string", "state that the pipeline found"),
    "kind": Column("string", "plume, or scene: all of the ground that was looked at"),
    "why": Column("string", "why it is in the queue: uncertain, or audit (drawn by lot)"),
    "reasons": Column("string", "why the pipeline is not sure"),
    "pipeline": Column("string", "name of the pipeline"),
    "aoi": Column("string", "name of the AOI"),
    "day": Column("string", "solar day at the AOI"),
    "observed": Column("string", "first acquisition of the day, UTC"),
    "scenes": Column("string", "Items whose pixels it was found in, by blanks"),
    "picture": Column("string", "PNG beside this file"),
    **{
        name: PLUME_COLUMNS[name]._replace(
            dtype=PLUME_COLUMNS[name].dtype.replace("int64", "Int64")
        )
        for name in _OF_PLUME
    },
}
