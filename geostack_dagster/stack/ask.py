"""From Items to a Recipe: what is asked of a stack, and what each Item can contribute to it.

Pure: nothing is opened. What an Item lacks is recorded with the reason; only an ask that is wrong
as a whole is an error.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np

from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import (
    Asset,
    Item,
    Projection,
    assets,
    item_id,
    moment,
    pixel_format,
)
from geostack_dagster.errors import ConfigurationError, IntegrityError, Reason
from geostack_dagster.providers import Collection, Provider
from geostack_dagster.providers.access import asset_href
from geostack_dagster.providers.provider import PixelSource
from geostack_dagster.stack.encoding import Encoding, encoding_of
from geostack_dagster.stack.loaders import loader_of, pixels_read_by
from geostack_dagster.stack.projection import (
    centre_longitude,
    scene_extent,
    touches,
    trusted_projection,
)
from geostack_dagster.stack.recipe import (
    MaskPolicy,
    Recipe,
    RecipeItem,
    Skipped,
    Source,
    TargetBand,
)

RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAsk:
    """What is wanted of a stack: collections, bands, grid and days."""

    collections: tuple[str, ...]
    bands: tuple[str, ...]
    """Our names, common names or asset keys; the mask's band is added if it is not among them."""
    grid: Grid
    window: Window
    snapshot: str = ""
    """Content fingerprint of the snapshot that the Items come from."""
    longitude: float | None = None
    """Where solar days are counted [degrees]; None takes the middle of the grid."""
    mask: MaskPolicy | None = None
    resampling: str = "nearest"
    """For measured bands; class codes are always taken from the nearest pixel."""
    loader: str | None = None
    """One of `LOADERS_OF` the provider's pixels; None takes the first of them."""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    """Overrides by our band name, for a cube that wants a quantity coded in integers."""

    def __post_init__(self) -> None:
        if not self.collections or not self.bands:
            raise ConfigurationError("a stack needs at least one collection and one band")
        if self.loader is not None:
            pixels_read_by(self.loader)
        _one_of("resampling", self.resampling, RESAMPLINGS)


def make_recipe(provider: Provider, items: Iterable[Item], *, ask: StackAsk) -> Recipe:
    """The Recipe of a stack over these Items.

    Raises:
        ConfigurationError: If the provider has no such collection or band, if the loader cannot
            read it, or if two collections would code a band differently.
    """
    chosen = {name: _bands_of(provider, name, ask) for name in ask.collections}
    longitude = centre_longitude(ask.grid) if ask.longitude is None else ask.longitude
    kept: dict[str, RecipeItem] = {}
    skipped: list[Skipped] = []
    for item in items:
        found, missing = _contribution(provider, item, chosen, ask=ask, longitude=longitude)
        skipped += missing
        if found is None:
            continue
        if found.id in kept:
            skipped.append(_whole(item, "is listed twice; the first one was taken"))
            continue
        kept[found.id] = found
    return Recipe(
        provider=provider.slug,
        collections=ask.collections,
        snapshot=ask.snapshot,
        grid=ask.grid,
        window=ask.window,
        bands=_targets(provider, chosen, ask),
        items=tuple(sorted(kept.values(), key=lambda item: (item.day, item.acquired, item.id))),
        mask=ask.mask,
        loader=loader_of(provider.pixels, ask.loader),
        skipped=tuple(skipped),
    )


def source_of(provider: Provider, collection: Collection, item: Item, band: Band) -> Source:
    """How one band of an Item would be read.

    Raises:
        IntegrityError: If the Item has no usable asset for it; the message says why.
    """
    key = band.asset_key(item)
    if key is None:
        wanted = ", ".join(band.keys) or band.href_pattern
        raise IntegrityError(f"has no asset for {band.name} ({wanted})")
    asset = assets(item)[key]
    if not asset.get("href"):
        raise IntegrityError(f"asset {key} has no href")
    href = asset_href(asset)
    if provider.scheme(href) is None:
        raise IntegrityError(f"asset {key} lies where {provider.slug} keeps none: {href}")
    channel = band.channel(item, key)
    if channel is None:
        raise IntegrityError(f"asset {key} describes no band at {band.wavelength_nm:g} nm")
    dtype, nodata, format_notes = _pixels(asset, band, channel)
    projection, projection_notes = _PLACES[provider.pixels](item, asset)
    return Source(
        href=href,
        key=key,
        index=channel,
        dtype=dtype,
        nodata=nodata,
        radiometry=collection.radiometry(item, asset, band),
        projection=projection,
        notes=format_notes + projection_notes,
    )


