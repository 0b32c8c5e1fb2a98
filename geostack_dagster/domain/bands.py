"""Bands: what a pipeline calls a channel, and how to find it in a provider's Items."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import Item, assets, number
from geostack_dagster.errors import ConfigurationError

# Wider than any recalibration, narrower than half the 6.5 nm at which EnMAP samples.
_SAME_BAND_NM = 2.0


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
    """Band number inside the file, 1-based; see `channel` where it differs by Item."""
    by_wavelength: bool = False
    """Whether the number inside the file is found by wavelength, in each Item anew."""
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

    def channel(self, item: Item, key: str) -> int | None:
        """Band number inside the asset `key` of this Item, 1-based; None if it lacks the band.

        EnMAP's files order their bands by wavelength, interleaving two detectors, or by detector,
        and hold 218 to 224 of them: only the wavelength tells which is which.
        """
        if not self.by_wavelength or self.wavelength_nm is None:
            return self.index
        described = assets(item).get(key, {}).get("eo:bands")
        off = {
            position: self._distance_nm(entry)
            for position, entry in enumerate(described if isinstance(described, list) else [], 1)
            if isinstance(entry, Mapping)
        }
        nearest = min(off, key=lambda position: off[position], default=None)
        return nearest if nearest is not None and off[nearest] <= _SAME_BAND_NM else None

    def _distance_nm(self, entry: Mapping[str, Any]) -> float:
        """How far a described channel is from this band, in centre and width together.

        Where EnMAP's two detectors overlap, centres lie 0.2 nm apart and a recalibration may move
        them by as much; their widths still tell the detectors apart.
        """
        centre = number(entry.get("center_wavelength"))
        if centre is None or self.wavelength_nm is None:
            return math.inf
        off = abs(centre - self.wavelength_nm)
        if off > _SAME_BAND_NM or self.fwhm_nm is None:
            return off
        width = number(entry.get("full_width_half_max"))
        return off if width is None else off + abs(width - self.fwhm_nm)


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

    def within(self, windows_nm: Iterable[tuple[float, float]]) -> tuple[Band, ...]:
        """Bands whose centres lie in any of the wavelength windows [nm], in table order."""
        windows = tuple(windows_nm)
        return tuple(
            band
            for band in self.bands
            if band.wavelength_nm is not None
            and any(low <= band.wavelength_nm <= high for low, high in windows)
        )

    def _find(self, name: str, where: str) -> Band:
        for band in self.bands:
            if name in (band.name, band.common_name, *band.keys):
                return band
        near = get_close_matches(name, self.by_name, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "see the list"
        raise ConfigurationError(
            f"unknown band {name!r} in {where}; {hint} Known: {', '.join(self.by_name)}"
        )
