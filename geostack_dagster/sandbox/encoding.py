"""How each archive writes reflectance as digital numbers: facts of the files, not of any reader.

Sentinel-2 from processing baseline 04.00 on holds `DN = 10000 R + 1000`, before it `10000 R`.
Earth Search's `sentinel-2-l2a` subtracted the 1000 where `earthsearch:boa_offset_applied` is true,
and still states the offset in `raster:bands`.
"""

import re
from dataclasses import dataclass

from geostack_dagster.domain.item import Asset, Item, item_id, number, properties

_FIRST_WITH_OFFSET = 4.0
_IN_NAME = re.compile(r"_N(\d\d)(\d\d)_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """`DN = (R - offset) / scale`."""

    scale: float
    offset: float


def encoding_of(item: Item, asset: Asset, *, is_sentinel2: bool) -> Encoding:
    """What the pixels of an asset hold."""
    if not is_sentinel2:
        return _stated(asset)
    is_subtracted = properties(item).get("earthsearch:boa_offset_applied") is True
    has_offset = baseline_of(item) >= _FIRST_WITH_OFFSET and not is_subtracted
    return Encoding(scale=1e-4, offset=-0.1 if has_offset else 0.0)


def baseline_of(item: Item) -> float:
    """Processing baseline of a Sentinel-2 Item; 0 if nothing states it."""
    facts = properties(item)
    named = _IN_NAME.search(item_id(item))
    written = [facts.get("s2:processing_baseline"), facts.get("processing:version")]
    written += [f"{named[1]}.{named[2]}"] if named else []
    return next((found for found in map(number, written) if found is not None), 0.0)


def _stated(asset: Asset) -> Encoding:
    bands = asset.get("raster:bands")
    first = bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}
    scale, offset = number(first.get("scale")), number(first.get("offset"))
    return Encoding(scale=scale or 1e-4, offset=offset or 0.0)
