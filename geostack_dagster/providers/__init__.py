"""The archives this project knows: one record each, looked up by slug."""

from collections.abc import Mapping
from difflib import get_close_matches

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers.earth_search import EARTH_SEARCH
from geostack_dagster.providers.planetary_computer import PLANETARY_COMPUTER
from geostack_dagster.providers.provider import (
    ClearClasses,
    Collection,
    FilterDialect,
    Limits,
    Provider,
)

PROVIDERS: Mapping[str, Provider] = {
    provider.slug: provider for provider in (PLANETARY_COMPUTER, EARTH_SEARCH)
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


__all__ = [
    "PROVIDERS",
    "ClearClasses",
    "Collection",
    "FilterDialect",
    "Limits",
    "Provider",
    "provider_named",
]