def _contribution(
    provider: Provider,
    item: Item,
    chosen: Mapping[str, tuple[Band, ...]],
    *,
    ask: StackAsk,
    longitude: float,
) -> tuple[RecipeItem | None, list[Skipped]]:
    name = item.get("collection") or ask.collections[0]
    if name not in chosen:
        return None, [_whole(item, f"belongs to collection {name}, which was not asked for")]
    try:
        acquired = moment(item)
    except IntegrityError as error:
        return None, [_whole(item, str(error))]
    day = solar_day(acquired, longitude)
    if not ask.window.start <= day < ask.window.end:
        return None, [_whole(item, f"its solar day {day} is outside the window")]
    sources, missing = _sources(provider, provider.collection(name), item, chosen[name])
    skipped = [replace(one, day=day) for one in missing]
    if sources and not any(touches(source.projection, ask.grid) for source in sources.values()):
        return None, [*skipped, _whole(item, "its image does not touch the grid")]
    if not sources:
        return None, skipped
    if provider.pixels is PixelSource.PROCESS_API:
        sources = {name: _rendered(source, ask.grid) for name, source in sources.items()}
    found = RecipeItem(
        id=item_id(item), collection=name, day=day, acquired=acquired, sources=sources
    )
    return found, skipped


_PLACES: Mapping[PixelSource, Callable[[Item, Asset], tuple[Projection, tuple[str, ...]]]] = {
    PixelSource.FILES: trusted_projection,
    PixelSource.PROCESS_API: scene_extent,
}


def _rendered(source: Source, grid: Grid) -> Source:
    """The source as the service gives it: on whatever grid is asked for."""
    return replace(source, projection=Projection(grid.crs, grid.shape, grid.transform))


def _sources(
    provider: Provider, collection: Collection, item: Item, bands: Iterable[Band]
) -> tuple[dict[str, Source], list[Skipped]]:
    sources: dict[str, Source] = {}
    skipped = []
    for band in bands:
        try:
            sources[band.name] = source_of(provider, collection, item, band)
        except IntegrityError as error:
            skipped.append(Skipped(item=item_id(item), band=band.name, reason=str(error)))
    return sources, skipped


def _bands_of(provider: Provider, collection: str, ask: StackAsk) -> tuple[Band, ...]:
    names = [*ask.bands, *([ask.mask.classes.band] if ask.mask else [])]
    table = provider.collection(collection).bands
    found = table.select(names, where=f"{provider.slug}/{collection}")
    return tuple({band.name: band for band in found}.values())


def _targets(
    provider: Provider, chosen: Mapping[str, tuple[Band, ...]], ask: StackAsk
) -> tuple[TargetBand, ...]:
    targets: dict[str, TargetBand] = {}
    for collection, bands in chosen.items():
        for band in bands:
            target = _target(band, ask)
            first = targets.setdefault(band.name, target)
            if first.encoding != target.encoding:
                raise ConfigurationError(
                    f"{provider.slug}/{collection} codes {band.name} as {target.encoding.dtype}, "
                    f"{ask.collections[0]} as {first.encoding.dtype}; make a pipeline for each"
                )
    return tuple(targets.values())


def _target(band: Band, ask: StackAsk) -> TargetBand:
    words = [band.name, band.common_name if band.common_name != band.name else None]
    if band.wavelength_nm is not None:
        words.append(f"{band.wavelength_nm:g} nm")
    return TargetBand(
        name=band.name,
        encoding=ask.encodings.get(band.name) or encoding_of(band),
        resampling="nearest" if band.categorical else ask.resampling,
        long_name=" ".join(word for word in words if word),
        wavelength_nm=band.wavelength_nm,
    )


def _pixels(asset: Asset, band: Band, channel: int) -> tuple[str, float | None, tuple[str, ...]]:
    stated = pixel_format(asset, channel - 1)
    dtype = band.dtype if stated.dtype is None else stated.dtype
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        return band.dtype, band.nodata, (f"data_type {dtype!r} is unknown",)
    if stated.nodata is None:
        return dtype, band.nodata, ()
    if kind in "iu" and not (math.isfinite(stated.nodata) and stated.nodata.is_integer()):
        return dtype, band.nodata, (f"nodata {stated.nodata} cannot be a {dtype}",)
    return dtype, stated.nodata, ()


def _whole(item: Item, reason: str) -> Skipped:
    return Skipped(item=item_id(item), band=None, reason=reason, code=Reason.NOT_WANTED)


def _one_of(what: str, found: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if found not in names:
        near = get_close_matches(found, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(f"unknown {what} {found!r}; {hint}Known: {', '.join(names)}")
