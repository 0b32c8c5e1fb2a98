"""What a raster's header says, for what the metadata leaves out and to hold against it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import rasterio

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.item import Projection
from geostack_dagster.errors import AssetError
from geostack_dagster.stack.gdal import reading
from geostack_dagster.stack.pixels import check_band
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


def read_header(source: Source, signer: Signer) -> Header:
    """Header of a source, opened with a credential of now."""

    def read(path: str) -> Header:
        with rasterio.open(path, sharing=False) as dataset:
            return header_of(dataset, source)

    return reading(source.href, signer, read)


def completed(recipe: Recipe, signer: Signer) -> Recipe:
    """The Recipe with every projection known; opens only files whose metadata leaves it out.

    Raises:
        AssetError: If a file has no CRS either, or cannot be read.
        CredentialError, ServiceError: As every read.
    """
    wanted = {
        source.href: source
        for item in recipe.items
        for source in item.sources.values()
        if source.from_header
    }
    if not wanted:
        return recipe
    with ThreadPoolExecutor(_CONCURRENT_HEADERS, thread_name_prefix="geostack-header") as pool:
        found = pool.map(lambda source: _projection(source, signer), wanted.values())
        known = dict(zip(wanted, found, strict=True))
    return replace(recipe, items=tuple(_items(recipe.items, known)))


def _items(items: Iterable[RecipeItem], known: dict[Any, Projection]) -> Iterable[RecipeItem]:
    for item in items:
        sources = {
            name: replace(source, projection=known[source.href]) if source.from_header else source
            for name, source in item.sources.items()
        }
        yield replace(item, sources=sources)


def _projection(source: Source, signer: Signer) -> Projection:
    found = read_header(source, signer).projection
    if found.crs is None:
        raise AssetError(
            f"neither the item nor the header of {source.href} states a CRS; it cannot be placed "
            "on a grid (sensor geometry needs a swath reader)"
        )
    return found
