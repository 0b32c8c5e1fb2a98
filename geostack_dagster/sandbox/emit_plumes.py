"""Plume complexes that the archive's analysts outlined: crops of the enhancement, and metadata.

One for every granule whose day has an emission. Like the archive's, they hold the values of the
granule's own enhancement inside the outline and nodata around it, and state no emission rate.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.polygon import orient

from geostack_dagster.sandbox import plumes, weather
from geostack_dagster.sandbox.cog import Pixels, RasterSpec, Window
from geostack_dagster.sandbox.emit_maps import NODATA, geometry_of, maps_of
from geostack_dagster.sandbox.emit_scenes import FIELD_GRANULES, GRANULES, Granule
from geostack_dagster.sandbox.sampling import Floats, Sites

_VISIBLE_PPM_M = 250.0
_CLOUDY = 0.2
_REACH_DEGREES = 0.06  # around a source: more than a plume is long
_FIRST_NUMBER = 3201
_SAMPLES = 3
_LEAST_PIXELS = 12


@dataclass(frozen=True, kw_only=True)
class PlumeComplex:
    """One entry of the archive's list of plumes."""

    granule: Granule
    emission: plumes.Emission
    number: int

    @property
    def name(self) -> str:
        """Granule name, as in `EMIT_L2B_CH4PLM_002_20240603T103405_003201`."""
        return self.named("CH4PLM")

    def named(self, product: str) -> str:
        """Name of one of its files without suffix."""
        return f"EMIT_L2B_{product}_002_{self.granule.start:%Y%m%dT%H%M%S}_{self.number:06d}"

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the crop [degrees]."""
        (left, top), (width, height) = self.spec.origin, self.spec.pixel
        rows, columns = self.spec.shape
        return left, top - rows * height, left + columns * width, top

    @property
    def ring(self) -> tuple[tuple[float, float], ...]:
        """Corners of the crop, closed: the footprint that the catalogue states."""
        west, south, east, north = self.bbox
        return (west, south), (east, south), (east, north), (west, north), (west, south)

    @property
    def spec(self) -> RasterSpec:
        """The crop's place: whole pixels of the granule's own map."""
        ortho, (rows, columns) = self.granule.swath.ortho, self._span
        return RasterSpec(
            epsg=4326,
            geographic=True,
            origin=(
                ortho.left + columns.start * ortho.degrees,
                ortho.top - rows.start * ortho.degrees,
            ),
            pixel=(ortho.degrees, ortho.degrees),
            shape=(rows.stop - rows.start, columns.stop - columns.start),
            dtype="float32",
            nodata=NODATA,
        )

    def paint(self, window: Window) -> Pixels:
        """Enhancement inside the outline."""
        shown: NDArray[np.float32] = self.enhancement[window.places]
        return shown

    @cached_property
    def enhancement(self) -> NDArray[np.float32]:
        """The whole crop [ppm m]: exactly the granule's values, `NODATA` outside the outline."""
        whole = geometry_of(self.granule).ortho(maps_of(self.granule).enhancement)
        return np.where(self._mask, whole[self._span], np.float32(NODATA))

    @cached_property
    def outline(self) -> shapely.Polygon:
        """Edge of the mask, along pixel edges [degrees]."""
        left, _, _, top = self.bbox
        size = self.granule.swath.ortho.degrees
        rows, columns = np.nonzero(self._mask)
        whole = shapely.union_all(shapely.box(columns, -rows - 1, columns + 1, -rows))
        corners = shapely.get_coordinates(shapely.get_exterior_ring(whole))
        return orient(shapely.Polygon(corners * size + (left, top)))

    def metadata(self) -> dict[str, Any]:
        """The GeoJSON document of CH4PLMMETA, Version 002."""
        values = np.where(self._mask, self.enhancement, -np.inf)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        left, _, _, top = self.bbox
        size = self.granule.swath.ortho.degrees
        ring = [[[round(x, 5), round(y, 5)] for x, y in self.outline.exterior.coords]]
        start = self.granule.start
        properties = {
            "Plume ID": f"CH4_PlumeComplex-{self.number}",
            "Orbit": self.granule.orbit,
            "DCID": f"{1_400_000_000 + int(start.timestamp()) % 100_000_000}",
            "UTC Time Observed": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "Max Plume Concentration (ppm m)": float(round(float(values.max()))),
            "Latitude of max concentration": round(top - (int(row) + 0.5) * size, 5),
            "Longitude of max concentration": round(left + (int(column) + 0.5) * size, 5),
            "Wind Speed (m/s)": "NA",
            "Wind Speed Std (m/s)": "NA",
            "Wind Speed Source": "NA",
            "Emissions Rate Estimate (kg/hr)": "NA",
            "Emissions Rate Estimate Uncertainty (kg/hr)": "NA",
            "Fetch Length (m)": "NA",
            "DAAC Scene Names": [f"EMIT_L2B_CH4ENH_V002_{self.granule.stamp}"],
        }
        crs = {"properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}, "type": "name"}
        feature = {
            "geometry": {"type": "Polygon", "coordinates": ring},
            "type": "Feature",
            "properties": properties,
        }
        return {
            "crs": crs,
            "features": [feature],
            "name": "methane_metadata",
            "type": "FeatureCollection",
        }

    @property
    def is_visible(self) -> bool:
        """Whether enough of it stands out for an outline."""
        return bool(self._visible.sum() >= _LEAST_PIXELS)

    @property
    def _span(self) -> tuple[slice, slice]:
        return self._found[0]

    @property
    def _mask(self) -> NDArray[np.bool_]:
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """Rows and columns of the granule's map, and the pixels of the plume in them."""
        rows, columns = self._near
        labels, _ = ndimage.label(self._visible)
        largest = np.bincount(labels.ravel())[1:].argmax() + 1
        found = ndimage.find_objects(labels)[largest - 1]
        mask = ndimage.binary_fill_holes(labels[found] == largest)
        span = tuple(
            slice(part.start + int(first[0]), part.stop + int(first[0]))
            for part, first in zip(found, (rows, columns), strict=True)
        )
        return (span[0], span[1]), np.asarray(mask, bool)

    @property
    def _near(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the granule's map that the plume may reach."""
        ortho = self.granule.swath.ortho
        lon, lat = self.emission.source.degrees
        column, row = (lon - ortho.left) / ortho.degrees, (ortho.top - lat) / ortho.degrees
        reach = _REACH_DEGREES / ortho.degrees
        top, left = max(int(row - reach), 0), max(int(column - reach), 0)
        rows = np.arange(top, min(int(row + reach), ortho.height))
        return rows, np.arange(left, min(int(column + reach), ortho.width))

    @cached_property
    def _visible(self) -> NDArray[np.bool_]:
        """Where the plume stands out and no cloud hides it, on the part that it may reach."""
        rows, columns = self._near
        swath, ortho = self.granule.swath, self.granule.swath.ortho
        lon = ortho.left + (columns + 0.5) * ortho.degrees
        lat = ortho.top - (rows + 0.5) * ortho.degrees
        line, column, inside = swath.nearest(*np.meshgrid(lon, lat))
        place = partial(_moved, self.granule, line, column)
        truth = plumes.pixel_means(place, self.granule.day, samples=_SAMPLES)
        sky = weather.sky(place(0.0, 0.0), self.granule.day)
        assert truth is not None
        found = inside & (truth > _VISIBLE_PPM_M)
        return found if sky is None else found & (sky.opacity < _CLOUDY)


def _moved(granule: Granule, line: Floats, column: Floats, down: float, right: float) -> Sites:
    return granule.swath.sites(line + down, column + right)


def _complexes() -> tuple[PlumeComplex, ...]:
    found = (
        (granule, emission)
        for granule in GRANULES
        for emission in plumes.emissions(granule.day)
        if emission.source.name == granule.aoi
    )
    return tuple(
        PlumeComplex(granule=granule, emission=emission, number=_FIRST_NUMBER + number)
        for number, (granule, emission) in enumerate(found)
    )


COMPLEXES = _complexes()
"""All plumes that the archive lists, oldest first within an area."""


def complexes_over(granule: Granule) -> tuple[PlumeComplex, ...]:
    """Plumes over a field that an analyst would outline; those that hardly show are not listed."""
    first = _FIRST_NUMBER + len(COMPLEXES) + 2 * FIELD_GRANULES.index(granule)
    found = (
        PlumeComplex(granule=granule, emission=active, number=first + side)
        for side, active in enumerate(
            one
            for one in plumes.emissions(granule.day)
            if one.source.name.startswith(f"{granule.aoi}/")
        )
    )
    return tuple(one for one in found if one.is_visible)
