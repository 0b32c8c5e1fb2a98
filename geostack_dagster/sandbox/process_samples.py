"""What the Process API hands to a script: scenes in reach, their bands on the grid asked for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import rasterio.warp
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling

from geostack_dagster.domain.item import Item, assets, item_id, number, properties
from geostack_dagster.sandbox.catalogue import Catalogue, Record, Search
from geostack_dagster.sandbox.cog import Window
from geostack_dagster.sandbox.evalscript.script import Sample
from geostack_dagster.sandbox.pixels import Layer, UnrenderableError, scene_layer
from geostack_dagster.sandbox.process_ask import COLLECTIONS, Ask, BoomError
from geostack_dagster.sandbox.sampling import Axes
from geostack_dagster.sandbox.world import World

MASK = "dataMask"
_UNITS = {"AOT": ("OPTICAL_DEPTH", 1e-3), "SCL": ("DN", 1.0), "SNW": ("PERCENT", 1.0)}
_UNITS["CLD"] = _UNITS["SNW"]
_OPTICAL = ("REFLECTANCE", 1e-4)
"""Default unit of a band, and what a digital number is in it."""
_KERNELS = {"BILINEAR": Resampling.bilinear, "BICUBIC": Resampling.cubic}
_MARGIN_PX = 3  # pixels around a window that interpolation reaches into

type Band = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tile:
    """One scene in reach of a request."""

    item: Item
    moment: datetime
    number: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a script sees of it."""
        return {
            "date": self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "shId": float(self.number),
            "cloudCoverage": float(number(properties(self.item).get("eo:cloud_cover")) or 0.0),
            "dataPath": str(assets(self.item)["data"]["href"]).rstrip("/"),
        }


def tiles_for(ask: Ask, catalogue: Catalogue) -> list[Tile]:
    """Scenes that a request reaches, in its mosaicking order."""
    search = Search(
        collections=(ask.collection,), area=_degrees(ask.axes), start=ask.start, end=ask.end
    )
    found = [
        Tile(record.item, record.moment, 10_000_000 + _digits(record))
        for record in catalogue.search(search)
        if (number(properties(record.item).get("eo:cloud_cover")) or 0.0) <= ask.most_cloud
    ]
    if ask.order == "leastCC":
        return sorted(found, key=lambda tile: tile.facts["cloudCoverage"])
    return sorted(found, key=lambda tile: tile.moment, reverse=ask.order == "mostRecent")


def sample_of(
    tile: Tile, units: Iterable[tuple[str, str | None]], ask: Ask, world: World
) -> Sample:
    """Bands of one scene in their units, and `dataMask`, one value for each pixel of the grid.

    Raises:
        BoomError: If the collection has no such band, or the band no such unit.
    """
    found: dict[str, Band] = {}
    mask = np.zeros((ask.axes.height, ask.axes.width), bool)
    for band, unit in units:
        if band == MASK:
            continue
        scale = _scale(ask, band, unit)
        try:
            layer = scene_layer(tile.item, band, world, harmonised=ask.harmonised)
        except UnrenderableError:
            raise _no_band(ask, band) from None
        numbers, inside = _Sampler(layer, ask).numbers()
        mask |= inside
        found[band] = (numbers * np.float32(scale)).ravel()
    if not found:
        layer = scene_layer(tile.item, "B02", world, harmonised=True)
        mask = _Sampler(layer, ask).numbers()[1]
    return {**found, MASK: mask.ravel().astype(np.float32)}


def mosaicked(samples: Sequence[Sample]) -> Sample:
    """The first of the samples that has data, pixel by pixel."""
    flat = {band: values.copy() for band, values in samples[0].items()}
    for sample in samples[1:]:
        missing = flat[MASK] == 0
        for band, values in sample.items():
            np.copyto(flat[band], values, where=missing)
    return flat


def blank(units: Iterable[tuple[str, str | None]], ask: Ask) -> Sample:
    """The sample of a request that reaches no scene: 0 in all bands."""
    pixels = ask.axes.height * ask.axes.width
    return {band: np.zeros(pixels, np.float32) for band, _ in (*units, (MASK, None))}


