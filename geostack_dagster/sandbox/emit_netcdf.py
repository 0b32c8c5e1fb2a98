"""The netCDF-4 files of EMIT L1B: radiance and observation geometry, group by group.

As the archive writes them, but for two things: geometry tables are contiguous, not deflated, and a
granule has 512 x 400 pixels.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox import noise
from geostack_dagster.sandbox.emit_maps import geometry_of
from geostack_dagster.sandbox.emit_radiance import VIEW_ZENITH_DEG, EmitView
from geostack_dagster.sandbox.emit_scenes import Granule
from geostack_dagster.sandbox.hdf5 import Values, Variable, VirtualNetcdf
from geostack_dagster.sandbox.instruments import emit_bands
from geostack_dagster.sandbox.sun import distance_au

_ALTITUDE_M = 420e3
_GROUND_M, _RELIEF_M = {"emmental": 720.0, "rio_cuarto": 240.0}, 90.0
_RELIEF_LEVEL = 14
_BUILD = "010624"
_WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG",'
    '"7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT['
    '"degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS['
    '"Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
OBSERVATIONS = (
    "Path length (sensor-to-ground in meters)",
    "To-sensor azimuth (0 to 360 degrees CW from N)",
    "To-sensor zenith (0 to 90 degrees from zenith)",
    "To-sun azimuth (0 to 360 degrees CW from N)",
    "To-sun zenith (0 to 90 degrees from zenith)",
    "Solar phase (degrees between to-sensor and to-sun vectors in principal plane)",
    "Slope (local surface slope as derived from DEM in degrees)",
    "Aspect (local surface aspect 0 to 360 degrees clockwise from N)",
    (
        "Cosine(i) (apparent local illumination factor based on DEM slope and aspect and to sun "
        "vector)"
    ),
    "UTC Time (decimal hours for mid-line pixels)",
    "Earth-sun distance (AU)",
)
"""Bands of the observation file, in their order."""


def radiance_file(granule: Granule) -> VirtualNetcdf:
    """`EMIT_L1B_RAD`."""
    bands = emit_bands()
    described = (
        ("wavelengths", "Wavelength Centers", bands.wavelength_nm),
        ("fwhm", "Full Width at Half Max", bands.fwhm_nm),
    )
    variables = [
        Variable(
            name=f"sensor_band_parameters/{name}",
            dimensions=("bands",),
            attributes={"long_name": title, "units": "nm"},
            values=values,
        )
        for name, title, values in described
    ]
    radiance = Variable(
        name="radiance",
        dimensions=("downtrack", "crosstrack", "bands"),
        attributes={"long_name": "Radiance Data", "units": "uW/cm^2/SR/nm"},
        paint=EmitView(granule=granule).radiance,
        block=(32, 50),
    )
    title = "EMIT L1B At-Sensor Calibrated Radiance Data 60 m V001"
    return _file(granule, title, bands.wavelength_nm.size, (*variables, radiance))


def observation_file(granule: Granule) -> VirtualNetcdf:
    """`EMIT_L1B_OBS`."""
    names = Variable(
        name="sensor_band_parameters/observation_bands",
        dimensions=("bands",),
        dtype="str",
        fill=None,
        attributes={"long_name": "Observation Band Names"},
        values=OBSERVATIONS,
    )
    observed = Variable(
        name="obs",
        dimensions=("downtrack", "crosstrack", "bands"),
        attributes={"long_name": "Observation Data"},
        paint=partial(_observed, granule),
        block=(64, 400),
    )
    title = "EMIT L1B Observation Data 60 m V001"
    return _file(granule, title, len(OBSERVATIONS), (names, observed))


def _file(
    granule: Granule, title: str, bands: int, variables: tuple[Variable, ...]
) -> VirtualNetcdf:
    swath = granule.swath
    return VirtualNetcdf(
        dimensions={
            "downtrack": swath.lines,
            "crosstrack": swath.columns,
            "bands": bands,
            "ortho_y": swath.ortho.height,
            "ortho_x": swath.ortho.width,
        },
        attributes=_attributes(granule, title),
        variables=(*variables, *_location(granule)),
    )


def _location(granule: Granule) -> list[Variable]:
    layers = (
        ("lon", "Longitude (WGS-84)", "degrees east"),
        ("lat", "Latitude (WGS-84)", "degrees north"),
        ("elev", "Surface Elevation", "m"),
    )
    located = [
        Variable(
            name=f"location/{name}",
            dimensions=("downtrack", "crosstrack"),
            dtype="<f8",
            attributes={"long_name": title, "units": units},
            paint=partial(_located, granule, number),
            block=(64, 400),
        )
        for number, (name, title, units) in enumerate(layers)
    ]
    tables = (("glt_x", "GLT Sample Lookup"), ("glt_y", "GLT Line Lookup"))
    return located + [
        Variable(
            name=f"location/{name}",
            dimensions=("ortho_y", "ortho_x"),
            dtype="<i4",
            attributes={"long_name": title, "units": "pixel location"},
            paint=partial(_table, granule, number),
        )
        for number, (name, title) in enumerate(tables)
    ]


def _located(granule: Granule, layer: int, lines: slice, columns: slice) -> Values:
    """Longitude (0), latitude (1) [degrees] or elevation (2) [m] of pixels."""
    lon, lat = granule.swath.degrees(*_mesh(lines, columns))
    relief = noise.fractal(lon, lat, _RELIEF_LEVEL, noise.seed_of("relief"))
    height = _GROUND_M[granule.aoi] + _RELIEF_M * (relief - 0.5) / noise.FRACTAL_SPREAD
    return (lon, lat, height)[layer]


def _table(granule: Granule, layer: int, rows: slice, columns: slice) -> Values:
    """Column (0) or line (1) of the sensor's pixel, from 1; 0 outside the swath."""
    geometry = geometry_of(granule)
    number = (geometry.column, geometry.line)[layer][rows, columns].astype(np.int32)
    return np.where(geometry.inside[rows, columns], number + 1, 0)


