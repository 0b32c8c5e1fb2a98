"""What a raster's header says, for what the metadata leaves out and to hold against it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.item import Projection
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.pixels import check_band
from geostack_dagster.stack.reader import loop
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source

_CONCURRENT_HEADERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One band of an open raster."""

    driver: str
    dtype: str
    nodata: float | None
    projection: Projection
    block: tuple[int, int]
    """Rows and columns of a tile."""
    compression: str | None
    overviews: tuple[int, ...]
    scale: float
    offset: float


def header_of(dataset: Any, source: Source) -> Header:
    """Header of a source's band in an open rasterio dataset.

    Raises:
        AssetError: If the file has no such band.
    """
    check_band(dataset, source)
    position = source.index - 1
    return Header(
        driver=dataset.driver,
        dtype=dataset.dtypes[position],
        nodata=dataset.nodatavals[position],
        projection=Projection(
            crs=None if dataset.crs is None else dataset.crs.to_string(),
            shape=(dataset.height, dataset.width),
            transform=tuple(dataset.transform)[:6],
        ),
        block=tuple(dataset.block_shapes[position]),
        compression=None if dataset.compression is None else dataset.compression.value,
        overviews=tuple(dataset.overviews(source.index)),
        scale=dataset.scales[position],
        offset=dataset.offsets[position],
    )


def completed(recipe: Recipe, signer: Signer, *, reader: CogReader | None = None) -> Recipe:
    """The Recipe with every projection known; opens only files whose metadata leaves it out.

    Args:
        recipe: What is going to be read.
        signer: Opens its hrefs.
        reader: Reads the headers, and keeps them for the pixels; None takes one for this call.

    Raises:
        AssetError: If a file has no CRS either, or cannot be read.
        CredentialError, ServiceError: As every read.
    """
    wanted = {
        source.href
        for item in recipe.items
        for source in item.sources.values()
        if source.from_header
    }
    if not wanted:
        return recipe
    if reader is not None:
        known = loop.wait(_projections(reader, wanted))
    else:
        remote = ByteSource(signer, policy=FetchPolicy(in_flight=_CONCURRENT_HEADERS))
        try:
            known = loop.wait(_projections(CogReader(remote), wanted))
        finally:
            loop.wait(remote.close())
    return replace(recipe, items=tuple(_items(recipe.items, known)))


async def _projections(reader: CogReader, hrefs: Collection[Href]) -> dict[Href, Projection]:
    known: dict[Href, Projection] = {}

    async def one(href: Href) -> None:
        header = await reader.header(href)
        if header.crs is None or header.transform is None:
            raise AssetError(
                f"neither the item nor the header of {href} states a CRS; it cannot be placed on a "
                "grid (sensor geometry needs a swath reader)"
            )
        known[href] = Projection(header.crs, header.main.shape, header.transform)

    await loop.together(one(href) for href in hrefs)
    return known


def _items(items: Iterable[RecipeItem], known: dict[Href, Projection]) -> Iterable[RecipeItem]:
    for item in items:
        sources = {
            name: replace(source, projection=known[source.href]) if source.from_header else source
            for name, source in item.sources.items()
        }
        yield replace(item, sources=sources)
