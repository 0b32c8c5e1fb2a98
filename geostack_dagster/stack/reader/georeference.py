"""Where the pixels lie: affine transform and CRS from GeoTIFF tags (OGC 19-008r4)."""

from dataclasses import dataclass

import numpy as np

from geostack_dagster.stack.reader.tiff import Tags

_PIXEL_SCALE, _TIEPOINTS, _MATRIX = 33550, 33922, 34264
_KEYS = 34735
_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED = 1024, 1025, 2048, 3072
_ANGULAR_UNITS, _LINEAR_UNITS = 2054, 3076
_IS_PROJECTED, _IS_GEOGRAPHIC, _IS_POINT = 1, 2, 2
_DEGREE, _METRE, _USER_DEFINED = 9102, 9001, 32767

type Coefficients = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class GeoReference:
    """Affine coefficients a, b, c, d, e, f and EPSG code, each None where not simply stated."""

    transform: Coefficients | None
    epsg: int | None
    stated: bool
    """Whether the file states a CRS at all, be it one without a code."""


def georeference(tags: Tags) -> GeoReference:
    """What the tags of the full image state."""
    keys = _geokeys(tags)
    transform = _transform(tags)
    if transform is not None and keys.get(_RASTER) == _IS_POINT:
        a, b, c, d, e, f = transform
        # The tie is the centre of a pixel; ours, like GDAL's, is its upper left corner.
        transform = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    return GeoReference(transform, _epsg(keys), stated=_MODEL in keys)


def _transform(tags: Tags) -> Coefficients | None:
    matrix, ties = _numbers(tags, _MATRIX), _numbers(tags, _TIEPOINTS)
    scale = _numbers(tags, _PIXEL_SCALE)
    if len(scale) >= 2 and len(ties) >= 6 and scale[0] and scale[1]:
        width, height = scale[0], abs(scale[1])
        column, row, x, y = ties[0], ties[1], ties[3], ties[4]
        return (width, 0.0, x - column * width, 0.0, -height, y + row * height)
    if len(matrix) == 16:
        return (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    return None


def _epsg(keys: dict[int, int]) -> int | None:
    """The code, unless units in the keys differ from the code's own: GDAL knows what then."""
    if keys.get(_MODEL) == _IS_PROJECTED:
        code = keys.get(_PROJECTED)
        plain = keys.get(_LINEAR_UNITS, _METRE) == _METRE
    elif keys.get(_MODEL) == _IS_GEOGRAPHIC:
        code = keys.get(_GEOGRAPHIC)
        plain = keys.get(_ANGULAR_UNITS, _DEGREE) == _DEGREE
    else:
        return None
    return code if plain and code not in (None, 0, _USER_DEFINED) else None


def _geokeys(tags: Tags) -> dict[int, int]:
    directory = tags.get(_KEYS)
    if not isinstance(directory, np.ndarray) or directory.size < 4:
        return {}
    entries = directory[4 : 4 + 4 * int(directory[3])]
    entries = entries[: len(entries) // 4 * 4].reshape(-1, 4)
    return {int(key): int(value) for key, place, _, value in entries if place == 0}


def _numbers(tags: Tags, code: int) -> list[float]:
    found = tags.get(code)
    return [float(value) for value in found] if isinstance(found, np.ndarray) else []
