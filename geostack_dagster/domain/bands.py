"""Bands: what a pipeline calls a channel, and how to find it in a provider's Items."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import Item, assets
from geostack_dagster.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One channel of a collection.

    `name` is ours and the same for every provider (`B04`); `keys` are the provider's asset keys,
    in order of preference; `href_pattern` selects by file name where keys are not stable (EMIT in
    CMR-STAC).
    """

    name: str
    keys: tuple[str, ...] = ()
    href_pattern: str | None = None
    common_name: str | None = None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    resolution_m: float | None = None
    """Native pixel size [m]."""
    dtype: str = "uint16"
    nodata: float | None = 0.0
    index: int = 1
    """Band number inside the file, 1-based."""
    categorical: bool = False
    """Class codes: never interpolated, never calibrated."""

    def asset_key(self, item: Item) -> str | None:
        """Key of the asset that holds this band in `item`; None when it has none."""
        found = assets(item)
        for key in self.keys:
            if key in found:
                return key
        if self.href_pattern is not None:
            for key in sorted(found):
                if fnmatchcase(basename(str(found[key].get("href", ""))), self.href_pattern):
                    return key
        return None


@dataclass(frozen=True, slots=True)
class BandTable:
    """The bands of a collection, by name."""

    bands: tuple[Band, ...]
    by_name: Mapping[str, Band] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {band.name: band for band in self.bands})

    def select(self, names: Iterable[str], *, where: str) -> tuple[Band, ...]:
        """Bands by our name, common name or asset key, in the order asked.

        Raises:
            ConfigurationError: If a name is unknown; the message suggests the nearest.
        """
        return tuple(self._find(name, where) for name in names)

    def _find(self, name: str, where: str) -> Band:
        for band in self.bands:
            if name in (band.name, band.common_name, *band.keys):
                return band
        near = get_close_matches(name, self.by_name, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "see the list"
        raise ConfigurationError(
            f"unknown band {name!r} in {where}; {hint} Known: {', '.join(self.by_name)}"
        )
