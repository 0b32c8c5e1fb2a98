"""The default loader: `odc.stac.load` with a reader driver of our own.

odc-stac plans chunks and mosaics; the driver signs, reads and calibrates. `patch_url` would sign
when the graph is built, and tokens die before the graph does (odc-stac issue 289).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import Any, override

import dask.array as da
import numpy as np
import odc.stac
import pystac
from odc.geo.geobox import GeoBox
from odc.loader import RasterBandMetadata, RasterLoadParams, RasterSource, ReaderDriver, RioDriver
from odc.loader.types import BandKey, RasterGroupMetadata, RasterReader

from geostack_dagster.auth.signer import Signer
from geostack_dagster.stack.encoding import Encoding, Pixels, encode
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.pixels import Window, read_onto
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source

_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_COLLECTION = "recipe"
_POSITION, _DAY = "geostack:position", "geostack:day"


def load(recipe: Recipe, signer: Signer, *, chunks: Mapping[str, int]) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    dataset = odc.stac.load(
        [_pystac_item(position, item) for position, item in enumerate(recipe.items)],
        bands=[band.name for band in recipe.bands],
        geobox=recipe.grid.geobox(),
        # Items come in the order in which they lie over one another.
        groupby=_day_of,
        preserve_original_order=True,
        resampling={band.name: band.resampling for band in recipe.bands},
        chunks=dict(chunks),
        driver=driver_for(recipe, signer),
    )
    return {band.name: dataset[band.name].data for band in recipe.bands}


def driver_for(recipe: Recipe, signer: Signer) -> ReaderDriver:
    """The reader driver that odc-loader uses for this Recipe: the seam for other readers."""
    return SigningDriver(signer, recipe)


class SigningDriver(RioDriver):
    """Rasterio driver whose reader signs each read and returns calibrated pixels.

    Travels without its Recipe: by then every source carries what its reader needs.
    """

    def __init__(self, signer: Signer, recipe: Recipe | None = None, token: str = "") -> None:
        super().__init__(md_parser=None if recipe is None else RecipeParser(recipe))
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
        dst: np.ndarray[Any, Any] | None = None,
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


class RecipeParser:
    """Tells odc-loader about bands and sources; implements its `MDParser`."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def extract(self, md: Any) -> RasterGroupMetadata:
        """All bands of the Recipe, also those that this Item lacks."""
        return RasterGroupMetadata(
            {
                (band.name, 1): RasterBandMetadata(
                    data_type=band.encoding.dtype, nodata=band.encoding.fill
                )
                for band in self._recipe.bands
            }
        )

    def driver_data(self, md: Any, band_key: BandKey) -> tuple[Source, Encoding]:
        """What the reader of one source needs to know."""
        name, _ = band_key
        item = self._recipe.items[md.properties[_POSITION]]
        return item.sources[name], self._recipe.band(name).encoding


def _pystac_item(position: int, item: RecipeItem) -> pystac.Item:
    """The Item as odc-stac reads it best: one asset per band, with its own projection."""
    found = pystac.Item(
        id=item.id,
        geometry=None,
        bbox=None,
        datetime=item.acquired.astimezone(UTC),
        properties={_POSITION: position, _DAY: item.day.isoformat()},
        stac_extensions=[_PROJECTION],
        collection=_COLLECTION,
    )
    for name, source in item.sources.items():
        stated = source.projection
        found.add_asset(
            name,
            pystac.Asset(
                href=source.href,
                media_type="image/tiff",
                roles=["data"],
                extra_fields={
                    "proj:wkt2"
                    if len(stated.crs or "") > _CODE_LENGTH
                    else "proj:code": stated.crs,
                    "proj:shape": list(stated.shape or ()),
                    "proj:transform": list(stated.transform or ()),
                },
            ),
        )
    return found


_CODE_LENGTH = 32


def _day_of(item: pystac.Item, parsed: Any, index: int) -> str:
    return str(item.properties[_DAY])
