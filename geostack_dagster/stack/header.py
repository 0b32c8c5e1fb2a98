"""What a raster's header says, for what the metadata leaves out and to hold against it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.item import Projection
from geostack_dagster.errors import AssetError, GeostackError, Reason
from geostack_dagster.stack.pixels import check_band
from geostack_dagster.stack.reader import loop
from geostack_dagster.stack.reader.cog import CogReader
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Source
from geostack_dagster.stack.tolerance import Key, Tolerance, untolerant

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


def completed(
    recipe: Recipe,
    signer: Signer,
    *,
    reader: CogReader | None = None,
    tolerance: Tolerance | None = None,
) -> Recipe:
    """The Recipe with every projection known; opens only files whose metadata leaves it out.

    What has no readable header is left out where the tolerance allows it: nobody knows where its
    pixels would lie.

    Args:
        recipe: What is going to be read.
        signer: Opens its hrefs.
        reader: Reads the headers, and keeps them for the pixels; None takes one for this call.
        tolerance: Notes headers that cannot be read; None lets none fail.

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
    known: dict[Href, Projection] = {}
    tolerance = tolerance or untolerant(recipe)

    async def one(cogs: CogReader, href: Href) -> None:
        try:
            known[href] = await _placed(cogs, href)
        except GeostackError as error:
            tolerance.pass_over(_assets_at(recipe, href), error)

    if reader is not None:
        loop.wait(loop.together(one(reader, href) for href in wanted))
    else:
        remote = ByteSource(signer, policy=FetchPolicy(in_flight=_CONCURRENT_HEADERS))
        cogs = CogReader(remote)
        try:
            loop.wait(loop.together(one(cogs, href) for href in wanted))
        finally:
            loop.wait(remote.close())
    items = (item for item in _items(recipe.items, known) if item.sources)
    return replace(recipe, items=tuple(items))


def _assets_at(recipe: Recipe, href: Href) -> list[Key]:
    return [
        (item.id, name)
        for item in recipe.items
        for name, source in item.sources.items()
        if source.href == href
    ]


async def _placed(reader: CogReader, href: Href) -> Projection:
    header = await reader.header(href)
    if header.crs is None or header.transform is None:
        raise AssetError(
            f"neither the item nor the header of {href} states a CRS; it cannot be placed on a "
            "grid (sensor geometry needs a swath reader)",
            reason=Reason.NO_PLACE,
        )
    return Projection(header.crs, header.main.shape, header.transform)


def _items(items: Iterable[RecipeItem], known: dict[Href, Projection]) -> Iterable[RecipeItem]:
    for item in items:
        sources = {
            name: replace(source, projection=known[source.href]) if source.from_header else source
            for name, source in item.sources.items()
            if not source.from_header or source.href in known
        }
        yield replace(item, sources=sources)
