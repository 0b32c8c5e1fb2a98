"""The default loader: `odc.stac.load` with this package's COG reader as its driver.

odc-stac plans chunks and mosaics; the driver signs, reads and calibrates. `patch_url` would sign
when the graph is built, and tokens die before the graph does (odc-stac issue 289).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Protocol
from uuid import uuid4

import dask.array as da
import odc.stac
import pystac
from odc.loader import RasterBandMetadata, ReaderDriver
from odc.loader.types import BandKey, RasterGroupMetadata

from geostack_dagster.auth.signer import Signer
from geostack_dagster.providers import PROVIDERS
from geostack_dagster.stack.encoding import Encoding, Pixels, Valid, encode
from geostack_dagster.stack.reader.driver import CogDriver, DriverConfig
from geostack_dagster.stack.reader.rule import SourceRule
from geostack_dagster.stack.reader.source import FetchPolicy, TransportName
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source
from geostack_dagster.stack.tolerance import Key, Tolerance

_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_COLLECTION = "recipe"
_POSITION, _DAY = "geostack:position", "geostack:day"
_CODE_LENGTH = 32  # what is longer than an authority code is WKT


def load(
    recipe: Recipe,
    signer: Signer,
    *,
    chunks: Mapping[str, int],
    tolerance: Tolerance | None = None,
) -> dict[str, da.Array]:
    """By band, (time, y, x) in the band's encoding, time being `recipe.days`."""
    config = config_for(recipe, signer, tolerance=tolerance)
    return load_with(CogDriver(config, md_parser=parser_for(recipe)), recipe, chunks)


def driver_for(recipe: Recipe, signer: Signer) -> ReaderDriver:
    """The COG reader as odc-loader's driver for this Recipe."""
    driver: ReaderDriver = CogDriver(config_for(recipe, signer), md_parser=parser_for(recipe))
    return driver


def config_for(
    recipe: Recipe,
    signer: Signer,
    *,
    transport: TransportName = "obstore",
    index: str | None = None,
    tolerance: Tolerance | None = None,
) -> DriverConfig:
    """How the COG reader reads this Recipe: a reader of its own, with its headers."""
    # Not the fingerprint alone: a reader keeps its signer, and another must not read through it.
    key = f"{recipe.fingerprint}-{uuid4().hex}"
    return DriverConfig(
        signer=signer,
        transport=transport,
        policy=policy_for(recipe),
        index=index,
        key=key,
        tolerance=tolerance,
    )


def parser_for(recipe: Recipe) -> "RecipeParser":
    """Tells odc-loader, and by it the COG reader, about this Recipe's bands and sources."""
    return RecipeParser(recipe, rule_of)


def policy_for(recipe: Recipe) -> FetchPolicy:
    """As many requests in flight as the archive allows: CDSE bans accounts that open more."""
    provider = PROVIDERS.get(recipe.provider)
    if provider is None:
        return FetchPolicy()
    return FetchPolicy(in_flight=provider.limits.concurrent_reads)


def load_with(
    driver: ReaderDriver, recipe: Recipe, chunks: Mapping[str, int]
) -> dict[str, da.Array]:
    """The Recipe's arrays, read by a driver that calibrates."""
    dataset = odc.stac.load(
        [_pystac_item(position, item) for position, item in enumerate(recipe.items)],
        bands=[band.name for band in recipe.bands],
        geobox=recipe.grid.geobox(),
        # Items come in the order in which they lie over one another.
        groupby=_day_of,
        preserve_original_order=True,
        resampling={band.name: band.resampling for band in recipe.bands},
        chunks=dict(chunks),
        driver=driver,
    )
    return {band.name: dataset[band.name].data for band in recipe.bands}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Digital numbers of one source to the stack's codes."""

    encoding: Encoding
    scale: float
    offset: float

    def __call__(self, pixels: Pixels, valid: Valid) -> Pixels:
        """Codes of these pixels; fill where not valid."""
        return encode(pixels, valid, self.encoding, scale=self.scale, offset=self.offset)


def rule_of(source: Source, encoding: Encoding, *, key: Key | None = None) -> SourceRule:
    """What the COG reader has to know of a source beyond its file."""
    radiometry = source.radiometry
    return SourceRule(
        band=source.index,
        nodata=source.nodata,
        crs=source.projection.crs,
        calibrate=Calibration(encoding, radiometry.scale, radiometry.offset),
        key=key,
    )


class Describe(Protocol):
    """Gives what a reader wants to know of a source."""

    def __call__(self, source: Source, encoding: Encoding, *, key: Key) -> object:
        """Of the source of an Item's band, which the key names."""
        ...


class RecipeParser:
    """Tells odc-loader about bands and sources; implements its `MDParser`.

    Args:
        recipe: The Recipe.
        describe: What the driver's reader wants to know of a source.
    """

    def __init__(self, recipe: Recipe, describe: "Describe") -> None:
        self._recipe = recipe
        self._describe = describe

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

    def driver_data(self, md: Any, band_key: BandKey) -> object:
        """What the reader of one source needs to know."""
        name, _ = band_key
        item = self._recipe.items[md.properties[_POSITION]]
        encoding = self._recipe.band(name).encoding
        return self._describe(item.sources[name], encoding, key=(item.id, name))


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
        crs = "proj:wkt2" if len(stated.crs or "") > _CODE_LENGTH else "proj:code"
        found.add_asset(
            name,
            pystac.Asset(
                href=source.href,
                media_type="image/tiff",
                roles=["data"],
                extra_fields={
                    crs: stated.crs,
                    "proj:shape": list(stated.shape or ()),
                    "proj:transform": list(stated.transform or ()),
                },
            ),
        )
    return found


def _day_of(item: pystac.Item, parsed: Any, index: int) -> str:
    return str(item.properties[_DAY])
