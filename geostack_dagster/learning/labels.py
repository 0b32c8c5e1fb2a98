"""Labels: plumes that analysts outlined, reviews by people, and what they say of every pixel.

EMIT's CH4PLM lists plumes that two analysts agreed on. It lists no empty scenes, and it misses
plumes: so what lies outside of its outlines counts as free of plumes only where a scene is known
to have been looked at, and even there not where the map itself is suspicious.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from pyproj import CRS, Transformer
from rasterio import features
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from scipy import ndimage
from shapely import MultiPolygon, Polygon, transform
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from geostack_dagster.domain.antimeridian import cut
from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.detection import Detection, detect
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.scenes import PixelState, Scene

_EIGHT = np.ones((3, 3), bool)
_FILL_BELOW = -9000.0  # of rasters that do not state their fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One outline and what was found inside it."""

    id: str
    geometry: Polygon | MultiPolygon
    """In longitude and latitude [degrees], in parts where the antimeridian cuts it."""
    state: State
    scenes: tuple[str, ...] = ()
    """Granules that it was drawn on, as its source names them."""
    orbit: str = ""
    """EMIT's orbit, as in the names of its granules."""
    observed: datetime | None = None
    peak_ppm_m: float | None = None
    rate_kg_h: float | None = None
    source: str = ""

    def to_feature(self) -> dict[str, Any]:
        """GeoJSON, as `read_labels` reads it back."""
        properties = {
            "id": self.id,
            "state": self.state.value,
            "scenes": list(self.scenes),
            "orbit": self.orbit,
            "observed": None if self.observed is None else self.observed.isoformat(),
            "peak_ppm_m": self.peak_ppm_m,
            "rate_kg_h": self.rate_kg_h,
            "source": self.source,
        }
        return {"type": "Feature", "geometry": mapping(self.geometry), "properties": properties}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Pixels that no label is sure enough about to learn from."""

    ring_px: int = 4
    """Around every plume: its rim is where analysts and thresholds differ."""
    suspicious: float = 3.0
    """Robust standard deviations above which an unlabelled pixel may be a plume that was missed."""


def read_labels(document: Mapping[str, Any]) -> tuple[Label, ...]:
    """Labels of a GeoJSON document: EMIT's CH4PLM metadata (V001, V002) or a person's review.

    Features without an area are skipped: some releases mark the peak by a point of its own.

    Raises:
        IntegrityError: If a feature has no id, no known state or no readable geometry.
    """
    found = document.get("features", [document] if document.get("type") == "Feature" else None)
    if not isinstance(found, list):
        raise IntegrityError("labels must be a GeoJSON FeatureCollection or Feature")
    return tuple(label for feature in found for label in _labels(feature))


def outlined_by_raster(content: bytes, name: str, *, observed: datetime | None) -> Label:
    """The label of a CH4PLM raster: everything that has a value lies inside of its outline.

    Args:
        content: The GeoTIFF.
        name: Of the entry, ending with its number; the id is that of the entry's own metadata.
        observed: When.

    Raises:
        IntegrityError: If it is no georeferenced raster, is empty, or the name has no number.
    """
    number = name.rpartition("_")[2]
    try:
        with MemoryFile(content) as file, file.open() as raster:
            values = raster.read(1, masked=True).astype(np.float64).filled(np.nan)
            place, crs = raster.transform, raster.crs
    except RasterioError as error:
        raise IntegrityError(f"the raster of {name} cannot be read: {error}") from error
    inside = np.isfinite(values) & (values > _FILL_BELOW)
    if crs is None or not inside.any() or not number.isdigit():
        raise IntegrityError(f"the raster of {name} outlines no numbered plume on the globe")
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    rings = (
        one["coordinates"]
        for one, _ in features.shapes(inside.astype("u1"), inside, 4, transform=place)
    )
    outline = MultiPolygon([Polygon(edge, holes) for edge, *holes in rings])
    return Label(
        id=f"CH4_PlumeComplex-{int(number)}",
        geometry=transform(outline, lambda points: _projected(points, to_degrees)),
        state=State.PLUME,
        observed=observed,
        peak_ppm_m=float(values[inside].max()),
        source=name,
    )


def rasterize(
    labels: Sequence[Label], scene: Scene, state: State = State.PLUME
) -> Bool[np.ndarray, "y x"]:
    """Pixels of a scene whose centres lie inside labels of this state."""
    to_grid = Transformer.from_crs("EPSG:4326", CRS.from_user_input(scene.crs), always_xy=True)
    projected = [
        transform(label.geometry, lambda points: _projected(points, to_grid))
        for label in labels
        if label.state is state
    ]
    if not projected:
        return np.zeros(scene.shape, bool)
    burned = features.rasterize(
        projected, out_shape=scene.shape, transform=Affine(*scene.transform), dtype="uint8"
    )
    return np.asarray(burned, dtype=bool)


def pixel_states(
    marked: Mapping[State, Bool[np.ndarray, "y x"]],
    enhancement: Float32[np.ndarray, "y x"],
    uncertainty: Float32[np.ndarray, "y x"],
    *,
    reviewed: bool,
    caution: Caution | None = None,
) -> UInt8[np.ndarray, "y x"]:
    """`PixelState` of every pixel of a whole scene.

    PLUME and NO_PLUME where marked; NO_PLUME elsewhere if the scene was reviewed, UNCERTAIN if
    not. UNCERTAIN around plumes, where marked so, and where a reviewed map is suspicious though
    nobody marked it. UNOBSERVABLE where a map has no value or where marked so.

    Args:
        marked: Pixels of each state, by outlines (`rasterize`) or by a plume raster.
        enhancement: Of the scene [ppm m].
        uncertainty: Of the scene [ppm m].
        reviewed: Whether somebody looked at all of it.
        caution: `Caution()` if None.
    """
    caution = caution or Caution()
    nowhere = np.zeros(enhancement.shape, bool)
    plume = marked.get(State.PLUME, nowhere)
    cleared = marked.get(State.NO_PLUME, nowhere)
    states = np.full(enhancement.shape, PixelState.UNCERTAIN.value, np.uint8)
    if reviewed:
        suspicious = _score(enhancement, uncertainty) > caution.suspicious
        states[~suspicious] = PixelState.NO_PLUME
    states[cleared] = PixelState.NO_PLUME  # a person looked at this very place
    ring = (
        ndimage.binary_dilation(plume, _EIGHT, iterations=caution.ring_px)
        if plume.any()
        else (nowhere)
    )
    states[ring | marked.get(State.UNCERTAIN, nowhere)] = PixelState.UNCERTAIN
    states[plume] = PixelState.PLUME
    unseen = ~(np.isfinite(enhancement) & np.isfinite(uncertainty))
    states[unseen | marked.get(State.UNOBSERVABLE, nowhere)] = PixelState.UNOBSERVABLE
    return states


def _projected(
    points: Float64[np.ndarray, "n 2"], to_grid: Transformer
) -> Float64[np.ndarray, "n 2"]:
    return np.stack(to_grid.transform(points[:, 0], points[:, 1]), axis=1)


def _score(
    enhancement: Float32[np.ndarray, "y x"], uncertainty: Float32[np.ndarray, "y x"]
) -> Float64[np.ndarray, "y x"]:
    clear = np.isfinite(enhancement) & np.isfinite(uncertainty)
    detected = detect(
        enhancement.astype(np.float64), uncertainty.astype(np.float64), clear, Detection()
    )
    return np.asarray(np.nan_to_num(detected.score))


def _labels(feature: Any) -> Iterator[Label]:
    stated = feature.get("properties") if isinstance(feature, Mapping) else None
    if not isinstance(stated, Mapping):
        raise IntegrityError("a label is no GeoJSON feature with properties")
    name = stated.get("Plume ID") or stated.get("id") or feature.get("id")
    if not name:
        raise IntegrityError("a label has neither `Plume ID` nor `id`; give every feature an id")
    geometry = _geometry(feature.get("geometry"), str(name))
    if geometry is None:
        return
    read = _read_emit if "Plume ID" in stated else _read_review
    yield Label(id=str(name), geometry=geometry, **read(stated, str(name)))


def _read_emit(stated: Mapping[str, Any], name: str) -> dict[str, Any]:
    scenes = stated.get("DAAC Scene Names") or stated.get("Scene FIDs") or ()
    return {
        "state": State.PLUME,
        "scenes": (scenes,) if isinstance(scenes, str) else tuple(map(str, scenes)),
        "orbit": str(stated.get("Orbit") or stated.get("DCID") or ""),
        "observed": parse_datetime(stated.get("UTC Time Observed")),
        "peak_ppm_m": _number(stated.get("Max Plume Concentration (ppm m)")),
        "rate_kg_h": _number(stated.get("Emissions Rate Estimate (kg/hr)")),
        "source": "CH4PLM",
    }


def _read_review(stated: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        state = State(str(stated.get("state")).upper())
    except ValueError as error:
        raise IntegrityError(
            f"label {name} has state {stated.get('state')!r}; use one of {', '.join(State)}"
        ) from error
    return {
        "state": state,
        "scenes": tuple(map(str, stated.get("scenes") or ())),
        "orbit": str(stated.get("orbit") or ""),
        "observed": parse_datetime(stated.get("observed")),
        "peak_ppm_m": _number(stated.get("peak_ppm_m")),
        "rate_kg_h": _number(stated.get("rate_kg_h")),
        "source": str(stated.get("source") or "review"),
    }


def _geometry(stated: Any, name: str) -> Polygon | MultiPolygon | None:
    try:
        found = shape(stated)
    except (ShapelyError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise IntegrityError(f"label {name} has no readable geometry; it must be GeoJSON") from (
            error
        )
    if not isinstance(found, Polygon | MultiPolygon) or found.is_empty:
        return None
    try:
        whole = shape(dict(cut(f"label {name}", mapping(found))))
    except ConfigurationError as error:
        raise IntegrityError(str(error)) from error
    return whole if isinstance(whole, Polygon | MultiPolygon) else None


def _number(stated: Any) -> float | None:
    """A finite number, or None: V002 writes the string `NA` for a rate that nobody estimated."""
    try:
        number = float(stated)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
