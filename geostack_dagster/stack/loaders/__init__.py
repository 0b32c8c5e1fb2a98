"""Ways to turn a Recipe into lazy arrays, behind one protocol.

All sign where they read, calibrate each Item before Items of one day are laid over one another,
and agree to the pixel on a grid that needs no resampling. When it does, each resamples as its
library does.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

import dask.array as da

from geostack_dagster.auth.signer import Signer
from geostack_dagster.stack.recipe import Recipe

LOADERS = ("odc", "odc_gdal", "stackstac", "rioxarray")
"""Names of the loaders; each is the module of that name here."""


class Loader(Protocol):
    """Builds the arrays of a stack; nothing is read until they are computed."""

    def __call__(
        self, recipe: Recipe, signer: Signer, *, chunks: Mapping[str, int]
    ) -> dict[str, da.Array]:
        """By band, (time, y, x) in the band's encoding, time being `recipe.days`.

        The Recipe has at least one Item, and every Source's projection is complete.
        """
        ...


def loader_named(name: str) -> Loader:
    """The loader of one of `LOADERS`; imported when asked for, for each brings a library."""
    loader: Loader = import_module(f"{__name__}.{name}").load
    return loader
