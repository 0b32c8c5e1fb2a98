"""Ways to turn a Recipe into lazy arrays, behind one protocol.

All sign where they read, calibrate each Item before Items of one day are laid over one another,
and agree to the pixel on a grid that needs no resampling. When it does, each resamples as its
library (or service) does. Where a provider's pixels come from decides which of them can read it.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Protocol

import dask.array as da

from geostack_dagster.auth.signer import Signer
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers.provider import PixelSource
from geostack_dagster.stack.recipe import Recipe
from geostack_dagster.stack.tolerance import Tolerance

LOADERS = ("odc", "odc_gdal", "stackstac", "rioxarray")
"""Names of the loaders of files, the default first; each is the module of that name here."""
LOADERS_OF: Mapping[PixelSource, tuple[str, ...]] = {
    PixelSource.FILES: LOADERS,
    PixelSource.PROCESS_API: ("process_api",),
}
"""Names of the loaders that can read a provider, the default first."""


class Loader(Protocol):
    """Builds the arrays of a stack; nothing is read until they are computed."""

    def __call__(
        self,
        recipe: Recipe,
        signer: Signer,
        *,
        chunks: Mapping[str, int],
        tolerance: Tolerance | None = None,
    ) -> dict[str, da.Array]:
        """By band, (time, y, x) in the band's encoding, time being `recipe.days`.

        The Recipe has at least one Item, and every Source's projection is complete. What cannot be
        read is noted with the tolerance, and stays unset where that allows it.
        """
        ...


def loader_of(pixels: PixelSource, name: str | None = None) -> str:
    """The loader of pixels from such a source: the one named, or the default.

    Raises:
        ConfigurationError: If it is unknown, or reads pixels of another kind.
    """
    known = LOADERS_OF[pixels]
    if name is None or name in known:
        return name or known[0]
    pixels_read_by(name)
    raise ConfigurationError(
        f"loader {name!r} cannot read pixels from {pixels.value}; leave `loader` out, or choose "
        f"{', '.join(known)}"
    )


def pixels_read_by(name: str) -> PixelSource:
    """Where the pixels come from that a loader reads.

    Raises:
        ConfigurationError: If there is no such loader.
    """
    sources = {name: pixels for pixels, names in LOADERS_OF.items() for name in names}
    if name not in sources:
        near = get_close_matches(name, sources, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(f"unknown loader {name!r}; {hint}Known: {', '.join(sources)}")
    return sources[name]


def loader_named(name: str) -> Loader:
    """The loader of that name; imported when asked for, for each brings a library."""
    loader: Loader = import_module(f"{__name__}.{name}").load
    return loader
