"""The loader `odc` with GDAL instead of this package's COG reader, to compare and to fall back on.

The driver is odc-loader's rasterio driver, except that its reader signs each read and calibrates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, override

import dask.array as da
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioDriver
from odc.loader.types import RasterReader

from geostack_dagster.auth.signer import Signer
from geostack_dagster.stack.encoding import Encoding, Pixels, encode
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.loaders.odc import RecipeParser, load_with
from geostack_dagster.stack.pixels import Window, read_onto
from geostack_dagster.stack.recipe import Recipe, Source


def load(recipe: Recipe, signer: Signer, *, chunks: Mapping[str, int]) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    return load_with(SigningDriver(signer, recipe), recipe, chunks)


class SigningDriver(RioDriver):
    """Rasterio driver whose reader signs each read and returns calibrated pixels.

    Travels without its Recipe: by then every source carries what its reader needs.
    """

    def __init__(self, signer: Signer, recipe: Recipe | None = None, token: str = "") -> None:
        super().__init__(
            md_parser=None if recipe is None else RecipeParser(recipe, _source_and_encoding)
        )
        self.signer = signer
        self._token = token if recipe is None else recipe.fingerprint

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
        source, encoding = src.driver_data
        return SigningReader(self.signer, source, encoding)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return (SigningDriver, (self.signer, None, self._token))


class SigningReader:
    """Reads one source with a credential of now."""

    def __init__(self, signer: Signer, source: Source, encoding: Encoding) -> None:
        self._signer = signer
        self._source = source
        self._encoding = encoding

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: Pixels | None = None,
        selection: Any = None,
    ) -> tuple[Window, Pixels]:
        """The part of the target that the source covers, in the stack's encoding."""
        window, pixels, valid = reading(
            self._source.href,
            self._signer,
            lambda path: read_onto(path, self._source, dst_geobox, resampling=cfg.resampling),
        )
        radiometry = self._source.radiometry
        coded = encode(
            pixels, valid, self._encoding, scale=radiometry.scale, offset=radiometry.offset
        )
        if dst is None:
            return window, coded
        dst[window] = coded
        return window, dst[window]


def _source_and_encoding(source: Source, encoding: Encoding) -> tuple[Source, Encoding]:
    return source, encoding
