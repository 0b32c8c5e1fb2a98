"""What the pixels of a partition say: counts and extremes of each variable, and dark ground.

Read from the cube once it is written, block by block, and kept beside it: checks of a partition
that did not change read a small file and no pixel.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostack_dagster.domain.dark_pixels import BELOW, DIM, DarkPixels
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import Projection
from geostack_dagster.pipeline.checks.limits import Limits
from geostack_dagster.stack.footprint import covered
from geostack_dagster.stack.pixels import Window
from geostack_dagster.stack.recipe import Recipe, RecipeItem

_BLOCK = 2048
_CODES = 1 << 16


@dataclass(slots=True)
class Tally:
    """Values of one variable, over all days of a partition that have data."""

    pixels: int = 0
    valid: int = 0
    outside: int = 0
    """Values beyond what is physically possible."""
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, values: NDArray[Any], limits: Limits) -> None:
        """Count a block; NaN is no value."""
        known = values[np.isfinite(values)]
        self.pixels += values.size
        self.valid += known.size
        if known.size:
            self.outside += int(np.count_nonzero((known < limits[0]) | (known > limits[1])))
            self.least = min(self.least, float(known.min()))
            self.greatest = max(self.greatest, float(known.max()))

    def to_json(self) -> dict[str, Any]:
        """JSON form without infinities."""
        return {
            "pixels": self.pixels,
            "valid": self.valid,
            "outside": self.outside,
            "least": self.least if self.valid else None,
            "greatest": self.greatest if self.valid else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkGround:
    """Where ground is known to be dark."""

    classes: Mapping[str, tuple[int, ...]]
    """By variable, classes of `class_band`."""
    class_band: str | None
    """None: there are no classes, and all pixels are looked at."""
    recipe: Recipe


@dataclass(slots=True)
class _Counts:
    """Histograms of codes by Items and band: exact percentiles of any number of pixels."""

    ground: DarkGround
    found: dict[tuple[tuple[str, ...], str], NDArray[np.int64]] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(_CODES, np.int64))
    )

    def add(self, day: date, block: Mapping[str, NDArray[Any]], window: Window) -> None:
        """Count the dark pixels of a block."""
        class_band = self.ground.class_band
        classes = None if class_band is None else block[class_band]
        for items, reached in _origins(self.ground.recipe, day, window):
            for band, dark in self.ground.classes.items():
                chosen = reached if classes is None else reached & np.isin(classes, dark)
                codes = block[band][chosen]
                self.found[items, band] += np.bincount(codes, minlength=_CODES)

    def result(self) -> list[DarkPixels]:
        """Percentiles of what was counted, by Items and band."""
        bands = {band.name: band for band in self.ground.recipe.bands}
        out = []
        for (items, name), counts in sorted(self.found.items()):
            encoding = bands[name].encoding
            counts[int(encoding.fill)] = 0
            total = int(counts.sum())
            values = np.arange(_CODES, dtype=np.float64) * encoding.scale + encoding.offset
            rising = np.cumsum(counts)
            least, median = (_at(values, rising, total * share) for share in (0.001, 0.5))
            out.append(
                DarkPixels(
                    items=items,
                    band=name,
                    classified=self.ground.class_band is not None,
                    count=total,
                    least=least,
                    median=median,
                    below=float(counts[values < BELOW].sum() / max(total, 1)),
                    dim=float(counts[values < DIM].sum() / max(total, 1)),
                )
            )
        return out


def _at(values: NDArray[np.float64], rising: NDArray[np.int64], rank: float) -> float:
    """Value of the pixel of this rank; 0 where there is none."""
    if not rising[-1]:
        return 0.0
    return round(float(values[np.searchsorted(rising, max(rank, 1))]), 6)


def look(
    cube: xr.Dataset,
    days: Sequence[date],
    grid: Grid,
    *,
    limits: Mapping[str, Limits],
    ground: DarkGround | None = None,
) -> tuple[dict[str, Tally], list[DarkPixels]]:
    """Tallies by variable and dark ground by Items, of some days of a cube as it is stored.

    Args:
        cube: Opened without decoding; scale, offset and fill are in its attributes.
        days: Those that have data.
        grid: The cube's.
        limits: Least and greatest value of each variable that is looked at.
        ground: Where to look for dark pixels; None for nowhere.
    """
    tallies = {name: Tally() for name in limits}
    counts = None if ground is None else _Counts(ground)
    for day in days:
        slot = cube.sel(time=np.datetime64(day))
        for rows, columns in _blocks(grid):
            block = {
                name: slot[name].isel(y=rows, x=columns).to_numpy().squeeze() for name in limits
            }
            block = {name: np.atleast_2d(codes) for name, codes in block.items()}
            for name, codes in block.items():
                tallies[name].add(_values(codes, cube[name].attrs), limits[name])
            if counts is not None:
                counts.add(day, block, (rows, columns))
    return tallies, [] if counts is None else counts.result()


def _blocks(grid: Grid) -> Iterator[tuple[slice, slice]]:
    for top in range(0, grid.height, _BLOCK):
        for left in range(0, grid.width, _BLOCK):
            yield (
                slice(top, min(top + _BLOCK, grid.height)),
                slice(left, min(left + _BLOCK, grid.width)),
            )


def _values(codes: NDArray[Any], attrs: Mapping[str, Any]) -> NDArray[Any]:
    if codes.dtype.kind == "f":
        return codes
    values = codes * attrs.get("scale_factor", 1.0) + attrs.get("add_offset", 0.0)
    values[codes == attrs["_FillValue"]] = np.nan
    found: NDArray[Any] = values
    return found


def _origins(
    recipe: Recipe, day: date, window: Window
) -> Iterator[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Pixels of a block by the Items that may have filled them, from where their images lie."""
    items = [item for item in recipe.items if item.day == day]
    covers = np.stack([covered(_placed(item), recipe.grid, window) for item in items])
    # Items that share a pixel share its evidence, for the first valid one counts.
    patterns, index = np.unique(covers.reshape(len(items), -1), axis=1, return_inverse=True)
    index = index.reshape(covers.shape[1:])
    for number, pattern in enumerate(patterns.T):
        if pattern.any():
            ids = tuple(item.id for item, one in zip(items, pattern, strict=True) if one)
            yield ids, index == number


def _placed(item: RecipeItem) -> Projection:
    stated = (source.projection for source in item.sources.values())
    return next(stated, Projection(crs=None, shape=None, transform=None))
