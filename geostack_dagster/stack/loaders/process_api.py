"""The loader of Recipes whose pixels a service renders: one request for a day and a chunk.

All bands come in one answer, because the service allows few requests and charges by the band. The
answer's last band numbers the scene that each pixel is of; so calibration, and the order in which
scenes lie over one another, are those of the other loaders.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dask.array as da
import numpy as np

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import AssetError, Reason
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.encoding import Pixels, encode
from geostack_dagster.stack.pixels import Window
from geostack_dagster.stack.process_api.raster import Numbers, numbers_of
from geostack_dagster.stack.process_api.rendering import Rendering, part_of, renderings, scene_of
from geostack_dagster.stack.process_api.service import ProcessService
from geostack_dagster.stack.recipe import Recipe, RecipeItem
from geostack_dagster.stack.tolerance import Tolerance, untolerant


def load(
    recipe: Recipe,
    signer: Signer,
    *,
    chunks: Mapping[str, int],
    tolerance: Tolerance | None = None,
) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    tolerance = tolerance or untolerant(recipe)
    layers = np.dtype([(band.name, band.encoding.dtype) for band in recipe.bands])
    shape = (len(recipe.days), *recipe.grid.shape)
    sizes = da.core.normalize_chunks(
        (chunks["time"], chunks["y"], chunks["x"]), shape, dtype=layers
    )
    name = fingerprint([tolerance.topic, sizes])
    together = da.map_blocks(
        ChunkRenderer(recipe, ProcessService(provider_named(recipe.provider), signer), tolerance),
        chunks=sizes,
        dtype=layers,
        meta=np.empty((0, 0, 0), layers),
        name=f"process-api-{name}",
    )
    return {
        band.name: da.map_blocks(
            _layer,
            together,
            band.name,
            dtype=band.encoding.dtype,
            name=f"process-api-{band.name}-{name}",
        )
        for band in recipe.bands
    }


class ChunkRenderer:
    """Renders one chunk: every band of every day in it."""

    def __init__(self, recipe: Recipe, service: ProcessService, tolerance: Tolerance) -> None:
        self._recipe = recipe
        self._service = service
        self._tolerance = tolerance

    def __call__(self, block_info: Any = None) -> Pixels:
        """The chunk that dask describes, with one field for each band."""
        (first, last), rows, columns = block_info[None]["array-location"]
        area = part_of(self._recipe.grid, slice(*rows), slice(*columns))
        chunk = np.empty((last - first, *area.shape), block_info[None]["dtype"])
        for position, day in enumerate(self._recipe.days[first:last]):
            for band in self._recipe.bands:
                chunk[band.name][position] = band.encoding.fill_value
            self._paint(chunk[position], day, area)
        return chunk

    def _paint(self, layers: Pixels, day: date, area: Grid) -> None:
        items = [item for item in self._recipe.items if item.day == day]
        overlay = _Overlay(self._recipe, items, layers)
        limit = self._service.provider.limits.rendered_px
        for asked in renderings(self._recipe, day, area):
            # From the number in an answer to the place in the day's order; 0, no scene, comes last.
            hrefs = [scene_of(item) for item in items]
            places = np.array([len(items), *map(hrefs.index, asked.scenes)], np.uint16)
            for rows, columns, piece in asked.pieces(limit):
                found = self._tolerantly(piece, items)
                if found is None:
                    continue
                *pixels, numbers = found
                for name, layer in zip(asked.bands, pixels, strict=True):
                    overlay.lay(name, (rows, columns), layer, places[numbers])

    def _tolerantly(self, piece: Rendering, items: Sequence[RecipeItem]) -> Numbers | None:
        """The answer; None if the scenes of the piece cannot be rendered, within the budget."""
        keys = [
            (item.id, name)
            for item in items
            if item.collection == piece.collection
            for name in piece.bands
            if name in item.sources
        ]
        window = self._tolerance.window(piece.grid.geobox())
        return self._tolerance.read(keys, window, lambda: self._rendered(piece))

    def _rendered(self, piece: Rendering) -> Numbers:
        def read(data: bytes) -> Numbers:
            numbers = numbers_of(data, len(piece.bands) + 1, piece.grid)
            if numbers[-1].max() > len(piece.scenes):
                raise AssetError(
                    "the service numbers a scene that was not asked for", reason=Reason.WRONG_ANSWER
                )
            return numbers

        return self._service.post(piece.body(), "image/tiff", read)


class _Overlay:
    """The layers of one day while its scenes are laid over one another, the first on top."""

    def __init__(self, recipe: Recipe, items: Sequence[RecipeItem], layers: Pixels) -> None:
        self._recipe = recipe
        self._items = items
        self._layers = layers
        self._shown = {
            band.name: np.full(layers.shape, len(items), np.uint16) for band in recipe.bands
        }

    def lay(self, name: str, part: Window, pixels: Pixels, places: Pixels) -> None:
        """Put pixels where their scene lies above what is shown; `places` are in the day's order.

        Reflectance that the service clamped to 0 is a value; class 0 means no data.
        """
        encoding = self._recipe.band(name).encoding
        shown = self._shown[name][part]
        above = places < shown
        if encoding.categorical:
            above &= pixels != 0
        for (scale, offset), members in self._calibrations(name).items():
            over = above & np.isin(places, members)
            coded = encode(pixels, over, encoding, scale=scale, offset=offset)
            np.copyto(self._layers[name][part], coded, where=over)
            np.copyto(shown, places, where=over)

    def _calibrations(self, name: str) -> dict[tuple[float, float], list[int]]:
        found: dict[tuple[float, float], list[int]] = {}
        for place, item in enumerate(self._items):
            if name in item.sources:
                radiometry = item.sources[name].radiometry
                found.setdefault((radiometry.scale, radiometry.offset), []).append(place)
        return found


def _layer(together: Pixels, name: str) -> Pixels:
    return np.ascontiguousarray(together[name])
