"""From Items to a swath Recipe: which granules, and, once they were opened, which part of each."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.domain.item import Item, assets, item_id, moment, number, properties
from geostack_dagster.domain.swath import SwathChoice, SwathLayout
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    GeostackError,
    IntegrityError,
    Reason,
    ServiceError,
)
from geostack_dagster.providers import Collection, Provider, provider_named
from geostack_dagster.stack.ask import source_of
from geostack_dagster.stack.recipe import Skipped
from geostack_dagster.stack.swath.layout import SwathFile, found
from geostack_dagster.stack.swath.locate import Place, Spans, band_spans
from geostack_dagster.stack.swath.opening import open_file
from geostack_dagster.stack.swath.recipe import Part, SwathItem, SwathRecipe, SwathSource

_AXES = 3

type Missed = Callable[[SwathItem, GeostackError], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathAsk:
    """What is wanted of a swath stack."""

    collection: str
    aoi: AOI
    window: Window
    snapshot: str = ""
    """Content fingerprint of the snapshot that the Items come from."""
    choice: SwathChoice = field(default_factory=SwathChoice)


def layout_of(provider: Provider, collection: str) -> SwathLayout:
    """Where the files of a collection keep what.

    Raises:
        ConfigurationError: If the provider has no such collection, or it is no swath.
    """
    layout = provider.collection(collection).swath
    if layout is None:
        raise ConfigurationError(
            f"{provider.slug}/{collection} lies on a grid; it needs no swath reader"
        )
    return layout


def make_swath_recipe(provider: Provider, items: Iterable[Item], *, ask: SwathAsk) -> SwathRecipe:
    """The Recipe of a stack of granules, of which none was opened yet: their parts are unknown.

    Raises:
        ConfigurationError: If the provider has no such collection, or it is no swath.
    """
    layout = layout_of(provider, ask.collection)
    collection = provider.collection(ask.collection)
    kept: dict[str, SwathItem] = {}
    skipped: list[Skipped] = []
    for item in items:
        contribution, missing = _contribution(provider, collection, layout, item, ask=ask)
        skipped += missing
        if contribution is not None and contribution.id in kept:
            skipped.append(_whole(item, "is listed twice; the first one was taken"))
        elif contribution is not None:
            kept[contribution.id] = contribution
    recipe = SwathRecipe(
        provider=provider.slug,
        collection=collection.id,
        snapshot=ask.snapshot,
        aoi=ask.aoi,
        window=ask.window,
        choice=ask.choice,
        items=tuple(sorted(kept.values(), key=lambda one: (one.acquired, one.id))),
        question="",
        skipped=tuple(skipped),
    )
    return replace(recipe, question=_question(recipe))


def located(
    recipe: SwathRecipe, signer: Signer | None, *, missed: Missed | None = None
) -> tuple[SwathRecipe, int]:
    """The Recipe with the part of each granule that covers the AOI, and the bytes it took to learn.

    Opens every granule's file and reads its longitudes, latitudes and wavelengths: that proves as
    well that the credential opens it. A granule whose footprint touches the AOI and whose pixels do
    not is left out.

    Args:
        recipe: As `make_swath_recipe` gives it.
        signer: Opens its hrefs.
        missed: Told of a granule that cannot be read, which is left out then; None, or what it
            raises, ends it.

    Raises:
        ConfigurationError: If no band lies in the wavelengths asked for.
        AssetError: If a file is not what it claims to be.
        CredentialError, ServiceError: As every read.
    """
    place = Place.of(recipe.aoi, recipe.choice.margin_m)
    items, skipped, nbytes = [], list(recipe.skipped), 0
    for item in recipe.items:
        try:
            part, cost = _located(recipe, item, place, signer)
        except (IntegrityError, ServiceError) as error:
            if missed is None:
                raise
            missed(item, error)
            skipped.append(_unreadable(item, error))
            continue
        nbytes += cost
        if part is None:
            reason = "its footprint touches the AOI, and none of its pixels does"
            skipped.append(
                Skipped(
                    item=item.id, band=None, reason=reason, code=Reason.NOT_WANTED, day=item.day
                )
            )
        else:
            items.append(replace(item, part=part))
    return replace(recipe, items=tuple(items), skipped=tuple(skipped)), nbytes


def _located(
    recipe: SwathRecipe, item: SwathItem, place: Place, signer: Signer | None
) -> tuple[Part | None, int]:
    layout = layout_of(provider_named(recipe.provider), recipe.collection)
    file = opened(recipe, item, layout.file, signer)
    try:
        return _part(file, layout, place, recipe.choice), file.bytes_read
    finally:
        file.close()


def _unreadable(item: SwathItem, error: GeostackError) -> Skipped:
    return Skipped(
        item=item.id,
        band=None,
        reason=redact(str(error)),
        code=str(error.reason),
        day=item.day,
        tried=True,
    )


def opened(recipe: SwathRecipe, item: SwathItem, name: str, signer: Signer | None) -> SwathFile:
    """One file of a granule, through the Recipe's opener."""
    connections = provider_named(recipe.provider).limits.concurrent_reads
    href = item.sources[name].href
    return open_file(href, signer, opener=recipe.choice.opener, connections=connections)