def _observed(granule: Granule, lines: slice, columns: slice) -> NDArray[np.float32]:
    """All `OBSERVATIONS` of some pixels, over flat ground."""
    swath = granule.swath
    line, column = _mesh(lines, columns)
    across = (column - (swath.columns - 1) / 2) * swath.pixel_m
    view = VIEW_ZENITH_DEG + np.degrees(np.arctan2(across, _ALTITUDE_M))
    zenith, azimuth = granule.sun
    to_sensor = np.full(view.shape, (swath.heading_deg - 90) % 360)
    cosine = np.cos(np.radians(zenith)) * np.cos(np.radians(view)) + np.sin(
        np.radians(zenith)
    ) * np.sin(np.radians(view)) * np.cos(np.radians(to_sensor - azimuth))
    hours = granule.start.hour + granule.start.minute / 60 + granule.start.second / 3600
    seconds = line / swath.lines * (granule.end - granule.start).total_seconds()
    layers = (
        _ALTITUDE_M / np.cos(np.radians(view)),
        to_sensor,
        view,
        azimuth,
        zenith,
        np.degrees(np.arccos(np.clip(cosine, -1, 1))),
        0.0,
        0.0,
        np.cos(np.radians(zenith)),
        hours + seconds / 3600,
        distance_au(granule.start),
    )
    return np.stack(np.broadcast_arrays(*layers), axis=-1).astype(np.float32)


def _mesh(lines: slice, columns: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line, column = np.mgrid[lines, columns].astype(np.float64)
    return line, column


def _attributes(granule: Granule, title: str) -> dict[str, object]:
    ortho = granule.swath.ortho
    stamp = "%Y-%m-%dT%H:%M:%S+0000"
    flown = f"emit{granule.start:%Y%m%dt%H%M%S}"
    return {
        "ncei_template_version": "NCEI_NetCDF_Swath_Template_v2.0",
        "summary": "Made by a sandbox in the layout of the EMIT L1B product: a synthetic scene.",
        "keywords": "Imaging Spectroscopy, minerals, EMIT, dust, radiative forcing",
        "Conventions": "CF-1.63",
        "sensor": "EMIT (Earth Surface Mineral Dust Source Investigation)",
        "instrument": "EMIT",
        "platform": "ISS",
        "naming_authority": "LPDAAC",
        "date_created": f"{granule.published:%Y-%m-%dT%H:%M:%SZ}",
        "stdname_vocabulary": "NetCDF Climate and Forecast (CF) Metadata Convention",
        "flight_line": f"{flown}_o{granule.orbit[-5:]}_s{int(granule.scene) - 1:03d}",
        "time_coverage_start": f"{granule.start:{stamp}}",
        "time_coverage_end": f"{granule.end:{stamp}}",
        "software_build_version": _BUILD,
        "software_delivery_version": _BUILD,
        "product_version": "V001",
        "crosstrack_orientation": "as seen on ground",
        "easternmost_longitude": ortho.left + ortho.width * ortho.degrees,
        "northernmost_latitude": ortho.top,
        "westernmost_longitude": ortho.left,
        "southernmost_latitude": ortho.top - ortho.height * ortho.degrees,
        "spatialResolution": ortho.degrees,
        "spatial_ref": _WKT,
        "geotransform": np.array(ortho.geotransform),
        "day_night_flag": "Day",
        "title": title,
    }
