"""The archives this project knows: one record each, looked up by slug."""

from collections.abc import Mapping
from difflib import get_close_matches

from geostack_dagster.domain.hrefs import locate
from geostack_dagster.domain.item import Item, assets
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers.cdse import CDSE
from geostack_dagster.providers.earth_search import EARTH_SEARCH
from geostack_dagster.providers.earthaccess import EARTHACCESS
from geostack_dagster.providers.enmap import ENMAP
from geostack_dagster.providers.lpcloud import LPCLOUD
from geostack_dagster.providers.planetary_computer import PLANETARY_COMPUTER
from geostack_dagster.providers.provider import (
    ClearClasses,
    Collection,
    FilterDialect,
    Limits,
    PixelSource,
    Provider,
    SearchApi,
)
from geostack_dagster.providers.sentinel_hub import SENTINEL_HUB

PROVIDERS: Mapping[str, Provider] = {
    provider.slug: provider
    for provider in (
        PLANETARY_COMPUTER,
        EARTH_SEARCH,
        CDSE,
        SENTINEL_HUB,
        LPCLOUD,
        EARTHACCESS,
        ENMAP,
    )
}


def provider_named(slug: str) -> Provider:
    """The provider record.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    try:
        return PROVIDERS[slug]
    except KeyError:
        near = get_close_matches(slug, PROVIDERS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(
            f"unknown provider {slug!r}; {hint}Known: {', '.join(PROVIDERS)}"
        ) from None


def recognise(item: Item) -> tuple[Provider, str] | None:
    """The provider an Item comes from and what told so; None if nothing in it does.

    Its own links count first (self, collection, parent, root), then where most of its assets lie.
    """
    for relation, url in _links(item):
        for provider in PROVIDERS.values():
            if provider.owns(url):
                return provider, f"its {relation} link is on {locate(url).host}"
    hrefs = [str(asset["href"]) for asset in assets(item).values() if "href" in asset]
    votes = {slug: sum(map(known.owns, hrefs)) for slug, known in PROVIDERS.items()}
    slug = max(votes, key=lambda name: votes[name])
    if votes[slug] == 0:
        return None
    return PROVIDERS[slug], f"{votes[slug]} of {len(hrefs)} assets lie in its storage"


def _links(item: Item) -> list[tuple[str, str]]:
    found = item.get("links")
    entries = (
        [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    )
    return [
        (relation, entry["href"])
        for relation in ("self", "collection", "parent", "root")
        for entry in entries
        if entry.get("rel") == relation and isinstance(entry.get("href"), str)
    ]


__all__ = [
    "PROVIDERS",
    "ClearClasses",
    "Collection",
    "FilterDialect",
    "Limits",
    "PixelSource",
    "Provider",
    "SearchApi",
    "provider_named",
    "recognise",
]
