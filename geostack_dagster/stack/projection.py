"""Where an asset's pixels lie, as far as its metadata can be believed.

What is missing or contradicts itself is left out and read from the file's header instead: a wrong
transform moves every pixel, a missing one costs one request.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import Asset, Item, Projection, number, projection, properties

type Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top [unit of a CRS]."""

_TOLERANCE_PX = 1.5  # Landsat states pixel centres here and pixel edges there
_DENSIFY = 21
_TURN = 360.0


def trusted_projection(item: Item, asset: Asset) -> tuple[Projection, tuple[str, ...]]:
    """Projection of an asset without the parts that cannot be right, and why each was left out."""
    stated = projection(item, asset)
    notes = []
    if stated.crs is not None and not _is_known(stated.crs):
        notes.append(f"proj names a CRS that PROJ does not know ({stated.crs[:60]})")
        stated = replace(stated, crs=None)
    if stated.shape is not None and min(stated.shape) < 1:
        notes.append(f"proj:shape {list(stated.shape)} is empty")
        stated = replace(stated, shape=None)
    fault = _fault(stated, _stated_bbox(item, asset))
    if fault is not None:
        notes.append(f"proj:transform {fault}")
        stated = replace(stated, transform=None)
    return stated, tuple(notes)


def scene_extent(item: Item, asset: Asset) -> tuple[Projection, tuple[str, ...]]:
    """The ground that `proj:bbox` states, as one large pixel; nothing where it is not stated."""
    stated = projection(item, asset)
    bbox = _stated_bbox(item, asset)
    if bbox is None or stated.crs is None or not _is_known(stated.crs):
        return Projection(None, None, None), ()
    left, bottom, right, top = bbox
    return Projection(stated.crs, (1, 1), (right - left, 0.0, left, 0.0, bottom - top, top)), ()


def touches(stated: Projection, grid: Grid) -> bool:
    """Whether pixels of the asset can fall on the grid; True as long as that is not known."""
    found = bounds_on(stated, grid.crs)
    if found is None:
        return True
    left, bottom, right, top = grid.bounds
    turns = (-_TURN, 0.0, _TURN) if _crs(grid.crs).is_geographic else (0.0,)
    return any(
        found[0] + turn < right and left < found[2] + turn and found[1] < top and bottom < found[3]
        for turn in turns
    )


def bounds_on(stated: Projection, crs: str) -> Bounds | None:
    """Bounds of an asset's image in `crs`; None if its projection is incomplete or does not map."""
    if stated.crs is None or stated.shape is None or stated.transform is None:
        return None
    return _projected(image_bounds(stated.transform, stated.shape), stated.crs, crs)


def image_bounds(transform: Sequence[float], shape: tuple[int, int]) -> Bounds:
    """Bounds of all corners of an image in its own CRS."""
    a, b, c, d, e, f = transform
    rows, columns = shape
    corners = [(x, y) for x in (0, columns) for y in (0, rows)]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def centre_longitude(grid: Grid) -> float:
    """Longitude of the middle of a grid [degrees], within -180 to 180."""
    left, bottom, right, top = grid.bounds
    transformer = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, _ = transformer.transform((left + right) / 2, (bottom + top) / 2)
    return float((longitude + _TURN / 2) % _TURN - _TURN / 2)


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Whether two CRS texts mean the same system, however they are written."""
    return one == other or _crs(one).equals(_crs(other), ignore_axis_order=True)


type _Affine = Sequence[float]

_FAULTS: tuple[tuple[str, Callable[[_Affine], bool]], ...] = (
    ("is not finite", lambda t: not all(math.isfinite(value) for value in t)),
    ("is in GDAL's order of coefficients", lambda t: t[2] == 0 == t[4] and t[1] > 0 > t[5]),
    ("maps all pixels onto a line", lambda t: t[0] * t[4] - t[1] * t[3] == 0),
    ("is the identity", lambda t: tuple(t) == (1, 0, 0, 0, 1, 0)),
)


def _fault(stated: Projection, bbox: Bounds | None) -> str | None:
    if stated.transform is None:
        return None
    for fault, has in _FAULTS:
        if has(stated.transform):
            return fault
    if stated.shape is None or bbox is None:
        return None
    a, b, _, d, e, _ = stated.transform
    slack = _TOLERANCE_PX * max(math.hypot(a, d), math.hypot(b, e))
    found = image_bounds(stated.transform, stated.shape)
    if all(abs(mine - theirs) <= slack for mine, theirs in zip(found, bbox, strict=True)):
        return None
    return f"puts the image at {_rounded(found)}, proj:bbox at {_rounded(bbox)}"


def _stated_bbox(item: Item, asset: Asset) -> Bounds | None:
    found = asset.get("proj:bbox") or properties(item).get("proj:bbox")
    if not isinstance(found, list | tuple) or len(found) != 4:
        return None
    values = [number(value) for value in found]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    x0, y0, x1, y1 = (value for value in values if value is not None)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _rounded(bounds: Bounds) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in bounds) + "]"


@lru_cache(maxsize=4096)
def _projected(bounds: Bounds, crs: str, target: str) -> Bounds | None:
    if same_crs(crs, target):
        return bounds
    try:
        left, bottom, right, top = Transformer.from_crs(
            crs, target, always_xy=True
        ).transform_bounds(*bounds, densify_pts=_DENSIFY)
    except ProjError:
        return None
    if not all(math.isfinite(value) for value in (left, bottom, right, top)):
        return None
    return left, bottom, right + _TURN if left > right else right, top


@lru_cache(maxsize=256)
def _crs(text: str) -> CRS:
    return CRS.from_user_input(text)


def _is_known(text: str) -> bool:
    try:
        _crs(text)
    except CRSError:
        return False
    return True
