"""Sites: cells of about half a degree, the units that splits and bootstraps keep together."""

import math

CELL_DEG = 0.5
"""Height of a cell; its width is chosen so that it is about as wide, at any latitude."""
_ROWS = round(180 / CELL_DEG)
_KM_PER_DEGREE = 111.195  # on a sphere of 6371 km


def site_of(longitude: float, latitude: float) -> str:
    """Name of the cell that holds a point [degrees]."""
    row = _row(latitude)
    return _name(row, _column(row, longitude))


def sites_within(longitude: float, latitude: float, distance_km: float) -> set[str]:
    """Names of all cells that come this near to a point, and perhaps a few a little farther."""
    reach = distance_km / _KM_PER_DEGREE
    found: set[str] = set()
    for row in range(_row(latitude - reach), _row(latitude + reach) + 1):
        shrink = math.cos(math.radians(min(abs(latitude) + reach, 90.0)))
        count = _columns(row)
        if reach >= 180 * shrink:  # around a pole
            found.update(_name(row, column) for column in range(count))
            continue
        width, span = 360 / count, reach / shrink
        first = math.floor((longitude - span + 180) / width)
        last = math.floor((longitude + span + 180) / width)
        found.update(_name(row, column % count) for column in range(first, last + 1))
    return found


def _row(latitude: float) -> int:
    return min(max(math.floor((latitude + 90) / CELL_DEG), 0), _ROWS - 1)


def _columns(row: int) -> int:
    middle = math.radians((row + 0.5) * CELL_DEG - 90)
    return max(1, round(360 / CELL_DEG * math.cos(middle)))


def _column(row: int, longitude: float) -> int:
    count = _columns(row)
    return math.floor((longitude + 180) / 360 * count) % count


def _name(row: int, column: int) -> str:
    return f"r{row:03d}c{column:03d}"
