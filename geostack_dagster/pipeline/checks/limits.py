"""What values can physically be, by what they measure: a table, not a judgement."""

from collections.abc import Mapping

from geostack_dagster.pipeline.spec import PipelineSpec

type Limits = tuple[float, float]

_ANYTHING: Limits = (float("-inf"), float("inf"))
# Corrected reflectance goes a little below 0; snow and cloud facing the sun go beyond 1.
_REFLECTANCE: Limits = (-0.05, 1.6)
_TEMPERATURE: Limits = (150.0, 400.0)
_BY_NAME: Mapping[str, Limits] = {
    "SCL": (0, 11),
    "AOT": (0, 5),
    "WVP": (0, 10),
    "NDVI": (-1, 1),
    "NDWI": (-1, 1),
    "MNDWI": (-1, 1),
    "NDMI": (-1, 1),
    "NBR": (-1, 1),
    "NDSI": (-1, 1),
    "BSI": (-1, 1),
    "SAVI": (-1.5, 1.5),
    "EVI": (-2, 2),
    # The strongest source seen from space is about 10^4.5 ppm m in one pixel.
    "enhancement": (-1e5, 1e5),
    "uncertainty": (0, 1e5),
    "sensitivity": (0, 20),
}
_SOLAR_NM = 3000.0


def limits_of(spec: PipelineSpec, variable: str) -> Limits:
    """Least and greatest value that a variable of a pipeline's cubes can have, physical units."""
    if variable in _BY_NAME:
        return _BY_NAME[variable]
    for band in spec.record.bands.select(spec.band_names, where=spec.name):
        if band.name != variable or band.categorical or band.wavelength_nm is None:
            continue
        return _REFLECTANCE if band.wavelength_nm < _SOLAR_NM else _TEMPERATURE
    return _ANYTHING
