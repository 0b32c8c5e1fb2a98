"""Whether an asset's projection metadata places its pixels, and where it contradicts itself."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from geostack_dagster.catalog.oddities import bounding_box
from geostack_dagster.domain.item import Asset, Item, Projection, is_finite, projection, properties

_FAR_DEGREES = 1.0
_LAST_ROW = (0.0, 0.0, 1.0)


def remarks(item: Item, asset: Asset) -> Iterator[str]:
    """Sentences about one asset's projection; none where a reader can rely on it."""
    found = projection(item, asset)
    yield from _gaps(item, asset, found)
    yield from _shape_remarks(item, asset, found)
    yield from _transform_remarks(item, asset, found)
    if found.crs is not None and crs_of(found.crs) is None:
        yield f"its CRS {_name(found.crs)} is not one that PROJ knows"
    elif found.is_complete:
        yield from _grid_remarks(item, asset, found)


@lru_cache(maxsize=64)
def crs_of(name: str) -> CRS | None:
    """The CRS of a code or WKT; None if PROJ does not know it."""
    try:
        return CRS.from_user_input(name)
    except CRSError:
        return None


def _gaps(item: Item, asset: Asset, found: Projection) -> Iterator[str]:
    if (found.crs, found.shape, found.transform) == (None, None, None):
        yield "no projection metadata: the grid is read from the file's header"
        return
    missing = [n for n in ("crs", "shape", "transform") if getattr(found, n) is None]
    if missing:
        yield f"projection metadata without {' and '.join(missing)}: the file's header is read"
    code = _stated(item, asset, "proj:code") or _stated(item, asset, "proj:epsg")
    if found.crs is not None and code is None:
        yield "no EPSG code: the CRS is taken from proj:wkt2"
    if isinstance(_stated(item, asset, "proj:epsg"), str):
        yield f"its proj:epsg is the string {_stated(item, asset, 'proj:epsg')!r}"


def _shape_remarks(item: Item, asset: Asset, found: Projection) -> Iterator[str]:
    stated = _stated(item, asset, "proj:shape")
    if stated is None:
        return
    if found.shape is None:
        yield f"its proj:shape {stated!r:.60} is not two numbers"
    elif min(found.shape) < 1:
        yield f"its proj:shape {list(found.shape)} holds no pixel"
    elif len(stated) != 2 or any(isinstance(value, str) for value in stated):
        yield f"its proj:shape {stated!r:.60} is read as {list(found.shape)}"


def _transform_remarks(item: Item, asset: Asset, found: Projection) -> Iterator[str]:
    stated = _stated(item, asset, "proj:transform")
    if stated is None:
        return
    if found.transform is None:
        yield f"its proj:transform {stated!r:.60} is not six numbers"
        return
    if any(isinstance(value, str) for value in stated):
        yield "its proj:transform holds strings, read as numbers"
    if len(stated) > 6 and tuple(stated[6:]) != _LAST_ROW:
        yield f"its proj:transform ends in {list(stated[6:])}, not 0, 0, 1: only six numbers count"
    a, b, _, d, e, _ = found.transform
    if a * e - b * d == 0:
        yield "its proj:transform is degenerate: pixels have no area"
    elif b or d:
        yield "its proj:transform is rotated or in sensor geometry: not a north-up grid"
    elif e > 0:
        yield "its proj:transform has the south on top"


def _grid_remarks(item: Item, asset: Asset, found: Projection) -> Iterator[str]:
    crs = crs_of(found.crs or "")
    if crs is None or found.shape is None or found.transform is None or min(found.shape) < 1:
        return
    bounds = _bounds(found.shape, found.transform)
    if not all(map(math.isfinite, bounds)):
        return
    # An asset with a transform of its own is not described by the Item's bbox (GOES).
    own = asset.get("proj:transform") is not None
    bbox = asset.get("proj:bbox") if own else _stated(item, asset, "proj:bbox")
    yield from _bbox_remarks(bbox, bounds, found.transform)
    if crs.is_geographic and (bounds[2] - bounds[0] > 180 or max(map(abs, bounds[1::2])) > 90.5):
        yield (
            f"its grid spans {bounds[2] - bounds[0]:.0f} x {bounds[3] - bounds[1]:.0f} degrees: "
            "the transform does not place these pixels"
        )
    else:
        yield from _distance_remarks(item, crs, bounds)


def _bbox_remarks(
    stated: object, bounds: Sequence[float], transform: Sequence[float]
) -> Iterator[str]:
    if not isinstance(stated, list) or len(stated) != 4 or not all(map(is_finite, stated)):
        return
    left, bottom, right, top = (float(value) for value in stated)
    if bottom > top:
        yield "its proj:bbox has its bottom above its top"
        bottom, top = top, bottom
    pixel = max(abs(value) for value in (*transform[:2], *transform[3:5]))
    off = max(abs(x - y) for x, y in zip(bounds, (left, bottom, right, top), strict=True))
    if off > pixel:
        yield f"proj:transform and proj:shape do not give proj:bbox: they differ by {off:g}"


def _distance_remarks(item: Item, crs: CRS, bounds: Sequence[float]) -> Iterator[str]:
    """Whether the grid touches the Item's bbox at all (HLS: zones of the wrong hemisphere)."""
    bbox = bounding_box(item)
    grid = _degrees(crs, bounds)
    if bbox is None or grid is None:
        return
    away = max(bbox[1] - grid[3], grid[1] - bbox[3], _longitudes_apart(bbox, grid))
    if away > _FAR_DEGREES:
        west, south, east, north = grid
        yield (
            f"its grid lies at {west:.1f}, {south:.1f}, {east:.1f}, {north:.1f}, "
            f"{away:.1f} degrees away from the Item's bbox: one of the two is wrong"
        )


def _longitudes_apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Gap between two boxes along the parallel [degrees], on a circle; 0 where they meet."""
    widths = [(box[2] - box[0]) % 360 for box in (one, other)]
    gaps = [(other[0] - one[0]) % 360 - widths[0], (one[0] - other[0]) % 360 - widths[1]]
    return max(0.0, min(gaps))


def _degrees(crs: CRS, bounds: Sequence[float]) -> tuple[float, float, float, float] | None:
    left, bottom, right, top = bounds
    try:
        west, south, east, north = _to_degrees(crs).transform_bounds(
            left, bottom, right, top, errcheck=True
        )
    except ProjError:
        return None
    found = (west, south, east, north)
    return found if all(map(math.isfinite, found)) else None


@lru_cache(maxsize=64)
def _to_degrees(crs: CRS) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _bounds(shape: Sequence[int], transform: Sequence[float]) -> tuple[float, float, float, float]:
    a, b, c, d, e, f = transform
    corners = [(x, y) for x in (0, shape[1]) for y in (0, shape[0])]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _stated(item: Item, asset: Asset, name: str) -> Any:
    found: Mapping[str, Any] = asset if asset.get(name) is not None else properties(item)
    return found.get(name)


def _name(crs: str) -> str:
    return crs if len(crs) <= 40 else f"{crs[:37]}..."