class _Sampler:
    """Digital numbers of one layer at the pixels asked for."""

    def __init__(self, layer: Layer, ask: Ask) -> None:
        self._layer, self._ask = layer, ask
        spec = layer.spec
        self._crs, self._pixel_m = f"EPSG:{spec.epsg}", spec.pixel[0]
        x, y = _places(ask.axes, self._crs)
        self._columns = np.floor((x - spec.origin[0]) / spec.pixel[0]).astype(np.int64)
        self._rows = np.floor((spec.origin[1] - y) / spec.pixel[1]).astype(np.int64)

    def numbers(self) -> tuple[Band, NDArray[np.bool_]]:
        """Numbers and whether there are data, shape (y, x)."""
        rows, columns = np.broadcast_arrays(self._rows, self._columns)
        height, width = self._layer.spec.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        if self._ask.within is not None:
            sites = self._ask.axes.sites()
            inside &= shapely.contains_xy(self._ask.within, *np.meshgrid(sites.x, sites.y))
        shape = inside.shape
        if not inside.any():
            return np.zeros(shape, np.float32), inside
        step, margin = self._step(), _MARGIN_PX
        window = self._window(rows[inside], columns[inside], step, margin)
        painted = self._layer(window)
        places = (rows[inside] // step - window.row, columns[inside] // step - window.column)
        values, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
        values[inside] = painted[places]
        valid[inside] = painted[places] != 0
        kernel = _KERNELS.get(self._ask.upsampling if step == 1 else self._ask.downsampling)
        if kernel is not None:
            values = np.where(valid, self._warped(painted, window, kernel), np.float32(0))
        return values, valid

    def _step(self) -> int:
        """Decimation at which the layer is painted: at least as fine as the grid."""
        rows = np.broadcast_to(self._rows, np.broadcast_shapes(self._rows.shape, (1, 1)))
        spread = abs(int(rows[-1, 0]) - int(rows[0, 0])) / max(self._ask.axes.height - 1, 1)
        return int(1 << max(0, int(math.log2(spread)))) if spread >= 2 else 1

    def _window(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], step: int, margin: int
    ) -> Window:
        height, width = (-(-size // step) for size in self._layer.spec.shape)
        top = max(int(rows.min()) // step - margin, 0)
        left = max(int(columns.min()) // step - margin, 0)
        bottom = min(int(rows.max()) // step + 1 + margin, height)
        right = min(int(columns.max()) // step + 1 + margin, width)
        return Window(step=step, row=top, column=left, height=bottom - top, width=right - left)

    def _warped(self, painted: Any, window: Window, kernel: Resampling) -> Band:
        axes, spec = self._ask.axes, self._layer.spec
        pixel = self._pixel_m * window.step
        left = spec.origin[0] + window.column * pixel
        top = spec.origin[1] - window.row * pixel
        found = np.zeros((axes.height, axes.width), np.float32)
        rasterio.warp.reproject(
            painted.astype(np.float32),
            found,
            src_transform=Affine(pixel, 0, left, 0, -pixel, top),
            src_crs=self._crs,
            src_nodata=0,
            dst_transform=Affine(
                axes.dx, 0, axes.x0 - axes.dx / 2, 0, axes.dy, axes.y0 - axes.dy / 2
            ),
            dst_crs=axes.crs,
            resampling=kernel,
        )
        return found


def _places(axes: Axes, crs: str) -> tuple[Any, Any]:
    """Pixel centres in another CRS: a row of x and a column of y, or a mesh of both."""
    sites = axes.sites()
    if axes.crs == crs:
        return sites.x[None, :], sites.y[:, None]
    x, y = np.meshgrid(sites.x, sites.y)
    return Transformer.from_crs(axes.crs, crs, always_xy=True).transform(x, y)


def _degrees(axes: Axes) -> Any:
    left, right = axes.x0 - axes.dx / 2, axes.x0 + axes.dx * (axes.width - 0.5)
    top, bottom = axes.y0 - axes.dy / 2, axes.y0 + axes.dy * (axes.height - 0.5)
    project = Transformer.from_crs(axes.crs, "EPSG:4326", always_xy=True)
    return shapely.box(*project.transform_bounds(left, bottom, right, top))


def _scale(ask: Ask, band: str, unit: str | None) -> float:
    usual, scale = _UNITS.get(band, _OPTICAL)
    wanted = (unit or usual).upper()
    if wanted == "DN" and usual != "PERCENT":
        return 1.0
    if wanted != usual:
        raise BoomError(
            f"{COLLECTIONS[ask.collection]} band {band}: unsupported units {unit}",
            code="RENDERER_EXCEPTION",
        )
    return scale


def _no_band(ask: Ask, band: str) -> BoomError:
    return BoomError(f"{COLLECTIONS[ask.collection]} has no band {band}", code="RENDERER_EXCEPTION")


def _digits(record: Record) -> int:
    return sum(map(ord, item_id(record.item))) % 1_000_000
