"""The loader `odc` with GDAL instead of this package's COG reader, to compare and to fall back on.

The driver is odc-loader's rasterio driver, except that its reader signs each read and calibrates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, override

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioDriver
from odc.loader.types import RasterReader

from geostack_dagster.auth.signer import Signer
from geostack_dagster.stack.encoding import Encoding, Pixels, encode
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.loaders.odc import RecipeParser, load_with
from geostack_dagster.stack.pixels import Window, read_onto
from geostack_dagster.stack.recipe import Recipe, Source
from geostack_dagster.stack.tolerance import Key, Tolerance, read_strictly

type _Told = tuple[Source, Encoding, Key]


def load(
    recipe: Recipe,
    signer: Signer,
    *,
    chunks: Mapping[str, int],
    tolerance: Tolerance | None = None,
) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    return load_with(SigningDriver(signer, recipe, tolerance=tolerance), recipe, chunks)


class SigningDriver(RioDriver):
    """Rasterio driver whose reader signs each read and returns calibrated pixels.

    Travels without its Recipe: by then every source carries what its reader needs.
    """

    def __init__(
        self,
        signer: Signer,
        recipe: Recipe | None = None,
        *,
        token: str = "",
        tolerance: Tolerance | None = None,
    ) -> None:
        super().__init__(md_parser=None if recipe is None else RecipeParser(recipe, _told))
        self.signer = signer
        self.tolerance = tolerance
        self._token = token
        if recipe is not None:
            self._token = f"{recipe.fingerprint}{tolerance.topic if tolerance else ''}"

    @override
    def capture_env(self) -> dict[str, Any]:
        """Nothing of this thread's GDAL options, which may hold secrets.

        The token makes the names of dask's tasks differ where only the calibration does, which
        odc-loader does not look at.
        """
        return {"recipe": self._token}

    @override
    @contextmanager
    def restore_env(self, env: dict[str, Any], load_state: Any) -> Iterator[Any]:
        """No GDAL environment: each read makes its own."""
        yield None

    @override
    def open(self, src: RasterSource, ctx: Any) -> RasterReader:  # type: ignore[override]  # RioDriver names its own reader
        """A reader; nothing is opened yet."""
        return SigningReader(self, src.driver_data)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuilt, (self.signer, self._token, self.tolerance))


def _rebuilt(signer: Signer, token: str, tolerance: Tolerance | None) -> SigningDriver:
    return SigningDriver(signer, token=token, tolerance=tolerance)


class SigningReader:
    """Reads one source with a credential of now."""

    def __init__(self, driver: SigningDriver, told: _Told) -> None:
        self._driver = driver
        self._source, self._encoding, self._key = told

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: Pixels | None = None,
        selection: Any = None,
    ) -> tuple[Window, Pixels]:
        """The part of the target that the source covers, in the stack's encoding."""
        found = read_strictly(
            self._driver.tolerance,
            self._key,
            dst_geobox,
            lambda: reading(
                self._source.href,
                self._driver.signer,
                lambda path: read_onto(path, self._source, dst_geobox, resampling=cfg.resampling),
            ),
        )
        if found is None:
            nothing = (slice(0, 0), slice(0, 0))
            empty = np.empty((0, 0), self._encoding.dtype)
            return nothing, empty if dst is None else dst[nothing]
        window, pixels, valid = found
        radiometry = self._source.radiometry
        coded = encode(
            pixels, valid, self._encoding, scale=radiometry.scale, offset=radiometry.offset
        )
        if dst is None:
            return window, coded
        dst[window] = coded
        return window, dst[window]


def _told(source: Source, encoding: Encoding, *, key: Key) -> _Told:
    return source, encoding, key