def _contribution(
    provider: Provider, collection: Collection, layout: SwathLayout, item: Item, *, ask: SwathAsk
) -> tuple[SwathItem | None, list[Skipped]]:
    name = item.get("collection") or ask.collection
    if provider.find_collection(str(name)) is not collection:
        return None, [_whole(item, f"belongs to collection {name}, which was not asked for")]
    try:
        acquired = moment(item)
    except IntegrityError as error:
        return None, [_whole(item, str(error))]
    day = solar_day(acquired, ask.aoi.centre[0])
    if not ask.window.start <= day < ask.window.end:
        return None, [_whole(item, f"its solar day {day} is outside the window")]
    sources, skipped = _sources(provider, collection, layout, item)
    if layout.file not in sources:
        return None, skipped
    elevation = number(properties(item).get("view:sun_elevation"))
    made = SwathItem(
        id=item_id(item),
        day=day,
        acquired=acquired,
        sources=sources,
        sun_zenith_deg=None if elevation is None else 90.0 - elevation,
    )
    return made, skipped


def _sources(
    provider: Provider, collection: Collection, layout: SwathLayout, item: Item
) -> tuple[dict[str, SwathSource], list[Skipped]]:
    sources: dict[str, SwathSource] = {}
    skipped = []
    for name in filter(None, (layout.file, layout.observation_file)):
        try:
            source = source_of(provider, collection, item, collection.bands.by_name[name])
        except IntegrityError as error:
            skipped.append(Skipped(item=item_id(item), band=name, reason=str(error)))
            continue
        stated: dict[str, Any] = dict(assets(item)[source.key])
        size = number(stated.get("file:size"))
        sources[name] = SwathSource(
            href=source.href,
            key=source.key,
            size=None if size is None else int(size),
            checksum=stated.get("file:checksum"),
        )
    return sources, skipped


def _question(recipe: SwathRecipe) -> str:
    choice = {name: value for name, value in asdict(recipe.choice).items() if name != "opener"}
    asked = [recipe.provider, recipe.collection, recipe.aoi.geometry, choice]
    skipped = [asdict(one) for one in recipe.skipped]
    return fingerprint([asked, [item.content for item in recipe.items], skipped])


def _part(file: SwathFile, layout: SwathLayout, place: Place, choice: SwathChoice) -> Part | None:
    shape = found(file, layout.data).shape
    if len(shape) != _AXES:
        raise AssetError(
            f"{layout.data} of {file.name} has shape {shape}; a swath has lines, columns and bands"
        )
    lines, columns, bands = shape
    spans = _spans(file, layout, place, (lines, columns))
    if spans is None:
        return None
    wavelengths = np.asarray(file.read(layout.wavelengths), np.float64)
    return Part(
        shape=(lines, columns, bands),
        rows=(0, lines) if choice.rows == "all" else spans.rows,
        columns=(0, columns) if choice.columns == "all" else spans.columns,
        bands=band_spans(wavelengths, choice.wavelengths_nm, file.name),
    )


def _spans(
    file: SwathFile, layout: SwathLayout, place: Place, shape: tuple[int, int]
) -> Spans | None:
    for name in (layout.longitude, layout.latitude):
        if found(file, name).shape != shape:
            raise AssetError(
                f"{name} of {file.name} has shape {found(file, name).shape}, {layout.data} has "
                f"{shape}; they are of different granules"
            )
    return place.spans(file.read(layout.longitude), file.read(layout.latitude))


def _whole(item: Item, reason: str) -> Skipped:
    return Skipped(item=item_id(item), band=None, reason=reason, code=Reason.NOT_WANTED)
