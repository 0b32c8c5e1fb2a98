"""How each archive writes reflectance as digital numbers: facts of the files, not of any reader.

Sentinel-2 from processing baseline 04.00 on holds `DN = 10000 R + 1000`, before it `10000 R`.
Earth Search's `sentinel-2-l2a` subtracted the 1000 where `earthsearch:boa_offset_applied` is true,
and still states the offset in `raster:bands`.
"""

from dataclasses import dataclass

from geostack_dagster.domain.item import Asset, Item, number, properties

_FIRST_WITH_OFFSET = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """`DN = (R - offset) / scale`."""

    scale: float
    offset: float


def encoding_of(item: Item, asset: Asset, *, is_sentinel2: bool) -> Encoding:
    """What the pixels of an asset hold."""
    if not is_sentinel2:
        return _stated(asset)
    facts = properties(item)
    baseline = number(facts.get("s2:processing_baseline")) or 0.0
    is_subtracted = facts.get("earthsearch:boa_offset_applied") is True
    has_offset = baseline >= _FIRST_WITH_OFFSET and not is_subtracted
    return Encoding(scale=1e-4, offset=-0.1 if has_offset else 0.0)


def _stated(asset: Asset) -> Encoding:
    bands = asset.get("raster:bands")
    first = bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}
    scale, offset = number(first.get("scale")), number(first.get("offset"))
    return Encoding(scale=scale or 1e-4, offset=offset or 0.0)
